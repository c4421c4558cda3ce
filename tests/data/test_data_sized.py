"""Arrays at another size: what files of the same pixels become, to the bit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from supcrd.data import ImageSet, Split, load, source
from supcrd.data.unlabelled import with_unlabelled
from supcrd.errors import DataError
from supcrd.recipe.settings import DataSettings
from typed import invoke, refused

RANDOM = np.random.default_rng(0)


def both(folder: Path, pixels: np.ndarray) -> tuple[str, str]:
    """The same images, of two classes in turn, as an npz file with Keras' names and as PNGs."""
    np.savez(folder / "set.npz", x_train=pixels, y_train=np.arange(len(pixels)) % 2)
    for number, image in enumerate(pixels):
        file = folder / "files" / str(number % 2) / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    return f"npz:{folder / 'set.npz'}", f"folder:{folder / 'files'}"


@pytest.mark.parametrize("size", [5, 13, 40])
@pytest.mark.parametrize("shape", [(70, 13, 13), (6, 13, 13, 3), (6, 9, 21, 3), (6, 31, 10)])
def test_an_array_and_its_files_are_equal(tmp_path: Path, shape: tuple[int, ...], size: int) -> None:
    pixels = RANDOM.integers(0, 256, shape, dtype=np.uint8)
    array, files = (load(name, validation=0, test=0, image_size=size) for name in both(tmp_path, pixels))
    assert array.image_size == size
    order = array.train.labels.argsort(stable=True)  # as folders have them
    assert torch.equal(array.train.images[order], files.train.images)
    assert torch.equal(array.train.labels[order], files.train.labels)


def test_it_is_kept_by_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supcrd.data.decoded.SLOW", 0.0)
    name, _ = both(tmp_path, RANDOM.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8))
    first = load(name, validation=0, test=0, image_size=5)
    assert load(name, validation=0, test=0).image_size == 8
    assert load(name, validation=0, test=0, image_size=5).fingerprint == first.fingerprint
    assert load(name, validation=0, test=0, image_size=8).fingerprint == load(name, validation=0, test=0).fingerprint


def test_splits_of_other_sizes_need_it(tmp_path: Path) -> None:
    arrays = {"train": RANDOM.integers(0, 256, (6, 9, 9)), "test": RANDOM.integers(0, 256, (4, 7, 12))}
    named = {f"{split}_images": array.astype(np.uint8) for split, array in arrays.items()}
    np.savez(tmp_path / "set.npz", **named, train_labels=np.arange(6) % 2, test_labels=np.arange(4) % 2)
    with pytest.raises(DataError, match=r"are 7 x 12 x 1; square images are needed, or data.image_size=N"):
        load(f"npz:{tmp_path}/set.npz", validation=0)
    assert len(load(f"npz:{tmp_path}/set.npz", validation=0, image_size=6).test) == 4


def test_other_sources_of_arrays(tmp_path: Path) -> None:
    small, digits = load("digits", image_size=5), load("digits")
    expected = Image.fromarray(digits.test.images[7, :, :, 0].numpy()).resize((5, 5), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(small.test.images[7, :, :, 0], np.asarray(expected))
    pixels = torch.from_numpy(RANDOM.integers(0, 256, (6, 9, 9, 3), dtype=np.uint8))

    @source("nines")
    def nines(rest: str, settings: DataSettings) -> ImageSet:
        return ImageSet("nines", Split(pixels, torch.arange(6) % 2), None, None, ("a", "b"), "")

    assert load("nines:x", validation=0, test=0, image_size=16).image_size == 16
    name, _ = both(tmp_path, RANDOM.integers(0, 256, (6, 12, 12), dtype=np.uint8))
    settings = DataSettings(source="digits", unlabelled=name, image_size=8)
    assert with_unlabelled(load("digits", image_size=8), settings).unlabelled.split.images.shape[1:] == (8, 8, 1)


def test_a_run_and_what_is_looked_at_as_it_is(npz: Path, tmp_path: Path) -> None:
    changes = [f"data.source=npz:{npz}", "data.image_size=16", "model.arch=resnet8", "train.epochs=1", "probe.epochs=1"]
    done = invoke("train", "digits-cross-entropy", *changes, "head.epochs=0", "name=it", "--out", tmp_path / "runs")
    assert done.exit_code == 0
    assert invoke("evaluate", tmp_path / "runs" / "it").exit_code == 0
    line = refused("inspect", f"npz:{npz}", "--image-size", "16")
    assert "image_size = 16 is for image files; npz:" in line
