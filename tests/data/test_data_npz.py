import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from supcrd.data import load
from supcrd.errors import DataError

Write = Callable[..., str]
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])
GOOD: dict[str, Any] = {"train_images": IMAGES, "train_labels": LABELS}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def save(arrays: dict[str, Any]) -> str:
        np.savez(tmp_path / "set.npz", **arrays)
        return f"npz:{tmp_path / 'set.npz'}"

    return save


def fails(source: str, *parts: str, **options: Any) -> None:
    with pytest.raises(DataError) as error:
        load(source, validation=0, **options)
    message = str(error.value)
    assert source.partition(":")[2] in message
    assert "\n" not in message
    for part in parts:
        assert part in message


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_come_back_as_they_were(tmp_path: Path, compressed: bool) -> None:
    save = np.savez_compressed if compressed else np.savez
    splits = {"train": IMAGES, "val": IMAGES[:3] ^ 255, "test": IMAGES[::-1]}
    arrays = {f"{name}_images": images for name, images in splits.items()}
    arrays |= {"train_labels": LABELS, "val_labels": LABELS[:3, None], "test_labels": LABELS[::-1].astype(np.uint8)}
    save(tmp_path / "set.npz", **arrays, unrelated=np.zeros(3))
    data = load(f"npz:{tmp_path / 'set.npz'}")
    for name, split in zip(splits, (data.train, data.validation, data.test), strict=True):
        np.testing.assert_array_equal(split.images.numpy(), splits[name])
        np.testing.assert_array_equal(split.labels.numpy(), arrays[f"{name}_labels"].reshape(-1))


@pytest.mark.parametrize("images", [IMAGES[..., 0], IMAGES[..., :1], np.asfortranarray(IMAGES[..., 0])])
def test_grey_images_may_lack_the_channel(write: Write, images: np.ndarray) -> None:
    data = load(write({**GOOD, "train_images": images}), validation=0)
    assert data.channels == 1
    assert data.train.images.is_contiguous()
    np.testing.assert_array_equal(data.train.images.numpy()[..., 0], IMAGES[..., 0])


@pytest.mark.parametrize("dtype", [np.int8, np.int64, ">i4"])
def test_any_integers_are_classes_in_ascending_order(write: Write, dtype: str) -> None:
    labels = np.array([70, -5, 3, 3, 70, -5], dtype=dtype)
    data = load(write({"train_images": IMAGES, "train_labels": labels}), validation=0)
    assert data.class_names == ("-5", "3", "70")
    assert data.train.labels.tolist() == [2, 0, 1, 1, 2, 0]


def test_labels_beyond_int64_keep_their_order(write: Write) -> None:
    labels = np.array([2**64 - 1, 0] * 3, dtype=np.uint64)
    data = load(write({"train_images": IMAGES, "train_labels": labels}), validation=0)
    assert data.class_names == ("0", str(2**64 - 1))
    assert data.train.labels.tolist() == [1, 0] * 3


@pytest.mark.parametrize("names", [np.array(["cat", "dog", "eel"]), np.array([b"cat", b"dog", b"eel"])])
def test_labels_index_class_names(write: Write, names: np.ndarray) -> None:
    data = load(write({**GOOD, "class_names": names}), validation=0)
    assert data.class_names == ("cat", "dog", "eel")
    assert data.train.labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_file_without_train_serves_evaluation_only(write: Write, split: str) -> None:
    source = write({f"{split}_images": IMAGES, f"{split}_labels": np.array([0, 1, 3, 3, 1, 0])})
    fails(source, "train_images", "train_labels", "missing")
    data = load(source, require_train=False)
    assert data.train is None
    assert data.class_names == ("0", "1", "2", "3")
    assert (data.test or data.validation).labels.tolist() == [0, 1, 3, 3, 1, 0]


def test_labels_of_a_file_without_train_count_from_zero(write: Write) -> None:
    fails(write({"test_images": IMAGES, "test_labels": LABELS - 1}), "-1", "unlabelled", require_train=False)


def test_a_label_that_no_list_of_classes_reaches(write: Write) -> None:
    """Names for all numbers before it would fill the memory."""
    labels = LABELS.astype(np.int64) * 10**15
    fails(write({"test_images": IMAGES, "test_labels": labels}), "they count from 0", require_train=False)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


