"""What is drawn for one view of one epoch, for all images of a set at once.

Every operation has a stream of random numbers of its own, a function of (seed, epoch, view): turning one on changes no
other.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from supcrd.base.seeding import generator, uniform
from supcrd.data.augment import Parameters, draw
from supcrd.data.views.randaugment import OPERATIONS
from supcrd.recipe.views import AugmentSettings

ATTEMPTS = 10  # to draw a box that fits, as in torchvision


class ViewParameters(NamedTuple):
    """One view's parameters, a row an image, on the CPU (but for `basic`, which may be elsewhere); None: off."""

    basic: Parameters
    boxes: Tensor | None = None  # (N, 4) int64 top, left, height, width of the crop
    turns: Tensor | None = None  # (N,) int64 right angles
    operations: Tensor | None = None  # (N, K) int64, of RandAugment, in turn
    negative: Tensor | None = None  # (N, K) bool
    greyscale: Tensor | None = None  # (N,) bool
    sigmas: Tensor | None = None  # (N,) of the blur; 0: none
    holes: Tensor | None = None  # (N, K, 4) int64 top, left, bottom, right
    partners: Tensor | None = None  # (N,) int64, of the same class
    shares: Tensor | None = None  # (N,) of the own image

    def take(self, places: Tensor, index: Tensor | None = None) -> "ViewParameters":
        """The rows of these images, places (B,) int64 on the CPU; `index`: the same where `basic` is."""
        _, *others = self
        basic = self.basic.take(places if index is None else index)
        return ViewParameters(basic, *(None if part is None else part[places] for part in others))


def draw_view(
    settings: AugmentSettings, labels: Tensor, *, size: int, seed: int, epoch: int, view: int
) -> ViewParameters:
    """Draw the parameters of one view of one epoch for all images of a set.

    Args:
        settings: which operations, and their ranges.
        labels: (N,) int64, of all images.
        size: H, pixels a side.
        seed, epoch, view: what the draw is a function of, with the labels (for same-class mixup) and N.

    Example:
        >>> drawn = draw_view(AugmentSettings(randaugment=2), torch.zeros(5), size=32, seed=0, epoch=0, view=0)
        >>> drawn.operations.shape, drawn.boxes
        (torch.Size([5, 2]), None)
    """
    s, count = settings, len(labels)

    def numbers(purpose: str, *shape: int) -> Tensor:
        return uniform((*shape, count), f"views.{purpose}", seed, epoch, view)

    parts: dict[str, Tensor] = {}
    if s.crop == "resized":
        parts["boxes"] = _crops(numbers, s.crop_scale, s.crop_ratio, size)
    if s.rotation > 0:
        chance, angle = numbers("rotation", 2)
        parts["turns"] = torch.where(chance < s.rotation, 1 + (angle * 3).long(), 0)
    if s.randaugment:
        which, sign = numbers("randaugment", 2, s.randaugment)
        parts["operations"], parts["negative"] = (which * len(OPERATIONS)).long().T, (sign < 0.5).T
    if s.grayscale > 0:
        parts["greyscale"] = numbers("grayscale") < s.grayscale
    if s.blur > 0:
        chance, width = numbers("blur", 2)
        low, high = s.blur_sigma
        parts["sigmas"] = torch.where(chance < s.blur, low + width * (high - low), 0.0)
    holes = [_erased(numbers, s, size)] if s.erasing > 0 else []
    holes += [_cut_out(numbers, s.cutout, size)] if s.cutout else []
    if holes:
        parts["holes"] = torch.stack(holes, dim=1)
    if s.same_class_mixup > 0:
        parts["partners"] = same_class(labels, numbers("partner"))
        drawn = generator("views.share", seed, epoch, view).beta(s.same_class_mixup, s.same_class_mixup, count)
        parts["shares"] = torch.from_numpy(drawn).float()
    basic = draw(
        count,
        seed=seed,
        epoch=epoch,
        view=view,
        crop_padding=s.crop_padding if s.crop == "padded" else 0,
        flip=s.flip,
        brightness=s.brightness,
        contrast=s.contrast,
        saturation=s.saturation,
    )
    return ViewParameters(basic, **parts)


