import numpy as np
import pytest
import torch

from supcrd.data import ImageSet, Split, channel_statistics
from supcrd.data.images import fingerprint
from supcrd.errors import DataError


def some_split(n: int = 4, size: int = 5, channels: int = 3, seed: int = 0) -> Split:
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (n, size, size, channels), dtype=np.uint8)
    return Split(torch.from_numpy(images), torch.arange(n) % 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_equal_numpy_in_float64(channels: int) -> None:
    images = some_split(5000, 6, channels).images  # more than one block
    mean, std = channel_statistics(images)
    scaled = images.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(mean, scaled.mean((0, 1, 2)), rtol=1e-13)
    np.testing.assert_allclose(std, scaled.std((0, 1, 2)), rtol=1e-12)


def test_statistics_of_a_channel_that_hardly_varies() -> None:
    # One pixel of 10,000 is 201 and the others 200: variance 1e-4 - 1e-8 in levels, by hand.
    images = torch.full((100, 10, 10, 1), 200, dtype=torch.uint8)
    images[50, 3, 3] = 201
    _, (std,) = channel_statistics(images)
    assert std == pytest.approx((1e-4 - 1e-8) ** 0.5 / 255, rel=1e-14)


def test_a_constant_channel_has_std_one() -> None:
    images = torch.full((3, 4, 4, 3), 51, dtype=torch.uint8)
    images[0, 0, 0, 1] = 0
    mean, std = channel_statistics(images)
    assert mean[0] == mean[2] == 0.2
    assert std[0] == std[2] == 1.0 != std[1]


def test_statistics_do_not_depend_on_the_memory_layout() -> None:
    images = some_split().images
    transposed = images.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert channel_statistics(transposed) == channel_statistics(images)


@pytest.mark.parametrize("images", [torch.zeros(2, 3, 3, 1), torch.zeros(0, 3, 3, 1, dtype=torch.uint8)])
def test_statistics_refuse_floats_and_nothing(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="non-empty"):
        channel_statistics(images)


@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (2, 4, 4)])
def test_a_split_names_a_shape_that_is_not_square(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=" x ".join(map(str, shape))):
        Split(torch.zeros(shape, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))


def test_an_image_set_describes_itself_from_any_split() -> None:
    data = ImageSet("x", None, None, some_split(size=7, channels=1), ("a", "b", "c"), "0")
    assert (data.num_classes, data.channels, data.image_size) == (3, 1, 7)


def test_the_fingerprint_tells_pixels_labels_names_shapes_and_splits_apart() -> None:
    split, other = some_split(), some_split(seed=1)
    relabelled = Split(split.images, 1 - split.labels)
    reshaped = Split(split.images.reshape(-1, 1, 1, 3), torch.zeros(100, dtype=torch.int64))
    names = ("a", "b")
    variants = [
        fingerprint((split, None, None), names),
        fingerprint((None, split, None), names),
        fingerprint((split, other, None), names),
        fingerprint((split, None, other), names),
        fingerprint((other, None, None), names),
        fingerprint((relabelled, None, None), names),
        fingerprint((reshaped, None, None), names),
        fingerprint((split, None, None), ("a", "c")),
        fingerprint((split, None, None), ("ab",)),
    ]
    assert len(set(variants)) == len(variants)
    assert fingerprint((some_split(), None, None), names) == variants[0]
