"""Image classifiers that give features, projections and logits at once."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supcrd.models.archs import ARCHS, check_arch
    from supcrd.models.model import Model, ModelWrapper, Output

__all__ = ["ARCHS", "Model", "ModelWrapper", "Output", "check_arch"]

_HOMES = {"archs": ("ARCHS", "check_arch"), "model": ("Model", "ModelWrapper", "Output")}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"supcrd.models.{module}"), name)
    raise AttributeError(f"module 'supcrd.models' has no attribute {name!r}")
