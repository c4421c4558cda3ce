"""Contrastive representation distillation without labels."""

import torch
from torch import Tensor, nn

from supcrd.losses.grouped import grouped_logsumexp
from supcrd.losses.similarity import check_rows, check_temperature, is_small, similarities, unit_pair


def crd(student: Tensor, teacher: Tensor, *, temperature: float = 0.07) -> Tensor:
    """In-batch contrastive representation distillation: student row i against all teacher rows.

    loss_i = -s_ii + logsumexp_j s_ij,  s_ij = cos(student_i, teacher_j) / temperature

    Args:
        student: (B, D) float, receives gradient; normalised here.
        teacher: (N, D) float, N >= B; row i < B belongs to the image of student row i, further rows (a memory bank)
            are negatives. Receives gradient if it requires it (joint training); normalised here.
        temperature: > 0, unitless; usually 0.05 to 0.2.

    Returns:
        (B,) nats, >= 0, unreduced. Equals ln N when all teacher rows are equal; 0 with zero gradient when N = 1.

    Raises:
        ValueError: wrong shapes or types; fewer teacher rows than student rows; temperature <= 0.

    Cost: O(B N D) time, O((B + N) D) memory (see `grouped_logsumexp`).
    Source: Tian et al. 2020, arXiv:1910.10699; in-batch InfoNCE form (the paper uses NCE with a memory bank).

    Example:
        >>> crd(torch.eye(2), torch.eye(2), temperature=1.0)  # ln(1 + 1/e)
        tensor([0.3133, 0.3133])
    """
    check_temperature(temperature)
    check_rows("student", student)
    check_rows("teacher", teacher, student.shape[1])
    if len(teacher) < len(student):
        raise ValueError(f"teacher must have a row for each of the {len(student)} student rows, got {len(teacher)}")
    with torch.autocast(student.device.type, enabled=False):
        anchors, candidates = unit_pair(student, teacher)
        if is_small(anchors, candidates):
            targets = torch.arange(len(anchors), device=anchors.device)
            return nn.functional.cross_entropy(
                similarities(anchors, candidates, temperature), targets, reduction="none"
            )
        own = torch.linalg.vecdot(anchors, candidates[: len(anchors)]) / temperature
        others = grouped_logsumexp(anchors, candidates, temperature, skip_own=True).squeeze(1)
        # ln(e^own + e^others) - own, without a difference of nearly equal numbers; N = 1 gives exactly 0
        return nn.functional.softplus(others - own, threshold=50)


class CRD(nn.Module):
    """`crd` averaged over all anchors.

    Example:
        >>> CRD(temperature=1.0)(torch.eye(2), torch.eye(2))
        tensor(0.3133)
    """

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Mean loss, a scalar in nats; arguments as for `crd`."""
        return crd(student, teacher, temperature=self.temperature).mean()
