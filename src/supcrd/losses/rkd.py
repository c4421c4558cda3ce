"""Relational knowledge distillation: distances and angles between the images of a batch."""

import torch
from torch import Tensor
from torch.nn import functional

from supcrd.losses.pairs import exact, rows_of
from supcrd.losses.similarity import unit_rows


def rkd(student: Tensor, teacher: Tensor, *, distance: float = 25.0, angle: float = 50.0) -> Tensor:
    """Relational knowledge distillation: the student's distances and angles between images are to be the teacher's.

    loss_i = distance * mean_j h(d_ij, d'_ij) + angle * mean_jk h(a_jik, a'_jik)
    d_ij = ||x_i - x_j|| / mean distance of two rows,  a_jik = cos of the angle at x_i between x_j and x_k,
    h(x, y) = (x - y)^2 / 2 up to |x - y| = 1, from there on |x - y| - 1/2  (Huber)

    Args:
        student: (B, F) float, B >= 2, receives gradient.
        teacher: (B, F') float of the same images; F' may differ.
        distance: >= 0, weight of the distances' part.
        angle: >= 0, weight of the angles' part.

    Returns:
        (B,) >= 0, unitless, one value a vertex i, unreduced; 0 where both have the same distances and angles. Rows may
        be turned, moved and scaled without effect.

    Raises:
        ValueError: not float matrices of the same rows; B < 2.

    Cost: B^3 cosines and B^2 (F + F') numbers in memory; 0.5 GB for B = 512.
    Source: Park et al. 2019, arXiv:1904.05068, section 3.2. Differences: means over all j and k, as in RepDistiller,
    where the paper sums over tuples of distinct images, so that weights do not depend on B: tuples with a row twice add
    0 and count. RepDistiller's mean distance leaves out distances of exactly 0; this one leaves out i = j only.

    Example:
        >>> rows = torch.tensor([[0.0], [1.0], [3.0]])  # distances 1, 2, 3 of mean 2; on a line cosines are 1 or -1
        >>> rkd(rows, torch.tensor([[0.0], [1.0], [2.0]]), angle=0.0)  # 1, 1, 2 of mean 4/3: 3/4, 3/4, 3/2
        tensor([0.2604, 0.5208, 0.2604])
    """
    ours, theirs = rows_of(student, teacher, least=2)
    with exact(ours):
        apart = functional.smooth_l1_loss(_distances(ours), _distances(theirs), reduction="none").mean(dim=1)
        turned = functional.smooth_l1_loss(_angles(ours), _angles(theirs), reduction="none").mean(dim=(1, 2))
    return distance * apart + angle * turned


def _distances(rows: Tensor) -> Tensor:
    """(B, B): distances over their mean over all pairs of two rows."""
    # from the differences: the faster way by products loses short distances between long vectors
    lengths = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    mean = lengths.sum() / (len(rows) * (len(rows) - 1))
    return lengths / mean.clamp_min(torch.finfo(rows.dtype).tiny)


def _angles(rows: Tensor) -> Tensor:
    """(B, B, B): [i, j, k] is the cosine of the angle at row i between rows j and k; 0 where one of them is row i."""
    directions = unit_rows(rows[None] - rows[:, None])
    return directions @ directions.transpose(1, 2)
