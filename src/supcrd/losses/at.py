"""Attention transfer: where in an image a network's activations are large."""

from torch import Tensor

from supcrd.losses.pairs import exact, same_size
from supcrd.losses.similarity import unit_rows


def at(student: Tensor, teacher: Tensor) -> Tensor:
    """Attention transfer: the student's activations are to be large where the teacher's are.

    loss_i = mean_hw (q_ihw - q'_ihw)^2,  q_i = Q_i / ||Q_i||,  Q_ihw = mean_c x_ichw^2

    Args:
        student: (B, C, H, W) float, receives gradient.
        teacher: (B, C', H', W') float of the same images; channels may differ, and of two sizes the larger maps are
            pooled to the smaller.

    Returns:
        (B,) of 0 to 2/(H W), unitless, unreduced; 0 where both have the same attention, whatever its scale.

    Raises:
        ValueError: not float maps of the same images.

    Source: Zagoruyko & Komodakis 2017, arXiv:1612.03928, equation 2 with p = 2 (activation-based). Differences, as in
    RepDistiller and the authors' code: the mean of squares over the H W places in place of the norm, and the mean over
    channels in the attention, which its norm takes off again.

    Example:
        >>> import torch
        >>> left, both = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[1.0, 1.0]]]])
        >>> at(left, both)  # q = (1, 0) and (r, r) with r = sqrt(1/2): ((1 - r)^2 + r^2) / 2
        tensor([0.2929])
    """
    with exact(student):
        ours, theirs = (unit_rows(maps.square().mean(dim=1).flatten(1)) for maps in same_size(student, teacher))
        return (ours - theirs).square().mean(dim=1)
