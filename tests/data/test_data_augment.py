"""Augmentation against loops over single images and against torchvision, and the draw against its distribution."""

import math
from itertools import combinations, permutations

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as v1
import torchvision.transforms.v2.functional as v2
from scipy.stats import chi2_contingency, chisquare
from torch import Tensor

from supcrd.data import augment as module
from supcrd.data.augment import Parameters, augment, crop_and_flip, draw, jitter_colours, to_float
from supcrd.models.normalised import normalise

ORDERS = list(permutations(range(3)))  # 0 brightness, 1 contrast, 2 saturation
ADJUST = {
    "functional": [v1.adjust_brightness, v1.adjust_contrast, v1.adjust_saturation],
    "v2": [v2.adjust_brightness, v2.adjust_contrast, v2.adjust_saturation],
}
IDENTITY = {"crop_padding": 0, "flip": 0.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}


def pictures(count: int, channels: int = 3, height: int = 10, width: int = 12, seed: int = 0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, height, width, channels), generator=g, dtype=torch.uint8)


def drawn(count: int = 4000, epoch: int = 0, view: int = 0, seed: int = 0, **options: float) -> Parameters:
    return draw(count, seed=seed, epoch=epoch, view=view, **options)


def even(values: Tensor, cells: int) -> bool:
    """Whether 0..cells-1 occur equally often: a chi-square test that fair draws fail once in 10,000 seeds."""
    return bool(chisquare(np.bincount(values.numpy(), minlength=cells)).pvalue > 1e-4)


# --- crop and flip


def naive_crop_and_flip(image: np.ndarray, top: int, left: int, flip: bool, padding: int) -> np.ndarray:
    """Pixel by pixel: (y, x) of the crop is (y + top - padding, x + left - padding) of the image, black outside."""
    height, width, _ = image.shape
    result = np.zeros_like(image)
    for y in range(height):
        for x in range(width):
            source_y, source_x = y + top - padding, x + left - padding
            if 0 <= source_y < height and 0 <= source_x < width:
                result[y, width - 1 - x if flip else x] = image[source_y, source_x]
    return result


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_crop_and_flip_equals_the_loop(padding: int, channels: int) -> None:
    images, p = pictures(40, channels), drawn(40, crop_padding=padding)
    result = crop_and_flip(images, p, padding=padding)
    assert result.dtype == torch.uint8
    for i in range(40):
        one = naive_crop_and_flip(images[i].numpy(), int(p.top[i]), int(p.left[i]), bool(p.flip[i]), padding)
        assert (result[i].numpy() == one).all(), i


def test_crop_and_flip_equals_torchvision() -> None:
    images, p = pictures(20), drawn(20)
    result = crop_and_flip(images, p, padding=4).permute(0, 3, 1, 2)
    for i, image in enumerate(images.permute(0, 3, 1, 2)):
        one = v2.crop(v2.pad(image, [4]), int(p.top[i]), int(p.left[i]), 10, 12)
        assert torch.equal(result[i], v2.horizontal_flip(one) if p.flip[i] else one)


@pytest.mark.parametrize("cut", ["_cut_rows", "_cut_pixels"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (7, 1, 5, 3), (9, 6, 1, 3), (40, 10, 12, 1), (40, 10, 12, 3)])
def test_both_ways_of_cutting_equal_the_loop(cut: str, shape: tuple[int, int, int, int]) -> None:
    # Without padding's black around it a wrong offset would still stay inside: pad by hand, with noise.
    count, height, width, channels = shape
    padded, p = pictures(count, channels, height + 4, width + 6), drawn(count, crop_padding=2)
    result = getattr(module, cut)(padded, p, height, width).numpy()
    for i in range(count):
        top, left = int(p.top[i]), int(p.left[i])
        one = padded[i, top : top + height, left : left + width].numpy()
        assert (result[i] == (one[:, ::-1] if p.flip[i] else one)).all(), i


# --- jitter


def in_order(image: Tensor, factors: Tensor, order: tuple[int, ...], adjust: list) -> Tensor:
    for operation in order:
        image = adjust[operation](image, float(factors[operation]))
    return image


