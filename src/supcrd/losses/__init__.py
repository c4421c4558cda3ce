"""Losses: each a pure function that returns one value an anchor, and a module of the same name that averages it."""

from supcrd.losses.crd import CRD, crd
from supcrd.losses.hybrid import Hybrid, hybrid
from supcrd.losses.logit import KD, kd
from supcrd.losses.lw_supcrd import LWSupCRD, lw_supcrd
from supcrd.losses.supcon import SupCon, supcon

__all__ = ["CRD", "KD", "Hybrid", "LWSupCRD", "SupCon", "crd", "hybrid", "kd", "lw_supcrd", "supcon"]
