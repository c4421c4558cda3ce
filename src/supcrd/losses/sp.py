"""Similarity-preserving distillation: the Gram matrix of a batch's maps."""

from torch import Tensor

from supcrd.losses.pairs import check_maps, exact
from supcrd.losses.similarity import at_least_float32, unit_rows


def sp(student: Tensor, teacher: Tensor) -> Tensor:
    """Similarity-preserving distillation: images that are alike for the teacher are to be so for the student.

    loss_i = (1/B) sum_j (g_ij - g'_ij)^2,  g_i = G_i / ||G_i||,  G = X X^T, X the B maps as rows of C H W numbers

    Args:
        student: (B, C, H, W) float, receives gradient.
        teacher: (B, C', H', W') float of the same images; channels and sizes may differ, since only B x B numbers of
            each are compared.

    Returns:
        (B,) of 0 to 4/B, unitless, unreduced; 0 where both have the same similarities, whatever their scale.

    Raises:
        ValueError: not float maps of the same images.

    Source: Tung & Mori 2019, arXiv:1907.09682, section 3: the mean over i is their 1/b^2 ||.||^2 of one layer.
    Differences: none to RepDistiller's but for its 1e-12 in the norms; the paper sums over pairs of layers.

    Example:
        >>> import torch
        >>> same, apart = torch.ones(2, 1, 1, 1), torch.eye(2).view(2, 2, 1, 1)
        >>> sp(same, apart)  # rows (r, r) with r = sqrt(1/2), and (1, 0): ((1 - r)^2 + r^2) / 2
        tensor([0.2929, 0.2929])
    """
    check_maps(student, teacher)
    with exact(student):
        ours, theirs = (_similarities(at_least_float32(one, other)) for one, other in
                        ((student, teacher), (teacher, student)))  # fmt: skip
        return (ours - theirs).square().mean(dim=1)


def _similarities(maps: Tensor) -> Tensor:
    """(B, B), rows of norm 1."""
    rows = maps.flatten(1)
    return unit_rows(rows @ rows.T)
