"""Streamed Parquet: what is read, what is held, and a file that changes under a run."""

import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from test_data_parquet import encoded, pixels, table, write

from supcrd import recipe as recipes
from supcrd.data import load
from supcrd.data.encoded import Reading
from supcrd.data.images import Split
from supcrd.data.loader import Batch, ViewBatches
from supcrd.data.sources import parquet, rowgroups
from supcrd.data.sources.rowgroups import Recent, RowGroup, read_often
from supcrd.errors import DataError
from supcrd.jobs import beforehand
from supcrd.jobs.images import load_images
from supcrd.recipe.settings import AugmentSettings

ROWS, GROUPS = 4, 28
COUNT = ROWS * GROUPS
CPU = torch.device("cpu")
PLAIN = AugmentSettings(views=1)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What row groups are read, as (file, number)."""
    done: list[tuple[str, int]] = []
    read = rowgroups.ParquetImages.read

    def counted(self, number, count):
        done.append((self.path.name, number))
        return read(self, number, count)

    monkeypatch.setattr(rowgroups.ParquetImages, "read", counted)
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """112 images in two files of 14 row groups each."""
    for number in range(2):
        rows = range(COUNT)[number * COUNT // 2 :][: COUNT // 2]
        write(tmp_path / f"set/train-{number}.parquet", table(rows.start, rows.stop), row_group_size=ROWS)
    return tmp_path / "set"


def streamed(folder: Path) -> Split:
    return load(f"parquet:{folder}", validation=0, image_size=8, stream=True, workers=1).train


def of(split: Split) -> Recent:
    return split.images.files.chunks[0].file.recent


def test_a_small_set_is_read_once_and_stays(folder: Path, reads: list) -> None:
    """What is known of an image without its bytes is that of a set that is held: file, row and size."""
    split = streamed(folder)
    assert len(reads) == len(set(reads)) == GROUPS  # all of them fit, and stay
    files = split.images.files
    assert files.identity(57) == b"train-1.parquet\0001\000%d\0" % len(encoded(57))
    assert files.name(57).endswith("train-1.parquet: row 1 (57.png)")
    assert files.open(57).read() == encoded(57)


@pytest.mark.parametrize("limit", [1, 20_000])
def test_pixels_are_those_of_memory_in_any_order(folder: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(rowgroups, "LIMIT", limit)
    held = load(f"parquet:{folder}", validation=0, image_size=8)
    split = streamed(folder)
    assert split.labels.tolist() == held.train.labels.tolist()
    order = torch.from_numpy(np.random.default_rng(0).permutation(COUNT))
    assert (split.images[order] == held.train.images[order]).all()
    for block in (0, 30):
        pairs = [
            ViewBatches(which, PLAIN, batch_size=16, seed=1, device=CPU, block=block).epoch(1)
            for which in (split, held.train)
        ]
        for here, there in zip(*pairs, strict=True):
            assert (here.inputs == there.inputs).all()
            assert (here.indices == there.indices).all()


def test_blocks_read_each_row_group_once_and_what_is_held_does_not_grow(
    folder: Path, reads: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of a row group each: 16 of 28 are shuffled at a time, and 18 may be held."""
    largest = max(sum(len(encoded(i)) for i in range(start, start + ROWS)) for start in range(0, COUNT, ROWS))
    limit = 18 * (largest + 5 * 4 + 8)  # with Arrow's offsets, and the bits of what is null
    monkeypatch.setattr(rowgroups, "LIMIT", limit)
    split, most = streamed(folder), []
    get = Recent.get

    def watched(self, key, read):
        array = get(self, key, read)
        most.append(self.held)
        assert self.held == sum(group.result().nbytes for group in self._groups.values())
        return array

    monkeypatch.setattr(Recent, "get", watched)
    reads.clear()
    there = {(group.file.path.name, group.number) for group in of(split)._groups if isinstance(group, RowGroup)}
    seen = ViewBatches(split, PLAIN, batch_size=8, seed=0, device=CPU, block=ROWS).epoch(0)
    assert torch.cat([batch.indices for batch in seen]).sort().values.tolist() == list(range(COUNT))
    assert len(reads) == len(set(reads)) < GROUPS
    assert len({*reads, *there}) == GROUPS
    assert limit / 2 < max(most) <= limit
    reads.clear()
    list(ViewBatches(split, PLAIN, batch_size=8, seed=0, device=CPU).epoch(0))
    assert len(reads) > 1.5 * GROUPS  # any order of all images
    assert max(most) <= limit


