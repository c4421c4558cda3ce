"""Crop, turns and affine maps of uint8 images against torchvision, pixel by pixel."""

import math

import pytest
import torch
import torchvision.transforms.v2.functional as v2
from torch import Tensor

from supcrd.data.views.geometry import affine, resized_crop, rotation, shear, translation, turn

SIZE = 20


def pictures(count: int, channels: int = 3, size: int = SIZE, seed: int = 0) -> Tensor:
    """Smooth and noisy ones, so that neither a shift of a pixel nor a wrong weight goes unseen."""
    g = torch.Generator().manual_seed(seed)
    noise = torch.randint(256, (count, channels, size, size), generator=g, dtype=torch.uint8)
    small = torch.randint(256, (count, channels, 4, 4), generator=g, dtype=torch.uint8)
    smooth = v2.resize(small, [size, size])
    return torch.where(torch.arange(count)[:, None, None, None] % 2 == 0, noise, smooth)


def boxes(count: int, size: int = SIZE, seed: int = 1) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    height, width = torch.randint(1, size + 1, (2, count), generator=g)
    top, left = (
        (torch.rand(count, generator=g) * (size - side + 1)).long() for side in (height, width)
    )  # fmt: skip
    return torch.stack([top, left, height, width], dim=1)


def cropped(image: Tensor, box: Tensor) -> Tensor:
    return v2.resized_crop(image, *box.tolist(), list(image.shape[1:]), antialias=True)


@pytest.mark.parametrize("channels", [1, 3])
def test_resized_crop_equals_torchvision(channels: int) -> None:
    images, chosen = pictures(200, channels), boxes(200)
    chosen[:2] = torch.tensor([[0, 0, SIZE, SIZE], [3, 5, 1, 1]])
    expected = torch.stack([cropped(image, box) for image, box in zip(images, chosen, strict=True)])
    difference = (resized_crop(images, chosen).int() - expected.int()).abs()
    # equal where torchvision interpolates bytes; elsewhere it does not round between columns and rows
    native = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    assert difference.max() <= (0 if native else 1)
    assert torch.equal(resized_crop(images, chosen)[0], images[0])


def test_resized_crop_of_floats_is_within_a_level() -> None:
    images, chosen = pictures(100), boxes(100)
    for image, box, result in zip(images, chosen, resized_crop(images, chosen), strict=True):
        assert (result - cropped(image.double(), box)).abs().max() <= 1.01  # two roundings by up to a half


def test_the_mirror_comes_after_the_crop() -> None:
    images, chosen = pictures(30), boxes(30)
    flip = torch.arange(30) % 3 == 0
    plain = resized_crop(images, chosen)
    expected = torch.where(flip[:, None, None, None], v2.horizontal_flip(plain), plain)
    assert torch.equal(resized_crop(images, chosen, flip), expected)


def test_a_crop_does_not_depend_on_the_batch() -> None:
    images, chosen = pictures(60), boxes(60)
    whole = resized_crop(images, chosen)
    for size in (1, 7, 25):
        parts = [resized_crop(*part) for part in zip(images.split(size), chosen.split(size), strict=True)]
        assert torch.equal(torch.cat(parts), whole)


def test_turns_equal_torchvision() -> None:
    images, turns = pictures(12), torch.arange(12) % 4
    result = turn(images, turns)
    for i in range(12):
        assert torch.equal(result[i], v2.rotate(images[i], 90.0 * int(turns[i])))
        assert torch.equal(result[i], torch.rot90(images[i], int(turns[i]), (1, 2)))


def places(matrix: Tensor, size: int) -> Tensor:
    """Where each pixel of the result lies in the image, in float64: (2, size, size), pixels from 0."""
    middle = (size - 1) / 2
    y, x = torch.meshgrid(*[torch.arange(size, dtype=torch.float64) - middle] * 2, indexing="ij")
    return torch.einsum("ij,jhw->ihw", matrix.double(), torch.stack([x, y, torch.ones_like(x)])) + middle


def agree_but_for_ties(results: Tensor, expected: list[Tensor], matrices: Tensor) -> float:
    """Assert that images differ at most where a place is halfway between two pixels; gives the share that does."""
    differing = 0
    for result, other, matrix in zip(results, expected, matrices, strict=True):
        wrong = (result != other).any(dim=0)
        tie = ((places(matrix, result.shape[1]) % 1 - 0.5).abs() < 1e-4).any(dim=0)
        assert not (wrong & ~tie).any()
        differing += int(wrong.sum())
    return differing / results[:, 0].numel()


@pytest.mark.parametrize("across", [True, False])
def test_shear_equals_torchvision(across: bool) -> None:
    images, amounts = pictures(60), torch.linspace(-0.3, 0.3, 60, dtype=torch.float64)
    matrices = shear(amounts, across=across, size=SIZE)
    expected = []
    for image, amount in zip(images, amounts.tolist(), strict=True):
        degrees = math.degrees(math.atan(amount))
        angles = [degrees, 0.0] if across else [0.0, degrees]
        expected.append(v2.affine(image, angle=0.0, translate=[0, 0], scale=1.0, shear=angles, center=[0, 0]))
    assert agree_but_for_ties(affine(images, matrices), expected, matrices) < 0.005


@pytest.mark.parametrize("across", [True, False])
def test_translation_equals_torchvision(across: bool) -> None:
    images, amounts = pictures(41), torch.arange(-20, 21)
    result = affine(images, translation(amounts.double(), across=across))
    for i, amount in enumerate(amounts.tolist()):
        move = [amount, 0] if across else [0, amount]
        expected = v2.affine(images[i], angle=0.0, translate=move, scale=1.0, shear=[0.0, 0.0])
        assert torch.equal(result[i], expected), amount


def test_rotation_equals_torchvision() -> None:
    images, degrees = pictures(61), torch.linspace(-30, 30, 61, dtype=torch.float64)
    matrices = rotation(degrees)
    expected = [v2.rotate(image, angle) for image, angle in zip(images, degrees.tolist(), strict=True)]
    assert agree_but_for_ties(affine(images, matrices), expected, matrices) < 0.001


def test_a_map_does_not_depend_on_the_batch() -> None:
    images, matrices = pictures(30), rotation(torch.linspace(-30, 30, 30, dtype=torch.float64))
    parts = [affine(*part) for part in zip(images.split(7), matrices.split(7), strict=True)]
    assert torch.equal(torch.cat(parts), affine(images, matrices))
