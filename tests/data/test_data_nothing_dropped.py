"""Nothing is dropped without a word: endings, sub-folders, names of splits; torchvision's ImageFolder is the peer."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from supcrd.data import load
from supcrd.data.pictures import image_files
from supcrd.errors import DataError


def save(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (value,) * 3).save(path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    names = ["a/z.png", "a/y/1.tif", "a/y/0.ppm", "a/b.jfif", "a/y/deep/2.tiff", "b/x/0.jp2", "b/0.pnm"]
    for value, name in enumerate(names):
        save(tmp_path / "train" / name, 20 * value)
    return tmp_path


def test_the_order_is_torchvisions(tree: Path) -> None:
    peer = ImageFolder(tree / "train", is_valid_file=lambda name: True)
    train = load(f"folder:{tree}", validation=0).train
    assert train.labels.tolist() == peer.targets
    for image, (expected, _) in zip(train.images, peer, strict=True):
        np.testing.assert_array_equal(image.numpy(), np.asarray(expected))
    assert image_files([tree / "train"]) == sorted(path for path in tree.rglob("*.*"))


@pytest.mark.parametrize("name", ["valid", "VAL", "dev", "Validation"])
def test_usual_names_of_splits(tree: Path, name: str) -> None:
    save(tree / name / "a" / "0.png", 77)
    assert load(f"folder:{tree}").validation.images.unique().tolist() == [77]
    (tree / "val0").mkdir()
    (tree / "val0").rename(tree / ("valid" if name == "VAL" else "val"))
    with pytest.raises(DataError, match="holds both"):
        load(f"folder:{tree}")


def test_what_is_left_out_is_counted(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tree / "train" / "a" / "notes.txt").write_text("x")
    (tree / "train" / "a" / "gone.png").symlink_to(tree / "nowhere.png")
    (tree / "train" / "a" / "round").symlink_to(tree / "train" / "a")
    save(tree / "train" / "0.png", 0)
    save(tree / "extra" / "0.png", 0)
    (tree / "test" / "b").mkdir(parents=True)
    assert len(load(f"folder:{tree}", validation=0).train) == 7
    said = "\n".join(caplog.messages)
    for part in ("1 .txt", "1 broken link", "1 image beside", "1 folder that is no split (extra)", "without an image"):
        assert part in said


def test_usual_names_of_arrays(tmp_path: Path) -> None:
    images, labels = np.zeros((4, 4, 4, 3), np.uint8), np.array([0, 0, 1, 1])
    arrays = {"Train_images": images, "Train_labels": labels, "valid_images": images + 9, "valid_labels": labels}
    np.savez(tmp_path / "a.npz", **arrays)
    assert load(f"npz:{tmp_path / 'a.npz'}").validation.images.unique().tolist() == [9]
    np.savez(tmp_path / "a.npz", **arrays, val_images=images)
    with pytest.raises(DataError, match="both valid_images and val_images"):
        load(f"npz:{tmp_path / 'a.npz'}")


@pytest.mark.parametrize("stream", [False, True])
def test_damaged_files_are_told_at_once_or_left_out(tree: Path, stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(5):
        (tree / "train" / "a" / f"bad{number}.png").write_bytes(b"no image")
    cut = tree / "train" / "b" / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(cut)
    cut.write_bytes(cut.read_bytes()[:-40])
    options = {"validation": 0, "image_size": 4, "stream": stream}
    with pytest.raises(DataError, match=r"6 of 13 images .*bad0.*bad1.*bad2.*; and 3 more; data.damaged=skip"):
        load(f"folder:{tree}", **options)
    train = load(f"folder:{tree}", damaged="skip", **options).train
    assert train.labels.tolist() == [0] * 5 + [1] * 2
    assert train.images[:].shape == (7, 4, 4, 3)
    assert "6 of 13 images cannot be read and are left out" in caplog.text
