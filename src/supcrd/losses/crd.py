"""Contrastive representation distillation without labels."""

import torch
from torch import Tensor, nn

from supcrd.losses.grouped import grouped_logsumexp, leave_out
from supcrd.losses.similarity import check_rows, check_temperature, is_small, similarities, unit_pair


def crd(student: Tensor, teacher: Tensor, *, temperature: float = 0.07, valid: Tensor | None = None) -> Tensor:
    """In-batch contrastive representation distillation: student row i against all teacher rows.

    loss_i = -s_ii + logsumexp_j s_ij,  s_ij = cos(student_i, teacher_j) / temperature

    Args:
        student: (B, D) float, receives gradient; normalised here.
        teacher: (N, D) float, N >= B; row i < B belongs to the image of student row i, further rows (a memory bank)
            are negatives. Receives gradient if it requires it (joint training); normalised here.
        temperature: > 0, unitless; usually 0.05 to 0.2.
        valid: (N,) bool, False for a teacher row that is left out as if it were not there: it may hold anything, NaN
            included, and its gradient is 0. True for the first B rows, which are the positives; by default for all.

    Returns:
        (B,) nats, >= 0, unreduced. Equals ln N when all N (valid) teacher rows are equal; 0 with zero gradient when
        N = 1.

    Raises:
        ValueError: wrong shapes or types; fewer teacher rows than student rows; temperature <= 0; one of the first B
            rows not valid (checked on the CPU only, since elsewhere looking would wait for the device; the loss of
            its anchor means nothing then).

    Cost: O(B N D) time, O((B + N) D) memory (see `grouped_logsumexp`).
    All rows valid equals no `valid`: to the bit where the whole matrix is taken at once, else to rounding.
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
    groups, count = None, 1
    if valid is not None:
        teacher = leave_out(teacher, valid)
        if valid.device.type == "cpu" and not valid[: len(student)].all():
            row = valid.long().argmin().item()
            raise ValueError(f"valid must be True for the first {len(student)} rows, the positives; row {row} is not")
        groups, count = (~valid).long(), 2  # the second is never looked at
    with torch.autocast(student.device.type, enabled=False):
        anchors, candidates = unit_pair(student, teacher)
        if is_small(anchors, candidates):
            scores = similarities(anchors, candidates, temperature)
            if valid is not None:
                scores = scores.masked_fill(~valid, -torch.inf)
            targets = torch.arange(len(anchors), device=anchors.device)
            return nn.functional.cross_entropy(scores, targets, reduction="none")
        own = torch.linalg.vecdot(anchors, candidates[: len(anchors)]) / temperature
        sums = grouped_logsumexp(anchors, candidates, temperature, groups=groups, count=count, skip_own=True)
        others = sums[:, 0]
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

    def forward(self, student: Tensor, teacher: Tensor, valid: Tensor | None = None) -> Tensor:
        """Mean loss, a scalar in nats; arguments as for `crd`."""
        return crd(student, teacher, temperature=self.temperature, valid=valid).mean()
