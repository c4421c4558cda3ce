"""Holes in images: random erasing and cutout."""

import torch
from torch import Tensor


def inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """Which pixels lie in a box, (B, H, W) bool, of boxes (B, 4) int64: top, left, bottom and right (exclusive).

    Example:
        >>> inside(torch.tensor([[0, 1, 2, 3]]), 2, 3).int().tolist()
        [[[0, 1, 1], [0, 1, 1]]]
    """
    y, x = torch.arange(height, device=boxes.device), torch.arange(width, device=boxes.device)
    top, left, bottom, right = boxes[:, :, None].unbind(1)
    return ((y >= top) & (y < bottom))[:, :, None] & ((x >= left) & (x < right))[:, None, :]


def erase(images: Tensor, holes: Tensor) -> Tensor:
    """Make boxes of every image black, in place.

    Args:
        images: (B, channels, H, W), any type.
        holes: (B, K, 4) int64: top, left, bottom and right (exclusive) of K boxes; an empty box changes nothing.

    Returns:
        `images` itself.

    Source: `erase` of torchvision.transforms.v2.functional with v = 0, equal.

    Example:
        >>> erase(torch.ones(1, 1, 2, 3), torch.tensor([[[0, 0, 1, 2]]])).tolist()
        [[[[0.0, 0.0, 1.0], [1.0, 1.0, 1.0]]]]
    """
    height, width = images.shape[2:]
    for boxes in holes.unbind(1):
        images.mul_(~inside(boxes, height, width)[:, None])
    return images
