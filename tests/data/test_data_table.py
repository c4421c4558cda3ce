"""Tables of files: `csv:` with its kin and Hugging Face's metadata; the csv and json modules write them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from supcrd.data import load
from supcrd.data.classes import renamed
from supcrd.data.rows import Rows, column, read_rows
from supcrd.errors import DataError

NAMES = ("wolf", "ant", "bee, the")
FILES = [f"img/{number:02}.png" for number in range(24)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images 0 to 23 whose pixels are their number."""
    path = tmp_path_factory.mktemp("tables")
    (path / "img").mkdir()
    for number, name in enumerate(FILES):
        Image.new("L", (8, 8), number).save(path / name)
    return path


def rows_of(**changed: object) -> list[dict[str, object]]:
    rows = [{"file_name": name, "label": NAMES[number % 3]} for number, name in enumerate(FILES)]
    return [row | {key: value(number) for key, value in changed.items()} for number, row in enumerate(rows)]


def write(path: Path, rows: list[dict[str, object]], **options: object) -> Path:
    with open(path, "w", newline="", encoding=options.pop("encoding", "utf-8")) as file:
        if path.suffix == ".jsonl":
            file.writelines(f"{json.dumps(row)}\n" for row in rows)
        else:
            writer = csv.DictWriter(file, list(rows[0]), **options)
            writer.writeheader()
            writer.writerows(rows)
    return path


def numbers(split) -> list[int]:
    return split.images[:][:, 0, 0, 0].tolist()


def refused(path: object, **settings: object) -> str:
    with pytest.raises(DataError) as error:
        load(f"csv:{path}", **settings)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.csv", {}),
        ("a.csv", {"delimiter": ";", "encoding": "utf-8-sig", "quoting": csv.QUOTE_ALL}),
        ("a.tsv", {"delimiter": "\t"}),
        ("a.jsonl", {}),
    ],
)
def test_every_kind_gives_the_same(folder: Path, name: str, options: dict) -> None:
    path = write(folder / name, rows_of(), **options)
    data = load(f"csv:{path}", validation=0, test=0)
    assert data.class_names == tuple(sorted(NAMES))
    assert numbers(data.train) == list(range(24))
    assert [data.class_names[label] for label in data.train.labels] == [NAMES[number % 3] for number in range(24)]
    drawn = load(f"csv:{path}", stream=True, image_size=8)
    assert torch.equal(drawn.test.labels.bincount(), torch.tensor([2, 2, 2]))
    assert sorted(numbers(drawn.train) + numbers(drawn.validation) + numbers(drawn.test)) == list(range(24))


def test_a_split_column(folder: Path) -> None:
    path = write(folder / "s.csv", rows_of(split=lambda number: ("train", "Valid", "testing", "training")[number % 4]))
    data = load(f"csv:{path}")
    assert numbers(data.test) == [number for number in range(24) if number % 4 == 2]
    assert numbers(data.validation) == [number for number in range(24) if number % 4 == 1]
    assert numbers(data.train) == [number for number in range(24) if number % 4 in (0, 3)]


def test_columns_of_other_names_and_integers(folder: Path) -> None:
    rows = [{"id": row["file_name"], "dx": 9 + number % 3, "fold": "dev" if number > 20 else "train"}
            for number, row in enumerate(rows_of())]  # fmt: skip
    path = write(folder / "o.csv", rows)
    named = {"file_column": "id", "label_column": "dx", "split_column": "fold"}
    data = load(f"csv:{path}", **named)
    assert data.class_names == ("9", "10", "11")
    assert data.train.labels.tolist() == [number % 3 for number in range(21)]
    assert (numbers(data.validation), data.test) == ([21, 22, 23], None)
    assert renamed(data, NAMES).class_names == NAMES
    assert "data.file_column=NAME is needed; its columns are id, dx, fold" in refused(path)
    assert "it has id, dx, fold" in refused(path, **named | {"label_column": "label"})
    two = write(folder / "two.csv", rows_of(**{"class": str}))
    assert "which column is meant, label, class? data.label_column=NAME says it" in refused(two)


