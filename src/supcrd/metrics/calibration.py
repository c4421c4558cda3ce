"""How far predicted probabilities can be believed."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from supcrd.metrics.blocks import VALUES, row_blocks

TEMPERATURES = (0.05, 20.0)
"""Between these a temperature is looked for."""
STEPS = 100  # of Newton's method with bisection: a dozen are usual


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
    largest = [torch.softmax(rows.double(), dim=1).max(dim=1) for (rows,) in row_blocks(logits)]
    confidence, predicted = (torch.cat(column) for column in zip(*largest, strict=True))
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
    if len(labels) == 0:
        return None
    if logits.numel() <= VALUES:  # summed as it always was: a finished run measured again has the same last digit
        return functional.cross_entropy(logits.double(), labels).item()
    parts = [functional.cross_entropy(z.double(), y, reduction="none") for z, y in row_blocks(logits, labels)]
    return torch.cat(parts).mean().item()


def fit_temperature(
    logits: Tensor, labels: Tensor, *, smoothing: float = 0.0, bounds: tuple[float, float] = TEMPERATURES
) -> float:
    """The temperature T that makes softmax(logits / T) most probable of the labels: temperature scaling.

    The mean negative log-likelihood is convex in 1/T. Its minimum is found to convergence by Newton's method, kept
    between bounds by bisection, in float64 and in blocks of rows.

    Args:
        logits: (N, C) float, finite; images that the classifier did not learn from.
        labels: (N,) int64 in 0..C-1.
        smoothing: share of each label, in [0, 1], that all classes have alike: with it there is a minimum also where
            every row is right, whose labels are otherwise the more probable the lower T is.
        bounds: lowest and highest T, both > 0. One of them is returned exactly if the minimum is there or beyond.

    Returns:
        T; 1.0 if the likelihood does not depend on it (no rows, or rows of equal logits).

    Raises:
        ValueError: bounds that are no range of positive numbers; smoothing outside [0, 1].

    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2 (there by L-BFGS, over T itself).

    Example:
        >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [2.0, 0.0]])  # confidence 0.88, accuracy 0.75
        >>> round(fit_temperature(logits, torch.tensor([0, 0, 0, 1])), 4)  # 2 / ln 3
        1.8205
    """
    least, most = bounds
    if not 0 < least <= most < math.inf:
        raise ValueError(f"bounds are {bounds}; two numbers above 0, the lower one first, are right")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"smoothing is {smoothing}; 0 to 1 is right")
    low, high = 1 / most, 1 / least  # of 1/T
    slope_low, slope_high = (_slope(logits, labels, smoothing, at)[0] for at in (low, high))
    if slope_low == slope_high == 0:
        return min(max(1.0, least), most)
    if slope_low >= 0 or slope_high <= 0:
        return most if slope_low >= 0 else least
    inverse = min(max(1.0, low), high)
    for _ in range(STEPS):
        slope, curvature = _slope(logits, labels, smoothing, inverse)
        low, high = (inverse, high) if slope < 0 else (low, inverse)
        newton = inverse - slope / curvature if curvature > 0 else math.inf
        following = newton if low < newton < high else math.sqrt(low * high)
        if slope == 0 or abs(following - inverse) <= 1e-14 * inverse:
            break
        inverse = following
    return 1 / inverse


def _slope(logits: Tensor, labels: Tensor, smoothing: float, inverse: float) -> tuple[float, float]:
    """First and second derivative of the mean negative log-likelihood by 1/T."""
    first = second = 0.0
    for rows, right in _blocks(logits, labels):
        p = torch.softmax(inverse * rows, dim=1)
        mean = (p * rows).sum(dim=1, keepdim=True)
        wanted = (1 - smoothing) * rows.gather(1, right[:, None]) + smoothing * rows.mean(dim=1, keepdim=True)
        first += (mean - wanted).sum().item()
        second += (p * (rows - mean) ** 2).sum().item()
    return first / max(len(labels), 1), second / max(len(labels), 1)


def _blocks(logits: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of rows in float64; the largest logit of a row is 0, so that no digits are lost to a common offset."""
    for rows, right in row_blocks(logits, labels):
        wide = rows.double()
        yield wide - wide.amax(dim=1, keepdim=True), right
