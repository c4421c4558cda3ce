"""Folders without splits, splits and groups of one's own; scikit-learn's splits and torchvision's order are peers."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.model_selection import StratifiedShuffleSplit
from torchvision.datasets import ImageFolder

from supcrd.data import load
from supcrd.errors import DataError

COUNTS = {"ant": 20, "bee": 10, "train": 5}


def value(name: str, number: int) -> int:
    return 40 * list(COUNTS).index(name) + number


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder a class, some of the images in a folder below, every image of another grey; tables beside."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    rows = []
    for name, count in COUNTS.items():
        for number in range(count):
            file = folder / name / ("" if number % 3 or name == "train" else "more") / f"{number:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), value(name, number)).save(file)
            rows.append((str(file.relative_to(folder)), name, ("train", "valid", "Testing")[number % 3], number % 7))
    (folder / ".DS_Store").write_text("x")
    (folder / "ant" / "._00.png").write_text("x")
    (folder / "__MACOSX").mkdir()
    write(folder.parent / "all.csv", ["file", "class", "split", "patient"], rows)
    return folder


def write(path: Path, header: list[str], rows: list[tuple]) -> Path:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def values(split) -> list[int]:
    return split.images[:][:, 0, 0, 0].tolist()


def refused(source: object, **settings: object) -> str:
    with pytest.raises(DataError) as error:
        load(f"folder:{source}", **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_folder_without_splits(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = load(f"folder:{photos}")
    whole = ImageFolder(photos, is_valid_file=lambda name: Path(name).name[0] != ".", allow_empty=True)
    assert data.class_names == ("ant", "bee", "train") == tuple(name for name in whole.classes if name[0] != "_")
    together = [*values(data.train), *values(data.validation), *values(data.test)]
    assert sorted(together) == sorted(np.asarray(image)[0, 0, 0] for image, _ in whole)
    assert [split.labels.bincount().tolist() for split in (data.test, data.validation)] == [[4, 2, 1], [2, 1, 1]]
    said = "\n".join(caplog.messages)
    assert "split_seed = 0: 24 for train, 4 for validation, 7 for test" in said
    assert "left out: 1 folder of images taken for a class (train), 2 hidden file, 1 hidden folder" in said


def test_the_test_split_is_as_stratified_as_scikit_learns(photos: Path) -> None:
    data = load(f"folder:{photos}", test=0.4, validation=0, split_seed=5)
    labels = np.repeat([0, 1, 2], list(COUNTS.values()))
    _, peer = next(StratifiedShuffleSplit(1, test_size=0.4, random_state=0).split(labels, labels))
    assert data.test.labels.bincount().tolist() == np.bincount(labels[peer]).tolist()
    assert data.validation is None


def test_the_splits_are_a_function_of_the_seed(photos: Path) -> None:
    first, again, other = (load(f"folder:{photos}", split_seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint
    assert values(first.test) != values(other.test)
    assert values(first.validation) != values(other.validation)
    # the test split is the same whatever is taken for validation
    assert values(load(f"folder:{photos}", validation=0.3).test) == values(first.test)
    streamed = load(f"folder:{photos}", stream=True, image_size=8)
    assert values(streamed.test) == values(first.test)
    assert torch.equal(streamed.train.labels, first.train.labels)


def test_a_source_with_a_train_folder_is_divided_only_where_it_is_asked(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "Training").symlink_to(photos)
    plain = load(f"folder:{tmp_path}", validation=0)
    assert plain.test is None
    assert len(plain.train) == 35
    assert len(load(f"folder:{tmp_path}", validation=0, test=0.2).test) == 7
    assert load(f"folder:{photos}", validation=0, test=0).test is None
    assert load("digits", test=0.5).fingerprint == load("digits").fingerprint
    assert "data.test = 0.5 draws nothing" in caplog.text


def test_of_images_to_measure_on_none_is_set_aside(photos: Path) -> None:
    data = load(f"folder:{photos}", whole_test=True, require_train=False)
    assert (data.train, data.validation, len(data.test)) == (None, None, 35)


def test_splits_of_a_file(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open(photos.parent / "all.csv") as file:
        table = list(csv.reader(file))[1:]
    expected = {
        split: sorted(value(row[1], int(Path(row[0]).stem)) for row in table if row[2] == name)
        for split, name in (("train", "train"), ("validation", "valid"), ("test", "Testing"))
    }
    data = load(f"folder:{photos}", split_file=str(photos.parent / "all.csv"))
    for split, wanted in expected.items():
        assert sorted(values(getattr(data, split))) == wanted
    lines = photos.parent / "some.jsonl"
    rows = [{"path": str(photos / row[0]), "set": row[2]} for row in table[:25] if row[2] != "valid"]
    lines.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(DataError, match="only one class"):
        load(f"folder:{photos}", split_file=str(write(photos.parent / "one.csv", ["file", "split"], [
            (row[0], "train") for row in table if row[1] == "ant"])))  # fmt: skip
    some = load(f"folder:{photos}", split_file=str(lines), validation=0)
    assert len(some.train) + len(some.test) == len(rows)
    assert f"{35 - len(rows)} images are not in {lines} and left out" in caplog.text


@pytest.mark.parametrize("stream", [False, True])
def test_groups_of_a_file(photos: Path, stream: bool) -> None:
    table = photos.parent / "all.csv"
    data = load(f"folder:{photos}", groups=str(table), stream=stream, image_size=8)
    sides = [set((np.array(values(split)) % 40 % 7).tolist()) for split in (data.train, data.validation, data.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 7
    assert len(data.train) + len(data.validation) + len(data.test) == 35
    for split in (data.train, data.validation, data.test):
        assert split.labels.unique().tolist() == [0, 1, 2]


def test_what_is_kept_decoded_has_its_groups(photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("supcrd.data.decoded.SLOW", -1)
    monkeypatch.setenv("SUPCRD_CACHE", str(tmp_path))
    table = write(tmp_path / "groups.csv", ["file", "of"], [(str(p), p.stem) for p in _files(photos)])
    first = load(f"folder:{photos}", groups=str(table))
    monkeypatch.setattr("supcrd.data.sources.folder.contents", None)
    monkeypatch.setattr("supcrd.data.listed.contents", None)
    again = load(f"folder:{photos}", groups=str(table))
    assert again.fingerprint == first.fingerprint
    assert torch.equal(again.train.groups, first.train.groups)
    with pytest.raises(DataError, match="has no group of"):  # a changed table is another set
        load(f"folder:{photos}", groups=str(write(table, ["file", "group"], [("ant/01.png", "a")])))


def test_bad_tables_are_named(photos: Path, tmp_path: Path) -> None:
    def table(*rows: tuple, header: tuple = ("file", "split", "group")) -> str:
        return str(write(tmp_path / "t.csv", list(header), list(rows)))

    known = ("ant/01.png", "train", "a")
    assert "has no such column; it has file, split, group" in refused(
        photos, split_file=table(known), split_column="fold"
    )
    assert "data.split_column=NAME is needed; its columns are file, x" in refused(
        photos, split_file=table(("ant/01.png", "a"), header=("file", "x"))
    )
    assert "line 3: 'ant/99.png': no image of" in refused(photos, split_file=table(known, ("ant/99.png", "test", "a")))
    assert "line 2: split 'fold1' is not right; known are train" in refused(
        photos, split_file=table(("ant/01.png", "fold1", "a"))
    )
    assert "line 3: 'ant/01.png' is 'test' here and 'train' before" in refused(
        photos, split_file=table(known, ("ant/01.png", "test", "a"))
    )
    assert "and 33 more images; a group for every image is right" in refused(photos, groups=table(known))
    assert "group = '' is no group" in refused(photos, groups=table(("ant/01.png", "train", "")))
    assert "no such file" in refused(photos, split_file="nowhere.csv")
    assert "has no columns; a .csv, .tsv or .jsonl file" in refused(photos, groups="patient")
    assert "csv:FILE is a source with columns" in refused(photos, label_column="class")
    assert "groups leaves" in refused(photos, groups=table(*[(f"{p}", "train", p.parts[-2]) for p in _files(photos)]))
    with pytest.raises(DataError, match="digits has no files with names"):
        load("digits", groups="patient")


def _files(photos: Path) -> list[Path]:
    return [path for path in photos.rglob("*.png") if path.name[0] != "."]


def test_splits_of_its_own_and_groups(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "train").symlink_to(photos)
    (tmp_path / "dev").symlink_to(photos)
    files = [f"{split}/{path.relative_to(photos)}" for split in ("train", "dev") for path in _files(photos)]
    table = write(tmp_path / "g.csv", ["file", "group"], [(name, name.rpartition("/")[2]) for name in files])
    said = refused(tmp_path, groups=str(table))
    assert "is in train (train/ant/" in said
    assert "and in validation (dev/ant/" in said
    assert "has splits already" in refused(tmp_path, split_file=str(table))


def test_folders_that_are_no_data_set(tmp_path: Path, photos: Path) -> None:
    assert "no train folder; images are expected as" in refused(tmp_path)
    write(tmp_path / "metadata.csv", ["file_name", "label"], [("a.png", "cat")])
    said = refused(tmp_path)  # long paths are cut
    assert "; csv:/" in said
    assert "metadata.csv reads the images that it lists" in said
    (tmp_path / "empty").mkdir()
    (tmp_path / "ant").symlink_to(photos / "ant")
    assert "empty: class folder without an image" in refused(tmp_path)


def test_splits_by_other_names_are_no_classes(tmp_path: Path, photos: Path) -> None:
    for name in ("training_set", "test_set"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ant").symlink_to(photos / "ant")
    assert "test_set looks like a split; call it test" in refused(tmp_path)
