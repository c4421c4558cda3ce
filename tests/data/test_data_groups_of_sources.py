"""Groups of `npz:`, `shards:`, `parquet:`: read, drawn by, refused; `supcrd inspect` with the keys of `[data]`."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from supcrd.data import load
from supcrd.errors import DataError
from typed import images, invoke, refused, write_npz

PATIENTS = np.array([f"p{place // 3}" for place in range(30)])
"""Ten of three images, one of each class."""


def npz(folder: Path, **changed: Any) -> str:
    arrays = {"train_patient": PATIENTS, "test_patient": np.array([f"t{place // 3}" for place in range(12)])}
    return f"npz:{write_npz(folder / 'tiny.npz', **arrays | changed)}"


def shards(folder: Path, **changed: Any) -> str:
    """The same, with a field in each sample's json; `test_patient` is that of all test samples."""
    for split, count in (("train", 30), ("test", 12)):
        with tarfile.open(folder / f"{split}-000000.tar", "w") as tar:
            for place, (pixels, label) in enumerate(zip(*images(count), strict=True)):
                stream = io.BytesIO()
                Image.fromarray(pixels).save(stream, "png")
                patient = PATIENTS[place] if split == "train" else f"t{place // 3}"
                fields = {"label": int(label), "patient": changed.get(f"{split}_patient", patient)}
                for kind, content in (("png", stream.getvalue()), ("json", json.dumps(fields).encode())):
                    member = tarfile.TarInfo(f"{place:02}.{kind}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return f"shards:{folder}"


def columns(split: str, count: int, **changed: Any) -> pa.Table:
    """The same as a table; as a number or a text, or whatever `changed` has for the split."""
    patients = PATIENTS.tolist() if split == "train" else [f"t{place // 3}" for place in range(count)]
    coded = []
    for pixels in images(count)[0]:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "png")
        coded.append(stream.getvalue())
    patient = changed.get(f"{split}_patient", patients)
    return pa.table({"image": coded, "label": [place % 3 for place in range(count)], "patient": patient})


def parquet(folder: Path, **changed: Any) -> str:
    """Train in two files."""
    whole = columns("train", 30, **changed)
    for part, (start, length) in enumerate([(0, 13), (13, 17)]):
        pq.write_table(whole.slice(start, length), folder / f"train-{part}.parquet", row_group_size=5)
    pq.write_table(columns("test", 12, **changed), folder / "test-0.parquet")
    return f"parquet:{folder}"


