"""Training images without labels: read from every kind of source, and where they stand in an epoch's batches."""

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
from supcrd.data.loader import ViewBatches
from supcrd.data.sampling import interleaved
from supcrd.data.unlabelled import with_unlabelled
from supcrd.errors import DataError
from supcrd.recipe.settings import AugmentSettings, DataSettings
from typed import images, write_npz

CPU = torch.device("cpu")
PIXELS = 255 - images(12)[0]


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


def flat(folder: Path) -> str:
    for place, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(folder / f"{place:02}.png")
    return f"folder:{folder}"


def nested(folder: Path) -> str:
    """Of a folder with splits, train; in folders of one class, one empty."""
    (folder / "train/empty").mkdir(parents=True)
    (folder / "test/a").mkdir(parents=True)
    Image.fromarray(PIXELS[0]).save(folder / "test/a/0.png")
    (folder / "train/any").mkdir()
    flat(folder / "train/any")
    return f"folder:{folder}"


def npz(folder: Path) -> str:
    np.savez(folder / "more.npz", train_images=PIXELS)
    return f"npz:{folder / 'more.npz'}"


def npz_with_labels(folder: Path) -> str:
    np.savez(folder / "more.npz", x_train=PIXELS, y_train=np.full(len(PIXELS), -1))
    return f"npz:{folder / 'more.npz'}"


def csv(folder: Path) -> str:
    flat(folder)
    rows = "".join(f"{place:02}.png,{place / 2},train\n" for place in range(len(PIXELS)))
    (folder / "more.csv").write_text(f"file,label,split\n{rows}")  # a label that is a float is not read
    return f"csv:{folder / 'more.csv'}"


def jsonl(folder: Path) -> str:
    flat(folder)
    rows = (json.dumps({"file_name": f"{place:02}.png"}) + "\n" for place in range(len(PIXELS)))
    (folder / "metadata.jsonl").write_text("".join(rows))
    return f"csv:{folder}"


def parquet(folder: Path) -> str:
    pq.write_table(pa.table({"image": [{"bytes": png(p), "path": "x"} for p in PIXELS]}), folder / "train.parquet")
    return f"parquet:{folder}"


