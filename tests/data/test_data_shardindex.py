"""What streamed shards hold is kept: the next start is the same without reading them."""

import logging
import os

import numpy as np
import pytest
from test_data_shards import encoded, write

from supcrd.base.home import cache_home
from supcrd.data import load
from supcrd.data.sources import shardindex, shards


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setattr(shardindex, "SLOW", 0.0)
    monkeypatch.setenv("SUPCRD_CACHE", str(tmp_path / "cache"))
    for number in range(2):
        members = []
        for i in range(4):
            image = b"broken" if (number, i) == (1, 2) else encoded(10 * number + i)
            group = b'{"label": %d, "patient": "p%d"}' % (i % 2, i // 2)
            members += [(f"{number}{i}.png", image), (f"{number}{i}.json", group)]
        write(tmp_path / "set" / f"train-{number:03}.tar", members)
    write(tmp_path / "set" / "test-000.tar", [("a.png", encoded(99)), ("a.json", b'{"label": 1}')])
    return tmp_path / "set"


def loaded(folder, **more):
    return load(f"shards:{folder}", validation=0, image_size=8, stream=True, damaged="skip", **more)


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def never(*arguments, **named):
    raise AssertionError("a shard was read")


def test_the_same_without_reading(made, monkeypatch, caplog):
    first = loaded(made)
    warned = warnings_of(caplog)
    caplog.clear()
    monkeypatch.setattr(shards, "samples_of", never)
    again = loaded(made)
    assert again.fingerprint == first.fingerprint
    assert again.class_names == first.class_names
    assert warnings_of(caplog) == warned != []  # the image that cannot be read is said at every start
    for split in ("train", "test"):
        ours, theirs = getattr(again, split), getattr(first, split)
        assert np.array_equal(ours.images[:].numpy(), theirs.images[:].numpy())
        assert np.array_equal(ours.labels, theirs.labels)
    assert len(again.train) == 7


def test_other_settings_are_read_for_themselves(made, monkeypatch):
    loaded(made)
    monkeypatch.setattr(shards, "samples_of", never)
    with pytest.raises(AssertionError, match="a shard was read"):
        load(f"shards:{made}", validation=0.4, image_size=8, stream=True, damaged="skip", groups="patient")


def test_a_changed_shard_is_read_again(made):
    first = loaded(made)
    write(made / "test-000.tar", [("b.png", encoded(7)), ("b.json", b'{"label": 0}')])
    os.utime(made / "test-000.tar", (1, 1))
    again = loaded(made)
    assert again.fingerprint != first.fingerprint
    assert again.test.images.files.name(0).endswith("b.png")


@pytest.mark.parametrize("part", ["train_offsets.npy", "test_rows.npy", "contents.json", "train_labels.npy"])
def test_what_is_damaged_is_read_again(made, caplog, part):
    first = loaded(made)
    (kept,) = cache_home().glob(f"listed/*/{part}")
    kept.write_bytes(kept.read_bytes()[:-8])
    assert loaded(made).fingerprint == first.fingerprint
    assert "damaged" in caplog.text
