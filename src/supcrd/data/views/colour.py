"""Operations on colours of uint8 images, and greyscale and blur of float images; every image by its own parameters."""

import torch
from torch import Tensor

from supcrd.data.augment import grey
from supcrd.data.views.geometry import to_bytes


def blend(images: Tensor, factors: Tensor, of_luma: Tensor, of_mean: Tensor) -> Tensor:
    """Brightness, colour (saturation) and contrast: factor * image + (1 - factor) * base.

    The base is black for brightness, the luma of the pixel for colour, and the mean luma of the image for contrast.

    Args:
        images: (B, channels, H, W) uint8, channels 1 or 3.
        factors: (B,) float >= 0; 1 leaves an image as it is.
        of_luma: (B,) bool: the base is the luma.
        of_mean: (B,) bool: the base is the mean luma.

    Returns:
        (B, channels, H, W) uint8.

    Source: `adjust_brightness`, `adjust_saturation` and `adjust_contrast` of torchvision.transforms.v2.functional on
    uint8 tensors: the luma is cut to whole numbers, and so is the result. Where that is whole but for float32's
    error, the two may differ by 1.

    Example:
        >>> image = torch.tensor([100, 50], dtype=torch.uint8).reshape(1, 1, 1, 2)
        >>> no, yes = torch.tensor([False]), torch.tensor([True])
        >>> blend(image, torch.tensor([1.5]), no, no).flatten().tolist()  # brightness
        [150, 75]
        >>> blend(image, torch.tensor([0.0]), no, yes).flatten().tolist()  # contrast
        [75, 75]
    """
    if images.shape[1] == 1:  # its own luma: nothing to saturate
        factors = torch.where(of_luma, 1.0, factors)
    planes = images.float()
    luma = grey(planes).floor()
    rest = (1 - factors)[:, None, None, None]
    base = luma * (of_luma[:, None, None, None] * rest)
    base += luma.mean(dim=(1, 2, 3), keepdim=True) * (of_mean[:, None, None, None] * rest)
    return to_bytes(planes.mul_(factors[:, None, None, None]).add_(base).clamp_(0, 255))


def sharpness(images: Tensor, factors: Tensor) -> Tensor:
    """Sharpen (factor above 1) or smooth (below 1); pixels at the border stay as they are.

    Args:
        images: (B, channels, H, W) uint8, H and W 3 or more.
        factors: (B,) float >= 0; 0 gives the image smoothed by a 3 x 3 kernel (1 around 5, over 13).

    Returns:
        (B, channels, H, W) uint8.

    Source: `adjust_sharpness` of torchvision.transforms.v2.functional on uint8 tensors. Where a result is whole but
    for float32's error, the two may differ by 1.

    Example:
        >>> image = torch.zeros(1, 1, 3, 3, dtype=torch.uint8)
        >>> image[0, 0, 1, 1] = 130
        >>> sharpness(image, torch.tensor([0.0]))[0, 0, 1].tolist()  # 5 / 13 of it
        [0, 50, 0]
    """
    planes = images.float()
    inner = planes[:, :, 1:-1, 1:-1]
    across = planes[..., :-2] + planes[..., 1:-1] + planes[..., 2:]
    total = (across[:, :, :-2] + across[:, :, 1:-1] + across[:, :, 2:]).add_(inner, alpha=4)
    smooth = total.mul_(1 / 13).round_()  # of whole numbers: a 13th part is never near a half
    inner += smooth.sub_(inner).mul_((1 - factors)[:, None, None, None])
    return to_bytes(planes.clamp_(0, 255))


def posterise(images: Tensor, bits: Tensor) -> Tensor:
    """Keep only the highest bits of every value.

    Args:
        images: (B, channels, H, W) uint8.
        bits: (B,) int64 in 0..8.

    Source: `posterize` of torchvision.transforms.v2.functional, equal.

    Example:
        >>> posterise(torch.tensor([[[[200, 100]]]], dtype=torch.uint8), torch.tensor([1])).flatten().tolist()
        [128, 0]
    """
    return images & (256 - 2 ** (8 - bits)).to(torch.uint8)[:, None, None, None]


def solarise(images: Tensor, thresholds: Tensor) -> Tensor:
    """Invert all values that are at or above a threshold.

    Args:
        images: (B, channels, H, W) uint8.
        thresholds: (B,) float in 0..255.

    Source: `solarize` of torchvision.transforms.v2.functional, equal.

    Example:
        >>> solarise(torch.tensor([[[[200, 100]]]], dtype=torch.uint8), torch.tensor([178.5])).flatten().tolist()
        [55, 100]
    """
    least = thresholds.ceil().to(torch.uint8)[:, None, None, None]
    return images ^ (images >= least).to(torch.uint8).neg_()  # the negative of 1 has all bits


