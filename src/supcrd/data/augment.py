"""Batched augmentation on the device: padded random crop, horizontal flip, colour jitter.

The parameters of one view of one epoch are drawn for all images of the set at once (`draw`): a view is a pure function
of (image, its index, seed, epoch, view number), whatever the batch size, the order or the number of processes.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from supcrd.base.seeding import uniform

GREY_WEIGHTS = (0.2989, 0.587, 0.114)  # ITU-R BT.601, as torchvision's rgb_to_grayscale
BRIGHTNESS, CONTRAST, SATURATION = 0, 1, 2
ORDERS = torch.tensor([[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])


class Parameters(NamedTuple):
    """One view's parameters, a row an image (N images; int64, bool and float32)."""

    top: Tensor  # (N,) row of the crop in the padded image, 0..2*padding
    left: Tensor  # (N,) column of the crop, as `top`
    flip: Tensor  # (N,) bool
    factors: Tensor  # (N, 3) brightness, contrast, saturation; 1 leaves the image as it is
    order: Tensor  # (N, 3) which of the three comes first, second, third

    def take(self, index: Tensor) -> "Parameters":
        """The rows of these images, index (B,) int64."""
        return Parameters(*(column[index] for column in self))

    def to(self, device: torch.device) -> "Parameters":
        """All columns on `device`."""
        return Parameters(*(column.to(device) for column in self))


def draw(
    count: int,
    *,
    seed: int,
    epoch: int,
    view: int,
    crop_padding: int = 4,
    flip: float = 0.5,
    brightness: float = 0.2,
    contrast: float = 0.2,
    saturation: float = 0.2,
) -> Parameters:
    """Draw the parameters of one view of one epoch for all images of a set.

    Args:
        count: N, the images of the set (not of a batch).
        seed, epoch, view: what the draw is a function of, with N.
        crop_padding: pixels of black added on each side before a crop of the original size; 0 for none.
        flip: probability of a horizontal flip, 0..1.
        brightness, contrast, saturation: x draws the factor from [max(0, 1 - x), 1 + x]; 0 for none. The three come in
            an order drawn for each image, as in torchvision's ColorJitter.

    Returns:
        Parameters on the CPU.

    Example:
        >>> a, b = draw(10, seed=0, epoch=3, view=1), draw(10, seed=0, epoch=3, view=1)
        >>> all(bool((x == y).all()) for x, y in zip(a, b))
        True
    """
    numbers = uniform((7, count), "augment", seed, epoch, view)
    span = 2 * crop_padding + 1
    jitter = torch.tensor([brightness, contrast, saturation])
    low, high = (1 - jitter).clamp(min=0), 1 + jitter
    return Parameters(
        top=(numbers[0] * span).long(),
        left=(numbers[1] * span).long(),
        flip=numbers[2] < flip,
        factors=low + numbers[3:6].T * (high - low),
        order=ORDERS[(numbers[6] * len(ORDERS)).long()],
    )


def crop_and_flip(images: Tensor, parameters: Parameters, *, padding: int) -> Tensor:
    """Pad with black, crop back to the original size and mirror, every image by its own parameters.

    Args:
        images: (B, H, W, channels) uint8.
        parameters: of these B images, on their device; top and left in 0..2*padding.
        padding: pixels on each side.

    Returns:
        (B, H, W, channels) uint8.

    Example:
        >>> image = torch.tensor([[[[1], [2]], [[3], [4]]]], dtype=torch.uint8)
        >>> p = draw(1, seed=0, epoch=0, view=0)._replace(top=torch.tensor([0]), left=torch.tensor([1]),
        ...                                               flip=torch.tensor([True]))
        >>> crop_and_flip(image, p, padding=1)[0, :, :, 0].tolist()  # one row down, then mirrored
        [[0, 0], [2, 1]]
    """
    height, width = images.shape[1:3]
    if padding:
        images = functional.pad(images, (0, 0, padding, padding, padding, padding))
    cut = _cut_rows if images.device.type == "cpu" else _cut_pixels
    return cut(images, parameters, height, width)


def _cut_rows(images: Tensor, parameters: Parameters, height: int, width: int) -> Tensor:
    """Cut the crops out of padded images row by row: each is one run of bytes, which a CPU copies as a whole."""
    count, padded_height, padded_width, channels = images.shape
    number = torch.arange(count, device=images.device)
    # All runs of a row's length, which overlap: a view, no memory. (Apple's GPUs would write it out.)
    runs = images.reshape(-1).unfold(0, width * channels, channels)
    corner = (number * padded_height + parameters.top) * padded_width + parameters.left
    begins = corner[:, None] + padded_width * torch.arange(height, device=images.device)
    cropped = runs.index_select(0, begins.flatten()).reshape(count, height, width, channels)
    return torch.cat([cropped, cropped.flip(2)]).index_select(0, number + count * parameters.flip)