def test_a_label_of_more_digits_than_python_converts(folder: Path) -> None:
    path = write(folder / "long.csv", rows_of(label=lambda number: ("2", "10", "9" * 5000)[number % 3]))
    assert load(f"csv:{path}").class_names == ("10", "2", "9" * 5000)  # as texts


def test_hugging_faces_metadata(folder: Path, tmp_path: Path) -> None:
    for split, first in (("train", 0), ("validation", 15), ("test", 18)):
        (tmp_path / split).mkdir()
        last = {"train": 15, "validation": 18, "test": 24}[split]
        rows = [{"file_name": f"{n}.png", "label": NAMES[n % 3]} for n in range(first, last)]
        for number in range(first, last):
            Image.open(folder / FILES[number]).save(tmp_path / split / f"{number}.png")
        write(tmp_path / split / ("metadata.jsonl" if split == "test" else "metadata.csv"), rows)
    data = load(f"csv:{tmp_path}")
    assert [numbers(split) for split in (data.train, data.validation, data.test)] == [
        list(range(15)), [15, 16, 17], list(range(18, 24))]  # fmt: skip
    # a split without labels, as those of competitions
    write(tmp_path / "test" / "metadata.jsonl", [{"file_name": f"{n}.png", "label": ""} for n in range(18, 24)])
    assert "data.unlabelled=skip leaves such images out" in refused(tmp_path)
    assert numbers(load(f"csv:{tmp_path}", unlabelled="skip", test=0).train) == list(range(15))
    # one table above, whose names begin with the splits
    every = [{"file_name": f"{split}/{file.name}", "label": NAMES[int(file.stem) % 3]}
             for split in ("train", "test") for file in sorted((tmp_path / split).glob("*.png"))]  # fmt: skip
    write(tmp_path / "metadata.csv", every)
    data = load(f"csv:{tmp_path}", validation=0)
    assert sorted(numbers(data.train)) == list(range(15))
    assert sorted(numbers(data.test)) == list(range(18, 24))
    assert "no metadata.csv or" in refused(folder / "img")


