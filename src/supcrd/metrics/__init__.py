"""Measurements: tensors in, plain numbers out."""

from supcrd.metrics.accuracy import ByClass, class_accuracy, knn_accuracy, knn_accuracy_estimate, top_k_accuracy
from supcrd.metrics.calibration import expected_calibration_error, negative_log_likelihood
from supcrd.metrics.estimate import Estimate
from supcrd.metrics.fidelity import agreement, kl_from_teacher
from supcrd.metrics.sphere import alignment, class_distances, uniformity, uniformity_estimate

__all__ = [
    "ByClass",
    "Estimate",
    "agreement",
    "alignment",
    "class_accuracy",
    "class_distances",
    "expected_calibration_error",
    "kl_from_teacher",
    "knn_accuracy",
    "knn_accuracy_estimate",
    "negative_log_likelihood",
    "top_k_accuracy",
    "uniformity",
    "uniformity_estimate",
]
