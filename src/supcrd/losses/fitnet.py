"""Hints: a student's map is regressed onto a teacher's."""

from torch import Tensor

from supcrd.losses.pairs import check_maps, check_same_shape, exact
from supcrd.losses.similarity import at_least_float32


def fitnet(regressed: Tensor, teacher: Tensor) -> Tensor:
    """Hint loss of FitNets: squared error between the regressed map of the student and the teacher's map.

    loss_i = mean_chw (r_ichw - t_ichw)^2

    Args:
        regressed: (B, C, H, W) float, the student's map after a regressor that gives it the teacher's shape; receives
            gradient.
        teacher: (B, C, H, W) float of the same images.

    Returns:
        (B,) >= 0, in squared units of the maps, unreduced.

    Raises:
        ValueError: not float maps of one shape.

    Source: Romero et al. 2015, arXiv:1412.6550, equation 3. Differences, as in RepDistiller: the mean in place of half
    the sum, and one training together with the other terms in place of a first stage of hints alone.

    Example:
        >>> import torch
        >>> fitnet(torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 3.0]]]]))  # (1 + 9) / 2
        tensor([5.])
    """
    check_maps(regressed, teacher)
    check_same_shape(regressed, teacher)
    with exact(regressed):
        difference = at_least_float32(regressed, teacher) - at_least_float32(teacher, regressed)
        return difference.square().mean(dim=(1, 2, 3))