def saved(folder: Path, **changed: Any) -> str:
    """As `save_to_disk` lays it out."""
    (folder / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    for split, count in (("train", 30), ("test", 12)):
        (folder / split).mkdir()
        table = columns(split, count, **changed)
        with (
            pa.OSFile(str(folder / split / "data-0.arrow"), "wb") as file,
            pa.ipc.new_stream(file, table.schema) as out,
        ):
            out.write_table(table, max_chunksize=7)
        state = {"_data_files": [{"filename": "data-0.arrow"}], "_split": split}
        (folder / split / "state.json").write_text(json.dumps(state))
    return f"parquet:{folder}"


@pytest.mark.parametrize("write", [npz, shards, parquet, saved])
def test_no_patient_is_on_both_sides(tmp_path: Path, write) -> None:
    data = load(write(tmp_path), groups="patient", validation=0.2)
    train, held_out = set(data.train.groups.tolist()), set(data.validation.groups.tolist())
    assert len(train) == 8
    assert len(held_out) == 2
    assert not train & held_out
    # p0 to p9 come before t0 to t3, and images are in their order
    names = sorted({*PATIENTS, *(f"t{place}" for place in range(4))})
    assert data.test.groups.tolist() == [names.index(f"t{place // 3}") for place in range(12)]
    every, pixels = images(30)[0], data.validation.images.numpy()
    places = [next(n for n in range(30) if np.array_equal(every[n], one)) for one in pixels]
    assert data.validation.groups.tolist() == [names.index(PATIENTS[place]) for place in places]


@pytest.mark.parametrize(
    ("write", "changed", "words"),
    [
        (npz, {"test_patient": np.array(["p0"] * 12)}, "group 'p0' is in train and in test; a group in one split only"),
        (shards, {"test_patient": "p0"}, "group 'p0' is in train and in test; a group in one split only"),
        (npz, {"train_patient": None}, "there is no array train_patient, with a group for each of train_images"),
        (npz, {"train_patient": PATIENTS[:4]}, "train_patient are <U2 (4,); 30 integers or texts, one for each image"),
        (npz, {"train_patient": np.array(["a", "", "b"] * 10)}, "train_patient is empty for image 1; a group for each"),
        (npz, {"train_patient": np.zeros(30)}, "train_patient are float64 (30,); 30 integers or texts"),
        (shards, {"train_patient": None}, "00.png: patient = None is no group; a name or a whole number is right"),
        (shards, {"train_patient": 0.5}, "patient = 0.5 is no group"),
        (parquet, {"test_patient": ["p0"] * 12}, "group 'p0' is in train and in test; a group in one split only"),
        (saved, {"test_patient": ["p0"] * 12}, "group 'p0' is in train and in test; a group in one split only"),
        (parquet, {"train_patient": ["a"] * 15 + [None] * 15}, "train-1.parquet: row 2: patient = None is no group"),
        (parquet, {"train_patient": [0.5] * 30}, "train-0.parquet: row 0: patient = 0.5 is no group"),
    ],
)
def test_what_is_no_group_is_refused_in_a_line(tmp_path: Path, write, changed, words: str) -> None:
    with pytest.raises(DataError) as error:
        load(write(tmp_path, **changed), groups="patient")
    assert words in str(error.value)


def test_a_column_of_groups_is_named_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.groups = 'person': no such column among image \(binary\), label \(int"):
        load(parquet(tmp_path), groups="person")
    with pytest.raises(DataError, match=r"the name of a column is right"):
        load(f"parquet:{tmp_path}", groups="patients.csv")


def test_groups_that_are_numbers_or_of_many_types(tmp_path: Path) -> None:
    """A number is the text of its digits, so that train may have the one and test the other."""
    numbers = pa.array([place // 3 for place in range(30)], pa.int16())
    test = pa.array([f"1{place // 3}" for place in range(12)]).dictionary_encode()
    data = load(parquet(tmp_path, train_patient=numbers, test_patient=test), groups="patient", validation=0)
    names = sorted({*map(str, range(10)), "10", "11", "12", "13"})
    assert [names[number] for number in data.train.groups.tolist()] == [str(place // 3) for place in range(30)]
    assert [names[number] for number in data.test.groups.tolist()] == [f"1{place // 3}" for place in range(12)]


def test_groups_of_bytes_that_are_no_ascii(tmp_path: Path) -> None:
    byte_strings = np.array([name.replace("p", "é").encode() for name in PATIENTS])
    data = load(npz(tmp_path, train_patient=byte_strings), groups="patient", validation=0)
    assert data.train.groups.tolist() == [4 + int(name[1:]) for name in PATIENTS]  # behind t0 to t3


def test_groups_that_would_leave_a_split_without_a_class(tmp_path: Path) -> None:
    """All images of class 1 are of one patient."""
    patients = ["one" if place % 3 == 1 else f"p{place // 3}" for place in range(30)]
    with pytest.raises(DataError, match=r"leaves .* without an image of class '1', whose images are of 1 group"):
        load(parquet(tmp_path, train_patient=patients), groups="patient", validation=0.2)


def test_groups_of_parquet_do_not_change_what_is_kept_of_it_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supcrd.data.decoded.SLOW", 0.0)
    source = parquet(tmp_path)
    assert load(source, validation=0).train.groups is None
    for _ in range(2):
        assert len(load(source, groups="patient", validation=0).train.groups.unique()) == 10
    assert load(source, validation=0).train.groups is None


def test_tables_are_for_files_with_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the name of an array such as train_patient is right"):
        load(npz(tmp_path), groups="patients.csv")
    with pytest.raises(DataError, match=r"data\.split_file: .* has splits already"):
        load(npz(tmp_path), split_file="splits.csv")


def test_of_parquet_too(tmp_path: Path) -> None:
    """Rows without a label need no group."""
    table = columns("train", 30, train_patient=[None, *PATIENTS.tolist()[1:]])
    table = table.set_column(1, "label", [[None, *[place % 3 for place in range(1, 30)]]])
    pq.write_table(table, tmp_path / "train.parquet")
    data = load(f"parquet:{tmp_path}", groups="patient", validation=0, unlabelled="skip")
    assert data.train.groups.tolist() == [place // 3 for place in range(1, 30)]


def test_unlabelled_images_are_left_out_with_their_groups(tmp_path: Path) -> None:
    labels = np.arange(30) % 3
    labels[:3] = -1
    data = load(npz(tmp_path, train_labels=labels), groups="patient", validation=0, unlabelled="skip")
    assert data.train.groups.tolist() == [place // 3 for place in range(27)]  # p1 to p9


def test_inspect_takes_the_keys_of_data(tmp_path: Path) -> None:
    rows = []
    for place, (pixels, label) in enumerate(zip(*images(12), strict=True)):
        Image.fromarray(pixels).save(tmp_path / f"{place:02}.png")
        rows.append(f"{place:02}.png,kind{label},{'train' if place < 9 else 'test'},p{place // 3}\n")
    (tmp_path / "scans.csv").write_text("scan,diagnosis,fold,patient\n" + "".join(rows))
    options = ["--file-column", "scan", "--label-column", "diagnosis", "--split-column", "fold", "--groups", "patient"]
    result = invoke("inspect", f"csv:{tmp_path / 'scans.csv'}", *options)
    assert result.exit_code == 0, result.output
    assert "12 images (9 train, 3 test), 3 classes" in result.stdout
    assert "groups      3 train, 1 test; none is in two of them" in result.stdout
    assert "data.file_column=NAME is needed; its columns are scan, " in refused(
        "inspect", f"csv:{tmp_path / 'scans.csv'}", *options[2:]
    )
