"""Distillation of logits."""

import torch
from torch import Tensor, nn

from supcrd.losses.similarity import at_least_float32, check_rows, check_temperature


def kd(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 4.0) -> Tensor:
    """Knowledge distillation: KL divergence of the student's softened probabilities from the teacher's.

    loss_i = T^2 sum_c p_ic (ln p_ic - ln q_ic),  p = softmax(teacher / T), q = softmax(student / T)

    Args:
        student_logits: (B, C) float, receives gradient.
        teacher_logits: (B, C) float.
        temperature: T > 0, unitless; usually 1 to 4.

    Returns:
        (B,) nats times T^2, >= 0, unreduced; 0 when both give the same probabilities.

    Raises:
        ValueError: shapes differ or are not 2-D; temperature <= 0.

    Source: Hinton et al. 2015, arXiv:1503.02531, section 2; the factor T^2 keeps the gradient's scale. The paper
    minimises the cross-entropy to the soft targets, which differs by the teacher's entropy, a constant.

    Example:
        >>> kd(torch.zeros(1, 2), torch.tensor([[3.0, 1.0]]).log(), temperature=1.0)  # 3/4 ln 3/2 + 1/4 ln 1/2
        tensor([0.1308])
    """
    check_temperature(temperature)
    check_rows("student_logits", student_logits)
    check_rows("teacher_logits", teacher_logits, student_logits.shape[1])
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f"student_logits {tuple(student_logits.shape)} and teacher_logits {tuple(teacher_logits.shape)} "
            "must have one shape"
        )
    with torch.autocast(student_logits.device.type, enabled=False):
        log_q = torch.log_softmax(at_least_float32(student_logits) / temperature, dim=1)
        log_p = torch.log_softmax(at_least_float32(teacher_logits) / temperature, dim=1)
        p, q = log_p.exp(), log_q.exp()
        # q - p sums to 0; with it every term is >= 0, and a rounding error common to a row of log p or log q cancels.
        return temperature**2 * (p * (log_p - log_q) + (q - p)).sum(dim=1)


class KD(nn.Module):
    """`kd` averaged over the batch.

    Example:
        >>> KD(temperature=1.0)(torch.zeros(1, 2), torch.zeros(1, 2))
        tensor(0.)
    """

    def __init__(self, temperature: float = 4.0) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature = temperature

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Mean loss, a scalar; arguments as for `kd`."""
        return kd(student_logits, teacher_logits, temperature=self.temperature).mean()
