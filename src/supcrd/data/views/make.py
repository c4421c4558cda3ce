"""One view of a batch, by the parameters that were drawn for it."""

from contextlib import nullcontext

import torch
from torch import Tensor

from supcrd.base.device import few_threads
from supcrd.data.augment import augment, crop_and_flip, jitter_colours
from supcrd.data.views import colour, geometry, occlusion, randaugment
from supcrd.data.views.parameters import ViewParameters
from supcrd.recipe.views import AugmentSettings


def is_basic(settings: AugmentSettings) -> bool:
    """Whether views are made by padded crop, flip and colour jitter alone, as in 0.1."""
    s = settings
    return s.crop != "resized" and not (s.rotation or s.randaugment or s.grayscale or s.blur or s.erasing or s.cutout)


def make_view(images: Tensor, parameters: ViewParameters, settings: AugmentSettings, out: Tensor) -> Tensor:
    """Crop (unless it was cut out whole) and flip, turn, RandAugment (on bytes); then jitter colours, greyscale, blur,
    and make holes (on floats).

    Args:
        images: (B, H, H, channels) uint8.
        parameters: of these B images; all but `basic` on the CPU.
        settings: with which they were drawn.
        out: (B, channels, H, H) float32 on the device of the images, to write to.

    Returns:
        `out`, in [0, 1].

    Example:
        >>> from supcrd.data.views.parameters import draw_view
        >>> images = torch.zeros(4, 8, 8, 3, dtype=torch.uint8)
        >>> settings = AugmentSettings(crop="resized", randaugment=2)
        >>> drawn = draw_view(settings, torch.zeros(100), size=8, seed=0, epoch=0, view=0)
        >>> make_view(images, drawn.take(torch.arange(4)), settings, torch.empty(4, 3, 8, 8)).max() <= 1
        tensor(True)
    """
    p, s, device = parameters, settings, images.device
    if is_basic(settings):
        return augment(images, p.basic.to(device), padding=padding(s), colour=_jitters(s), out=out)
    with few_threads(images.numel()) if device.type == "cpu" else nullcontext():
        return _strong(images, p, s, out)


def _strong(images: Tensor, p: ViewParameters, s: AugmentSettings, out: Tensor) -> Tensor:
    """A view by any operation, written to `out`."""
    device, jitters = images.device, _jitters(s)
    planes = _bytes(images, p, s)
    if not (jitters or s.grayscale or s.blur):
        if p.holes is not None:  # as floats, but quicker
            planes = occlusion.erase(planes, _moved(p.holes, device))
        pixels = torch.stack(planes.unbind(1), dim=3)  # bytes are turned more quickly than floats
        return torch.div(pixels.permute(0, 3, 1, 2), 255, out=out)
    view = planes.float().div_(255)
    if jitters:
        basic = p.basic.to(device)
        view = jitter_colours(view, basic.factors, basic.order)
    if p.greyscale is not None:
        view = colour.greyscale(view, _moved(p.greyscale, device))
    if p.sigmas is not None and bool((p.sigmas > 0).any()):
        blurred = p.sigmas.nonzero().flatten()
        rows, radius = _moved(blurred, device), max(1, images.shape[1] // 20)
        view[rows] = colour.gaussian_blur(view[rows], _moved(p.sigmas[blurred], device), radius=radius)
    if p.holes is not None:
        view = occlusion.erase(view, _moved(p.holes, device))
    return out.copy_(view)


def padding(s: AugmentSettings) -> int:
    """Pixels of black around an image before it is cropped.

    Example:
        >>> padding(AugmentSettings()), padding(AugmentSettings(crop="whole"))
        (4, 0)
    """
    return s.crop_padding if s.crop == "padded" else 0


def _jitters(s: AugmentSettings) -> bool:
    return max(s.brightness, s.contrast, s.saturation) > 0


def _bytes(images: Tensor, p: ViewParameters, s: AugmentSettings) -> Tensor:
    """The part on bytes, (B, channels, H, H) uint8, contiguous and not the images themselves."""
    device = images.device
    if p.boxes is not None:
        planes = geometry.resized_crop(images.permute(0, 3, 1, 2), _moved(p.boxes, device), p.basic.flip.to(device))
    else:
        cropped = crop_and_flip(images, p.basic.to(device), padding=padding(s))
        planes = cropped.permute(0, 3, 1, 2).contiguous()
    if p.turns is not None:
        planes = geometry.turn(planes, _moved(p.turns, device))
    if p.operations is not None and p.negative is not None:
        for operations, negative in zip(p.operations.T, p.negative.T, strict=True):
            planes = randaugment.apply(planes, operations, negative, magnitude=s.magnitude)
    return planes


def _moved(part: Tensor, device: torch.device) -> Tensor:
    return part.to(device, non_blocking=True)
