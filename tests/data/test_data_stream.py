"""A streamed set gives what the same set gives in memory, bit for bit, in bounded memory, and goes on exactly."""

import json
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from supcrd import recipe as recipes
from supcrd.data import channel_statistics, load, stream
from supcrd.data.imagefile import File
from supcrd.data.loader import ViewBatches
from supcrd.data.stream import AHEAD, StreamedImages, fetch
from supcrd.errors import DataError
from supcrd.jobs import ready
from supcrd.jobs import run as pipeline
from supcrd.models.weights import load_model, load_state
from supcrd.recipe.settings import AugmentSettings
from typed import NET, TIMES, invoke, refused

CPU = torch.device("cpu")
SMALL = ["data.image_size=8", *NET]


def write(path: Path, seed: int, bright: int, height: int = 8, width: int = 8) -> None:
    pixels = np.random.default_rng(seed).integers(0, 60, (height, width, 3), dtype=np.uint8)
    pixels[..., bright] += 150
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """45 train and 9 test images of three classes and several sizes and formats."""
    folder = tmp_path / "set"
    for split, count in (("train", 45), ("test", 9)):
        for index in range(count):
            suffix = ("png", "jpg", "webp")[index % 5 % 3]
            path = folder / split / f"class{index % 3}" / f"{index:03d}.{suffix}"
            write(path, index, index % 3, 8 + index % 4, 8 + index % 3)
    return folder


def both(folder: Path, **options):
    """The same set in memory and streamed."""
    return tuple(load(f"folder:{folder}", image_size=8, stream=streamed, **options) for streamed in (False, True))


def same(first, second) -> None:
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a[:3], b[:3], strict=True))


def test_streamed_images_are_torchvisions(tree: Path) -> None:
    peer = ImageFolder(tree / "train", v2.Compose([v2.Resize(8), v2.CenterCrop(8)]))
    train = load(f"folder:{tree}", validation=0, image_size=8, stream=True).train
    assert isinstance(train.images, StreamedImages)
    assert train.images.shape == (45, 8, 8, 3)
    assert train.labels.tolist() == peer.targets
    for index, (image, _) in enumerate(peer):
        np.testing.assert_array_equal(train.images[index : index + 1][0].numpy(), np.asarray(image))


def test_any_part_of_them_is_that_of_the_set_in_memory(tree: Path) -> None:
    memory, streamed = (data.train.images for data in both(tree))
    indices = [slice(None), slice(3, 17), slice(40, 60), slice(0, 0), torch.tensor([7, 0, 38, 7]), torch.arange(0)]
    for index in indices:
        assert torch.equal(streamed[index], memory[index])
        assert streamed[index].dtype == torch.uint8
        assert streamed[index].is_contiguous()
    assert channel_statistics(streamed) == channel_statistics(memory)


@pytest.mark.parametrize("options", [{"validation": 0.3, "split_seed": 2}, {"validation": 0.2, "limit": 7}])
def test_validation_split_and_limit(tree: Path, options: dict[str, float]) -> None:
    memory, streamed = both(tree, **options)
    assert streamed.class_names == memory.class_names
    for name in ("train", "validation", "test"):
        a, b = getattr(memory, name), getattr(streamed, name)
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.images, b.images[:])


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_are_those_of_the_set_in_memory(tree: Path, workers: int) -> None:
    memory, streamed = both(tree, workers=workers)
    made = [ViewBatches(data.train, AugmentSettings(), batch_size=6, seed=5, device=CPU) for data in (memory, streamed)]
    for epoch in (0, 1):
        same(list(made[0].epoch(epoch)), list(made[1].epoch(epoch)))


@pytest.mark.parametrize("start", [0, 1, 5, 6, 7])
def test_an_epoch_goes_on_at_any_step(tree: Path, start: int) -> None:
    batches = ViewBatches(both(tree)[1].train, AugmentSettings(), batch_size=6, seed=0, device=CPU)
    assert batches.steps == 7
    whole, rest = list(batches.epoch(1)), list(batches.epoch(1, start))
    assert len(rest) == 7 - start
    for a, b in zip(whole[start:], rest, strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.indices, b.indices)


