"""The weighted sum of SupCon and LW-SupCRD."""

from torch import Tensor, nn

from supcrd.losses.lw_supcrd import LWSupCRD, lw_supcrd
from supcrd.losses.supcon import supcon


def hybrid(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    teacher_logits: Tensor,
    *,
    lam: float = 0.3,
    candidate_labels: Tensor | None = None,
    classes: Tensor | None = None,
    alpha: float = 1.0,
    beta: float = 10.0,
    temperature: float = 0.07,
    adaptive: bool = True,
    teacher_temperature: float = 1.0,
) -> Tensor:
    """SupCon among the student's rows and LW-SupCRD to the teacher's: lam * SupCon + (1 - lam) * LW-SupCRD.

    Args:
        lam: the lambda of the reference, in [0, 1]: the share of SupCon.
        student, teacher, labels, teacher_logits, candidate_labels, classes: as for `lw_supcrd`.
        alpha, beta, adaptive, teacher_temperature: as for `lw_supcrd`.
        temperature: > 0, of both terms.

    Returns:
        (B,) nats, >= 0, unreduced.

    Raises:
        ValueError: as `supcon` and `lw_supcrd`; lam outside [0, 1].

    Source: reference README, "Hybrid"; the plain sum (an older notebook divided each term by its running mean).

    Example:
        >>> import torch
        >>> student, labels = torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1])
        >>> hybrid(student, student, labels, torch.zeros(4, 2), lam=1.0, temperature=1.0)  # SupCon alone
        tensor([0.5514, 0.5514, 0.5514, 0.5514])
    """
    check_share(lam)
    alone = supcon(student, labels, temperature=temperature)
    taught = lw_supcrd(
        student,
        teacher,
        labels,
        teacher_logits,
        candidate_labels=candidate_labels,
        classes=classes,
        alpha=alpha,
        beta=beta,
        temperature=temperature,
        adaptive=adaptive,
        teacher_temperature=teacher_temperature,
    )
    return lam * alone + (1 - lam) * taught


def check_share(lam: float) -> None:
    """Raise ValueError unless 0 <= lam <= 1."""
    if not 0 <= lam <= 1:
        raise ValueError(f"lam must be in [0, 1], got {lam}")


class Hybrid(nn.Module):
    """`hybrid` averaged over all anchors.

    Example:
        >>> import torch
        >>> student, labels = torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1])
        >>> Hybrid(lam=1.0, temperature=1.0)(student, student, labels, torch.zeros(4, 2))
        tensor(0.5514)
    """

    def __init__(
        self,
        lam: float = 0.3,
        alpha: float = 1.0,
        beta: float = 10.0,
        temperature: float = 0.07,
        adaptive: bool = True,
        teacher_temperature: float = 1.0,
    ) -> None:
        super().__init__()
        check_share(lam)
        self.lam = lam
        self.distil = LWSupCRD(alpha, beta, temperature, adaptive, teacher_temperature)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        labels: Tensor,
        teacher_logits: Tensor,
        candidate_labels: Tensor | None = None,
        classes: Tensor | None = None,
    ) -> Tensor:
        """Mean loss, a scalar in nats; arguments as for `hybrid`."""
        alone = supcon(student, labels, temperature=self.distil.temperature).mean()
        taught: Tensor = self.distil(student, teacher, labels, teacher_logits, candidate_labels, classes)
        return self.lam * alone + (1 - self.lam) * taught