def shards(folder: Path) -> str:
    with tarfile.open(folder / "train-000000.tar", "w") as tar:
        for place, pixels in enumerate(PIXELS):
            for kind, content in (("png", png(pixels)), ("json", b'{"caption": "a picture"}')):
                member = tarfile.TarInfo(f"{place:02}.{kind}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return f"shards:{folder}"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory):
    path = write_npz(tmp_path_factory.mktemp("tiny") / "tiny.npz")
    return load(f"npz:{path}")


@pytest.mark.parametrize("write", [flat, nested, npz, npz_with_labels, csv, jsonl, parquet, shards])
def test_labels_are_neither_needed_nor_read(tmp_path: Path, tiny, write) -> None:
    data = with_unlabelled(tiny, DataSettings(source=tiny.source, unlabelled=write(tmp_path)))
    assert torch.equal(data.shown.images, torch.cat([tiny.train.images, torch.from_numpy(PIXELS)]))
    assert data.shown.labels.tolist() == tiny.train.labels.tolist() + [-1] * 12
    assert torch.equal(data.train.images, tiny.train.images)  # and nothing else changes
    assert (data.fingerprint, data.validation, data.test) == (tiny.fingerprint, tiny.validation, tiny.test)
    assert data.shown_fingerprint != tiny.shown_fingerprint == tiny.fingerprint
    assert data.train.images.data_ptr() == data.shown.images.data_ptr()  # one copy in memory
    assert with_unlabelled(data, DataSettings(source=tiny.source)).shown is data.train


def test_streamed_and_in_memory_alike(tmp_path: Path) -> None:
    """Grey pictures beside RGB ones, of another size."""
    (tmp_path / "more").mkdir()
    for place, pixels in enumerate(PIXELS):
        (tmp_path / f"set/class{place % 3}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / f"set/class{place % 3}/{place}.png")
        Image.fromarray(pixels[:, :, 0]).resize((9, 11)).save(tmp_path / f"more/{place}.png")
    sets = []
    for stream in (False, True):
        settings = DataSettings(
            source=f"folder:{tmp_path / 'set'}", unlabelled=f"folder:{tmp_path / 'more'}", image_size=8, stream=stream
        )
        sets.append(with_unlabelled(load(settings.source, image_size=8, stream=stream, test=0), settings))
    whole, streamed = (data.shown for data in sets)
    assert len(whole) == 12 - 3 + 12
    assert torch.equal(whole.images, streamed.images[:])
    grey = whole.images[9:]
    assert torch.equal(grey[..., 0], grey[..., 2])
    epochs = [
        list(ViewBatches(split, AugmentSettings(views=2), batch_size=6, seed=0, device=CPU).epoch(1))
        for split in (whole, streamed)
    ]
    for one, other in zip(*epochs, strict=True):
        assert torch.equal(one.inputs, other.inputs)
        assert one.labelled == other.labelled


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda folder: f"folder:{folder}", "holds no image"),
        (lambda folder: f"folder:{folder}/none", "no such folder"),
        (lambda folder: f"foldr:{folder}", "unknown data source"),
        (lambda folder: f"npz:{write_npz(folder / 'x.npz', size=16)}", "its images are 16 px, those of"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_line(tmp_path: Path, tiny, write, words: str) -> None:
    with pytest.raises(DataError, match=r"data\.unlabelled = ") as error:
        with_unlabelled(tiny, DataSettings(source=tiny.source, unlabelled=write(tmp_path)))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_images_that_are_measured_on_are_left_out(tiny, caplog: pytest.LogCaptureFixture) -> None:
    """The set itself without labels: its train images again, of which some are test or validation images."""
    data = with_unlabelled(tiny, DataSettings(source=tiny.source, unlabelled=tiny.source))
    measured = {image.numpy().tobytes() for split in (tiny.validation, tiny.test) for image in split.images}
    every = load(tiny.source, validation=0).train.images
    assert torch.equal(data.shown.images[27:], torch.stack([i for i in every if i.numpy().tobytes() not in measured]))
    assert f"{57 - len(data.shown)} images are equal to one of validation or test, and are left out" in caplog.text


def test_files_that_are_measured_on_are_left_out_where_images_are_streamed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their bytes, whatever they are called; of many images nothing is looked for."""
    pixels = images(15)[0]
    for split, places in (("train", range(9)), ("test", range(9, 15))):
        for place in places:
            (tmp_path / f"set/{split}/class{place % 3}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[place]).save(tmp_path / f"set/{split}/class{place % 3}/{place}.png")
    (tmp_path / "more").mkdir()
    for place in range(6, 12):  # of train, then of test
        Image.fromarray(pixels[place]).save(tmp_path / f"more/x{place}.png")
    settings = DataSettings(
        source=f"folder:{tmp_path / 'set'}", unlabelled=f"folder:{tmp_path / 'more'}", image_size=8, stream=True
    )
    data = load(settings.source, image_size=8, stream=True, validation=0)
    shown = with_unlabelled(data, settings).shown
    assert torch.equal(shown.images[:][9:], torch.from_numpy(pixels[6:9]))
    assert "3 images are equal to one of validation or test, and are left out" in caplog.text
    monkeypatch.setattr("supcrd.data.unlabelled.TRIED", 11)
    assert len(with_unlabelled(data, settings).shown) == 9 + 6


def test_nothing_but_images_that_are_measured_on_is_refused(tiny, tmp_path: Path) -> None:
    np.savez(tmp_path / "same.npz", train_images=tiny.test.images.numpy())
    with pytest.raises(DataError, match=r"all its images are in the validation or test split of npz:"):
        with_unlabelled(tiny, DataSettings(source=tiny.source, unlabelled=f"npz:{tmp_path / 'same.npz'}"))


def test_rgb_behind_grey_is_refused(tmp_path: Path) -> None:
    grey = {f"{split}_images": images(count)[0][..., 0] for split, count in (("train", 30), ("test", 12))}
    data = load(f"npz:{write_npz(tmp_path / 'grey.npz', **grey)}")
    with pytest.raises(DataError, match=r"are RGB, those of .* grey; data\.channels = 3 reads grey ones as RGB"):
        with_unlabelled(data, DataSettings(source=data.source, unlabelled=npz(tmp_path)))


@pytest.mark.parametrize(("labelled", "unlabelled"), [(10, 90), (7, 5), (1, 50), (30, 1), (4, 0)])
def test_every_stretch_has_its_share(labelled: int, unlabelled: int) -> None:
    count = labelled + unlabelled
    order = interleaved(torch.arange(labelled), torch.arange(labelled, count))
    assert sorted(order.tolist()) == list(range(count))
    for size in (1, 3, 8):
        for start in range(count - size + 1):
            here = int((order[start : start + size] < labelled).sum())
            assert abs(here - size * labelled / count) < 1


@pytest.mark.parametrize("sampling", ["uniform", "balanced"])
def test_an_epoch_has_all_images_of_both_kinds(tiny, tmp_path: Path, sampling) -> None:
    data = with_unlabelled(tiny, DataSettings(source=tiny.source, unlabelled=npz(tmp_path)))
    own = {"batch_size": 10, "seed": 3, "device": CPU, "sampling": sampling}
    batches = ViewBatches(data.shown, AugmentSettings(views=2), **own)
    alone = ViewBatches(data.train, AugmentSettings(views=2), **own)
    seen = list(batches.epoch(1))
    labelled, unlabelled = [], []
    for batch in seen:
        places = range(len(batch.indices))
        assert batch.labelled == tuple(place for place in places if batch.labels[place] >= 0)
        assert batch.labelled_rows == int((batch.labels >= 0).sum()) == 2 * len(batch.labelled)
        kinds = batch.indices[list(batch.labelled)].tolist()
        labelled += kinds
        unlabelled += [index for index in batch.indices.tolist() if index not in kinds]
    # those with a label come in the order that they have without the others
    assert labelled == [index for batch in alone.epoch(1) for index in batch.indices.tolist()]
    assert sorted(unlabelled) == list(range(len(data.train), len(data.shown)))
    rest = list(batches.epoch(1, 2))
    assert [batch.indices.tolist() for batch in rest] == [batch.indices.tolist() for batch in seen[2:]]
    assert all(torch.equal(one.inputs, other.inputs) for one, other in zip(rest, seen[2:], strict=True))


def test_mixed_images_have_partners_of_their_kind(tiny, tmp_path: Path) -> None:
    """So a mixed image with a label has two, and an unlabelled one is no other's class."""
    data = with_unlabelled(tiny, DataSettings(source=tiny.source, unlabelled=npz(tmp_path)))
    settings = AugmentSettings(views=2, mixup=1.0, same_class_mixup=1.0)
    partners = set()
    for batch in ViewBatches(data.shown, settings, batch_size=13, seed=0, device=CPU).epoch(0):
        assert torch.equal(batch.partner_labels < 0, batch.labels < 0)
        partners |= set(batch.partner_labels.tolist())
    assert partners == {-1, 0, 1, 2}
