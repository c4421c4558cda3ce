"""Pixels mean what they say: deep images, orientation and transparency; expected values are Pillow's, or by hand."""

import io
import logging
import struct
import zlib
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
        (np.uint16, [0, 16383], (0, 16383), [0, 255]),  # 14 bits
        (np.uint16, [0, 16384], (0, 65535), [0, 64]),  # 16384 / 257 = 63.75
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


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_tiff_on_its_side_is_whole(tmp_path, compression, stream) -> None:
    """Pillow maps uncompressed ones into memory when it is given their path, and tears such a picture."""
    array = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    save(tmp_path / "train" / "a" / "0.tif", array, exif=exif, compression=compression)
    save(tmp_path / "train" / "b" / "0.tif", array)
    data = load(f"folder:{tmp_path}", validation=0, image_size=6, stream=stream)
    assert np.array_equal(data.train.images[:][0, ..., 0], np.rot90(array, -1)[1:7])


def test_a_program_is_no_picture_whatever_its_name(tmp_path) -> None:
    """Pillow would start another program for EPS."""
    for name in "ab":
        save(tmp_path / "train" / name / "0.png", np.zeros((8, 8), np.uint8))
    (tmp_path / "train" / "a" / "0.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"
    )
    with pytest.raises(DataError, match=r"0\.png: not a readable image"):
        load(f"folder:{tmp_path}", validation=0, image_size=8)


def png_of_16_bits(values: np.ndarray) -> bytes:
    """An RGB PNG of 16 bits a colour, which Pillow reads and does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("largest", "read", "warned"), [(4095, 15, True), (65535, 255, False)])
def test_12_bits_in_16_bit_colour_are_told(tmp_path, caplog, largest, read, warned) -> None:
    values = np.stack([np.linspace(0, largest, 64).astype(np.uint16).reshape(8, 8)] * 3, axis=2)
    for name in "ab":
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "train" / name / "0.png").write_bytes(png_of_16_bits(values))
    with caplog.at_level(logging.WARNING, "supcrd"):
        data = load(f"folder:{tmp_path}", validation=0)
    assert int(data.train.images[:].max()) == read
    assert ("reach only 15 of 255" in caplog.text) == warned


@pytest.mark.parametrize("largest", [9.0, 0.01])
def test_floats_on_a_doubtful_scale_are_refused(tmp_path, largest) -> None:
    with pytest.raises(DataError, match=f"has floats 0 to {largest:g}, the largest of the set.*data.levels"):
        load(deep(tmp_path, np.float32, [0, largest]), validation=0)
    stated = load(f"folder:{tmp_path}", validation=0, levels=(0, largest))
    assert int(stated.train.images[:].max()) == 255


def test_the_transparent_value_of_16_bits_is_white(tmp_path) -> None:
    for name in "ab":
        save(tmp_path / "train" / name / "0.png", np.array([[257, 2570]] * 2, np.uint16), transparency=257)
    data = load(f"folder:{tmp_path}", validation=0, levels=(0, 65535))
    assert data.train.images[:1].flatten().tolist() == [255, 10, 255, 10]
