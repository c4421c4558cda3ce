"""How soft a teacher's outputs are: how much they say beyond the class that they name."""

from typing import NamedTuple

import torch
from torch import Tensor

from supcrd.metrics.blocks import row_blocks


class Softness(NamedTuple):
    """Means over the rows; each a float."""

    entropy: float
    """of the softmax probabilities, in nats: 0 (one class is certain) to ln C (all are equal)"""
    ratio: float
    """of the second largest logit to the largest, both less the row's mean: up to 1, where the two are equal"""
    spread: float
    """standard deviation of a row's logits (over the C classes), which a z-score would divide by"""


def softness(logits: Tensor) -> Softness | None:
    """How soft a classifier's outputs are, as means over the rows, computed in float64; None without rows.

    Args:
        logits: (N, C) float, C >= 2.

    Returns:
        Softness. A softmax does not change if a number is added to all logits of a row, but a ratio of them does:
        hence each row's mean is taken off first. Rows whose logits are all equal have the ratio 1.

    Source: the entropy after Hinton et al. 2015, arXiv:1503.02531; the spread is the divisor of the z-score of
    Sun et al. 2024, arXiv:2403.01427. The ratio is of centred logits, which is our choice.

    Example:
        >>> found = softness(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
        >>> round(found.entropy, 3), found.ratio, found.spread  # ratios -1 and 1
        (0.529, 0.0, 0.5)
    """
    if len(logits) == 0:
        return None
    parts = [_by_row(rows) for (rows,) in row_blocks(logits)]
    return Softness(*(torch.cat(column).mean().item() for column in zip(*parts, strict=True)))


def _by_row(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three of each row."""
    wide = logits.double()
    centred = wide - wide.mean(dim=1, keepdim=True)
    first, second = centred.topk(2, dim=1).values.T
    log_p = torch.log_softmax(wide, dim=1)
    # the limit of p ln p is 0, also where ln p is -infinity
    entropy = -torch.where(log_p > -700, log_p.exp() * log_p, 0).sum(dim=1)
    return entropy, torch.where(first > 0, second / first, 1), wide.std(dim=1, unbiased=False)