def test_one_thread_reads_for_all_and_a_failure_is_everybodys() -> None:
    recent, begun, go = Recent(100), threading.Event(), threading.Event()
    results: list = []

    def slow():
        begun.set()
        assert go.wait(10)
        raise DataError("gone")

    def ask(read):
        try:
            results.append(recent.get("a", read))
        except DataError as error:
            results.append(str(error))

    threads = [threading.Thread(target=ask, args=(slow,))]
    threads[0].start()
    assert begun.wait(10)
    threads += [threading.Thread(target=ask, args=(lambda: results.append("read"),)) for _ in range(3)]
    for thread in threads[1:]:
        thread.start()
    reading: Any = recent._groups["a"]
    while len(reading._condition._waiters) < 3:
        time.sleep(0.001)
    go.set()
    for thread in threads:
        thread.join(10)
    assert results == ["gone"] * 4
    array = pa.array([b"x" * 60])
    assert recent.get("a", lambda: array) is array  # tried again
    assert recent.get("b", lambda: pa.array([b"y" * 60])) is not array
    assert recent.held == array.nbytes  # 68 bytes: both are more than 100
    assert recent.get("c", lambda: pa.array([b"z" * 1000]))[0].as_py() == b"z" * 1000  # the newest stays
    assert len(recent._groups) == 1


@pytest.mark.parametrize("way", ["gone", "cut short", "another"])
def test_a_file_that_changes_in_an_epoch_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setattr(rowgroups, "LIMIT", 10_000)

    def epoch(start: int) -> Iterator[Batch]:
        return ViewBatches(streamed(folder), PLAIN, batch_size=8, seed=0, device=CPU, block=4).epoch(0, start)

    file, batches = folder / "train-1.parquet", epoch(0)
    next(batches)
    whole, times = file.read_bytes(), file.stat()
    if way == "gone":
        file.unlink()
    elif way == "cut short":
        file.write_bytes(whole[:4000])
    else:
        write(file, table(0, COUNT // 2), row_group_size=ROWS)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    said = r"cannot be read \(No such file or directory\)" if way == "gone" else "was changed during the run"
    with pytest.raises(DataError, match=rf"^{file}: {said}$"):
        list(batches)
    # as it was, the run goes on
    file.write_bytes(whole)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert len(list(epoch(1))) == COUNT // 8 - 1


@pytest.mark.parametrize("cut", [4000, -1])
def test_a_file_that_changes_while_it_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    """Before the bytes are read, or after: then what was read may be of both."""
    file, read = folder / "train-1.parquet", pq.ParquetFile.read_row_group
    images = rowgroups.ParquetImages(file, "image", Recent(1))

    def changed(opened: Any, *arguments: Any, **options: Any) -> Any:
        before = read(opened, *arguments, **options) if cut < 0 else None
        file.write_bytes(file.read_bytes()[:cut])
        return read(opened, *arguments, **options) if before is None else before

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", changed)
    with pytest.raises(DataError, match=rf"^{file}: was changed during the run$"):
        images.read(GROUPS // 2 - 1, ROWS)


def test_files_without_any_bytes_paths_or_labels(tmp_path: Path) -> None:
    image = pa.array([{"bytes": None, "path": "a.png"}] * 6, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    path = write(tmp_path / "train.parquet", table(0, 6, image=image))
    with pytest.raises(DataError, match=rf"^{path}: column image has only the paths of its images; their bytes are"):
        streamed(path)
    write(path, table(0, 6, image=[encoded(i) for i in range(5)] + [None]))
    with pytest.raises(DataError, match=rf"^{path}: row 5: not a readable image: an empty file; "):
        streamed(path)
    write(path, pa.table({"image": [encoded(i) for i in range(6)]}), row_group_size=4)
    more = parquet.read(path, reading=Reading(8, stream=True), unlabelled="use")
    assert (more.train.images[:].numpy() == [pixels(i) for i in range(6)]).all()


def test_an_order_that_reads_row_groups_many_times_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = streamed(folder).images
    size = sum(chunk.bytes for chunk in images.files.chunks) / GROUPS
    assert ROWS * 200 < size < ROWS * 500
    assert read_often(images, 0) is None  # all are held
    monkeypatch.setattr(rowgroups, "WINDOW", 4)
    monkeypatch.setattr(rowgroups, "LIMIT", int(10 * size))
    assert re.fullmatch(
        r"data\.block = 0 reads row groups of 0\.00\d+ MB \(4 images\) many times an epoch: more than 0\.01\d+ MB are "
        r"in use at a time; data\.block = 4 reads each about twice",
        str(read_often(images, 0)),
    )
    assert read_often(images, 4) is None
    assert "data.block = 16 reads" in str(read_often(images, 16))
    monkeypatch.setattr(rowgroups, "LIMIT", int(7 * size))
    assert "; write the set with smaller row groups, of at most 0.00" in str(read_often(images, 4))
    assert read_often(torch.zeros(2, 8, 8, 1, dtype=torch.uint8), 0) is None


def test_a_run_says_so_before_it_trains(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rowgroups, "LIMIT", 10_000)
    made = recipes.load("digits-teacher", [f"data.source=parquet:{folder}", "data.stream=true", "data.image_size=8"])
    beforehand._check_training_split(made, load_images(made.data))
    assert f"parquet:{folder}: data.block = 0 reads row groups of 0.00" in caplog.text
