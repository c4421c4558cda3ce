"""Distillation of logits: KD, and the standardisation that may go before it."""

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
    check_logits(student_logits, teacher_logits)
    with torch.autocast(student_logits.device.type, enabled=False):
        log_q = torch.log_softmax(at_least_float32(student_logits) / temperature, dim=1)
        log_p = torch.log_softmax(at_least_float32(teacher_logits) / temperature, dim=1)
        p, q = log_p.exp(), log_q.exp()
        # q - p sums to 0; with it every term is >= 0, and a rounding error common to a row of log p or log q cancels.
        return temperature**2 * (p * (log_p - log_q) + (q - p)).sum(dim=1)


def check_logits(student_logits: Tensor, teacher_logits: Tensor) -> None:
    """Raise ValueError unless both are float matrices of one shape."""
    check_rows("student_logits", student_logits)
    check_rows("teacher_logits", teacher_logits, student_logits.shape[1])
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f"student_logits {tuple(student_logits.shape)} and teacher_logits {tuple(teacher_logits.shape)} "
            "must have one shape"
        )


def standardise(logits: Tensor) -> Tensor:
    """Z-scores of each row, so that a student need not match the size of its teacher's logits, but their relations.

    z_ic = (x_ic - mean_i) / std_i,  std_i^2 = (1/C) sum_c (x_ic - mean_i)^2

    Give both, student's and teacher's, to `kd` or `dkd`: `kd(standardise(student), standardise(teacher))`. These then
    divide by the temperature and keep the factor T^2.

    Args:
        logits: (B, C) float, receives gradient; spread over less than 1e38.

    Returns:
        (B, C) float32 at least, unitless, each row of mean 0 and standard deviation 1, none beyond ±sqrt(C - 1); a
        row of equal numbers, which says nothing, gives zeros with zero gradient. With C = 2 all that is left is which
        of the two is larger, and there is no gradient.

    Raises:
        ValueError: not a float matrix.

    Source: Sun et al. 2024, arXiv:2403.01427, algorithm 1, which has the population's standard deviation. Difference:
    the official code divides by the sample's (C - 1 in place of C) plus 1e-7, so its z are smaller by
    sqrt((C - 1) / C): by half a percent at C = 100, as if the temperature were that much higher.

    Example:
        >>> standardise(torch.tensor([[1.0, 3.0, 3.0, 1.0], [5.0, 5.0, 5.0, 5.0]])).tolist()  # mean 2, std 1
        [[-1.0, 1.0, 1.0, -1.0], [0.0, 0.0, 0.0, 0.0]]
    """
    check_rows("logits", logits)
    with torch.autocast(logits.device.type, enabled=False):
        rows = at_least_float32(logits)
        # z does not depend on the row's place and scale: with them taken off, equal numbers are 0 and squares fit
        rows = rows - rows.detach().amax(dim=1, keepdim=True)
        spread = rows.detach().amin(dim=1, keepdim=True).neg()
        flat = spread == 0
        rows = rows / spread.masked_fill(flat, 1)
        rows = rows - rows.mean(dim=1, keepdim=True)
        variance = rows.square().mean(dim=1, keepdim=True).masked_fill(flat, 1)
        return (rows / variance.sqrt()).masked_fill(flat, 0)


class KD(nn.Module):
    """`kd` averaged over the batch, of standardised logits if so asked.

    Example:
        >>> KD(temperature=1.0)(torch.zeros(1, 2), torch.zeros(1, 2))
        tensor(0.)
    """

    def __init__(self, temperature: float = 4.0, standardise: bool = False) -> None:
        super().__init__()
        check_temperature(temperature)
        self.temperature, self.standardise = temperature, standardise

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Mean loss, a scalar; arguments as for `kd`."""
        if self.standardise:
            student_logits, teacher_logits = standardise(student_logits), standardise(teacher_logits)
        return kd(student_logits, teacher_logits, temperature=self.temperature).mean()
