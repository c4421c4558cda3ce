"""`data.split_file` for `npz:`, `shards:`, `parquet:` and saved sets, by row numbers or names of samples."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from supcrd.data import load
from supcrd.errors import DataError
from typed import images, invoke, refused, write_npz

COUNT = 30
PIXELS, LABELS = images(COUNT)
WANTED = {place: ("train", "val", "test")[(place // 3) % 3] for place in range(COUNT) if place not in (4, 11)}
"""Place -> its split; of every class some in each. Two are left out."""
PATIENTS = [WANTED.get(place, "train") + str(place % 2) for place in range(COUNT)]


def png(place: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS[place]).save(stream, "png")
    return stream.getvalue()


def npz(folder: Path) -> str:
    arrays = {"train_patient": np.array(PATIENTS), "test_images": None, "test_labels": None}
    return f"npz:{write_npz(folder / 'tiny.npz', train=COUNT, **arrays)}"


def shards(folder: Path) -> str:
    """Two shards; names of the first half come again in the second, but for two."""
    for part in range(2):
        with tarfile.open(folder / f"train-{part}.tar", "w") as tar:
            for place in range(15 * part, 15 * part + 15):
                fields = json.dumps({"label": int(LABELS[place]), "patient": PATIENTS[place]}).encode()
                for kind, content in (("png", png(place)), ("json", fields)):
                    member = tarfile.TarInfo(f"{name(place)}.{kind}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return f"shards:{folder}"


def name(place: int) -> str:
    return f"only-{place}" if place in (2, 17) else f"s{place % 15:02}"


def parquet(folder: Path) -> str:
    table = pa.table({"image": [png(place) for place in range(COUNT)], "label": LABELS.tolist(), "patient": PATIENTS})
    for part, (start, length) in enumerate([(0, 13), (13, 17)]):
        pq.write_table(table.slice(start, length), folder / f"train-{part}.parquet", row_group_size=5)
    return f"parquet:{folder}"


def saved(folder: Path) -> str:
    """As `save_to_disk` lays it out."""
    table = pa.table({"image": [png(place) for place in range(COUNT)], "label": LABELS.tolist(), "patient": PATIENTS})
    with pa.OSFile(str(folder / "data-0.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
        out.write_table(table, max_chunksize=7)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-0.arrow"}], "_split": "train"}))
    return f"parquet:{folder}"


SOURCES = {"npz": npz, "shards": shards, "parquet": parquet, "saved": saved}


def key(kind: str, place: int) -> str:
    """As a table names an image: of shards the sample, its member, or either behind the shard."""
    if kind != "shards":
        return str(place)
    ending = ".png" * (place % 2)
    return name(place) + ending if place in (2, 17) else f"train-{place // 15}.tar/{name(place)}{ending}"


@pytest.fixture(params=SOURCES)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str, Path]:
    (tmp_path / "set").mkdir()
    table = tmp_path / "splits.csv"
    rows = [f"{key(request.param, place)},{split}" for place, split in reversed(WANTED.items())]
    table.write_text("\n".join(["key,split", *rows]))
    return request.param, SOURCES[request.param](tmp_path / "set"), table


def check(data, stream: bool) -> None:
    for split, meant in (("train", "train"), ("validation", "val"), ("test", "test")):
        places = [place for place, value in WANTED.items() if value == meant]
        part = getattr(data, split)
        pixels = part.images[torch.arange(len(places))] if stream else part.images
        np.testing.assert_array_equal(np.asarray(pixels), PIXELS[places])
        assert part.labels.tolist() == LABELS[places].tolist()


@pytest.mark.parametrize("stream", [False, True])
def test_each_image_is_where_the_table_says(made, stream, caplog):
    kind, source, table = made
    stream = stream and kind != "npz"  # arrays are not streamed
    options = {"stream": True, "image_size": 8} if stream else {}
    for _ in range(2):
        check(load(source, split_file=str(table), **options), stream)
    assert f"2 images are not in {table} and left out" in caplog.text
    data = load(source, split_file=str(table), groups="patient", **options)
    assert len(data.train.groups.unique()) == 2


def test_a_changed_table_is_read_again(made, monkeypatch):
    monkeypatch.setattr("supcrd.data.decoded.SLOW", 0.0)
    kind, source, table = made
    first = load(source, split_file=str(table))
    assert load(source, split_file=str(table)).fingerprint == first.fingerprint
    table.write_text(table.read_text().replace(f"{key(kind, 29)},train", f"{key(kind, 29)},val"))
    again = load(source, split_file=str(table))
    assert (len(again.train), len(again.validation)) == (len(first.train) - 1, len(first.validation) + 1)
    assert load(source).test is None  # and without it nothing is divided


def test_what_is_refused(made):
    kind, source, table = made
    whole = table.read_text()

    def fails(text: str, match: str, **options) -> None:
        table.write_text(text)
        with pytest.raises(DataError, match=match):
            load(source, split_file=str(table), **options)

    fails(whole + "\n99,test", r"splits.csv, line 30: '99' is no (row of .* 0 to 29|image of .*like )")
    fails(whole + f"\n{key(kind, 3)},train", rf"line 30: '{key(kind, 3)}' is 'train' here and 'validation' before")
    fails(whole.replace(",val", ",hold"), r"split 'hold' is not right; known are train")
    fails(whole.replace("key", "nothing"), r"data.file_column=NAME is needed; its columns are nothing, split")
    if kind == "shards":
        fails(whole + "\ns03,train", r"'s03' is the name of several images of .*; SHARD.tar/NAME is right")
    fails(whole.replace(",train", ",test"), r"splits.csv: names no image of .* for train; some are right")
    fails(whole.replace(f"{key(kind, 0)},train", f"{key(kind, 0)},test"), "group 'train0' is in", groups="patient")


def test_a_source_with_splits_has_them(tmp_path: Path) -> None:
    source = f"npz:{write_npz(tmp_path / 'tiny.npz')}"
    (tmp_path / "s.csv").write_text("row,split\n0,test\n")
    with pytest.raises(DataError, match=r"data.split_file: .*tiny.npz has splits already"):
        load(source, split_file=str(tmp_path / "s.csv"))
    with pytest.raises(DataError, match=r"data.split_file = .*digits has no files with names"):
        load("digits", split_file=str(tmp_path / "s.csv"))


def test_numbers_count_what_is_left_out(tmp_path: Path) -> None:
    labels = LABELS.copy()
    labels[[1, 6]] = -1
    source = (
        f"npz:{write_npz(tmp_path / 't.npz', train=COUNT, train_labels=labels, test_images=None, test_labels=None)}"
    )
    rows = "\n".join(f"{place},{split}" for place, split in WANTED.items())
    (tmp_path / "s.csv").write_text(f"row,split\n{rows}\n")
    data = load(source, split_file=str(tmp_path / "s.csv"), unlabelled="skip")
    places = [place for place, split in WANTED.items() if split == "test" and place not in (1, 6)]
    np.testing.assert_array_equal(data.test.images, PIXELS[places])


def test_the_command_line(tmp_path: Path) -> None:
    source = npz(tmp_path)
    (tmp_path / "s.csv").write_text("row,split\n" + "\n".join(f"{row},{split}" for row, split in WANTED.items()))
    shown = invoke("inspect", source, "--split-file", tmp_path / "s.csv", "--json")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["splits"] == {"train": 11, "validation": 8, "test": 9}
    assert "no such file" in refused("inspect", source, "--split-file", tmp_path / "gone.csv").lower()


def test_another_column_is_another_set(made, monkeypatch):
    monkeypatch.setattr("supcrd.data.decoded.SLOW", -1.0)
    _, source, table = made
    by_column = load(source, split_file=str(table), file_column="key")
    assert by_column.train.groups is None
    assert load(source, split_file=str(table), groups="patient").train.groups is not None
    with pytest.raises(DataError, match=r"split '.*' is not right"):
        load(source, split_file=str(table), split_column="key")


@pytest.mark.parametrize("kind", ["npz", "shards", "parquet"])
def test_what_is_left_out_has_no_class_and_needs_no_label(kind, tmp_path: Path, caplog) -> None:
    """Images 4 and 11 are in no split: one is the only one of its class, the other has no label where that can be."""
    (tmp_path / "set").mkdir()
    names = [f"class {label}" for label in LABELS]
    names[4] = "nothing"
    if kind == "npz":
        labels = LABELS.copy()
        labels[4], labels[11] = 9, -1
        arrays = {"train_labels": labels, "test_images": None, "test_labels": None}
        source = f"npz:{write_npz(tmp_path / 'set' / 'tiny.npz', train=COUNT, **arrays)}"
    elif kind == "shards":
        with tarfile.open(tmp_path / "set" / "train-0.tar", "w") as tar:
            for place in range(COUNT):
                for ending, content in (("png", png(place)), ("json", json.dumps({"label": names[place]}).encode())):
                    member = tarfile.TarInfo(f"{place}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
        source = f"shards:{tmp_path / 'set'}"
    else:
        names[11] = None
        table = pa.table({"image": [png(place) for place in range(COUNT)], "label": names})
        pq.write_table(table, tmp_path / "set" / "train.parquet")
        source = f"parquet:{tmp_path / 'set'}"
    table = tmp_path / "splits.csv"
    table.write_text("\n".join(["key,split", *(f"{place},{split}" for place, split in WANTED.items())]))
    data = load(source, split_file=str(table))
    check(data, stream=False)
    assert data.num_classes == 3
    assert "label" not in caplog.text
