"""Measurements: tensors in, plain numbers out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supcrd.metrics.accuracy import ByClass, class_accuracy, knn_accuracy, knn_accuracy_estimate, top_k_accuracy
    from supcrd.metrics.calibration import (
        expected_calibration_error,
        fit_temperature,
        negative_log_likelihood,
    )
    from supcrd.metrics.estimate import Estimate
    from supcrd.metrics.fidelity import agreement, kl_from_teacher
    from supcrd.metrics.soft import Softness, softness
    from supcrd.metrics.sphere import alignment, class_distances, uniformity, uniformity_estimate

__all__ = [
    "ByClass",
    "Estimate",
    "Softness",
    "agreement",
    "alignment",
    "class_accuracy",
    "class_distances",
    "expected_calibration_error",
    "fit_temperature",
    "kl_from_teacher",
    "knn_accuracy",
    "knn_accuracy_estimate",
    "negative_log_likelihood",
    "softness",
    "top_k_accuracy",
    "uniformity",
    "uniformity_estimate",
]

_HOMES = {
    "accuracy": ("ByClass", "class_accuracy", "knn_accuracy", "knn_accuracy_estimate", "top_k_accuracy"),
    "calibration": ("expected_calibration_error", "fit_temperature", "negative_log_likelihood"),
    "estimate": ("Estimate",),
    "fidelity": ("agreement", "kl_from_teacher"),
    "soft": ("Softness", "softness"),
    "sphere": ("alignment", "class_distances", "uniformity", "uniformity_estimate"),
}


def __getattr__(name: str) -> Any:  # torch is loaded when a measurement is first taken: their list is read without it
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"supcrd.metrics.{module}"), name)
    raise AttributeError(f"module 'supcrd.metrics' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
