from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from supcrd.data import load
from supcrd.data.split import stratified
from supcrd.errors import DataError


@pytest.fixture
def blobs(tmp_path: Path) -> Path:
    """60 train and 20 test images of three classes of unequal size; every image is different."""
    generator = np.random.default_rng(0)
    path = tmp_path / "blobs.npz"
    np.savez(
        path,
        train_images=generator.integers(0, 256, (60, 4, 4, 3), dtype=np.uint8),
        train_labels=np.array([0] * 30 + [1] * 20 + [2] * 10),
        test_images=generator.integers(0, 256, (20, 4, 4, 3), dtype=np.uint8),
        test_labels=np.arange(20) % 3,
    )
    return path


def test_digits_are_scikit_learns_images() -> None:
    data = load("digits", validation=0)
    assert data.train is not None
    assert data.test is not None
    assert data.validation is None
    assert data.class_names == tuple("0123456789")
    bunch = load_digits()
    original = {
        (np.array([[round(value * 255 / 16) for value in row] for row in image], np.uint8).tobytes(), int(label))
        for image, label in zip(bunch.images, bunch.target, strict=True)
    }
    loaded = [
        (image.numpy().tobytes(), int(label))
        for split in (data.train, data.test)
        for image, label in zip(split.images, split.labels, strict=True)
    ]
    assert len(loaded) == 1797
    assert set(loaded) == original
    assert data.train.images.dtype == torch.uint8
    assert data.train.images.max() == 255
    for label, count in enumerate(np.bincount(bunch.target)):
        assert int((data.test.labels == label).sum()) == round(0.2 * count)


def test_the_digits_test_split_is_the_same_for_every_seed_and_share() -> None:
    first, second = load("digits"), load("digits", split_seed=7, validation=0.5)
    assert torch.equal(first.test.images, second.test.images)
    assert first.fingerprint != second.fingerprint
    # Figures of different versions compare only if this stays as it is.
    bunch = load_digits()
    _, taken = stratified(torch.from_numpy(bunch.target), fraction=0.2, seed=20240)
    assert torch.equal(first.test.labels, torch.from_numpy(bunch.target)[taken])
    assert torch.equal(first.test.images[..., 0] > 127, torch.from_numpy(bunch.images)[taken] > 127 / 255 * 16)


def test_the_validation_split_comes_out_of_train(blobs: Path) -> None:
    whole = load(f"npz:{blobs}", validation=0).train
    data = load(f"npz:{blobs}", validation=0.2, split_seed=3)
    kept, taken = stratified(whole.labels, fraction=0.2, seed=3)
    assert data.validation.labels.bincount().tolist() == [6, 4, 2]
    assert torch.equal(data.validation.images, whole.images[taken])
    assert torch.equal(data.train.images, whole.images[kept])
    assert torch.equal(data.train.labels, whole.labels[kept])


def test_every_call_gives_the_same_split_and_another_seed_another(blobs: Path) -> None:
    first, again, other = (load(f"npz:{blobs}", split_seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint
    assert torch.equal(first.validation.images, again.validation.images)
    assert first.fingerprint != other.fingerprint
    assert torch.equal(first.test.images, other.test.images)


def test_a_small_share_takes_one_image_of_each_class(blobs: Path) -> None:
    assert load(f"npz:{blobs}", validation=0.01).validation.labels.tolist() == [0, 1, 2]


def test_classes_of_one_image_give_none_and_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = np.zeros((4, 4, 4, 3), np.uint8)
    names = np.array(["cat", "dog", "eel"])
    np.savez(tmp_path / "a.npz", train_images=images, train_labels=np.array([0, 0, 1, 2]), class_names=names)
    assert load(f"npz:{tmp_path / 'a.npz'}").validation.labels.tolist() == [0]
    assert [line.endswith(": dog, eel") for line in caplog.messages] == [True]
    np.savez(tmp_path / "b.npz", train_images=images[:3], train_labels=np.arange(3), class_names=names)
    with pytest.raises(DataError, match="needs a class of two or more train images"):
        load(f"npz:{tmp_path / 'b.npz'}")


def test_limit_thins_every_split_evenly(blobs: Path) -> None:
    data = load(f"npz:{blobs}", limit=7)
    assert [split.labels.bincount().tolist() for split in (data.train, data.test)] == [[3, 2, 2], [3, 2, 2]]
    assert len(data.validation) == 6  # it has no more
    assert data.num_classes == 3
    again = load(f"npz:{blobs}", limit=7)
    assert data.fingerprint == again.fingerprint != load(f"npz:{blobs}").fingerprint


def test_a_limit_below_the_number_of_classes_is_refused(blobs: Path) -> None:
    with pytest.raises(DataError, match="limit = 2 is below the 3 classes"):
        load(f"npz:{blobs}", limit=2)
    assert load(f"npz:{blobs}", limit=3).train.labels.tolist() == [0, 1, 2]


def test_tensors_own_contiguous_memory(blobs: Path) -> None:
    data = load(f"npz:{blobs}")
    for split in (data.train, data.validation, data.test):
        for tensor in (split.images, split.labels):
            assert tensor.is_contiguous()
            assert tensor.untyped_storage().nbytes() == tensor.nbytes
            tensor.add_(1)  # writable


@pytest.mark.parametrize(
    ("source", "nearest"),
    [
        ("cifar-100", "did you mean cifar100?"),
        ("CIFAR10", "did you mean cifar10?"),
        ("digit", "did you mean digits?"),
        ("npz", "did you mean npz:PATH?"),
        ("folder:", "did you mean folder:PATH?"),
        ("digits:1", "did you mean digits?"),
        ("", "valid are digits, cifar10, cifar100, npz:PATH, folder:PATH"),
    ],
)
def test_an_unknown_source_is_named_with_the_nearest(source: str, nearest: str) -> None:
    with pytest.raises(DataError) as error:
        load(source)
    assert f"unknown data source {source!r}: " in str(error.value)
    assert nearest in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"validation": 1.0}, "validation = 1.0"),
        ({"validation": -0.1}, "validation = -0.1"),
        ({"validation": float("nan")}, "validation = nan"),
        ({"split_seed": -1}, "split_seed = -1"),
        ({"limit": 0}, "limit = 0"),
        ({"image_size": 0}, "image_size = 0"),
    ],
)
def test_impossible_options_are_named(option: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load("digits", **option)


def test_the_right_image_size_is_confirmed() -> None:
    assert load("digits", image_size=8).image_size == 8
