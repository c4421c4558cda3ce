"""How closely a student follows its teacher."""

import torch
from torch import Tensor

from supcrd.metrics.blocks import row_blocks


def agreement(student_logits: Tensor, teacher_logits: Tensor) -> float | None:
    """Fraction of rows, both (N, C), where student and teacher predict the same class; None without rows.

    Source: Stanton et al. 2021, arXiv:2106.05945, eq. 4 ("average top-1 agreement").

    Example:
        >>> agreement(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
        0.5
    """
    if len(student_logits) == 0:
        return None
    return (student_logits.argmax(dim=1) == teacher_logits.argmax(dim=1)).double().mean().item()


def kl_from_teacher(student_logits: Tensor, teacher_logits: Tensor) -> float | None:
    """Mean KL(teacher || student) of the softmax probabilities, both (N, C), in nats, in float64; None without rows.

    Source: Stanton et al. 2021, arXiv:2106.05945, eq. 5 ("average predictive KL").

    Example:
        >>> kl_from_teacher(torch.zeros(1, 2), torch.zeros(1, 2))
        0.0
    """
    if len(student_logits) == 0:
        return None
    by_row = []
    for student, teacher in row_blocks(student_logits, teacher_logits):
        log_q = torch.log_softmax(student.double(), dim=1)
        log_p = torch.log_softmax(teacher.double(), dim=1)
        by_row.append((log_p.exp() * (log_p - log_q)).sum(dim=1))
    return torch.cat(by_row).mean().item()
