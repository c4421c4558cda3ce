"""How far predicted probabilities can be believed."""

import torch
from torch import Tensor
from torch.nn import functional


def expected_calibration_error(logits: Tensor, labels: Tensor, *, bins: int = 15) -> float | None:
    """Mean gap between confidence and accuracy over bins of equal width, weighted by the rows in each.

    Args:
        logits: (N, C) float.
        labels: (N,) int64 in 0..C-1.
        bins: of the largest probability, ((b-1)/bins, b/bins].

    Returns:
        0..1; None without rows.

    Source: Guo et al. 2017, arXiv:1706.04599, eq. 3, with its 15 bins.

    Example:
        >>> expected_calibration_error(torch.tensor([[50.0, 0.0], [50.0, 0.0]]), torch.tensor([0, 1]))
        0.5
    """
    if len(labels) == 0:
        return None
    confidence, predicted = torch.softmax(logits.double(), dim=1).max(dim=1)
    gap = (predicted == labels).double() - confidence
    place = (confidence * bins).ceil().long().clamp(1, bins) - 1
    sums = gap.new_zeros(bins).index_add_(0, place, gap)
    return (sums.abs().sum() / len(labels)).item()


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> float | None:
    """Mean -ln p(label), in nats, computed in float64; logits (N, C), labels (N,) int64. None without rows.

    Example:
        >>> round(negative_log_likelihood(torch.zeros(3, 4), torch.tensor([0, 1, 2])), 4)  # ln 4
        1.3863
    """
    return functional.cross_entropy(logits.double(), labels).item() if len(labels) else None
