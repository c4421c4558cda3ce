"""Measurements: tensors in, plain numbers out."""

from supcrd.metrics.accuracy import knn_accuracy, top_k_accuracy
from supcrd.metrics.calibration import expected_calibration_error, negative_log_likelihood
from supcrd.metrics.fidelity import agreement, kl_from_teacher
from supcrd.metrics.sphere import alignment, class_distances, uniformity

__all__ = [
    "agreement",
    "alignment",
    "class_distances",
    "expected_calibration_error",
    "kl_from_teacher",
    "knn_accuracy",
    "negative_log_likelihood",
    "top_k_accuracy",
    "uniformity",
]
