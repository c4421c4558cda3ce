"""Shuffling by blocks: every image once, near its neighbours, as a function of seed and epoch alone."""

import io
import os
import re
import shutil
import tarfile
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from supcrd import recipe as recipes
from supcrd.base.seeding import permutation
from supcrd.data import load
from supcrd.data.loader import ViewBatches
from supcrd.data.order import WINDOW, blocked_order, index_batches
from supcrd.data.shares import Shares
from supcrd.errors import DataError, RecipeError
from supcrd.recipe.settings import AugmentSettings
from typed import invoke

CPU = torch.device("cpu")


@pytest.mark.parametrize("block", [1, 3, 7, 64, 1000])
@pytest.mark.parametrize("count", [0, 1, 5, 500, 1003])
def test_every_image_comes_once_and_a_window_has_whole_blocks(count: int, block: int) -> None:
    order = blocked_order(count, block, seed=1, epoch=2)
    assert sorted(order.tolist()) == list(range(count))
    short = count % block  # the last block of the set may be smaller, wherever it comes
    place = 0
    while place < count:
        size = min(WINDOW * block, count - place)
        for length in {size, size - block + short} - {0}:
            window = sorted(order[place : place + length].tolist())
            whole = {image // block for image in window}
            if len(whole) <= WINDOW and window == [i for i in range(count) if i // block in whole]:
                break
        else:
            pytest.fail(f"no whole blocks at {place}")
        place += length


def test_images_of_a_window_are_shuffled_among_themselves() -> None:
    """Of 1,600 images in random order about one follows its neighbour; of blocks left whole 1,584 would."""
    one = blocked_order(WINDOW * 100, 100, seed=0, epoch=0)
    assert int((one[1:] == one[:-1] + 1).sum()) < 10
    assert len((one[:100] // 100).unique()) > 12  # nearly all of 16 blocks in its first sixteenth
    first, second = (part % 100 for part in blocked_order(2 * WINDOW * 100, 100, seed=0, epoch=0).chunk(2))
    assert int((first == second).sum()) < 100  # each in an order of its own: one in a hundred is the same by chance


def test_it_is_a_function_of_seed_and_epoch_and_off_it_is_the_whole_permutation() -> None:
    orders = [blocked_order(1000, 8, seed=s, epoch=e) for s, e in ((0, 0), (0, 0), (0, 1), (1, 0))]
    assert torch.equal(orders[0], orders[1])
    assert not any(torch.equal(orders[0], other) for other in orders[2:])
    assert torch.equal(torch.cat(index_batches(100, 7, seed=3, epoch=5)), permutation(100, "order", 3, 5))


def test_places_of_an_image_are_uniform_over_epochs() -> None:
    """400 epochs of 320 images in blocks of 4: the mean place of each is the middle to 5 standard errors."""
    places = torch.stack([blocked_order(320, 4, seed=0, epoch=e).argsort() for e in range(400)]).double()
    error = 320 / 12**0.5 / 400**0.5
    assert (places.mean(0) - 159.5).abs().max() < 5 * error


def shards(folder: Path, count: int = 60, each: int = 20) -> Path:
    """Shards of PNGs of 8 px, whose pixels are their numbers."""
    folder.mkdir()
    for first in range(0, count, each):
        with tarfile.open(folder / f"train-{first // each:03}.tar", "w") as tar:
            for number in range(first, first + each):
                made = io.BytesIO()
                Image.new("L", (8, 8), color=number).save(made, "png")
                for kind, content in (("png", made.getvalue()), ("cls", b"%d" % (number % 3))):
                    member = tarfile.TarInfo(f"{number:04}.{kind}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return folder


PLAIN = AugmentSettings(views=1, crop_padding=0, flip=0.0, brightness=0, contrast=0, saturation=0)


def epoch(split, start: int = 0, shares: Shares | None = None, **options: object) -> list[list[int]]:
    """The numbers of the images of each batch, by their pixels."""
    more = {} if shares is None else {"shares": shares}
    batches = ViewBatches(split, PLAIN, batch_size=8, seed=0, device=CPU, block=2, **more, **options)
    return [[round(float(image.mean()) * 255) for image in batch.inputs] for batch in batches.epoch(1, start)]


def test_streamed_shards_in_blocks_asked_for_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int, int]] = []

    def advise(descriptor: int, start: int, length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED
        asked.append((os.readlink(f"/proc/self/fd/{descriptor}")[-7:-4], start, start + length))

    monkeypatch.setattr(os, "posix_fadvise", advise)
    folder = shards(tmp_path / "set")
    streamed, memory = (
        load(f"shards:{folder}", validation=0, image_size=8, stream=stream).train for stream in (True, False)
    )
    whole = epoch(memory)
    assert asked == []  # nothing is read of images in memory
    assert epoch(streamed) == whole
    assert sorted(chain.from_iterable(whole)) == list(range(60))
    assert len({number // 2 for number in chain.from_iterable(whole[:4])}) == WINDOW
    files = streamed.images.files
    for row in range(60):  # every member lies in a part that was asked for
        begin = int(files.offsets[row])
        place = f"{int(files.shard[row]):03}"
        assert any(s == place and a <= begin and begin + files.sizes[row] <= b for s, a, b in asked)
    assert epoch(streamed, start=5) == whole[5:]
    halves = [epoch(streamed, shares=Shares(2, rank, 2)) for rank in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole


def test_a_shard_that_vanishes_in_an_epoch_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there at the start, and gone, or cut short, when its images are wanted; back again, the run goes on."""
    folder, gone = shards(tmp_path / "set", 120, 40), tmp_path / "gone.tar"
    shard, views = folder / "train-001.tar", ViewBatches.views

    def vanishing(self, places, **options):
        for number, made in enumerate(views(self, places, **options)):
            if number == 1:
                shutil.move(shard, gone)
            yield made

    given = ["model.arch=convnet", "data.image_size=8", "data.stream=true", "probe.epochs=0", "train.epochs=1",
             "train.batch_size=8", "data.block=4", "data.validation=0.1", "data.workers=1", "head.epochs=0",
             "classifier=trained"]  # fmt: skip
    given = ["train", "digits-cross-entropy", f"data.source=shards:{folder}", *given, "--out", str(tmp_path / "runs")]
    with monkeypatch.context() as patched:
        patched.setattr(ViewBatches, "views", vanishing)
        said = invoke(*given)
    assert said.exit_code == 2
    lines = [line for line in said.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert re.search(r"train-001\.tar: 00\d\d\.png: cannot be read \(No such file or directory\)", lines[0])
    assert len(lines[0]) <= 300 + len(str(tmp_path))
    assert "Traceback" not in said.output

    shutil.copy(gone, shard)
    assert invoke(*given).exit_code == 0
    split = load(f"shards:{folder}", validation=0, image_size=8, stream=True).train
    shard.write_bytes(gone.read_bytes()[:4000])
    with pytest.raises(DataError, match=r"train-001\.tar: .*: the shard ends before it; was it changed during the run"):
        list(ViewBatches(split, PLAIN, batch_size=8, seed=0, device=CPU).epoch(0))


def test_what_is_said_of_sets_in_the_order_of_their_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = np.arange(60)
    np.savez(
        tmp_path / "x.npz", train_images=np.zeros((60, 8, 8), np.uint8), train_labels=rows // 20,
        test_images=np.zeros((9, 8, 8), np.uint8), test_labels=np.arange(9) // 3,
    )  # fmt: skip
    given = [f"data.source=npz:{tmp_path / 'x.npz'}", "model.arch=convnet", "probe.epochs=0", "train.epochs=1"]
    done = invoke("train", "digits-cross-entropy", *given, "data.block=2", "--out", tmp_path / "runs")
    assert done.exit_code == 0
    assert "data.block = 2: images of a class stand together" in caplog.text + done.output
    with pytest.raises(RecipeError, match=r"data\.block = 2 and train\.sampling = 'balanced' both say"):
        recipes.load("digits-kd", ["data.block=2", "train.sampling=balanced"])