def _cut_pixels(images: Tensor, parameters: Parameters, height: int, width: int) -> Tensor:
    """The same pixel by pixel, for devices that have a thread for each."""
    count, padded_height, padded_width, channels = images.shape
    across = torch.arange(width, device=images.device)
    columns = parameters.left[:, None] + torch.where(parameters.flip[:, None], width - 1 - across, across)
    rows = parameters.top[:, None] + torch.arange(height, device=images.device)
    rows = rows + padded_height * torch.arange(count, device=images.device)[:, None]
    pixels = (rows[:, :, None] * padded_width + columns[:, None, :]).flatten()
    return images.reshape(-1, channels).index_select(0, pixels).reshape(count, height, width, channels)


def grey(images: Tensor) -> Tensor:
    """Luma of RGB images, (B, 3, H, W) -> (B, 1, H, W); grey images are returned as they are."""
    if images.shape[1] == 1:
        return images
    red, green, blue = (images[:, channel : channel + 1] for channel in range(3))
    return (GREY_WEIGHTS[0] * red).add_(GREY_WEIGHTS[1] * green).add_(GREY_WEIGHTS[2] * blue)


def jitter_colours(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Adjust brightness, contrast and saturation, every image by its own factors in its own order.

    Each of the three is clamp(factor * image + (1 - factor) * base), where the base is black, the mean luma of the
    image or its luma: one formula, so a batch of mixed orders takes three passes and no branch.

    Args:
        images: (B, channels, H, W) float in [0, 1], channels 1 or 3.
        factors: (B, 3) float >= 0: brightness, contrast, saturation.
        order: (B, 3) int64, permutations of 0, 1, 2.

    Returns:
        (B, channels, H, W) float in [0, 1].

    Source: torchvision.transforms.functional adjust_brightness, adjust_contrast, adjust_saturation on float images.

    Example:
        >>> image = torch.tensor([0.2, 0.4]).reshape(1, 1, 1, 2)
        >>> jitter_colours(image, torch.tensor([[2.0, 1.0, 1.0]]), torch.tensor([[0, 1, 2]])).flatten()
        tensor([0.4000, 0.8000])
    """
    planes = images.clone(memory_format=torch.contiguous_format)
    _jitter_in_place(planes, factors, order)
    return torch.empty_like(images).copy_(planes)  # in the memory format of the input


def _jitter_in_place(planes: Tensor, factors: Tensor, order: Tensor) -> None:
    """`jitter_colours` on contiguous images, a plane a channel: there the passes take half the time."""
    ordered = factors.gather(1, order)
    rest = 1 - ordered
    # In the order of application, each (3, B, 1, 1, 1): the factor, and the shares of luma and of mean luma.
    steps = [
        weights.T[..., None, None, None]
        for weights in (ordered, rest * (order == SATURATION), rest * (order == CONTRAST))
    ]
    for factor, of_luma, of_mean in zip(*steps, strict=True):
        luma = grey(planes)
        base = (luma * of_luma).add_(luma.mean(dim=(2, 3), keepdim=True) * of_mean)
        planes.mul_(factor).add_(base).clamp_(0, 1)


def to_float(images: Tensor) -> Tensor:
    """uint8 (B, H, W, channels) -> float32 (B, channels, H, W) in [0, 1], in channels-last memory format.

    Example:
        >>> to_float(torch.full((1, 1, 2, 1), 255, dtype=torch.uint8)).flatten().tolist()
        [1.0, 1.0]
    """
    return images.permute(0, 3, 1, 2).float().div_(255)


def augment(
    images: Tensor, parameters: Parameters, *, padding: int, colour: bool = True, out: Tensor | None = None
) -> Tensor:
    """Crop, flip and jitter a batch of uint8 images.

    Args:
        images: (B, H, W, channels) uint8.
        parameters: of these B images (`draw(...).take(index)`), on their device.
        padding: the crop's padding in pixels.
        colour: False skips the colour jitter, where its strengths are all 0.
        out: (B, channels, H, W) float32 to write to, such as a part of a larger batch; a new tensor if not given.

    Returns:
        (B, channels, H, W) float32 in [0, 1], channels-last; `out` itself, if given.

    Example:
        >>> images = torch.zeros(8, 32, 32, 3, dtype=torch.uint8)
        >>> augment(images, draw(100, seed=0, epoch=0, view=0).take(torch.arange(8)), padding=4).shape
        torch.Size([8, 3, 32, 32])
    """
    cropped = crop_and_flip(images, parameters, padding=padding)
    if not colour:
        result = to_float(cropped)
        return result if out is None else out.copy_(result)
    planes = cropped.permute(0, 3, 1, 2).contiguous().float().div_(255)  # bytes are turned more quickly than floats
    _jitter_in_place(planes, parameters.factors, parameters.order)
    if out is None:
        out = torch.empty_like(cropped, dtype=torch.float32).permute(0, 3, 1, 2)
    return out.copy_(planes)
