"""Losses: each a pure function that returns one value an anchor, and for the main ones a module that averages it.

Those of other papers, with their terms and presets, are described in docs/terms.md.
"""

from supcrd.losses.at import at
from supcrd.losses.cc import cc
from supcrd.losses.crd import CRD, crd
from supcrd.losses.crd_nce import crd_nce
from supcrd.losses.dist import dist
from supcrd.losses.dkd import DKD, dkd
from supcrd.losses.fitnet import fitnet
from supcrd.losses.hybrid import Hybrid, hybrid
from supcrd.losses.logit import KD, kd, standardise
from supcrd.losses.lw_supcrd import LWSupCRD, lw_supcrd
from supcrd.losses.mlkd import mlkd
from supcrd.losses.nst import nst
from supcrd.losses.pkt import pkt
from supcrd.losses.review import review
from supcrd.losses.rkd import rkd
from supcrd.losses.rrd import rrd
from supcrd.losses.sp import sp
from supcrd.losses.supcon import SupCon, supcon
from supcrd.losses.vid import vid

__all__ = [
    "CRD", "DKD", "KD", "Hybrid", "LWSupCRD", "SupCon",
    "at", "cc", "crd", "crd_nce", "dist", "dkd", "fitnet", "hybrid", "kd", "lw_supcrd", "mlkd", "nst", "pkt", "review",
    "rkd", "rrd", "sp", "standardise", "supcon", "vid",
]  # fmt: skip
