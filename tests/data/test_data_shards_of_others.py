"""Shards as others write them: names of files, packed ones, labels and class names in JSON, rarer images."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from supcrd.data import load
from supcrd.errors import DataError


def encoded(seed: int, kind: str = "png") -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def tar(members: list[tuple[str, bytes]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def samples(start: int, stop: int) -> list[tuple[str, bytes]]:
    return [pair for i in range(start, stop) for pair in ((f"{i}.png", encoded(i)), (f"{i}.cls", b"%d" % (i % 2)))]


LAYOUTS = {
    "words": ("imagenet-train-000000.tar", "imagenet-train-000001.tar", "imagenet-val-000000.tar"),
    "folders": ("train/00000.tar", "train/00001.tar", "Validation/00000.tar"),
    "packed": ("train-0.tar.gz", "train-1.tgz", "valid-0.tar"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("streamed", [False, True])
def test_names_and_packed_files_hold_what_plain_ones_hold(tmp_path: Path, layout: str, streamed: bool) -> None:
    for name, (start, stop) in zip(LAYOUTS[layout], ((0, 3), (3, 6), (6, 8)), strict=True):
        content = tar(samples(start, stop))
        write(tmp_path / name, gzip.compress(content) if name.endswith("gz") else content)
    write(tmp_path / "other.tar", b"of no split")
    data = load(f"shards:{tmp_path}", image_size=8, stream=streamed)
    assert (data.train.labels.tolist(), data.validation.labels.tolist()) == ([0, 1, 0, 1, 0, 1], [0, 1])
    expected = [np.asarray(Image.open(io.BytesIO(encoded(i)))) for i in range(8)]
    np.testing.assert_array_equal(torch.cat([data.train.images[:], data.validation.images[:]]), expected)


def labelled(values: list[tuple[str, bytes]], folder: Path) -> None:
    """A train shard with one image for each label member's content."""
    members = [pair for i, (kind, content) in enumerate(values) for pair in
               ((f"{i}.png", encoded(i)), (f"{i}.{kind}", content))]  # fmt: skip
    write(folder / "train-0.tar", tar(members))


def fields(**values: object) -> tuple[str, bytes]:
    return "json", json.dumps(values).encode()


@pytest.mark.parametrize(
    ("values", "names", "labels"),
    [
        ([fields(label="dog"), fields(label="cat"), fields(label="dog")], ("cat", "dog"), [1, 0, 1]),
        ([fields(label=1, class_name="cat"), fields(label=0, class_name="dog")], ("dog", "cat"), [1, 0]),
        ([fields(class_id=1, label="cat"), fields(class_id=0, label="dog")], ("dog", "cat"), [1, 0]),
        ([fields(label=1, class_name="cat"), fields(label=0)], ("0", "1"), [1, 0]),
        ([fields(target=1), fields(cls=0)], ("0", "1"), [1, 0]),
        ([fields(class_name="b"), fields(**{"class": "a"})], ("a", "b"), [1, 0]),
    ],
)
def test_labels_and_names_in_json(tmp_path: Path, values: list, names: tuple, labels: list) -> None:
    labelled(values, tmp_path)
    data = load(f"shards:{tmp_path}", validation=0)
    assert (data.class_names, data.train.labels.tolist()) == (names, labels)


def test_texts_beside_numbers_of_their_own_are_captions(tmp_path: Path) -> None:
    members = []
    for place, (number, text) in enumerate([(0, "a dog"), (1, "a cat"), (0, "another dog")]):
        members += [(f"{place}.png", encoded(place)), (f"{place}.cls", str(number).encode())]
        members.append((f"{place}.json", json.dumps({"label": text}).encode()))
    write(tmp_path / "train-0.tar", tar(members))
    data = load(f"shards:{tmp_path}", validation=0)
    assert (data.class_names, data.train.labels.tolist()) == (("0", "1"), [0, 1, 0])


def test_lines_of_the_class_names_are_labels_too(tmp_path: Path) -> None:
    write(tmp_path / "classes.txt", b"dog\ncat\n")
    labelled([("cls", b"cat\n"), fields(label="dog"), ("cls", b"0"), fields(label=1)], tmp_path)
    assert load(f"shards:{tmp_path}", validation=0).train.labels.tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([fields(label=0), fields(label="dog")], "1.json: label is 'dog'; an integer is right, as in the samples"),
        ([fields(label="dog"), fields(label=0)], "1.json holds label 0, samples before it a name"),
        ([fields(label=0, class_name="a"), fields(label=0, class_name="b")], "1.json calls class 0 'b'"),
        ([fields(label=0, class_name="a"), fields(label=1, class_name="a")], "two labels are called 'a'"),
        ([fields(label=0.5), fields(label=1)], "0.json: label is 0.5; an integer or a name"),
        ([fields(label=0), ("cls", b"dog")], "1.cls holds b'dog'; an integer as text"),
    ],
)
def test_labels_that_do_not_go_together(tmp_path: Path, values: list, said: str) -> None:
    labelled(values, tmp_path)
    with pytest.raises(DataError) as error:
        load(f"shards:{tmp_path}", validation=0)
    assert said in str(error.value)


def test_rarer_images_where_there_is_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    members = [("0.pgm", b"a mask"), ("0.png", encoded(0)), ("0.cls", b"0"), ("1.BMP", encoded(1, "bmp")),
               ("1.cls", b"1"), ("2.cls", b"0"), ("2.tiff", encoded(2, "tiff"))]  # fmt: skip
    write(tmp_path / "train.tar", tar(members))
    train = load(f"shards:{tmp_path}", validation=0).train
    expected = [np.asarray(Image.open(io.BytesIO(encoded(i)))) for i in range(3)]
    np.testing.assert_array_equal(train.images, expected)
    assert "left out: 1 .pgm" in caplog.text


def test_a_packed_shard_that_is_cut_short_is_named(tmp_path: Path) -> None:
    for content in (gzip.compress(tar(samples(0, 3)))[:-200], b"x" * 100):
        write(tmp_path / "train-0.tar.gz", content)
        with pytest.raises(DataError, match=r"train-0.tar.gz: no gzip file, or damaged or cut short"):
            load(f"shards:{tmp_path}")


def test_two_kinds_of_names_for_a_split_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "train-0.tar", tar(samples(0, 3)))
    write(tmp_path / "train" / "0.tar", tar(samples(3, 6)))
    with pytest.raises(DataError, match=r"holds both train\*.tar and train/\*.tar"):
        load(f"shards:{tmp_path}")
