"""Correlation congruence, as distillation papers compute it: products of the errors of neighbours in a batch."""

from torch import Tensor

from supcrd.losses.pairs import check_same_shape, exact, rows_of


def cc(student: Tensor, teacher: Tensor) -> Tensor:
    """Correlation congruence as in RepDistiller, whose code the authors gave: errors of neighbouring rows, multiplied.

    loss_i = sum_d |x_id - x'_id| |x_{i+1,d} - x'_{i+1,d}|

    Args:
        student: (B, D) float, B >= 2, an embedding of the student's features; receives gradient.
        teacher: (B, D) float, an embedding of the teacher's features of the same images; receives gradient if it
            requires it.

    Returns:
        (B - 1,) >= 0, unreduced: one value for each pair of neighbours, so that it depends on the order of the batch.
        0 where of each two neighbours one is right.

    Raises:
        ValueError: not float matrices of one shape; B < 2.

    Source: RepDistiller's `Correlation`, which its authors had from those of Peng et al. 2019, arXiv:1904.01802.
    Difference to the paper, whose equation 5 compares the kernels of all pairs, (1/n^2) sum_ij (k(x_i, x_j) -
    k(x'_i, x'_j))^2: this does not, but is what published tables call CC.

    Example:
        >>> import torch
        >>> cc(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0]]), torch.zeros(3, 2))  # 1 * 2, 2 * 0
        tensor([2., 0.])
    """
    ours, theirs = rows_of(student, teacher, least=2)
    check_same_shape(ours, theirs)
    with exact(ours):
        errors = (ours - theirs).abs()
        return (errors[:-1] * errors[1:]).sum(dim=1)