def autocontrast(images: Tensor) -> Tensor:
    """Stretch every channel of every image to 0..255; a constant channel stays.

    Args:
        images: (B, channels, H, W) uint8.

    Source: `autocontrast` of torchvision.transforms.v2.functional on uint8 tensors, equal.

    Example:
        >>> autocontrast(torch.tensor([[[[50, 100, 150]]]], dtype=torch.uint8)).flatten().tolist()
        [0, 127, 254]
    """
    values = images.flatten(2)
    low, high = values.amin(2, keepdim=True).float(), values.amax(2, keepdim=True).float()
    constant = low == high
    scale = (high - low).mul_(1 / 255).masked_fill_(constant, 1)
    stretched = values.float().sub_(low.masked_fill_(constant, 0)).div_(scale)
    return to_bytes(stretched.clamp_(0, 255)).view_as(images)


def equalise(images: Tensor) -> Tensor:
    """Spread the values of every channel of every image so that they occur about equally often.

    Args:
        images: (B, channels, H, W) uint8.

    Source: `equalize` of torchvision.transforms.v2.functional, equal (and so Pillow's).

    Example:
        >>> ramp = torch.arange(512).div(4, rounding_mode="floor").reshape(1, 1, 16, 32).to(torch.uint8)
        >>> equalise(ramp).max()
        tensor(255, dtype=torch.uint8)
    """
    values = images.flatten(0, 1).flatten(1).long()  # (B channels, H W)
    counts = torch.zeros(len(values), 256, device=images.device)  # floats, which are exact up to 2^24
    counts = counts.scatter_add_(1, values, counts.new_ones(1, 1).expand_as(values)).long()
    brightest = counts.gather(1, values.amax(dim=1, keepdim=True))
    step = (values.shape[1] - brightest).div_(255, rounding_mode="floor")  # pixels a level
    below = counts.cumsum(1).sub_(counts)
    spread = below.add_(step // 2).div_(step.clamp(min=1), rounding_mode="floor").clamp_(max=255)
    same = torch.arange(256, device=images.device)
    lookup = torch.where(step == 0, same, spread).to(torch.uint8)  # of too few pixels nothing can be spread
    return lookup.gather(1, values).view_as(images)


def greyscale(images: Tensor, chosen: Tensor) -> Tensor:
    """The chosen images in shades of grey, with as many channels as before.

    Args:
        images: (B, channels, H, W) float, channels 1 or 3.
        chosen: (B,) bool.

    Source: `rgb_to_grayscale` of torchvision.transforms.v2.functional on float tensors, but for float32's error.

    Example:
        >>> red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
        >>> greyscale(red, torch.tensor([True])).flatten()
        tensor([0.2989, 0.2989, 0.2989])
    """
    return torch.where(chosen[:, None, None, None], grey(images), images)


def gaussian_blur(images: Tensor, sigmas: Tensor, *, radius: int) -> Tensor:
    """Blur every image by a Gaussian of its own width, mirrored at the border.

    Args:
        images: (B, channels, H, H) float.
        sigmas: (B,) float > 0: standard deviation in pixels.
        radius: of the kernel, below H; it has 2 radius + 1 pixels a side.

    Returns:
        (B, channels, H, H) float.

    Source: `gaussian_blur` of torchvision.transforms.v2.functional on float tensors, but for float32's error.

    Example:
        >>> spot = torch.zeros(1, 1, 5, 5)
        >>> spot[0, 0, 2, 2] = 1
        >>> gaussian_blur(spot, torch.tensor([0.6]), radius=1)[0, 0, 2]
        tensor([0.0000, 0.1110, 0.4452, 0.1110, 0.0000])
    """
    kernel = _kernel(sigmas, images.shape[2], radius)[:, None]
    return kernel @ images @ kernel.transpose(2, 3)


def _kernel(sigmas: Tensor, size: int, radius: int) -> Tensor:
    """The blur of a line of `size` pixels as matrices (B, size, size)."""
    taps = torch.arange(-radius, radius + 1, device=sigmas.device)
    weights = torch.softmax(-0.5 * (taps / sigmas[:, None]) ** 2, dim=1)
    pixel = torch.arange(size, device=sigmas.device)
    source = (pixel[:, None] + taps).abs()  # mirrored at the first pixel, and then at the last one
    source = size - 1 - (size - 1 - source).abs()
    matrices = torch.zeros(len(sigmas), size, size, device=sigmas.device)
    return matrices.scatter_add_(2, source.expand(len(sigmas), -1, -1), weights[:, None].expand(-1, size, -1))