@pytest.mark.parametrize("peer", ADJUST)
@pytest.mark.parametrize("operation", [0, 1, 2])
@pytest.mark.parametrize("factor", [0.0, 0.5, 0.8, 1.0, 1.2, 3.0])
def test_each_adjustment_equals_torchvision(peer: str, operation: int, factor: float) -> None:
    images = to_float(pictures(6))
    factors = torch.ones(6, 3)
    factors[:, operation] = factor
    for order in ORDERS:  # the other two do nothing, wherever they stand
        result = jitter_colours(images, factors, torch.tensor(order).repeat(6, 1))
        expected = torch.stack([ADJUST[peer][operation](image, factor) for image in images])
        torch.testing.assert_close(result, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("peer", ADJUST)
def test_a_batch_of_mixed_orders_equals_torchvision(peer: str) -> None:
    images = to_float(pictures(60))
    factors = torch.rand(60, 3, generator=torch.Generator().manual_seed(1)) * 1.6 + 0.2
    order = torch.tensor([ORDERS[i % 6] for i in range(60)])
    result = jitter_colours(images, factors, order)
    for i, image in enumerate(images):
        expected = in_order(image, factors[i], ORDERS[i % 6], ADJUST[peer])
        torch.testing.assert_close(result[i], expected, rtol=0, atol=2e-6)
    assert len({tuple(in_order(images[0], factors[0], o, ADJUST[peer])[:, 0, 0].tolist()) for o in ORDERS}) > 3


def test_jitter_leaves_its_input_alone() -> None:
    images = to_float(pictures(2))
    before = images.clone()
    jitter_colours(images, torch.full((2, 3), 0.5), torch.tensor(ORDERS[:2]))
    assert torch.equal(images, before)


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_keeps_the_memory_format(channels: int) -> None:
    factors, order = torch.full((4, 3), 0.7), torch.tensor(ORDERS[:4])
    images = to_float(pictures(4, channels))
    assert jitter_colours(images, factors, order).stride() == images.stride()
    planar = images.clone(memory_format=torch.contiguous_format)
    assert jitter_colours(planar, factors, order).is_contiguous()
    assert torch.equal(jitter_colours(planar, factors, order), jitter_colours(images, factors, order))


def test_grey_images() -> None:
    # One channel: contrast pulls to the plain mean, saturation has nothing to change.
    images = to_float(pictures(6, channels=1))
    factors = torch.tensor([0.9, 0.6, 0.3]).repeat(6, 1)
    result = jitter_colours(images, factors, torch.tensor(ORDERS))
    assert result.shape == images.shape
    for i, order in enumerate(ORDERS):
        expected = images[i]
        for operation in order:
            if operation == 0:
                expected = expected * 0.9
            if operation == 1:
                expected = 0.6 * expected + 0.4 * expected.mean()
        torch.testing.assert_close(result[i], expected.clamp(0, 1), rtol=0, atol=1e-6)


def test_jitter_by_hand() -> None:
    # Red (1, 0, 0) has luma 0.2989. Saturation 0.5: (0.5 + 0.14945, 0.14945, 0.14945); contrast 0 after it: the mean
    # luma everywhere, unchanged by desaturation: 0.2989. Brightness 2 before clamps red at 1: nothing changes.
    red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
    half = jitter_colours(red, torch.tensor([[2.0, 1.0, 0.5]]), torch.tensor([[0, 1, 2]])).flatten()
    torch.testing.assert_close(half, torch.tensor([0.64945, 0.14945, 0.14945]), rtol=0, atol=1e-6)
    flat = jitter_colours(red, torch.tensor([[1.0, 0.0, 0.5]]), torch.tensor([[0, 2, 1]])).flatten()
    torch.testing.assert_close(flat, torch.full((3,), 0.2989), rtol=0, atol=2e-4)  # the weights sum to 0.9999


# --- whole


def test_augment_is_crop_flip_then_jitter() -> None:
    images, p = pictures(12), drawn(12)
    result = augment(images, p, padding=4)
    assert result.dtype == torch.float32
    assert result.shape == (12, 3, 10, 12)
    for i, image in enumerate(images.permute(0, 3, 1, 2)):
        one = v2.crop(v2.pad(image, [4]), int(p.top[i]), int(p.left[i]), 10, 12)
        one = v2.horizontal_flip(one) if p.flip[i] else one
        expected = in_order(one / 255, p.factors[i], tuple(p.order[i].tolist()), ADJUST["v2"])
        torch.testing.assert_close(result[i], expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_views_are_written_to_their_place_in_a_batch(channels: int, colour: bool) -> None:
    images, p = pictures(6, channels), [drawn(6, view=view) for view in range(2)]
    apart = [augment(images, one, padding=4, colour=colour) for one in p]
    batch = torch.full((12, 10, 12, channels), -1.0).permute(0, 3, 1, 2)
    for view, one in enumerate(p):
        part = batch[6 * view : 6 * view + 6]
        assert augment(images, one, padding=4, colour=colour, out=part) is part
    assert torch.equal(batch, torch.cat(apart))
    assert batch.stride() == torch.cat(apart).stride()
    assert apart[0].is_contiguous(memory_format=torch.channels_last)


def test_nothing_asked_for_is_the_image_itself() -> None:
    images = pictures(8)
    exact = images.permute(0, 3, 1, 2).float() / 255
    assert torch.equal(augment(images, drawn(8, **IDENTITY), padding=0, colour=False), exact)
    torch.testing.assert_close(augment(images, drawn(8, **IDENTITY), padding=0), exact, rtol=0, atol=1e-6)


def test_without_colour_only_the_geometry_changes() -> None:
    images, p = pictures(8), drawn(8)
    expected = crop_and_flip(images, p, padding=4).permute(0, 3, 1, 2).float() / 255
    assert torch.equal(augment(images, p, padding=4, colour=False), expected)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("value", [0, 255])
def test_extremes_stay_in_range(value: int, channels: int) -> None:
    images = torch.full((50, 8, 8, channels), value, dtype=torch.uint8)
    wild = drawn(50, brightness=5.0, contrast=5.0, saturation=5.0)
    result = augment(images, wild, padding=4)
    assert result.min() >= 0
    assert result.max() <= 1
    assert value or result.eq(0).all()
    assert to_float(images).eq(value / 255).all()


def test_to_float_is_exact_and_in_range() -> None:
    ramp = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    expected = torch.tensor([i / 255 for i in range(256)], dtype=torch.float64).float()
    assert torch.equal(to_float(ramp).flatten(), expected)


def test_normalise_equals_torchvision() -> None:
    images, mean, std = to_float(pictures(5)), [0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]
    result = normalise(images, torch.tensor(mean), torch.tensor(std))
    torch.testing.assert_close(result, v2.normalize(images, mean, std), rtol=1e-6, atol=1e-6)


# --- a pure function


@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_does_not_depend_on_batch_or_order(channels: int) -> None:
    images, p = pictures(50, channels, 32, 32), drawn(50)
    whole = augment(images, p, padding=4)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(3))
    for size in (1, 7, 16, 50):
        for index in order.split(size):
            part = augment(images[index], p.take(index), padding=4)
            torch.testing.assert_close(part, whole[index], rtol=0, atol=1e-6)  # a mean of 1,024 pixels, summed apart
            exact = augment(images[index], p.take(index), padding=4, colour=False)
            assert torch.equal(exact, augment(images, p, padding=4, colour=False)[index])


def test_the_draw_is_a_function_of_seed_epoch_and_view() -> None:
    first = drawn()
    torch.rand(3)
    state = torch.get_rng_state()
    assert all(torch.equal(a, b) for a, b in zip(first, drawn(), strict=True))
    assert torch.equal(torch.get_rng_state(), state)  # the generator that runs along is not touched
    others = [drawn(epoch=1), drawn(view=1), drawn(seed=1), drawn(epoch=1, view=1), drawn(epoch=1, seed=1)]
    draws = [first, *others]
    for a in range(len(draws)):
        for b in range(a):
            same = [(x == y).float().mean().item() for x, y in zip(draws[a], draws[b], strict=True)]
            chances = [1 / 9, 1 / 9, 1 / 2, 0, 1 / 3]  # of independent draws to agree
            assert all(abs(s - c) < 0.05 for s, c in zip(same, chances, strict=True)), (a, b, same)


# --- the distribution


@pytest.mark.parametrize("padding", [0, 1, 4])
def test_crops_are_uniform_over_all_offsets(padding: int) -> None:
    p, span = drawn(20_000, crop_padding=padding), 2 * padding + 1
    for offsets in (p.top, p.left):
        assert offsets.min() == 0
        assert offsets.max() == 2 * padding
        assert span == 1 or even(offsets, span)
    assert span == 1 or even(p.top * span + p.left, span**2)  # independent of each other


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.5, 1.0])
def test_flip_rate(rate: float) -> None:
    flips = drawn(20_000, flip=rate).flip
    assert flips.dtype == torch.bool
    assert abs(flips.double().mean().item() - rate) <= 4 * math.sqrt(rate * (1 - rate) / 20_000)


