"""Variational information distillation: how well a student's map predicts a teacher's."""

import torch
from torch import Tensor
from torch.nn import functional

from supcrd.losses.pairs import check_same_shape, exact, same_size

EPS = 1e-5
"""The least variance."""


def vid(mean: Tensor, teacher: Tensor, scale: Tensor) -> Tensor:
    """Variational information distillation: negative log-likelihood of the teacher's map, up to a constant.

    loss_i = (1/2) mean_chw [ (t_ichw - m_ichw)^2 / v_c + ln v_c ],  v_c = softplus(scale_c) + 1e-5

    Args:
        mean: (B, C, H, W) float, m, regressed from the student's map; receives gradient. Of two sizes the larger maps
            are pooled to the smaller.
        teacher: (B, C, H', W') float of the same images.
        scale: (C,) float, of the variance of each channel; learnt, receives gradient.

    Returns:
        (B,) nats, of any sign, unreduced; the least for given errors where v_c is their mean square.

    Raises:
        ValueError: not float maps of the same images and channels; not one scale a channel.

    Source: Ahn et al. 2019, arXiv:1904.05835, section 2. Difference, as in the authors' code and RepDistiller:
    the mean over channels and places in place of the sum.

    Example:
        >>> scale = torch.tensor([1.0]).expm1().log()  # softplus(scale) = 1
        >>> vid(torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 3.0]]]]), scale)  # (1 + 9) / 2 / 2
        tensor([2.5000])
    """
    with exact(mean):
        ours, theirs = same_size(mean, teacher)
        check_same_shape(ours, theirs)
        if scale.shape != ours.shape[1:2]:
            raise ValueError(f"scale must have shape ({ours.shape[1]},), got {tuple(scale.shape)}")
        variance = (functional.softplus(scale.to(ours.dtype)) + EPS)[:, None, None]
        return 0.5 * ((ours - theirs).square() / variance + variance.log()).mean(dim=(1, 2, 3))


def starting_scale(variance: float, channels: int) -> Tensor:
    """The scale (C,) of a variance > 1e-5.

    Example:
        >>> torch.nn.functional.softplus(starting_scale(5.0, 2)) + EPS
        tensor([5.0000, 5.0000])
    """
    return torch.full((channels,), variance - EPS, dtype=torch.float64).expm1().log().float()
