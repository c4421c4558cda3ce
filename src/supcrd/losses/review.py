"""Knowledge review: the hierarchical context loss between a student's fused maps and a teacher's."""

from torch import Tensor
from torch.nn import functional

from supcrd.losses.pairs import check_maps, check_same_shape, exact
from supcrd.losses.similarity import at_least_float32

LEVELS = (4, 2, 1)
"""Heights and widths that maps are pooled to."""


def review(fused: Tensor, teacher: Tensor) -> Tensor:
    """Hierarchical context loss of knowledge review: errors of two maps at their own size and pooled to 4, 2 and 1.

    loss_i = sum_l w_l e_il / sum_l w_l,  w = 1, 1/2, 1/4, 1/8,  e_il = mean_chw (x_ichw - y_ichw)^2 at level l

    Args:
        fused: (B, C, H, W) float, a map of the student after attention-based fusion; receives gradient.
        teacher: (B, C, H, W) float of the same images.

    Returns:
        (B,) >= 0, in squared units of the maps, unreduced. Levels of H or more places a side are left out, and take
        their weight with them.

    Raises:
        ValueError: not float maps of one shape.

    Source: Chen et al. 2021, arXiv:2104.09044, section 3.4; weights and levels as in the authors' code and mdistiller,
    where the paper gives none. Difference to that code, which pools both maps: their difference is pooled, which is the
    same but for rounding; errors are of each image, not yet the mean over the batch.

    Example:
        >>> import torch
        >>> teacher = torch.tensor([[[[1.0, -1.0], [1.0, -1.0]]]])  # pooled to 1 it is 0
        >>> review(torch.zeros(1, 1, 2, 2), teacher)  # levels of 2 and 1, as H = 2: (1 * 1 + 1/2 * 0) / (3/2)
        tensor([0.6667])
    """
    check_maps(fused, teacher)
    check_same_shape(fused, teacher)
    with exact(fused):
        difference = at_least_float32(fused, teacher) - at_least_float32(teacher, fused)
        total, weight, whole = difference.square().mean(dim=(1, 2, 3)), 1.0, 1.0
        for level in LEVELS:
            if level < fused.shape[2]:
                weight /= 2
                pooled = functional.adaptive_avg_pool2d(difference, level)  # pooling is linear: of both, subtracted
                total, whole = total + weight * pooled.square().mean(dim=(1, 2, 3)), whole + weight
        return total / whole