def test_factors_are_uniform_each_in_its_range() -> None:
    factors = drawn(20_000, brightness=0.2, contrast=0.5, saturation=1.5).factors
    for column, (low, high) in zip(factors.T, [(0.8, 1.2), (0.5, 1.5), (0.0, 2.5)], strict=True):
        assert column.min() >= low - 1e-6
        assert column.max() <= high + 1e-6
        cells = ((column.double() - low) / (high - low) * 20).long().clamp(0, 19)
        assert even(cells, 20)
    assert np.abs(np.corrcoef(factors.T.numpy()) - np.eye(3)).max() < 0.03
    assert torch.equal(drawn(100, **IDENTITY).factors, torch.ones(100, 3))


def test_parameters_are_independent_of_each_other() -> None:
    p = drawn(20_000)
    factors = ((p.factors - 0.8) / 0.4 * 4).long().clamp(0, 3).T
    columns = [p.top // 3, p.left // 3, p.flip.long(), *factors, p.order @ torch.tensor([9, 3, 1])]
    for a, b in combinations([column.unique(return_inverse=True)[1] for column in columns], 2):
        cells = int(b.max()) + 1
        counts = np.bincount((a * cells + b).numpy(), minlength=(int(a.max()) + 1) * cells)
        assert chi2_contingency(counts.reshape(-1, cells)).pvalue > 1e-4


def test_all_six_orders_are_equally_likely() -> None:
    order = drawn(20_000).order
    assert torch.equal(order.sort(dim=1).values, torch.arange(3).repeat(20_000, 1))
    code = order @ torch.tensor([9, 3, 1])
    _, place = code.unique(return_inverse=True)
    assert even(place, 6)


def test_defaults_are_the_reference() -> None:
    stated = drawn(crop_padding=4, flip=0.5, brightness=0.2, contrast=0.2, saturation=0.2)
    assert all(torch.equal(a, b) for a, b in zip(stated, drawn(), strict=True))
