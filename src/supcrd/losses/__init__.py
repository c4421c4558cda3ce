"""Losses: each a pure function that returns one value an anchor, and a module of the same name that averages it."""

from supcrd.losses.crd import CRD, crd
from supcrd.losses.dkd import DKD, dkd
from supcrd.losses.hybrid import Hybrid, hybrid
from supcrd.losses.logit import KD, kd, standardise
from supcrd.losses.lw_supcrd import LWSupCRD, lw_supcrd
from supcrd.losses.supcon import SupCon, supcon

__all__ = [
    "CRD", "DKD", "KD", "Hybrid", "LWSupCRD", "SupCon",
    "crd", "dkd", "hybrid", "kd", "lw_supcrd", "standardise", "supcon",
]  # fmt: skip