BAD: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "nothing known": ({"x": LABELS}, ("train_images", "train_labels")),
    "no train_labels": (without("train_labels"), ("train_images without train_labels",)),
    "no train_images": (without("train_images"), ("train_labels without train_images",)),
    "test without labels": ({**GOOD, "test_images": IMAGES}, ("test_images without test_labels",)),
    "val without images": ({**GOOD, "val_labels": LABELS}, ("val_labels without val_images",)),
    "out of step": ({**GOOD, "train_labels": LABELS[:5]}, ("6 train_images", "5 train_labels")),
    "test out of step": (
        {**GOOD, "test_images": IMAGES[:2], "test_labels": LABELS},
        ("2 test_images", "6 test_labels"),
    ),
    "float labels": ({**GOOD, "train_labels": LABELS / 2}, ("train_labels", "float64", "integers")),
    "bool labels": ({**GOOD, "train_labels": LABELS > 1}, ("train_labels", "bool")),
    "float images": ({**GOOD, "train_images": IMAGES / 255}, ("train_images", "float64", "uint8")),
    "int images": ({**GOOD, "train_images": IMAGES.astype(int)}, ("train_images", "int64", "uint8")),
    "object images": ({**GOOD, "train_images": IMAGES.astype(object)}, ("train_images", "Python objects")),
    "object names": ({**GOOD, "class_names": np.array(["a", 1], object)}, ("class_names", "Python objects")),
    "number names": ({**GOOD, "class_names": np.arange(3)}, ("class_names", "int64")),
    "multi-label": ({**GOOD, "train_labels": np.eye(6, dtype=int)}, ("train_labels", "(6, 6)", "several labels")),
    "labels of no dimension": ({**GOOD, "train_labels": np.array(3)}, ("train_labels", "()")),
    "flat images": ({**GOOD, "train_images": IMAGES.reshape(6, -1)}, ("train_images", "(6, 48)")),
    "two channels": ({**GOOD, "train_images": IMAGES[..., :2]}, ("train_images", "(6, 4, 4, 2)")),
    "channels first": ({**GOOD, "train_images": IMAGES.transpose(0, 3, 1, 2)}, ("train_images", "(6, 3, 4, 4)")),
    "empty": ({"train_images": IMAGES[:0], "train_labels": LABELS[:0]}, ("train_images", "empty")),
    "not square": ({**GOOD, "train_images": IMAGES[:, :3]}, ("train_images", "3 x 4 x 3", "square")),
    "other size": (
        {**GOOD, "test_images": np.zeros((1, 5, 5, 3), np.uint8), "test_labels": LABELS[:1]},
        ("test_images are 5 x 5 x 3", "train_images are 4 x 4 x 3"),
    ),
    "unknown test label": ({**GOOD, "test_images": IMAGES, "test_labels": LABELS * 4}, ("test_labels hold 4", "lack")),
    "beyond the names": ({**GOOD, "class_names": np.array(["a", "b"])}, ("train_labels hold 2", "2 names", "0 to 1")),
    "below the names": (
        {**GOOD, "train_labels": LABELS - 1, "class_names": np.array(["a", "b"])},
        ("train_labels hold -1", "unlabelled", "data.unlabelled=skip"),
    ),
    "one class": ({**GOOD, "train_labels": LABELS * 0}, ("only one class", "two")),
    "class without image": ({**GOOD, "class_names": np.array(["a", "b", "c", "owl"])}, ("'owl'", "no train image")),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_named_with_what_is_right(write: Write, case: str) -> None:
    arrays, parts = BAD[case]
    fails(write(arrays), *parts)


def test_train_images_without_labels_are_wrong_even_for_evaluation(write: Write) -> None:
    arrays = {"train_images": IMAGES, "test_images": IMAGES, "test_labels": LABELS}
    fails(write(arrays), "train_images without train_labels", require_train=False)


def test_a_missing_file(tmp_path: Path) -> None:
    fails(f"npz:{tmp_path / 'no.npz'}", "no such")


def test_what_is_no_npz_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_text("hello")
    fails(f"npz:{path}", "not an npz file")
    with path.open("wb") as file:
        np.save(file, LABELS)
    fails(f"npz:{path}", "not an npz file")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_file(write: Write, tmp_path: Path, share: float) -> None:
    source, path = write(GOOD), tmp_path / "set.npz"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    fails(source, "truncated")


def test_a_file_with_flipped_bits(write: Write, tmp_path: Path) -> None:
    source, path = write(GOOD), tmp_path / "set.npz"
    content = bytearray(path.read_bytes())
    content[content.index(IMAGES.tobytes())] ^= 1
    path.write_bytes(content)
    fails(source, "train_images", "damaged")


def test_a_name_that_swallows_the_next_entries_of_the_directory(write: Write, tmp_path: Path) -> None:
    """Found by `make fuzz` (seed 13163): zipfile reads it, and the arrays that are swallowed would be missing."""
    source, path = write(GOOD | {"extra": LABELS}), tmp_path / "set.npz"
    content = bytearray(path.read_bytes())
    entries = [at.start() for at in re.finditer(b"PK\x01\x02", content)]
    last, before = entries[-1], entries[-2]
    assert b"extra" in content[last:]
    length = int.from_bytes(content[last + 28 : last + 30], "little") + last - before
    content[before + 28 : before + 30] = length.to_bytes(2, "little")
    path.write_bytes(content)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == len(entries) - 1
    fails(source, "damaged", "another number of arrays")


def test_unlabelled_images_are_left_out_and_counted(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    labels = np.array([0, -1, 1, -1, 1, 0])
    source = write({"train_images": IMAGES, "train_labels": labels})
    fails(source, "train_labels hold -1 (2 of 6)", "data.unlabelled=skip")
    data = load(source, validation=0, unlabelled="skip")
    assert data.class_names == ("0", "1")
    np.testing.assert_array_equal(data.train.images.numpy(), IMAGES[[0, 2, 4, 5]])
    assert data.train.labels.tolist() == [0, 1, 1, 0]
    assert "2 of 6 train images" in caplog.text


def test_a_class_name_given_twice_is_refused(write: Write) -> None:
    fails(write({**GOOD, "class_names": np.array(["cat", "dog", "cat"])}), "'cat' twice")


def test_the_names_of_keras_mean_the_same(tmp_path):
    """As `keras.datasets.mnist` comes: x_train, y_train, x_test, y_test."""
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (20, 8, 8), dtype=np.uint8), (np.arange(20) % 3).astype(np.uint8)
    np.savez(tmp_path / "keras.npz", x_train=x[:12], y_train=y[:12], x_test=x[12:], y_test=y[12:].reshape(-1, 1))
    data = load(f"npz:{tmp_path / 'keras.npz'}", validation=0)
    np.testing.assert_array_equal(data.train.images[..., 0], x[:12])
    np.testing.assert_array_equal(data.test.labels, y[12:])
    np.savez(tmp_path / "keras.npz", x_train=x, x_test=x, y_test=y)
    with pytest.raises(DataError, match="train_images without train_labels"):
        load(f"npz:{tmp_path / 'keras.npz'}")