def test_groups_of_a_column(folder: Path) -> None:
    path = write(folder / "g.jsonl", rows_of(patient=lambda number: number // 4))
    data = load(f"csv:{path}", groups="patient")
    sides = [{number // 4 for number in numbers(split)} for split in (data.train, data.validation, data.test)]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 6
    assert [split.labels.unique().tolist() for split in (data.train, data.test)] == [[0, 1, 2]] * 2
    crossed = rows_of(patient=lambda number: number // 4, split=lambda number: "test" if number < 2 else "train")
    said = refused(write(folder / "x.csv", crossed), groups="patient")
    assert "group '0' is in test (img/00.png) and in train (img/02.png)" in said
    few = write(folder / "few.csv", rows_of(patient=lambda number: NAMES[number % 3]))
    assert "without an image of class" in refused(few, groups="patient")
    assert "group(s) here; data.test=0 draws no test split" in refused(few, groups="patient")
    assert "has no such column; it has file_name, label, patient" in refused(few, groups="pat")


@pytest.mark.parametrize(
    ("number", "changed", "said"),
    [
        (3, {"label": ""}, "img/03.png (line 5 of b.csv): no label (label = '')"),
        (3, {"label": "0.5"}, "b.csv, line 5: label = '0.5' is a float; a class name or a whole number is right"),
        (3, {"label": "1e3"}, "line 5: label = '1e3' is a float"),
        (3, {"label": "nan"}, "line 5: label = 'nan' is a float"),
        (3, {"label": "-3"}, "line 5: label = -3 is negative"),
        (3, {"file_name": ""}, "line 5: file_name = '' is no name of a file"),
        (3, {"file_name": "img/gone.png"}, "img/gone.png (line 5 of b.csv): no such image file; data.damaged=skip"),
        (3, {"file_name": "img"}, "img (line 5 of b.csv): is no file"),
        (3, {"file_name": "img/../img/00.png", "label": "ant"}, "two labels, 'ant' and 'wolf' (line 2 of b.csv)"),
        (3, {"split": "fold3"}, "line 5: split 'fold3' is not right; known are train: train, training; validation:"),
        (3, {"split": ""}, "line 5: split '' is not right"),
        (3, {"label": "emu", "split": "test"}, "(line 5 of b.csv): class 'emu' of test is not in train"),
        (3, {"file_name": "./img/02.png", "label": "bee, the", "split": "test"}, "two splits, 'test' and 'train'"),
    ],
)
def test_a_bad_row_is_named(folder: Path, number: int, changed: dict, said: str) -> None:
    rows = rows_of(split=lambda number: "train" if number < 20 else "test")
    rows[number] |= changed
    assert said in refused(write(folder / "b.csv", rows))


def test_what_may_be_left_out(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = rows_of()
    rows[3]["label"], rows[4]["label"], rows[5]["file_name"] = "", -1, "img/gone.png"
    path = write(folder / "l.csv", [*rows, rows[0], {"file_name": str(folder / FILES[0]), "label": "wolf"}])
    assert "and 1 more rows; data.unlabelled=skip" in refused(path, damaged="skip")
    data = load(f"csv:{path}", unlabelled="skip", damaged="skip", validation=0, test=0)
    assert numbers(data.train) == [number for number in range(24) if number not in (3, 4, 5)]
    for part in ("2 images without a label", "2 rows name a file again", "1 of 22 images cannot be read"):
        assert part in caplog.text


def test_no_file_is_there(folder: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "far.csv", rows_of())
    first = tmp_path / FILES[0]
    assert f"none of its 24 files is there, the first {first} (line 2 of far.csv); names in it" in refused(path)
    assert "no such file" in refused(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "", "holds no row"),
        ("a.csv", "file,label\n", "holds no row"),
        ("a.csv", "file,label\na.png\n", "line 2: 1 values, but 2 columns (file, label)"),
        ("a.csv", 'file,label\n"a.png,cat\n', "line 2: unexpected end of data"),
        ("a.csv", "file,label,file\na,b,c\n", "two columns are called 'file'"),
        ("a.csv", b"file,label\n\xff\xfe,b\n", "not UTF-8 text"),
        ("a.jsonl", '{"file": "a.png"}\n{"file": \n', "line 2: no JSON object"),
        (
            "a.jsonl",
            '{"file": "a.png", "label": "\\ud83d\\ude00"}\n{"file": "\\ud800.png"}\n',
            "line 2: an escape \\ud...",
        ),
        ("a.jsonl", "[1, 2]", "line 1: 1 is no JSON object"),
        ("a.jsonl", '"a.png"\n', "line 1: 'a.png' is no JSON object"),
    ],
)
def test_what_is_no_table(tmp_path: Path, name: str, text: str | bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as error:
        read_rows(path, "data.source")
    assert said in str(error.value)


def test_spaces_before_quotes_and_lines_without_values(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(' ;\n \nfile; "label"\n"a.png"; "bee; the"\n ;\nb.png;  wolf \n')
    assert read_rows(path, "k") == Rows(path, ("file", "label"), [["a.png", "bee; the"], ["b.png", "wolf"]], [4, 6])


def test_values_of_json(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"file": " a.png ", "label": 1}, {"file": "b.png", "extra": None}]))
    assert read_rows(path, "k") == Rows(
        path, ("file", "label", "extra"), [["a.png", 1, None], ["b.png", None, None]], [1, 2]
    )
    for value, said in ((1.0, "1.0 is a float"), (True, "true is neither text"), ([1], "[1] is neither text")):
        rows = rows_of()
        rows[0]["label"] = value
        assert said in refused(write(folder / "v.jsonl", rows))
    assert column(Rows(path, ("IMAGE", "y"), [], []), None, "k", ("image",)) == 0


def test_a_changed_table_is_read_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supcrd.data.decoded.SLOW", -1)
    monkeypatch.setenv("SUPCRD_CACHE", str(tmp_path))
    path = write(folder / "c.csv", rows_of())
    first = load(f"csv:{path}")
    with monkeypatch.context() as patch:
        patch.setattr("supcrd.data.listed.contents", None)
        assert load(f"csv:{path}").fingerprint == first.fingerprint  # from what is kept
    write(path, rows_of(label=lambda number: NAMES[number % 2]))
    assert load(f"csv:{path}").class_names == ("ant", "wolf")
    assert np.array_equal(first.train.labels.bincount(), [6, 6, 6] if len(first.train) == 18 else [5, 5, 5])
