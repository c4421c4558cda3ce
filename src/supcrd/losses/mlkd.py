"""Multi-level logit distillation: predictions compared by image, within the batch and by class."""

from collections.abc import Sequence

import torch
from torch import Tensor

from supcrd.losses.logit import check_logits, kd
from supcrd.losses.pairs import exact
from supcrd.losses.similarity import at_least_float32, check_temperature


def mlkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperatures: Sequence[float] = (2.0, 3.0, 4.0, 5.0, 6.0),
    instance: float = 1.0,
    batch: float = 1.0,
    classes: float = 1.0,
) -> Tensor:
    """Multi-level logit distillation: probabilities, their products between images, and between classes.

    loss_i = sum_T [ instance * kd_i(T) + batch * sum_j ((P P^T)_ij - (Q Q^T)_ij)^2
                     + classes * (1/C) sum_cd ((P^T P)_cd - (Q^T Q)_cd)^2 ]
    P = softmax(teacher / T), Q = softmax(student / T), (B, C) each; kd with its T^2

    Args:
        student_logits: (B, C) float, receives gradient.
        teacher_logits: (B, C) float.
        temperatures: one or more T > 0, unitless; the losses of all are added.
        instance: >= 0, weight of the part of single images.
        batch: >= 0, weight of the part between images.
        classes: >= 0, weight of the part between classes, the same for every i.

    Returns:
        (B,) >= 0 to rounding, unreduced; 0 where both give the same probabilities.

    Raises:
        ValueError: shapes differ or are not 2-D; no temperature, or one <= 0.

    Source: Jin et al. 2023 (CVPR), "Multi-level logit distillation", section 3. Differences to the authors' code: there
    the parts of the weakly augmented view are halved by masks of the less sure images and classes, those between images
    and classes are of that view alone, and weak and strong views are added; here all rows are one batch and count once.

    Example:
        >>> student, teacher = torch.zeros(1, 2), torch.tensor([[3.0, 1.0]]).log()
        >>> # kd 0.1308;  P P^T = 10/16, Q Q^T = 1/2: 1/64;  P^T P = 9, 3, 3, 1 of 16, Q^T Q = 4, 4, 4, 4: 36/256/2
        >>> mlkd(student, teacher, temperatures=[1.0])
        tensor([0.2167])
    """
    check_logits(student_logits, teacher_logits)
    if not temperatures:
        raise ValueError("temperatures must have one number or more, got none")
    ours, theirs = at_least_float32(student_logits, teacher_logits), at_least_float32(teacher_logits, student_logits)
    total = torch.zeros(len(ours), dtype=ours.dtype, device=ours.device)
    with exact(ours):
        for temperature in temperatures:
            check_temperature(temperature)
            q, p = torch.softmax(ours / temperature, dim=1), torch.softmax(theirs / temperature, dim=1)
            between = (p @ p.T - q @ q.T).square().sum(dim=1)
            among = (p.T @ p - q.T @ q).square().sum() / ours.shape[1]
            total = total + instance * kd(ours, theirs, temperature=temperature) + batch * between + classes * among
    return total