Numbers = Callable[..., Tensor]


def _sizes(numbers: Tensor, scale: tuple[float, float], ratio: tuple[float, float], size: int) -> tuple[Tensor, Tensor]:
    """Sides of boxes by area and ratio (first over second), from (2, ...) numbers in [0, 1): rounded, float32."""
    area = size * size * (scale[0] + numbers[0] * (scale[1] - scale[0]))
    low, high = math.log(ratio[0]), math.log(ratio[1])
    quotient = torch.exp(low + numbers[1] * (high - low))
    return (area * quotient).sqrt_().round_(), (area / quotient).sqrt_().round_()


def _first(valid: Tensor, sides: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Of (ATTEMPTS, N) attempts the first that is valid: its sides (N,), and whether there is one."""
    which = valid.int().argmax(dim=0, keepdim=True)
    return *(side.gather(0, which)[0] for side in sides), valid.any(dim=0)


def _crops(numbers: Numbers, scale: tuple[float, float], ratio: tuple[float, float], size: int) -> Tensor:
    """Boxes of torchvision's RandomResizedCrop, (N, 4): the first that fits, or the largest in the middle."""
    wide, high = _sizes(numbers("crop", 2, ATTEMPTS), scale, ratio, size)
    fits = (wide >= 1) & (wide <= size) & (high >= 1) & (high <= size)
    width, height, some = _first(fits, (wide, high))
    nearest = min(max(1.0, ratio[0]), ratio[1])
    width = torch.where(some, width, round(size * min(1.0, nearest)))
    height = torch.where(some, height, round(size * min(1.0, 1 / nearest)))
    down, right = numbers("place", 2)
    top = torch.where(some, (down * (size - height + 1)).floor(), ((size - height) / 2).floor())
    left = torch.where(some, (right * (size - width + 1)).floor(), ((size - width) / 2).floor())
    return torch.stack([top, left, height, width], dim=1).long()


def _erased(numbers: Numbers, s: AugmentSettings, size: int) -> Tensor:
    """Holes of torchvision's RandomErasing, (N, 4): the first that is smaller than the image; none without."""
    high, wide = _sizes(numbers("erasing", 2, ATTEMPTS), s.erasing_scale, s.erasing_ratio, size)
    height, width, some = _first((high < size) & (wide < size), (high, wide))
    chance, down, right = numbers("hole", 3)
    top, left = (down * (size - height + 1)).floor(), (right * (size - width + 1)).floor()
    hole = torch.stack([top, left, top + height, left + width], dim=1).long()
    return torch.where((some & (chance < s.erasing))[:, None], hole, 0)


def _cut_out(numbers: Numbers, side: int, size: int) -> Tensor:
    """Squares around any pixel, cut off at the border, (N, 4)."""
    first = (numbers("cutout", 2) * size).long().T - side // 2
    return torch.cat([first, first + side], dim=1).clamp(0, size)


def same_class(labels: Tensor, numbers: Tensor) -> Tensor:
    """For every image another one of its class, or itself where it is the only one, (N,) int64.

    Args:
        labels: (N,) integers.
        numbers: (N,) in [0, 1): which one.

    Example:
        >>> same_class(torch.tensor([0, 1, 0]), torch.tensor([0.5, 0.5, 0.5])).tolist()
        [2, 1, 0]
    """
    dense: Tensor
    _, dense, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    order = dense.argsort(stable=True)  # class after class
    begins = counts.cumsum(0) - counts
    place = torch.empty_like(order)
    place[order] = torch.arange(len(labels)) - begins[dense[order]]  # of an image in its class
    others = counts[dense]
    step = 1 + (numbers * (others - 1)).long()
    chosen: Tensor = order[begins[dense] + (place + step) % others]
    return chosen
