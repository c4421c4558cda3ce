import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from supcrd.data import load
from supcrd.data.sources.folder import read_image
from supcrd.errors import DataError


def pixels(seed: int, height: int = 6, width: int = 6, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, array: np.ndarray | Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(path)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two classes of three RGB images in train, one of one in test."""
    for index, name in enumerate(("cat", "dog")):
        for number in range(3):
            save(tmp_path / "train" / name / f"{number}.png", pixels(10 * index + number))
    save(tmp_path / "test" / "dog" / "0.png", pixels(99))
    return tmp_path


def fails(tree: Path, *parts: str, image_size: int | None = None) -> None:
    with pytest.raises(DataError) as error:
        load(f"folder:{tree}", validation=0, image_size=image_size)
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


def test_images_come_back_in_sorted_order(tree: Path) -> None:
    data = load(f"folder:{tree}", validation=0)
    assert data.class_names == ("cat", "dog")
    assert data.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    for image, seed in zip(data.train.images, (0, 1, 2, 10, 11, 12), strict=True):
        np.testing.assert_array_equal(image.numpy(), pixels(seed))
    assert data.test.labels.tolist() == [1]
    np.testing.assert_array_equal(data.test.images[0].numpy(), pixels(99))
    assert data.validation is None


@pytest.mark.parametrize("name", ["val", "validation"])
def test_a_given_validation_split_is_used(tree: Path, name: str) -> None:
    save(tree / name / "cat" / "0.png", pixels(50))
    data = load(f"folder:{tree}", validation=0.4)
    assert len(data.train) == 6
    np.testing.assert_array_equal(data.validation.images[0].numpy(), pixels(50))


def test_every_suffix_in_either_case_and_nothing_else(tree: Path) -> None:
    for suffix in ("PNG", "jpg", "JPEG", "bmp", "webp", "Gif"):
        save(tree / "train" / "cat" / f"x.{suffix}", Image.fromarray(pixels(3)))
    for stray in ("train/cat/.hidden.png", "train/cat/notes.txt", "train/README.png", ".git/x", "train/.cache/x.png"):
        (tree / stray).parent.mkdir(exist_ok=True)
        (tree / stray).write_text("no image")
    data = load(f"folder:{tree}", validation=0)
    assert data.train.labels.tolist() == [0] * 9 + [1] * 3


def test_the_set_is_grey_only_if_every_image_is(tmp_path: Path) -> None:
    deep = np.array([[0, 257], [65535, 32768]], dtype=np.uint16)  # levels 0, 1, 255 and 127.50 of 8 bits
    save(tmp_path / "train" / "a" / "0.png", pixels(0, 2, 2, channels=1))
    save(tmp_path / "train" / "b" / "0.png", Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1"))
    save(tmp_path / "train" / "b" / "1.png", deep)
    grey = load(f"folder:{tmp_path}", validation=0)
    assert grey.channels == 1
    np.testing.assert_array_equal(grey.train.images[0, ..., 0].numpy(), pixels(0, 2, 2, channels=1))
    assert grey.train.images[1].flatten().tolist() == [0, 255, 255, 0]
    assert grey.train.images[2].flatten().tolist() == [0, 1, 255, 128]

    save(tmp_path / "test" / "a" / "0.png", pixels(1, 2, 2))
    mixed = load(f"folder:{tmp_path}", validation=0)
    assert mixed.channels == 3
    for channel in range(3):
        assert mixed.train.images[2, ..., channel].flatten().tolist() == [0, 1, 255, 128]


def test_palette_alpha_and_cmyk_become_rgb(tree: Path) -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8).repeat(3, 0).repeat(3, 1)
    image = Image.fromarray(colours)
    palette = image.quantize(4)
    palette.info["transparency"] = bytes([255, 0, 128, 255])
    save(tree / "train" / "cat" / "p.png", palette)
    save(tree / "train" / "cat" / "q.png", Image.fromarray(np.dstack([colours, colours[..., 0]])))
    save(tree / "train" / "cat" / "r.jpg", Image.new("CMYK", (6, 6), (0, 255, 255, 0)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train = load(f"folder:{tree}", validation=0).train
    for place, image in ((3, palette), (4, Image.open(tree / "train" / "cat" / "q.png"))):
        alpha = np.asarray(image.convert("RGBA"))[..., 3:] / 255
        on_white = colours * alpha + 255 * (1 - alpha)
        assert np.abs(train.images[place].numpy() - on_white).max() <= 1
    assert np.abs(train.images[5].numpy().astype(int) - [255, 0, 0]).max() <= 2


@pytest.mark.parametrize(("height", "width"), [(6, 6), (20, 13), (9, 31), (8, 8), (8, 11), (5, 3)])
@pytest.mark.parametrize("size", [8, 5])
def test_resizing_equals_torchvision(tmp_path: Path, height: int, width: int, size: int) -> None:
    path = save(tmp_path / "x.png", pixels(1, height, width))
    peer = v2.Compose([v2.Resize(size), v2.CenterCrop(size)])
    expected = np.asarray(peer(Image.open(path)))
    np.testing.assert_array_equal(read_image(path, channels=3, image_size=size).numpy(), expected)


def test_the_folder_is_resized_as_single_images_are(tree: Path) -> None:
    save(tree / "train" / "cat" / "9.png", pixels(5, 12, 9))
    train = load(f"folder:{tree}", validation=0, image_size=4).train
    assert train.images.shape == (7, 4, 4, 3)
    for image, file in zip(train.images, sorted(tree.glob("train/*/*.png")), strict=True):
        assert image.equal(read_image(file, channels=3, image_size=4))


def test_read_image_converts_between_grey_and_rgb(tmp_path: Path) -> None:
    colour, grey = pixels(0), pixels(1, channels=1)
    luma = colour @ np.array([0.299, 0.587, 0.114])  # ITU-R 601, which Pillow rounds in fixed point
    read = read_image(save(tmp_path / "c.png", colour), channels=1, image_size=6)
    assert read.shape == (6, 6, 1)
    assert np.abs(read[..., 0].numpy() - luma).max() <= 1
    read = read_image(save(tmp_path / "g.png", grey), channels=3, image_size=6)
    np.testing.assert_array_equal(read.numpy(), np.dstack([grey] * 3))


@pytest.mark.parametrize(("channels", "image_size"), [(2, 8), (3, 0)])
def test_read_image_refuses_impossible_values(tmp_path: Path, channels: int, image_size: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        read_image(tmp_path / "x.png", channels=channels, image_size=image_size)


@pytest.mark.parametrize("content", [b"", b"no image", "truncated"])
def test_an_unreadable_image_is_named(tree: Path, content: bytes | str) -> None:
    path = tree / "train" / "dog" / "1.png"
    path.write_bytes(path.read_bytes()[:-60] if isinstance(content, str) else content)
    fails(tree, str(path), "not a readable image")
    with pytest.raises(DataError, match="not a readable image"):
        read_image(path, channels=3, image_size=6)


def test_a_truncated_jpeg_is_named(tree: Path) -> None:
    path = save(tree / "train" / "dog" / "1.jpg", pixels(0))
    path.write_bytes(path.read_bytes()[:-40])
    fails(tree, str(path), "not a readable image")


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.png: no such image file"):
        read_image(tmp_path / "no.png", channels=3, image_size=6)


def test_the_first_image_of_another_size_is_named(tree: Path) -> None:
    other = save(tree / "train" / "dog" / "1.png", pixels(0, 7, 7))
    save(tree / "train" / "dog" / "2.png", pixels(0, 8, 8))
    fails(tree, str(other), "7 x 7", "6 x 6", "data.image_size=N")


def test_the_first_image_that_is_not_square_is_named(tree: Path) -> None:
    other = save(tree / "train" / "cat" / "0.png", pixels(0, 7, 6))
    fails(tree, str(other), "6 x 7", "data.image_size=N")


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_class_that_train_lacks_is_named(tree: Path, split: str) -> None:
    save(tree / split / "eel" / "0.png", pixels(0))
    fails(tree, str(tree / split / "eel"), "'eel'", str(tree / "train"))


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_class_folder_is_named(tree: Path, split: str, caplog: pytest.LogCaptureFixture) -> None:
    (tree / split / "cat").mkdir(exist_ok=True)
    for file in (tree / split / "cat").iterdir():
        file.rename(file.with_suffix(".txt"))
    if split == "train":
        fails(tree, str(tree / split / "cat"), "without an image")
        return
    assert load(f"folder:{tree}", validation=0).test.labels.tolist() == [1]
    assert "without an image" in caplog.text


def test_missing_folders_are_named(tree: Path) -> None:
    fails(tree / "none", str(tree / "none"), "no such folder")
    fails(tree / "test", "only one class (dog)")
    (tree / "validation").mkdir()
    fails(tree, str(tree / "validation"), "no class folders")
    (tree / "val").mkdir()
    fails(tree, "both val and validation")


def test_one_class_only(tree: Path) -> None:
    for file in (tree / "train" / "cat").iterdir():
        file.unlink()
    (tree / "train" / "cat").rmdir()
    fails(tree, "only one class (dog)")


def test_a_zip_and_its_usual_folder_around_the_classes(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)  # short names: long ones are cut in a message
    Path("photos.zip").write_bytes(b"PK")
    fails(Path("photos.zip"), "is a file; folder: takes a folder, so unpack it")
    Path("outer").mkdir()
    shutil.move("train", "outer/images")
    fails(Path("outer"), "only one class (images)", "did you mean folder:outer/images?")
    with pytest.raises(DataError, match=r"^unknown data source 'outer': did you mean folder:outer[?] valid are digits"):
        load("outer")


def test_a_folder_without_train_serves_evaluation_only(tree: Path) -> None:
    (tree / "train").rename(tree / "val")
    fails(tree, "no train folder")
    data = load(f"folder:{tree}", require_train=False)
    assert data.train is None
    assert data.class_names == ("cat", "dog")
    assert data.test.labels.tolist() == [1]
