"""DIST: correlations of predictions, within an image and within a class, in place of their values."""

import torch
from torch import Tensor

from supcrd.losses.logit import check_logits
from supcrd.losses.pairs import exact
from supcrd.losses.similarity import at_least_float32, check_temperature, unit_rows


def dist(
    student_logits: Tensor, teacher_logits: Tensor, *, beta: float = 2.0, gamma: float = 2.0, temperature: float = 4.0
) -> Tensor:
    """DIST: the student's probabilities are to correlate with the teacher's, over classes and over images.

    loss_i = T^2 (beta (1 - r(q_i, p_i)) + gamma mean_c (1 - r(q_.c, p_.c)))
    p = softmax(teacher / T), q = softmax(student / T), r(x, y) Pearson's correlation

    Args:
        student_logits: (B, C) float, receives gradient.
        teacher_logits: (B, C) float.
        beta: >= 0, weight of the part within an image (the paper's inter-class relation).
        gamma: >= 0, weight of the part within a class over the batch (intra-class relation), the same for every i.
        temperature: T > 0, unitless.

    Returns:
        (B,) of 0 to 2 T^2 (beta + gamma), unreduced; 0 where all correlations are 1. A row or column of equal numbers
        has no correlation and counts as 0. With two classes all correlations within an image are 1 or -1, so that the
        first part has no gradient.

    Raises:
        ValueError: shapes differ or are not 2-D; temperature <= 0.

    Source: Huang et al. 2022, arXiv:2205.10536, section 4; T^2 as in the authors' code. beta = gamma = 2 and T = 4 are
    theirs for CIFAR-100. Difference: no 1e-8 in the norms.

    Example:
        >>> logits = torch.tensor([[0.75, 0.25], [0.25, 0.75]]).log()
        >>> dist(logits.flip(1), logits, temperature=1.0)  # all four correlations are -1: (2 + 2) * (1 - -1)
        tensor([8., 8.])
    """
    check_temperature(temperature)
    check_logits(student_logits, teacher_logits)
    with exact(student_logits):
        q = torch.softmax(at_least_float32(student_logits, teacher_logits) / temperature, dim=1)
        p = torch.softmax(at_least_float32(teacher_logits, student_logits) / temperature, dim=1)
        images, classes = 1 - _correlations(q, p), 1 - _correlations(q.T, p.T)
        return temperature**2 * (beta * images + gamma * classes.mean())


def _correlations(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's correlation of each row of (N, M) with the same row of the other, (N,)."""
    one, other = (unit_rows(rows - rows.mean(dim=1, keepdim=True)) for rows in (one, other))
    return (one * other).sum(dim=1)
