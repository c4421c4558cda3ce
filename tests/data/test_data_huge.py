"""Pictures whose decoding takes memory and time out of proportion, and files that are no pictures for a class."""

import io
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from supcrd.data import imagefile, load
from supcrd.data.upright import upright
from supcrd.errors import DataError


def noise(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def written(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_a_strip_is_cropped_before_it_is_resized(tmp_path: Path) -> None:
    """1 x 200,000 px at 224 px: 44,800,000 rows in between took 1.6 GB and 9 s."""
    path = written(tmp_path / "strip.png", noise(200_000, 1))
    start = time.process_time()
    assert imagefile.pixels(path, "strip", channels=3, size=224).shape == (224, 224, 3)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("shape", [(37, 300), (300, 37), (24, 500)])
def test_its_pixels_are_those_of_the_usual_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape) -> None:
    path = written(tmp_path / "x.png", noise(*shape))
    usual = imagefile.pixels(path, "x", channels=3, size=24).astype(int)
    monkeypatch.setattr(imagefile, "LARGE", 100)
    assert abs(imagefile.pixels(path, "x", channels=3, size=24) - usual).max() <= 1


def test_a_huge_jpeg_is_decoded_at_a_part_of_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smooth = Image.linear_gradient("L").resize((1024, 1024)).convert("RGB")
    path = written(tmp_path / "x.jpg", smooth, quality=95)
    usual = imagefile.pixels(path, "x", channels=3, size=16).astype(int)
    monkeypatch.setattr(imagefile, "LARGE", 1000)
    sizes = []
    turned = upright
    monkeypatch.setattr("supcrd.data.imagefile.upright", lambda image: sizes.append(image.size) or turned(image))
    assert abs(imagefile.pixels(path, "x", channels=3, size=16) - usual).max() <= 2
    assert sizes[0] == (128, 128)  # an eighth, the least that Pillow knows, and 8 times what is wanted


def test_large_images_are_decoded_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagefile, "ALONE", 10)
    at_once, most = [0], [0]
    inside = upright

    def slow(image):
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        time.sleep(0.02)
        at_once[0] -= 1
        return inside(image)

    monkeypatch.setattr("supcrd.data.imagefile.upright", slow)
    path = written(tmp_path / "x.png", noise(8, 8))
    threads = [
        threading.Thread(target=imagefile.pixels, args=(path, "x"), kwargs={"channels": 3, "size": 8}) for _ in "1234"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


FILM = bytes(4) + (0xAF11).to_bytes(2, "little") + (3).to_bytes(2, "little") + b"\x08\0\x08\0\x08\0" + bytes(1200)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.fli", FILM, "a file of FLI"),
        ("a.png", b"GRIB\0\0\0\1" + bytes(200), "a file of GRIB"),
        ("a.png", b"", "an empty file"),
        ("a.png", b"no picture", "not a readable image (UnidentifiedImageError)"),
    ],
)
def test_a_refusal_says_which_file_and_why(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        imagefile.form(tmp_path / name, str(tmp_path / name))
    assert str(tmp_path / name) in str(error.value)
    assert said in str(error.value)


def test_films_of_a_folder_are_no_image_set(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "train" / name / "x.fli").write_bytes(FILM)
    with pytest.raises(DataError):
        load(f"folder:{tmp_path}", validation=0, image_size=8)


def test_jpeg_2000_in_grey_with_alpha_is_read_on_white(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    values = random.integers(0, 256, (16, 16, 2), dtype=np.uint8)
    made = io.BytesIO()
    Image.fromarray(values, "LA").save(made, "JPEG2000", irreversible=False)
    path = tmp_path / "x.jp2"
    path.write_bytes(made.getvalue())
    grey, alpha = values[..., 0].astype(float), values[..., 1] / 255
    read = imagefile.pixels(path, "x", channels=1, size=16)[..., 0]
    assert abs(read - (grey * alpha + 255 * (1 - alpha))).max() <= 1