class Watched:
    """Files that note which rows were opened, and take their time."""

    def __init__(self, files: stream.Files, wait: float = 0) -> None:
        self.files, self.wait, self.opened, self.lock = files, wait, [], threading.Lock()
        self.name, self.identity = files.name, files.identity

    def __len__(self) -> int:
        return len(self.files)

    def open(self, row: int) -> File:
        with self.lock:
            self.opened.append(row)
        time.sleep(self.wait)
        return self.files.open(row)


def watched(tree: Path, wait: float = 0, workers: int = 2) -> tuple[StreamedImages, Watched]:
    split = load(f"folder:{tree}", validation=0, image_size=8, stream=True, workers=workers).train
    split.images.files = Watched(split.images.files, wait)
    return split.images, split.images.files


def test_no_more_than_a_few_batches_are_decoded_and_alive(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, since resident memory is no steady measure: an epoch of 23 batches never holds more than AHEAD + 2."""
    alive, most = set(), []
    begin = StreamedImages._begin

    def counted(self, index, cuts, *, pinned):
        made = begin(self, index, cuts, pinned=pinned)
        alive.add(id(made[0]))
        weakref.finalize(made[0], alive.discard, id(made[0]))
        most.append(len(alive))
        return made

    monkeypatch.setattr(StreamedImages, "_begin", counted)
    store, files = watched(tree)
    for number, _ in enumerate(fetch(store, torch.arange(45).split(2), CPU), 1):
        time.sleep(0.01)  # while a step is computed, decoding runs ahead as far as it may
        assert len(files.opened) <= 2 * (number + AHEAD)
    assert len(most) == 23
    assert max(most) <= AHEAD + 2
    assert sorted(files.opened) == list(range(45))
    del _
    assert not alive


def test_the_next_batches_are_decoded_while_one_is_used(tree: Path) -> None:
    store, files = watched(tree)
    batches = fetch(store, torch.arange(45).split(5), CPU)
    next(batches)
    deadline = time.monotonic() + 10
    while len(files.opened) < 5 * (1 + AHEAD) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(files.opened) == list(range(5 * (1 + AHEAD)))


def test_who_stops_early_waits_for_nothing(tree: Path) -> None:
    store, files = watched(tree, wait=0.02, workers=1)
    batches = fetch(store, torch.arange(45).split(9), CPU)
    next(batches)
    started = time.monotonic()
    batches.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 0.1  # 27 images wait at 0.02 s each
    seen = len(files.opened)
    time.sleep(0.5)
    assert len(files.opened) <= seen + stream.TASK  # the task that had been begun
    assert torch.equal(store[:9], store[torch.arange(9)])  # and the pool is still of use


def test_a_process_that_stops_early_ends(tree: Path) -> None:
    code = (
        "import sys, time, torch; from supcrd.data import load; from supcrd.data.stream import fetch\n"
        "images = load('folder:' + sys.argv[1], image_size=8, stream=True, workers=2).train.images\n"
        "files, read = images.files, images.files.open\n"
        "files.open = lambda row: (time.sleep(0.05), read(row))[1]\n"
        "batches = fetch(images, torch.zeros(100000, dtype=torch.int64).split(16), torch.device('cpu'))\n"
        "next(batches)\nraise KeyboardInterrupt"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tree)], capture_output=True, text=True, timeout=60)
    assert "KeyboardInterrupt" in done.stderr


def test_an_unreadable_image_is_named_when_it_is_asked_for(tree: Path) -> None:
    store = load(f"folder:{tree}", validation=0, image_size=8, stream=True).train.images
    files = sorted((tree / "train").glob("*/*"))
    files[20].write_bytes(files[20].read_bytes()[:-30])
    files[21].unlink()
    batches = fetch(store, torch.arange(45).split(5), CPU)
    for _ in range(4):
        next(batches)
    with pytest.raises(DataError, match="not a readable image") as error:  # the first in order, not in time
        next(batches)
    assert str(files[20]) in str(error.value)
    with pytest.raises(DataError, match="no such image file") as error:
        store[21:22]
    assert str(files[21]) in str(error.value)


def test_grey_or_rgb_as_in_memory(tmp_path: Path) -> None:
    for index in range(4):
        path = tmp_path / "train" / f"class{index % 2}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), color=40 * index).save(path)
    memory, streamed = both(tmp_path, validation=0)
    assert memory.channels == streamed.channels == 1
    assert torch.equal(memory.train.images, streamed.train.images[:])
    write(tmp_path / "train" / "class1" / "9.png", 0, 0)
    memory, streamed = both(tmp_path, validation=0)
    assert memory.channels == streamed.channels == 3
    assert torch.equal(memory.train.images, streamed.train.images[:])


def test_a_sample_stands_for_a_large_set(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SAMPLE", 10)
    store, files = watched(tree)
    mean, std = channel_statistics(store)
    assert len(files.opened) == len(set(files.opened)) == 10
    measured = store[torch.tensor(sorted(files.opened))].double() / 255
    assert mean == pytest.approx(measured.mean((0, 1, 2)).tolist(), rel=1e-12)
    assert std == pytest.approx(measured.std((0, 1, 2), unbiased=False).tolist(), rel=1e-12)
    first = set(files.opened)
    files.opened.clear()
    channel_statistics(store)
    assert set(files.opened) == first


def test_the_fingerprint_tells_names_sizes_labels_and_division_but_not_the_place(tree: Path, tmp_path: Path) -> None:
    def told(**options):
        return load(f"folder:{tree}", stream=True, **({"image_size": 8} | options)).fingerprint

    first = told()
    assert first == told() == told(workers=1)
    seen = {
        first,
        load(f"folder:{tree}", image_size=8).fingerprint,
        told(split_seed=1),
        told(limit=9),
        told(image_size=9),
    }
    assert len(seen) == 5
    tree = tree.rename(tmp_path / "moved")
    assert told() == first
    image = sorted((tree / "train" / "class1").iterdir())[0]
    content = image.read_bytes()
    image.write_bytes(content + b"\0")
    seen.add(told())
    image.write_bytes(content)
    image.rename(image.with_stem("x"))
    seen.add(told())
    image.with_stem("x").rename(tree / "train" / "class2" / image.name)
    seen.add(told())
    (tree / "train" / "class2" / image.name).rename(image)
    assert told() == first
    for split in ("train", "test"):
        (tree / split / "class2").rename(tree / split / "class3")
    seen.add(told())
    assert len(seen) == 9


def test_names_are_kept_as_they_are() -> None:
    names = stream.Names()
    for name in (b"a", b"", "ü".encode(), b"c\nd"):
        names.append(name)
    assert [names[row] for row in range(len(names))] == [b"a", b"", "ü".encode(), b"c\nd"]


# Whole runs


def evaluation(folder: Path) -> dict[str, object]:
    values = json.loads((folder / "evaluation.json").read_text())
    # weights: of the file, whose card holds the recipe
    return {k: v for k, v in values.items() if k not in (*TIMES, "data_fingerprint", "name", "source", "weights")}


def losses(folder: Path) -> list[dict[str, object]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows]


def test_a_streamed_run_gives_the_numbers_of_one_in_memory(tree: Path, tmp_path: Path) -> None:
    for name in ("memory", "stream"):
        more = [f"name={name}", f"data.stream={'true' if name == 'stream' else 'false'}"]
        result = invoke(
            "train", "digits-teacher", f"data.source=folder:{tree}", *SMALL, *more, "--out", tmp_path / "runs"
        )
        assert result.exit_code == 0, result.output
    memory, streamed = tmp_path / "runs" / "memory", tmp_path / "runs" / "stream"
    assert evaluation(memory) == evaluation(streamed)
    assert losses(memory) == losses(streamed)
    weights = [load_model(folder)[0].state_dict() for folder in (memory, streamed)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_streamed_run_goes_on_in_the_middle_of_an_epoch(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [f"data.source=folder:{tree}", *SMALL, "data.stream=true", "train.batch_size=6"]
    recipe = recipes.load("digits-teacher", options)
    whole = pipeline.run(recipe, tmp_path / "whole").folder

    class Cut(ViewBatches):
        def epoch(self, epoch, start=0):
            for step, batch in enumerate(super().epoch(epoch, start), start):
                if (epoch, step) == (1, 3):
                    signal.raise_signal(signal.SIGINT)
                yield batch

    with monkeypatch.context() as patched:
        patched.setattr(ready, "ViewBatches", Cut)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(recipe, tmp_path / "cut")
    state = load_state(tmp_path / "cut" / recipe.name / "checkpoint.pt")
    assert (state["epoch"], state["step"]) == (1, 4)
    more_workers = recipes.load("digits-teacher", [*options, "data.workers=3"])  # a matter of the place
    resumed = pipeline.run(more_workers, tmp_path / "cut")
    assert resumed.status == "resumed"
    assert losses(whole) == losses(resumed.folder)
    assert evaluation(whole) == evaluation(resumed.folder)


def test_an_image_that_breaks_while_training_ends_the_run_and_leaves_its_checkpoint(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tree / "train" / "class0" / "000.png"

    class Breaking(ViewBatches):
        def epoch(self, epoch, start=0):
            if epoch == 1:
                broken.write_bytes(b"no image")
            yield from super().epoch(epoch, start)

    monkeypatch.setattr(ready, "ViewBatches", Breaking)
    options = [f"data.source=folder:{tree}", *SMALL, "data.stream=true", "data.validation=0", "name=x"]
    line = refused("train", "digits-teacher", *options, "--out", tmp_path / "runs")
    assert f"{broken}: not a readable image" in line
    assert load_state(tmp_path / "runs" / "x" / "checkpoint.pt")["epoch"] == 1
    assert not (tmp_path / "runs" / "x" / "evaluation.json").exists()


def test_workers_neither_name_nor_change_a_run() -> None:
    options = ["data.source=folder:x", "data.stream=true", "data.image_size=8"]
    plain, more = (recipes.load("digits-teacher", [*options, *extra]) for extra in ([], ["data.workers=4"]))
    assert plain.name == more.name
    assert "stream=true" in plain.name
    assert not recipes.differences(plain, more)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["data.source=digits", "data.image_size=8"], "data.stream = true: digits is no source of image files"),
        (["data.source=npz:/x.npz"], "data.stream = true: npz:/x.npz is no source of image files (folder:"),
        (["data.source=folder:nowhere"], "data.stream = true needs data.image_size=N"),
        (["data.source=folder:nowhere", "data.image_size=8"], "nowhere: no such folder"),
        (["data.source=shards:nowhere", "data.image_size=8"], "nowhere: no such folder"),
        (["data.source=folder:nowhere", "data.workers=0"], "data.workers = 0"),
    ],
)
def test_what_cannot_be_streamed_is_named(tmp_path: Path, options: list[str], said: str) -> None:
    line = refused("train", "digits-teacher", *options, "data.stream=true", "--out", tmp_path / "runs")
    assert said in line
    assert not (tmp_path / "runs").exists()


def test_checks_that_need_no_decoding_are_made_at_once(tree: Path) -> None:
    def fails(said: str) -> None:
        with pytest.raises(DataError, match=said):
            load(f"folder:{tree}", image_size=8, stream=True)

    write(tree / "test" / "eel" / "0.png", 0, 0)
    fails("class 'eel' is not in")
    (tree / "train" / "eel").mkdir()
    fails("class folder without an image")
    (tree / "train" / "eel" / "0.png").write_bytes(b"no image")
    fails("not a readable image")  # its header is in the sample
