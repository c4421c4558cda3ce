"""Groups of `npz:` and `shards:`: read, drawn by, refused; and `supcrd inspect` with the keys of `[data]`."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
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


@pytest.mark.parametrize("write", [npz, shards])
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
        (npz, {"train_patient": np.zeros(30)}, "train_patient are float64 (30,); 30 integers or texts"),
        (shards, {"train_patient": None}, "00.png: patient = None is no group; a name or a whole number is right"),
        (shards, {"train_patient": 0.5}, "patient = 0.5 is no group"),
    ],
)
def test_what_is_no_group_is_refused_in_a_line(tmp_path: Path, write, changed, words: str) -> None:
    with pytest.raises(DataError) as error:
        load(write(tmp_path, **changed), groups="patient")
    assert words in str(error.value)


def test_tables_are_for_files_with_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the name of an array such as train_patient is right"):
        load(npz(tmp_path), groups="patients.csv")
    with pytest.raises(DataError, match=r"data\.split_file = .* has no files with names"):
        load(npz(tmp_path), split_file="splits.csv")


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
