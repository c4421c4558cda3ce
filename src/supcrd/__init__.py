"""supcrd: contrastive representation distillation of image classifiers.

The public names are loaded when they are first used, so that `import supcrd` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supcrd.data import ImageSet, Split, source
    from supcrd.data.loader import Batch
    from supcrd.evaluation.measure import measure
    from supcrd.figures.registry import figure
    from supcrd.jobs.assess import load_model
    from supcrd.losses import (
        CRD,
        DKD,
        KD,
        Hybrid,
        LWSupCRD,
        SupCon,
        crd,
        dkd,
        hybrid,
        kd,
        lw_supcrd,
        standardise,
        supcon,
    )
    from supcrd.models import Model, Output
    from supcrd.models.names import arch
    from supcrd.models.weights import Card, save_model
    from supcrd.training.objective.term import Context, Outputs, Reads, Shapes, Step, Term, TermSettings, term

__version__ = "0.1.0"

_HOMES = {
    "supcrd.losses": [
        "CRD", "DKD", "KD", "Hybrid", "LWSupCRD", "SupCon",
        "crd", "dkd", "hybrid", "kd", "lw_supcrd", "standardise", "supcon",
    ],
    "supcrd.models": ["Model", "Output"],
    "supcrd.models.weights": ["Card", "save_model"],
    "supcrd.jobs.assess": ["load_model"],
    "supcrd.training.objective.term": [
        "Context", "Outputs", "Reads", "Shapes", "Step", "Term", "TermSettings", "term",
    ],
    "supcrd.models.names": ["arch"],
    "supcrd.data": ["ImageSet", "Split", "source"],
    "supcrd.data.loader": ["Batch"],
    "supcrd.figures.registry": ["figure"],
    "supcrd.evaluation.measure": ["measure"],
}  # fmt: skip

__all__ = [
    "CRD", "DKD", "KD", "Hybrid", "LWSupCRD", "SupCon",
    "crd", "dkd", "hybrid", "kd", "lw_supcrd", "standardise", "supcon",
    "Model", "Output", "Card", "save_model", "load_model",
    "Term", "TermSettings", "Reads", "Context", "Step", "Outputs", "Shapes", "Batch",
    "term", "arch", "source", "figure", "measure", "ImageSet", "Split",
]  # fmt: skip


_PACKAGES = ("data", "figures", "losses", "metrics", "models", "recipe", "report")


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:  # `supcrd.losses` after `import supcrd`
        return import_module(f"supcrd.{name}")
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'supcrd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})
