"""RandAugment: operations drawn from 14, all of one magnitude."""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from supcrd.data.views import colour, geometry

OPERATIONS = (
    "Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast",
    "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize",
)  # fmt: skip
"""Names of the operations, by number."""
BINS = 31
"""Magnitudes are whole numbers from 0 to 30."""
(IDENTITY, SHEARX, SHEARY, TRANSLATEX, TRANSLATEY, ROTATE, BRIGHTNESS, COLOR, CONTRAST, SHARPNESS, POSTERIZE, SOLARIZE,
 AUTOCONTRAST, EQUALIZE) = range(len(OPERATIONS))  # fmt: skip
STARTS = (IDENTITY, SHEARX, BRIGHTNESS, SHARPNESS, POSTERIZE, SOLARIZE, AUTOCONTRAST, EQUALIZE, len(OPERATIONS))
"""The first number of each group of operations that are computed together, and the end."""


def strengths(magnitude: int, size: int) -> Tensor:
    """What the 14 operations do at a magnitude in 0..30 to images of `size` pixels a side, (14,) float32.

    Shears as tangents, translations in whole pixels, the rotation in degrees, distances of the factors of brightness,
    colour, contrast and sharpness from 1, bits, and the threshold of solarising as a share of white.

    Source: the magnitude bins of torchvision.transforms.v2.RandAugment (31 bins).

    Example:
        >>> values = dict(zip(OPERATIONS, strengths(10, 32).tolist()))
        >>> values["TranslateX"], values["Rotate"], values["Posterize"], values["Identity"]
        (4.0, 10.0, 7.0, 0.0)
    """

    def bin_of(low: float, high: float) -> Tensor:
        return torch.linspace(low, high, BINS)[magnitude]

    shear, shift = bin_of(0, 0.3), bin_of(0, 150 / 331 * size).trunc()
    bits = (8 - torch.arange(BINS) / ((BINS - 1) / 4)).round()[magnitude]
    none, rotate, factor, threshold = torch.zeros(()), bin_of(0, 30), bin_of(0, 0.9), bin_of(1, 0)
    return torch.stack([none, shear, shear, shift, shift, rotate, *[factor] * 4, bits, threshold, none, none])


def apply(images: Tensor, operations: Tensor, negative: Tensor, *, magnitude: int) -> Tensor:
    """Change every image by its own operation.

    Images are sorted by operation, so that an operation is computed once for all its images.

    Args:
        images: (B, channels, H, H) uint8, on any device.
        operations: (B,) int64 in 0..13, on the CPU.
        negative: (B,) bool, on the CPU: the other direction, or a factor below 1; of operations that have one.
        magnitude: 0..30.

    Returns:
        (B, channels, H, H) uint8.

    Source: Cubuk et al. 2020, NeurIPS; operations and magnitudes of torchvision.transforms.v2.RandAugment with nearest
    interpolation, to which the results are equal but for what the operations in `geometry` and `colour` say.

    Example:
        >>> image = torch.arange(9, dtype=torch.uint8).reshape(1, 1, 3, 3)
        >>> apply(image, torch.tensor([0]), torch.tensor([False]), magnitude=9).equal(image)
        True
    """
    device, known = images.device, _known(magnitude, images.shape[3])
    # indices in NumPy, whose small operations are many times as quick
    order = operations.numpy().argsort(kind="stable")
    places, back = torch.from_numpy(order), torch.from_numpy(order.argsort())
    numbers, signs = operations[places], negative[places].long()
    bounds = np.searchsorted(numbers.numpy(), STARTS).tolist()
    values = known.values[numbers, signs].to(device, non_blocking=True)
    images = images.index_select(0, places.to(device, non_blocking=True))
    results = torch.empty_like(images)
    for first, begin, end in zip(STARTS, bounds[:-1], bounds[1:], strict=False):
        rows = slice(begin, end)
        if end > begin and first == SHEARX:
            matrices = known.matrices[numbers[rows], signs[rows]].to(device, non_blocking=True)
            results[rows] = geometry.affine(images[rows], matrices)
        elif end > begin:
            results[rows] = _operate(first, images[rows], numbers[rows], values[rows])
    return results.index_select(0, back.to(device, non_blocking=True))


def _operate(first: int, images: Tensor, numbers: Tensor, values: Tensor) -> Tensor:
    """The images of one group, `first` being its first operation's number; `numbers` are on the CPU."""
    if first == BRIGHTNESS:
        luma, mean = (numbers == COLOR), (numbers == CONTRAST)
        device = images.device
        return colour.blend(
            images, 1 + values, luma.to(device, non_blocking=True), mean.to(device, non_blocking=True)
        )  # fmt: skip
    if first == SHARPNESS:
        return colour.sharpness(images, 1 + values)
    if first == POSTERIZE:
        return colour.posterise(images, values.long())
    if first == SOLARIZE:
        return colour.solarise(images, values)
    if first == AUTOCONTRAST:
        return colour.autocontrast(images)
    return colour.equalise(images) if first == EQUALIZE else images


class _Known(NamedTuple):
    """What operations do at one magnitude, by their number and whether the direction is the other one."""

    values: Tensor  # (14, 2) float32
    matrices: Tensor  # (14, 2, 2, 3) float32


@cache
def _known(magnitude: int, size: int) -> _Known:
    single = strengths(magnitude, size)
    values = torch.stack([single, -single], dim=1)
    # neither has two directions; the threshold is a share of white
    values[POSTERIZE], values[SOLARIZE] = single[POSTERIZE], (255 * single[SOLARIZE].double()).float()
    exact = values.double()
    matrices = torch.zeros(len(OPERATIONS), 2, 2, 3)
    matrices[SHEARX] = geometry.shear(exact[SHEARX], across=True, size=size)
    matrices[SHEARY] = geometry.shear(exact[SHEARY], across=False, size=size)
    matrices[TRANSLATEX] = geometry.translation(exact[TRANSLATEX], across=True)
    matrices[TRANSLATEY] = geometry.translation(exact[TRANSLATEY], across=False)
    matrices[ROTATE] = geometry.rotation(exact[ROTATE])
    return _Known(values, matrices)
