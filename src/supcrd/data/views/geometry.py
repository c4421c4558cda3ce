"""Geometric operations on uint8 images: random-resized crop, turns by 90 degrees, shear, translation and rotation."""

import math

import torch
from torch import Tensor
from torch.nn import functional

LEVELS = 2**14  # weights of the interpolation are multiples of 1 / LEVELS: products and sums with bytes are then exact


def to_bytes(values: Tensor) -> Tensor:
    """Floats in [0, 256) as uint8, cut to whole numbers: by way of int16, for which the CPU has an instruction.

    Example:
        >>> to_bytes(torch.tensor([0.0, 1.9, 255.5])).tolist()
        [0, 1, 255]
    """
    return values.to(torch.int16).to(torch.uint8)


def resized_crop(images: Tensor, boxes: Tensor, flip: Tensor | None = None) -> Tensor:
    """Crop every image to its own box and resize the crop to the size of the images, bilinearly.

    As boxes lie inside the images, crops are enlarged or unchanged, and antialiasing, which torchvision's default asks
    for, has no effect. Columns are interpolated first and rounded to bytes, then rows; weights are multiples of 2^-14.
    All sums are then exact in float32, so the result depends neither on the batch nor on the device.

    Args:
        images: (B, channels, H, W) uint8.
        boxes: (B, 4) int64: top, left, height and width, inside the images.
        flip: (B,) bool: mirror the result horizontally; none if not given.

    Returns:
        (B, channels, H, W) uint8, contiguous.

    Source: `resized_crop` of torchvision.transforms.v2.functional on uint8 tensors, to which it is equal where
    torchvision interpolates bytes (CPUs with AVX2); where torchvision interpolates floats they differ by at most 1.

    Example:
        >>> image = torch.tensor([[[[0, 100], [50, 250]]]], dtype=torch.uint8)
        >>> resized_crop(image, torch.tensor([[0, 0, 1, 2]]), torch.tensor([True])).tolist()
        [[[[100, 0], [100, 0]]]]
    """
    count, channels, height, width = images.shape
    top, left, rows, columns = boxes.T
    planes = torch.stack(images.unbind(1), dim=2).float()  # (B, H, channels, W)
    across = _interpolation(left, columns, width, flip)
    planes = (planes.view(count, height * channels, width) @ across.transpose(1, 2)).add_(0.5).floor_()
    planes = (_interpolation(top, rows, height) @ planes.view(count, height, channels * width)).add_(0.5)
    return to_bytes(planes).view(count, height, channels, width).transpose(1, 2).contiguous()


def _interpolation(start: Tensor, length: Tensor, size: int, flip: Tensor | None = None) -> Tensor:
    """Weights (B, size, size) of bilinear interpolation from `length` <= size pixels at `start` to `size` pixels."""
    pixel = torch.arange(size, device=start.device)
    out = pixel.expand(len(start), size)
    if flip is not None:
        out = torch.where(flip[:, None], size - 1 - pixel, pixel)
    # in pixels of the crop, whose first and last ones are repeated beyond its border
    place = ((out + 0.5) * (length[:, None] / size) - 0.5).clamp(min=0)
    low = torch.minimum(place.floor().long(), length[:, None] - 1)
    share = ((place - low) * LEVELS + 0.5).floor().clamp(max=LEVELS) / LEVELS
    high = torch.minimum(low + 1, length[:, None] - 1)
    weights = torch.zeros(len(start), size, size, device=start.device)
    weights.scatter_(2, (start[:, None] + low)[..., None], (1 - share)[..., None])
    return weights.scatter_add_(2, (start[:, None] + high)[..., None], share[..., None])


def turn(images: Tensor, turns: Tensor) -> Tensor:
    """Rotate every image counterclockwise by its own number of right angles.

    Args:
        images: (B, channels, H, H), any type.
        turns: (B,) int64 in 0..3.

    Returns:
        (B, channels, H, H).

    Source: `torch.rot90`; torchvision's `rotate` by 90, 180 and 270 degrees.

    Example:
        >>> turn(torch.tensor([[[[1, 2], [3, 4]]]]), torch.tensor([1])).tolist()
        [[[[2, 4], [1, 3]]]]
    """
    turns = turns[:, None, None, None]
    images = torch.where(turns % 2 == 1, images.transpose(2, 3), images)
    images = torch.where((turns == 1) | (turns == 2), images.flip(2), images)
    return torch.where(turns >= 2, images.flip(3), images)


