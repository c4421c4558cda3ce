"""Relational representation distillation: how similar an image is to those of a queue."""

import torch
from torch import Tensor

from supcrd.losses.pairs import exact
from supcrd.losses.similarity import check_rows, check_temperature, similarities, unit_pair


def rrd(
    student: Tensor,
    teacher: Tensor,
    queue: Tensor,
    *,
    temperature: float = 0.1,
    teacher_temperature: float = 0.02,
) -> Tensor:
    """Relational representation distillation: cross-entropy of two distributions of similarities to a queue.

    loss_i = -sum_k p_ik ln q_ik,  q_i = softmax_k(cos(student_i, queue_k) / temperature),
    p_i = softmax_k(cos(teacher_i, queue_k) / teacher_temperature)

    Args:
        student: (B, D) float, receives gradient; normalised here.
        teacher: (B, D) float, without a gradient; normalised here.
        queue: (K, D) float, earlier teacher rows, without a gradient; normalised here.
        temperature: > 0, unitless.
        teacher_temperature: > 0, unitless; the lower, the nearer p is to one row.

    Returns:
        (B,) nats, >= 0, unreduced; at least the entropy of p, which is a constant for the student.

    Raises:
        ValueError: not float matrices of one width; different numbers of rows; a temperature <= 0.

    Source: Giakoumoglou & Stathaki 2024, arXiv:2407.12073, section 3; temperatures as in the authors' code.
    Differences to that code: the queue is normalised here, and the other memory that it has, of a row for each training
    image, is not here. The abstract (version 5) calls the student's distribution the sharper one; by the defaults of
    that code, and here, it is the teacher's.

    Example:
        >>> queue = torch.eye(2)
        >>> rrd(torch.ones(1, 2), torch.tensor([[1.0, 0.0]]), queue)  # q = 1/2, 1/2: ln 2
        tensor([0.6931])
    """
    check_temperature(temperature)
    check_temperature(teacher_temperature)
    check_rows("student", student)
    check_rows("teacher", teacher, student.shape[1])
    check_rows("queue", queue, student.shape[1])
    if len(student) != len(teacher):
        raise ValueError(f"student and teacher must have the same rows, got {len(student)} and {len(teacher)}")
    with exact(student):
        ours, rows = unit_pair(student, queue.detach())
        theirs, _ = unit_pair(teacher.detach(), queue.detach())
        p = torch.softmax(similarities(theirs, rows.to(theirs.dtype), teacher_temperature), dim=1)
        return -(p * torch.log_softmax(similarities(ours, rows, temperature), dim=1)).sum(dim=1)
