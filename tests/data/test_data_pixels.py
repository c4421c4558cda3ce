"""Pixels mean what they say: deep images, orientation and transparency; expected values are Pillow's, or by hand."""

import io
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from supcrd.data import load
from supcrd.data.imagefile import extent, pixels
from supcrd.data.levels import Levels
from supcrd.data.sources.folder import read_image
from supcrd.errors import DataError


def save(path: Path, array: np.ndarray | Image.Image, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(path, **options)
    return path


def deep(folder: Path, dtype: type, values: list[float], *, suffix: str = "tif", test: float | None = None) -> str:
    """Two classes of one 8 x 8 image that holds the values, and perhaps a test image of one value."""
    array = np.resize(np.array(values, dtype), (8, 8))
    for name in "ab":
        save(folder / "train" / name / f"0.{suffix}", array)
    if test is not None:
        save(folder / "test" / "a" / f"0.{suffix}", np.full((8, 8), test, dtype))
    return f"folder:{folder}"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("dtype", "values", "levels", "read"),
    [
        (np.uint16, [0, 257, 32768, 65535], (0, 65535), [0, 1, 128, 255]),
        (np.uint16, [0, 819, 4095], (0, 4095), [0, 51, 255]),  # 4095 / 255 = 16.06
        (np.uint16, [0, 8191], (0, 8191), [0, 255]),  # 65535 / 8 = 8191.9
        (np.uint16, [0, 8192], (0, 65535), [0, 32]),  # 8192 / 257 = 31.9
        (np.int32, [0, 51, 255], (0, 255), [0, 51, 255]),
        (np.int32, [0, 65535], (0, 65535), [0, 255]),
        (np.float32, [0, 0.2, 1], (0, 1), [0, 51, 255]),
        (np.float32, [0, 51.4, 255], (0, 255), [0, 51, 255]),
    ],
)
def test_levels_of_deep_images(tmp_path, stream, dtype, values, levels, read) -> None:
    data = load(deep(tmp_path, dtype, values), validation=0, image_size=8, stream=stream)
    assert data.levels == levels
    assert data.channels == 1
    assert data.train.images[:1].flatten().tolist() == np.resize(read, 64).tolist()
    one = read_image(tmp_path / "train" / "a" / "0.tif", channels=1, image_size=8)
    assert one.equal(data.train.images[:1][0])


@pytest.mark.parametrize(
    ("dtype", "values", "said"),
    [
        (np.float32, [-0.5, 1], "-0.5 to 1, negative"),
        (np.float32, [0, 300], "floats 0 to 300"),
        (np.float32, [0, float("nan")], "not finite"),
        (np.int32, [-3, 9], "-3 to 9, negative"),
        (np.int32, [0, 70000], "32-bit values 0 to 70000"),
    ],
)
def test_values_without_levels_are_refused(tmp_path, dtype, values, said) -> None:
    source = deep(tmp_path, dtype, values)
    with pytest.raises(DataError, match=said):
        load(source, validation=0)
    if "finite" not in said:
        low, high = min(values), max(values)
        images = load(source, validation=0, levels=(low, high)).train.images
        assert (images.min(), images.max()) == (0, 255)


def test_train_tells_the_levels_and_what_lies_beyond_is_told(tmp_path: Path, caplog) -> None:
    source = deep(tmp_path, np.uint16, [0, 4000], suffix="png", test=5000)
    with caplog.at_level(logging.WARNING, "supcrd"):
        data = load(source, validation=0)
    assert data.levels == (0, 4095)
    assert data.test.images.unique().tolist() == [255]
    assert [("4095" in line, "clipped" in line) for line in caplog.messages] == [(True, False), (True, True)]
    assert load(source, validation=0, levels=(0, 8000)).test.images.unique().tolist() == [159]  # 5000 / 8000 * 255


def test_integers_and_floats_need_one_scale(tmp_path: Path) -> None:
    source = deep(tmp_path, np.uint16, [0, 65535], suffix="png")
    save(tmp_path / "train" / "a" / "1.tif", np.full((8, 8), 0.5, np.float32))
    with pytest.raises(DataError, match="one scale"):
        load(source, validation=0)


def test_levels_are_for_image_files() -> None:
    with pytest.raises(DataError, match=r"data\.levels: digits"):
        load("digits", levels=(0, 1))


def test_given_levels_are_used_for_a_single_image(tmp_path: Path, caplog) -> None:
    path = save(tmp_path / "x.png", np.full((8, 8), 819, np.uint16))
    assert read_image(path, channels=1, image_size=8, levels=(0, 4095)).unique().tolist() == [51]
    assert not caplog.messages
    assert extent(path, "x").high == 819
    assert pixels(path, "x", channels=1, size=8, levels=Levels(0, 818)).min() == 255
    assert "beyond" in caplog.text


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_orientation_is_pillows(tmp_path: Path, orientation: int, suffix: str) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 14, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"x.{suffix}", picture, exif=exif)
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    left, top = round((upright.width - 9) / 2), round((upright.height - 9) / 2)
    expected = np.asarray(upright.crop((left, top, left + 9, top + 9)))
    np.testing.assert_array_equal(read_image(path, channels=3, image_size=9).numpy(), expected)


def test_sizes_are_told_as_pictures_stand(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "train" / "a" / "0.jpg", Image.new("RGB", (9, 6)), exif=exif)
    with pytest.raises(DataError, match="6 x 9 px"):
        load(f"folder:{tmp_path}", validation=0)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_a_shape_that_lies_in_alpha_is_seen_on_white(tmp_path: Path, mode: str) -> None:
    picture = Image.new(mode, (8, 8))  # black, transparent
    picture.putpixel((2, 3), (0, 255) if mode == "LA" else (0, 0, 0, 255))
    read = read_image(save(tmp_path / "x.png", picture), channels=1, image_size=8)[..., 0]
    assert read[3, 2] == 0
    assert read.sum() == 63 * 255


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_opaque_images_are_what_they_were(tmp_path: Path, mode: str) -> None:
    array = np.random.default_rng(0).integers(0, 256, (8, 8, len(mode)), dtype=np.uint8)
    array[..., -1] = 255
    path = save(tmp_path / "x.png", array)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_image(path, channels=3, image_size=8).numpy(), expected)


def test_too_large_is_not_called_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    Image.new("L", (50, 50)).save(stream, "png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="x: too large, Pillow reads at most 2,000 pixels"):
        pixels(stream, "x", channels=1, size=8)
