"""Operations on colours against torchvision and, where it is Pillow's, against Pillow."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as v2
from PIL import Image, ImageOps
from torch import Tensor

from supcrd.data.views import colour

FACTORS = [0.1, 0.27, 0.5, 0.73, 1.0, 1.3, 1.9]


def pictures(count: int, channels: int = 3, size: int = 16, seed: int = 0) -> Tensor:
    """Noise in ranges of its own for every image, a constant one among them."""
    g = torch.Generator().manual_seed(seed)
    low = torch.randint(0, 100, (count, channels, 1, 1), generator=g)
    span = torch.randint(1, 156, (count, channels, 1, 1), generator=g)
    noise = (low + torch.rand(count, channels, size, size, generator=g) * span).to(torch.uint8)
    noise[0] = 77
    return noise


def check(result: Tensor, expected: Tensor, share: float) -> None:
    """Equal, but for a share of values that differ by one level: they are whole but for float32's error."""
    assert result.dtype == torch.uint8
    difference = (result.int() - expected.int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).double().mean() <= share


BLENDS: dict[str, tuple[Callable[..., Tensor], bool, bool, float]] = {
    "brightness": (v2.adjust_brightness, False, False, 0.0),
    "colour": (v2.adjust_saturation, True, False, 0.15),
    "contrast": (v2.adjust_contrast, False, True, 0.03),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("name", BLENDS)
def test_blends_equal_torchvision(name: str, factor: float, channels: int) -> None:
    adjust, luma, mean, share = BLENDS[name]
    images = pictures(40, channels)
    result = colour.blend(images, torch.full((40,), factor), torch.full((40,), luma), torch.full((40,), mean))
    check(result, torch.stack([adjust(image, factor) for image in images]), 0.0 if factor == 1 else share)


def test_every_image_has_its_own_blend() -> None:
    images, factors = pictures(21), torch.tensor(FACTORS).repeat(3)
    kind = torch.arange(21) // 7
    result = colour.blend(images, factors, kind == 1, kind == 2)
    for i, (adjust, *_) in enumerate(list(BLENDS.values())[int(k)] for k in kind):
        check(result[i], adjust(images[i], float(factors[i])), 0.15)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factor", FACTORS)
def test_sharpness_equals_torchvision(factor: float, channels: int) -> None:
    images = pictures(40, channels)
    expected = torch.stack([v2.adjust_sharpness(image, factor) for image in images])
    check(colour.sharpness(images, torch.full((40,), factor)), expected, 0.002)


@pytest.mark.parametrize("bits", range(9))
def test_posterise_equals_torchvision(bits: int) -> None:
    images = pictures(10)
    assert torch.equal(colour.posterise(images, torch.full((10,), bits)), v2.posterize(images, bits))


@pytest.mark.parametrize("threshold", [0.0, 0.5, 99.0, 178.5, 254.9, 255.0])
def test_solarise_equals_torchvision(threshold: float) -> None:
    images = torch.cat([pictures(10), torch.full((1, 3, 16, 16), 255, dtype=torch.uint8)])
    assert torch.equal(colour.solarise(images, torch.full((11,), threshold)), v2.solarize(images, threshold))


@pytest.mark.parametrize("channels", [1, 3])
def test_autocontrast_equals_torchvision(channels: int) -> None:
    images = pictures(40, channels)
    assert torch.equal(colour.autocontrast(images), v2.autocontrast(images))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 16, 32, 50])  # fewer than 255 pixels, more, and many a level
def test_equalise_equals_torchvision_and_pillow(size: int, channels: int) -> None:
    images = pictures(40, channels, size)
    result = colour.equalise(images)
    assert torch.equal(result, v2.equalize(images))
    for one, image in zip(result[:5], images[:5], strict=True):
        pixels = image.permute(1, 2, 0).numpy()
        peer = ImageOps.equalize(Image.fromarray(pixels if channels == 3 else pixels[:, :, 0]))
        assert (one.permute(1, 2, 0).numpy() == np.asarray(peer).reshape(size, size, channels)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_greyscale_equals_torchvision(channels: int) -> None:
    images, chosen = pictures(10, channels).float() / 255, torch.arange(10) % 2 == 0
    result = colour.greyscale(images, chosen)
    for i in range(10):
        expected = v2.rgb_to_grayscale(images[i], num_output_channels=channels) if chosen[i] else images[i]
        torch.testing.assert_close(result[i], expected, rtol=0, atol=2e-7)


@pytest.mark.parametrize("radius", [1, 3, 7])
def test_blur_equals_torchvision(radius: int) -> None:
    images, sigmas = pictures(12).float() / 255, torch.linspace(0.1, 3, 12)
    result = colour.gaussian_blur(images, sigmas, radius=radius)
    for image, sigma, one in zip(images, sigmas.tolist(), result, strict=True):
        expected = v2.gaussian_blur(image, [2 * radius + 1] * 2, [sigma] * 2)
        torch.testing.assert_close(one, expected, rtol=0, atol=1e-6)


def test_operations_leave_their_input_alone() -> None:
    images = pictures(6)
    before, factors = images.clone(), torch.full((6,), 1.5)
    no = torch.zeros(6, dtype=torch.bool)
    colour.blend(images, factors, no, no)
    colour.sharpness(images, factors)
    colour.solarise(images, torch.full((6,), 10.0))
    colour.autocontrast(images)
    colour.equalise(images)
    assert torch.equal(images, before)
