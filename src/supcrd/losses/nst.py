"""Neuron selectivity transfer: which patterns of places the channels of a map select."""

import torch
from torch import Tensor

from supcrd.losses.pairs import exact, same_size
from supcrd.losses.similarity import unit_rows


def nst(student: Tensor, teacher: Tensor) -> Tensor:
    """Neuron selectivity transfer: squared maximum mean discrepancy between the channels of both maps.

    loss_i = mean_cc' k(x_c, x_c') + mean_cc' k(y_c, y_c') - 2 mean_cc' k(x_c, y_c'),  k(x, y) = (x . y)^2
    x_c, y_c: channels of student and teacher as vectors of H W places, of norm 1

    Args:
        student: (B, C, H, W) float, receives gradient.
        teacher: (B, C', H', W') float of the same images; channels may differ, and of two sizes the larger maps are
            pooled to the smaller.

    Returns:
        (B,) of 0 to 2, to rounding, unitless, unreduced; 0 where both have the same channels.

    Raises:
        ValueError: not float maps of the same images.

    Cost: B (C + C')^2 products of H W numbers.
    Source: Huang & Wang 2017, arXiv:1707.01219, section 4 with the polynomial kernel of d = 2 and c = 0. No difference
    to RepDistiller's but for its 1e-12 in the norms.

    Example:
        >>> one, other = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[1.0, 1.0]]]])
        >>> nst(one, other)  # 1 + 1 - 2 * (1/2)
        tensor([1.0000])
    """
    with exact(student):
        ours, theirs = (unit_rows(maps.flatten(2)) for maps in same_size(student, teacher))
        return _kernel(ours, ours) + _kernel(theirs, theirs) - 2 * _kernel(ours, theirs)


def _kernel(one: Tensor, other: Tensor) -> Tensor:
    """(B, C, M), (B, C', M) -> the mean kernel of all pairs of channels, (B,)."""
    return torch.bmm(one, other.transpose(1, 2)).square().mean(dim=(1, 2))
