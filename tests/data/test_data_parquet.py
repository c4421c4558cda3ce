"""Parquet files in the layout of the Hugging Face hub; what is wrong with one is said in one line.

`tests/data/test_data_hub.py` has files that `datasets` itself wrote.
"""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from supcrd.data import load
from supcrd.errors import DataError
from typed import NET, invoke, refused

NAMES = ["red", "green", "blue"]


def pixels(index: int) -> np.ndarray:
    values = np.random.default_rng(index).integers(0, 60, (8, 8, 3), dtype=np.uint8)
    values[..., index % 3] += 150
    return values


def encoded(index: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels(index)).save(stream, "png")
    return stream.getvalue()


def table(start: int, stop: int, **changes: Any) -> pa.Table:
    """Rows as the hub has them: image as a struct, label as a ClassLabel."""
    rows = range(start, stop)
    image = [{"bytes": encoded(i), "path": f"{i}.png"} for i in rows]
    columns = {"image": image, "label": pa.array([i % 3 for i in rows], pa.int64()), "id": list(rows)} | changes
    features = {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}
    columns = {name: column for name, column in columns.items() if column is not None}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.table(columns).replace_schema_metadata(about)


def write(path: Path, content: pa.Table, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(content, path, **options)
    return path


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """24 train images in two files of small row groups, 9 test images."""
    write(tmp_path / "hub/data/train-00000-of-00002.parquet", table(0, 15), row_group_size=4)
    write(tmp_path / "hub/data/train-00001-of-00002.parquet", table(15, 24))
    write(tmp_path / "hub/data/test-00000-of-00001.parquet", table(100, 109))
    (tmp_path / "hub/README.md").write_text("a card")
    return tmp_path / "hub"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_folder_of_the_hub_holds_its_pixels_and_names(hub: Path, streamed: bool) -> None:
    for path in (hub, hub / "data" / "*.parquet"):
        data = load(f"parquet:{path}", validation=0, image_size=8, stream=streamed)
        assert data.class_names == tuple(NAMES)
        np.testing.assert_array_equal(data.train.images[:], [pixels(i) for i in range(24)])
        np.testing.assert_array_equal(data.test.images[:], [pixels(i) for i in range(100, 109)])
        assert data.train.labels.tolist() == [i % 3 for i in range(24)]
        assert data.test.labels.tolist() == [i % 3 for i in range(100, 109)]
    if streamed:
        assert data.train.images.files.name(16).endswith("train-00001-of-00002.parquet: row 1 (16.png)")


@pytest.mark.parametrize(
    ("changes", "names", "labels"),
    [
        ({"image": [encoded(i) for i in range(6)]}, NAMES, [0, 1, 2, 0, 1, 2]),
        ({"label": None, "labels": ["b", "a", "c"] * 2}, ["a", "b", "c"], [1, 0, 2] * 2),
        ({"label": pa.array(["b", "a", "c"] * 2).dictionary_encode()}, ["a", "b", "c"], [1, 0, 2] * 2),
        ({"label": None, "fine_label": [7, 3, 7] * 2, "coarse": [0] * 6}, ["3", "7"], [1, 0, 1] * 2),
        ({"label": pa.array([0, 1, 2] * 2, pa.uint8())}, NAMES, [0, 1, 2] * 2),
        ({"label": None, "class": [True, False] * 3}, ["0", "1"], [1, 0] * 3),
        ({"image": None, "img": [{"bytes": encoded(i)} for i in range(6)]}, NAMES, [0, 1, 2] * 2),
    ],
)
def test_columns_of_other_names_and_types(tmp_path: Path, changes: dict, names: list, labels: list) -> None:
    path = write(tmp_path / "photos.parquet", table(0, 6, **changes))
    data = load(f"parquet:{path}", validation=0)
    assert (list(data.class_names), data.train.labels.tolist()) == (names, labels)
    np.testing.assert_array_equal(data.train.images, [pixels(i) for i in range(6)])


def test_splits_are_told_from_files_and_folders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, rows in (("train/0000", (0, 6)), ("validation/0000", (6, 9)), ("extra/0000", (9, 12))):
        write(tmp_path / f"{name}.parquet", table(*rows))
    data = load(f"parquet:{tmp_path}")
    assert (len(data.train), len(data.validation), data.test) == (6, 3, None)
    assert "left out: 1 Parquet files of no split" in caplog.text
    data = load(f"parquet:{tmp_path / 'validation'}", validation=0)
    assert (len(data.train), data.validation) == (3, None)  # no word for a split below it: all is train
    write(tmp_path / "other/train.parquet", table(0, 6))
    with pytest.raises(DataError, match=r"train files in .* and .*; give one of the folders"):
        load(f"parquet:{tmp_path}")


def test_unlabelled_images_are_refused_or_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "train.parquet", table(0, 6, label=[0, 1, None, 2, -1, 1]))
    write(tmp_path / "test.parquet", table(6, 9, label=[-1, -1, -1]))
    with pytest.raises(DataError, match=r"train.parquet: row 2: label is null, as are those of 2 of 6 train .*=skip"):
        load(f"parquet:{tmp_path}")
    data = load(f"parquet:{tmp_path}", unlabelled="skip", validation=0)
    assert (data.train.labels.tolist(), data.test) == ([0, 1, 2, 1], None)
    np.testing.assert_array_equal(data.train.images, [pixels(i) for i in (0, 1, 3, 5)])
    assert "3 of 3 test images have no label" in caplog.text


STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})
PATHS = pa.array([{"bytes": None, "path": "a.png"}] * 6, STRUCT)
WRONG = {
    "no image": ({"image": None}, r"no image column among label \(int64\), id \(int64\)"),
    "no label": ({"label": None}, r"no label column among image \(struct"),
    "two images": (
        {"image": None, "a": [b"x"] * 6, "b": [b"x"] * 6},
        r"several columns of images \(a, b\); one called",
    ),
    "paths": ({"image": PATHS}, "has only the paths of its images; their bytes"),
    "floats": ({"label": [0.0, 1.0] * 3}, "column label is of type double; an integer or a text"),
    "lists": ({"label": [[0], [1, 2]] * 3}, "column label is of type list"),
    "a null": ({"label": [0, 1, 2, None, 1, 2]}, "row 3: label is null"),
    "beyond": ({"label": [0, 1, 2, 3, 1, 2]}, "row 3: label is 3; 0 to 2 is right"),
    "no picture": ({"image": [encoded(0)] * 5 + [b"text"]}, r"row 5: not a readable image"),
    "a null image": ({"image": [encoded(0)] * 5 + [None]}, r"row 5: not a readable image: an empty file"),
}


@pytest.mark.parametrize("way", WRONG)
def test_a_wrong_table_is_named(tmp_path: Path, way: str) -> None:
    changes, said = WRONG[way]
    path = write(tmp_path / "train.parquet", table(0, 6, **changes))
    with pytest.raises(DataError, match=said) as error:
        load(f"parquet:{path}")
    assert str(path) in str(error.value)


def test_files_that_do_not_go_together_are_named(hub: Path) -> None:
    path = write(hub / "data/validation.parquet", table(0, 6, label=None, labels=[0, 1, 2] * 2))
    with pytest.raises(DataError, match=r"validation.parquet: its columns are image and labels, not image and label"):
        load(f"parquet:{hub}")
    write(path, table(0, 6).replace_schema_metadata(None))
    with pytest.raises(DataError, match=r"names other classes than the files before it"):
        load(f"parquet:{hub}")
    (hub / "data/train-00000-of-00002.parquet").unlink()
    (hub / "data/train-00001-of-00002.parquet").unlink()
    path.unlink()
    with pytest.raises(DataError, match="no train split, only test"):
        load(f"parquet:{hub}")
    with pytest.raises(DataError, match="no such file or folder"):
        load(f"parquet:{hub}/nowhere/*.parquet")


def test_a_class_that_only_the_test_split_has_is_named(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", table(0, 6, label=["a", "b"] * 3))
    write(tmp_path / "test.parquet", table(6, 9, label=["a", "b", "c"]))
    with pytest.raises(DataError, match=r"test.parquet: row 2: label is 'c'; one of train's 2 classes is right"):
        load(f"parquet:{tmp_path}")


@pytest.mark.parametrize("size", [0, 3, 100, -1, -200])
def test_a_file_that_is_cut_short_is_named(hub: Path, size: int) -> None:
    path = hub / "data/train-00000-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match="damaged or cut short") as error:
        load(f"parquet:{hub}")
    assert str(path) in str(error.value)


def test_noise_in_a_file_is_no_traceback(hub: Path) -> None:
    path = hub / "data/test-00000-of-00001.parquet"
    whole = path.read_bytes()
    for seed in range(20):
        random = np.random.default_rng(seed)
        changed = bytearray(whole)
        for place in random.integers(4, len(whole), 30):
            changed[place] = random.integers(256)
        path.write_bytes(changed)
        with contextlib.suppress(DataError):
            load(f"parquet:{hub}")


def test_without_pyarrow_it_is_said_in_one_line(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"need pyarrow, which is not installed: pip install 'supcrd\[parquet\]'"):
        load(f"parquet:{hub}")


def test_a_run_on_parquet(hub: Path, tmp_path: Path) -> None:
    options = ["data.validation=0.2", *NET]
    arguments = ["train", "digits-teacher", f"data.source=parquet:{hub}", *options, "--out", tmp_path / "runs"]
    result = invoke(*arguments, "name=a")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "runs/a/evaluation.json").read_text())["n"] == 9
    line = refused("train", "digits-teacher", "data.source=parquet:/nowhere", *options, "--out", tmp_path / "runs")
    assert "/nowhere: no such file or folder" in line