def shear(amount: Tensor, *, across: bool, size: int) -> Tensor:
    """Matrices for `affine` that shear about the top left corner, horizontally (`across`) or vertically.

    Args:
        amount: (B,) float: pixels of shift a pixel of distance.
        size: of the side along which that distance is measured: the height if `across`, else the width.

    Returns:
        (B, 2, 3) float32.

    Source: torchvision's `affine` with `shear = degrees(atan(amount))` and `center = [0, 0]`.

    Example:
        >>> shear(torch.tensor([0.5]), across=True, size=4).tolist()
        [[[1.0, 0.5, 1.0], [0.0, 1.0, 0.0]]]
    """
    matrices = _identity(amount)
    row, column = (0, 1) if across else (1, 0)
    matrices[:, row, column], matrices[:, row, 2] = amount, amount * (size * 0.5)
    return matrices


def translation(amount: Tensor, *, across: bool) -> Tensor:
    """Matrices (B, 2, 3) for `affine` that move images right (`across`) or down by (B,) pixels.

    Source: torchvision's `affine` with `translate`.

    Example:
        >>> translation(torch.tensor([2.0]), across=True).tolist()
        [[[1.0, 0.0, -2.0], [0.0, 1.0, 0.0]]]
    """
    matrices = _identity(amount)
    matrices[:, 0 if across else 1, 2] = -amount
    return matrices


def rotation(degrees: Tensor) -> Tensor:
    """Matrices (B, 2, 3) for `affine` that rotate counterclockwise about the centre by (B,) degrees.

    Source: torchvision's `rotate`.

    Example:
        >>> rotation(torch.tensor([90.0])).round().abs().tolist()
        [[[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]]
    """
    angle = degrees * (math.pi / 180)
    matrices = _identity(degrees)
    matrices[:, 0, 0] = matrices[:, 1, 1] = angle.cos()
    matrices[:, 1, 0] = angle.sin()
    matrices[:, 0, 1] = -angle.sin()
    return matrices


def _identity(like: Tensor) -> Tensor:
    return torch.eye(2, 3, dtype=like.dtype, device=like.device).repeat(len(like), 1, 1)


def affine(images: Tensor, matrices: Tensor) -> Tensor:
    """Map every image by its own affine matrix, with the nearest pixel; black outside.

    Args:
        images: (B, channels, H, W) uint8.
        matrices: (B, 2, 3) float: from pixels of the result to pixels of the image (x, y), from the centre.

    Returns:
        (B, channels, H, W) uint8.

    Source: `affine` and `rotate` of torchvision.transforms.v2.functional with nearest interpolation. The two differ
    only at pixels whose place in the image is halfway between two pixels, but for float32's error.

    Example:
        >>> image = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8)
        >>> affine(image, translation(torch.tensor([1.0]), across=True)).tolist()
        [[[[0, 1], [0, 3]]]]
    """
    height, width = images.shape[2:]
    x = torch.arange(width, device=images.device) - (width - 1) * 0.5
    y = torch.arange(height, device=images.device)[:, None] - (height - 1) * 0.5
    grid = torch.empty(len(images), height, width, 2, device=images.device)
    for axis, half in enumerate((width * 0.5, height * 0.5)):  # grid_sample's coordinates: -1 and 1 are the borders
        row = (matrices[:, axis] / half).float().to(images.device)
        a, b, c = (part[:, None, None] for part in row.unbind(1))
        grid[..., axis] = a * x + (b * y + c)
    sampled = functional.grid_sample(
        images.float(), grid, mode="nearest", padding_mode="zeros", align_corners=False
    )  # fmt: skip
    return to_bytes(sampled)
