"""Image classifiers that give features, projections and logits at once."""

from supcrd.models.archs import ARCHS, check_arch
from supcrd.models.model import Model, ModelWrapper, Output

__all__ = ["ARCHS", "Model", "ModelWrapper", "Output", "check_arch"]
