"""Decoupled knowledge distillation of logits."""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from supcrd.losses.logit import check_logits, kd, standardise
from supcrd.losses.similarity import at_least_float32, check_labels, check_temperature


def dkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
) -> Tensor:
    """Decoupled knowledge distillation: how sure of the label's class, and what of the others, each with its weight.

    p = softmax(teacher / T), q = softmax(student / T), t the label
    TCKD_i = p_t ln(p_t / q_t) + (1 - p_t) ln((1 - p_t) / (1 - q_t))
    NCKD_i = sum_{c != t} p'_c ln(p'_c / q'_c),  p'_c = p_c / (1 - p_t), q'_c = q_c / (1 - q_t)
    loss_i = T^2 (alpha TCKD_i + beta NCKD_i)

    `kd` is T^2 (TCKD_i + (1 - p_t) NCKD_i): it hardly hears what a teacher who is sure says of the other classes.

    Args:
        student_logits: (B, C) float, C >= 2, receives gradient.
        teacher_logits: (B, C) float.
        labels: (B,) integers in 0..C-1.
        alpha: >= 0, weight of TCKD, the target class's part.
        beta: >= 0, weight of NCKD, the other classes' part; usually 1 to 8.
        temperature: T > 0, unitless; usually 1 to 4.

    Returns:
        (B,) nats times T^2, >= 0 to rounding, unreduced; 0 when both give the same probabilities. NCKD is 0 when
        C = 2. Finite for any finite logits.

    Raises:
        ValueError: shapes differ or are not 2-D; C = 1; alpha or beta negative; temperature <= 0; a label outside
            0..C-1 (checked on the CPU only, since elsewhere looking would wait for the device).

    Source: Zhao et al. 2022, arXiv:2203.08679, sections 3.1 and 3.3; T^2 as in the official code (mdistiller).
    Difference: computed in log space, NCKD on the other classes alone; that code takes 1000 from the label's logit.

    Example:
        >>> teacher = torch.tensor([[4.0, 3.0, 1.0]]).log()  # p = 1/2, 3/8, 1/8; q = 1/3 each
        >>> # 1/2 ln 3/2 + 1/2 ln 3/4 = 0.0589;  p' = 3/4, 1/4, q' = 1/2: 3/4 ln 3/2 + 1/4 ln 1/2 = 0.1308
        >>> dkd(torch.zeros(1, 3), teacher, torch.tensor([0]), beta=8.0, temperature=1.0)
        tensor([1.1054])
    """
    check_parts(alpha, beta)
    check_temperature(temperature)
    check_logits(student_logits, teacher_logits)
    count = student_logits.shape[1]
    if count < 2:
        raise ValueError("student_logits must have 2 columns at least, the label's class and another, got 1")
    check_labels("labels", labels, len(student_logits))
    if labels.device.type == "cpu" and not (labels.min() >= 0 and labels.max() < count):
        wrong = labels[(labels < 0) | (labels >= count)][0].item()
        raise ValueError(f"labels must be in 0..{count - 1}, the columns of the logits, got {wrong}")
    with torch.autocast(student_logits.device.type, enabled=False):
        own = labels.long()[:, None]
        columns = torch.arange(count - 1, device=own.device)
        others = columns + (columns >= own)  # (B, C - 1), all columns but the label's
        student_margin, student_rest = parts(student_logits, own, others, temperature)
        teacher_margin, teacher_rest = parts(teacher_logits, own, others, temperature)
        target = binary_divergence(student_margin, teacher_margin)
        return temperature**2 * (alpha * target + beta * kd(student_rest, teacher_rest, temperature=1.0))


def check_parts(alpha: float, beta: float) -> None:
    """Raise ValueError unless both weights are finite numbers >= 0."""
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name} must be a finite number >= 0, got {value}")


def parts(logits: Tensor, own: Tensor, others: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """The log-odds of the label's class against all others, (B,), and the softened logits of these, (B, C - 1)."""
    rows = at_least_float32(logits)
    rest = rows.gather(1, others)
    # Relative to the largest of the others, and before the division: the difference of close numbers is exact, and the
    # logarithm of their sum is then so small that its rounding does not touch their shares in the gradient.
    top = rest.detach().amax(dim=1, keepdim=True)
    rest = (rest - top) / temperature
    return ((rows.gather(1, own) - top) / temperature).squeeze(1) - rest.logsumexp(dim=1), rest


def binary_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence of two outcomes' probabilities, from their log-odds, (B,), (B,) -> (B,), without cancellation.

    With p = sigmoid(teacher) and d = student - teacher it is ln(1 + p (e^d - 1)) - p d.

    Example:
        >>> binary_divergence(torch.zeros(1), torch.tensor([3.0]).log())  # p = 3/4, q = 1/2: 3/4 ln 3/2 + 1/4 ln 1/2
        tensor([0.1308])
    """
    # Of the two outcomes the teacher's less probable one, whose p keeps its digits.
    sign = torch.where(teacher > 0, -1, 1)
    student, teacher = sign * student, sign * teacher
    p, d = teacher.sigmoid(), student - teacher
    near = torch.log1p(p * torch.expm1(d.clamp(max=1)))
    far = softplus(student, threshold=50) - softplus(teacher, threshold=50)  # the same, where e^d may overflow
    return torch.where(d < 1, near, far) - p * d


class DKD(nn.Module):
    """`dkd` averaged over the batch, of standardised logits if so asked.

    Example:
        >>> DKD(temperature=1.0)(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([0]))
        tensor(0.)
    """

    def __init__(
        self, alpha: float = 1.0, beta: float = 8.0, temperature: float = 4.0, standardise: bool = False
    ) -> None:
        super().__init__()
        check_parts(alpha, beta)
        check_temperature(temperature)
        self.alpha, self.beta, self.temperature, self.standardise = alpha, beta, temperature, standardise

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
        """Mean loss, a scalar; arguments as for `dkd`."""
        if self.standardise:
            student_logits, teacher_logits = standardise(student_logits), standardise(teacher_logits)
        loss = dkd(
            student_logits, teacher_logits, labels, alpha=self.alpha, beta=self.beta, temperature=self.temperature
        )
        return loss.mean()
