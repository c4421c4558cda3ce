"""Decoded sets on disk: what comes back is what was decoded, and nothing that can happen to the cache is an error."""

import hashlib
import io
import json
import logging
import os
import pickle
import shutil
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from supcrd.base import locks
from supcrd.data import ImageSet, decoded, load
from supcrd.data.images import Contents, Split
from supcrd.errors import DataError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of one test, which keeps sets however quickly they are decoded."""
    monkeypatch.setenv("SUPCRD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(decoded, "SLOW", -1.0)
    return tmp_path / "cache" / "decoded"


def write_npz(path: Path, seed: int = 0, **changed: np.ndarray) -> None:
    random = np.random.default_rng(seed)
    arrays = {
        "train_images": random.integers(0, 256, (30, 4, 4, 3), dtype=np.uint8),
        "train_labels": np.arange(30) % 3,
        "test_images": random.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8),
        "test_labels": np.arange(6) % 3,
        "class_names": np.array(["cat", "dog", "früh"]),
    }
    np.savez(path, **(arrays | changed))


def write_folder(path: Path, *, side: int = 5) -> None:
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for name in ("a", "b"):
            (path / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path / split / name / f"{number}.png")


def write_cifar(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-100's archive with two images a class, and its checksum in place of the official one."""
    from torchvision.datasets import CIFAR100

    random = np.random.default_rng(0)
    files = {"meta": {b"fine_label_names": [f"class {i}".encode() for i in range(100)]}}
    for name in ("train", "test"):
        files[name] = {b"data": random.integers(0, 256, (200, 3072), dtype=np.uint8), b"fine_labels": [*range(100)] * 2}
    with tarfile.open(path / "cifar-100-python.tar.gz", "w:gz") as tar:
        for name, content in files.items():
            written = pickle.dumps(content, protocol=2)
            member = tarfile.TarInfo(f"cifar-100-python/{name}")
            member.size = len(written)
            tar.addfile(member, io.BytesIO(written))
    md5 = hashlib.md5((path / "cifar-100-python.tar.gz").read_bytes()).hexdigest()
    monkeypatch.setattr(CIFAR100, "tgz_md5", md5)


@pytest.fixture(params=["npz", "folder", "cifar100"])
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A small source of each kind: how to load it, and one of its files."""
    kind = request.param
    if kind == "npz":
        write_npz(tmp_path / "set.npz")
        name, file = f"npz:{tmp_path}/set.npz", tmp_path / "set.npz"
    elif kind == "folder":
        write_folder(tmp_path / "set")
        name, file = f"folder:{tmp_path}/set", tmp_path / "set" / "train" / "b" / "1.png"
    else:
        write_cifar(tmp_path, monkeypatch)
        name, file = kind, tmp_path / "cifar-100-python.tar.gz"
    return SimpleNamespace(
        kind=kind, file=file, load=lambda **o: load(name, folder=tmp_path, **({"validation": 0.5} | o))
    )


@pytest.fixture
def no_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Once called, no source can be decoded any more."""

    def forbid() -> None:
        for file in ("npz", "cifar", "folder", "shards"):
            monkeypatch.setattr(f"supcrd.data.sources.{file}.read", refuse)

    return forbid


class Decoded(Exception):
    """The source was read."""


def refuse(*_: object, **__: object) -> Contents:
    raise Decoded


def equal(a: ImageSet, b: ImageSet) -> bool:
    splits = [(getattr(a, name), getattr(b, name)) for name in ("train", "validation", "test")]
    return (a.class_names, a.fingerprint) == (b.class_names, b.fingerprint) and all(
        x is y is None
        or (torch.equal(x.images, y.images) and torch.equal(x.labels, y.labels) and x.images.is_contiguous())
        for x, y in splits
    )


def entries(home: Path) -> list[str]:
    return sorted(os.listdir(home)) if home.exists() else []


def test_the_second_load_reads_no_source(
    source: SimpleNamespace, home: Path, no_reading: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as apart:
        apart.setattr(decoded, "SLOW", 1e9)
        plain = source.load(), source.load(validation=0.6, split_seed=3), source.load(validation=0, limit=100)
    assert entries(home) == []
    assert equal(source.load(), plain[0])
    assert [name.split("-")[0] for name in entries(home)] == [source.kind]
    no_reading()
    assert equal(source.load(), plain[0])
    assert equal(source.load(validation=0.6, split_seed=3), plain[1])  # the division is not part of what is kept
    assert equal(source.load(validation=0, limit=100), plain[2])
    assert source.load().train.labels.dtype == torch.int64


def test_a_quick_decode_is_not_kept(source: SimpleNamespace, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "SLOW", 60.0)
    source.load()
    assert not home.exists()


def test_a_changed_file_is_decoded_anew_and_what_it_was_is_removed(
    source: SimpleNamespace, home: Path, no_reading: Callable[[], None]
) -> None:
    source.load()
    first = entries(home)
    told = source.file.stat()
    os.utime(source.file, ns=(told.st_atime_ns, told.st_mtime_ns + 1))  # as small a change as there is
    source.load()
    assert len(entries(home)) == 1
    assert entries(home) != first
    no_reading()
    source.load()
    os.utime(source.file, ns=(told.st_atime_ns, told.st_mtime_ns))
    with pytest.raises(Decoded):
        source.load()


def test_changed_pixels_are_seen(home: Path, tmp_path: Path) -> None:
    write_npz(tmp_path / "set.npz")
    first = load(f"npz:{tmp_path}/set.npz")
    write_npz(tmp_path / "set.npz", seed=1)
    second = load(f"npz:{tmp_path}/set.npz")
    assert first.fingerprint != second.fingerprint
    assert torch.equal(second.test.images, torch.from_numpy(np.load(tmp_path / "set.npz")["test_images"]))


def test_files_that_come_and_go_in_a_folder(home: Path, tmp_path: Path, no_reading: Callable[[], None]) -> None:
    write_folder(tmp_path / "set")
    train = tmp_path / "set" / "train"
    assert len(load(f"folder:{tmp_path}/set").train) == 8
    shutil.copy2(train / "a" / "0.png", train / "a" / "new.png")
    assert len(load(f"folder:{tmp_path}/set").train) == 9
    (train / "a" / "new.png").rename(train / "b" / "new.png")
    assert load(f"folder:{tmp_path}/set").train.labels.sum() == 5
    (train / "empty").mkdir()
    with pytest.raises(DataError, match="without an image"):
        load(f"folder:{tmp_path}/set")
    (train / "empty").rmdir()
    (train / "a" / ".hidden").write_text("not looked at by the reader either")
    (train / "a" / "dangling.png").symlink_to(train / "nowhere.png")
    no_reading()
    assert len(load(f"folder:{tmp_path}/set").train) == 9


def test_sizes_of_a_folder_are_kept_beside_one_another(
    home: Path, tmp_path: Path, no_reading: Callable[[], None]
) -> None:
    write_folder(tmp_path / "set")
    for size in (3, 4):
        assert load(f"folder:{tmp_path}/set", image_size=size).image_size == size
    assert len(entries(home)) == 2
    no_reading()
    for size in (3, 4):
        assert load(f"folder:{tmp_path}/set", image_size=size).image_size == size
    with pytest.raises(Decoded):
        load(f"folder:{tmp_path}/set", image_size=2)


def test_what_has_no_train_split_serves_no_training(home: Path, tmp_path: Path) -> None:
    images, labels = np.zeros((4, 4, 4, 3), np.uint8), np.arange(4) % 2
    np.savez(tmp_path / "set.npz", test_images=images, test_labels=labels)
    assert len(load(f"npz:{tmp_path}/set.npz", require_train=False).test) == 4
    assert len(entries(home)) == 1
    with pytest.raises(DataError, match="train_images and train_labels are missing"):
        load(f"npz:{tmp_path}/set.npz")


def test_streamed_sets_are_not_kept(home: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "set")
    load(f"folder:{tmp_path}/set", image_size=4, stream=True)
    assert entries(home) == []


# --- damage


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def retyped(path: Path) -> None:
    np.save(path, np.load(path).astype(np.float32))


def longer(path: Path) -> None:
    array = np.load(path)
    np.save(path, np.concatenate([array, array]))


def beyond(path: Path) -> None:
    np.save(path, np.load(path) + 1)


def fortran(path: Path) -> None:
    np.save(path, np.asfortranarray(np.load(path)))


def edited(**values: object) -> Callable[[Path], None]:
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | values), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *[(name, how) for name in ("train_images.npy", "test_labels.npy", "contents.json") for how in (cut, os.remove)],
        *[(name, how) for name in ("test_images.npy", "train_labels.npy") for how in (retyped, longer)],
        ("train_labels.npy", beyond),
        ("train_images.npy", fortran),
        ("contents.json", edited(images={})),
        ("contents.json", edited(images={"elsewhere/train": [30, 4, 4, 3]})),
        ("contents.json", edited(images={"train": "all"})),
        ("contents.json", edited(class_names=["one"])),
        ("contents.json", lambda path: path.write_text("[]")),
    ],
)
def test_a_damaged_entry_is_decoded_anew_and_replaced(
    name: str,
    damage: Callable[[Path], None],
    home: Path,
    tmp_path: Path,
    no_reading: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_npz(tmp_path / "set.npz")
    first = load(f"npz:{tmp_path}/set.npz")
    [entry] = entries(home)
    damage(home / entry / name)
    with caplog.at_level(logging.INFO, "supcrd"):
        assert equal(load(f"npz:{tmp_path}/set.npz"), first)
    assert any("damaged" in record.message and entry in record.message for record in caplog.records)
    no_reading()
    assert equal(load(f"npz:{tmp_path}/set.npz"), first)
    assert entries(home) == [entry]


# --- where it lies


@pytest.mark.parametrize("place", ["file", "inside a file", "read-only"])
def test_a_cache_that_cannot_be_written_is_no_error(
    place: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_npz(tmp_path / "set.npz")
    home.parent.parent.mkdir(exist_ok=True)
    if place == "read-only":  # a superuser may write anywhere: let the making of the entry fail
        monkeypatch.setattr("tempfile.mkdtemp", raises(PermissionError(13, "Permission denied")))
    else:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("SUPCRD_CACHE", str(tmp_path / ("file" if place == "file" else "file/inside")))
    assert equal(load(f"npz:{tmp_path}/set.npz"), load(f"npz:{tmp_path}/set.npz"))
    assert entries(home) == []


def raises(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_half_written_leaves_nothing(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_npz(tmp_path / "set.npz")
    monkeypatch.setattr("os.fsync", raises(OSError(28, "No space left on device")))
    load(f"npz:{tmp_path}/set.npz")
    assert entries(home) == []
    monkeypatch.setattr("os.fsync", raises(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        load(f"npz:{tmp_path}/set.npz")
    assert entries(home) == []


@pytest.mark.parametrize(("limit", "value"), [("LARGEST", 100), ("MARGIN", 1e18)])
def test_neither_huge_sets_nor_full_disks(
    limit: str, value: float, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_npz(tmp_path / "set.npz")
    monkeypatch.setattr(decoded, limit, value)
    load(f"npz:{tmp_path}/set.npz")
    assert entries(home) == []


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SUPCRD_CACHE": "{}/own", "XDG_CACHE_HOME": "{}/xdg"}, "own/decoded"),
        ({"SUPCRD_CACHE": "", "XDG_CACHE_HOME": "{}/xdg"}, "xdg/supcrd/decoded"),
        ({"HOME": "{}/me"}, "me/.cache/supcrd/decoded"),
        ({"SUPCRD_CACHE": "~/mine", "HOME": "{}/me"}, "me/mine/decoded"),
    ],
)
def test_the_folder(
    variables: dict[str, str], expected: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SUPCRD_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    write_npz(tmp_path / "set.npz")
    load(f"npz:{tmp_path}/set.npz")
    assert len(entries(tmp_path / expected)) == 1


# --- several processes


def test_a_change_of_a_tensor_stays_in_memory(home: Path, tmp_path: Path) -> None:
    write_npz(tmp_path / "set.npz")
    first = load(f"npz:{tmp_path}/set.npz", validation=0)
    second, third = (load(f"npz:{tmp_path}/set.npz", validation=0) for _ in range(2))
    for split in (second.train, second.test):
        split.images.fill_(7)
        split.labels.zero_()
    assert equal(third, first)
    assert equal(load(f"npz:{tmp_path}/set.npz", validation=0), first)


def test_an_entry_that_is_removed_while_it_is_used(home: Path, tmp_path: Path) -> None:
    write_npz(tmp_path / "set.npz")
    first = load(f"npz:{tmp_path}/set.npz", validation=0)
    second = load(f"npz:{tmp_path}/set.npz", validation=0)
    shutil.rmtree(home)
    assert equal(second, first)


def test_two_writers(home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """All decode, all write, all end well, and one entry is left."""
    caplog.set_level(logging.INFO, "supcrd")
    split = Split(torch.randint(256, (50, 8, 8, 1), dtype=torch.uint8), torch.arange(50) % 2)
    (tmp_path / "file").write_text("source")
    together = threading.Barrier(4)

    def decode() -> Contents:
        together.wait(10)
        return Contents(("a", "b"), train=split)

    def use() -> None:
        results.append(decoded.kept(decode, kind="example", paths=[tmp_path / "file"]))

    results: list[Contents] = []
    writers = [threading.Thread(target=use) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(10)
    assert len(results) == 4
    assert not any("not kept" in record.message for record in caplog.records)
    assert len(entries(home)) == 1
    kept = decoded.kept(refuse, kind="example", paths=[tmp_path / "file"])
    assert torch.equal(kept.train.images, split.images)


def test_a_source_that_changes_while_it_is_read_is_not_kept(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    contents = Contents(("a",), train=Split(torch.zeros(1, 2, 2, 1, dtype=torch.uint8), torch.zeros(1).long()))

    def decode() -> Contents:
        file.write_text(f"{file.read_text() if file.exists() else ''} more")
        return contents

    file.write_text("source")
    decoded.kept(decode, kind="example", paths=[file])
    assert entries(home) == []
    file.unlink()  # a download: the file comes with the first reading
    decoded.kept(decode, kind="example", paths=[file])
    assert len(entries(home)) == 1
    assert decoded.kept(refuse, kind="example", paths=[file]).class_names == ("a",)


def test_what_nobody_uses_goes_and_nothing_else(home: Path, tmp_path: Path) -> None:
    for name in ("set", "other", "old"):
        write_npz(tmp_path / f"{name}.npz")
    load(f"npz:{tmp_path}/old.npz")
    [old] = entries(home)
    load(f"npz:{tmp_path}/other.npz")
    [other] = set(entries(home)) - {old}
    for name in (".killed", ".writing"):
        (home / name).mkdir()
    writing = locks.hold(home / ".writing")
    (home.parent / "not-ours").mkdir()
    for name, days in ((old, 31), (other, 31), ("not-ours", 0)):
        path = home.parent / name if name == "not-ours" else home / name
        os.utime(path, times=(0, path.stat().st_mtime - 86400 * days))
    load(f"npz:{tmp_path}/other.npz")  # used again
    load(f"npz:{tmp_path}/set.npz")
    left = entries(home)
    assert old not in left
    assert other in left
    locks.release(writing)
    assert ".writing" in left
    assert ".killed" not in left
    assert len(left) == 3
    assert (home.parent / "not-ours").is_dir()


@pytest.mark.parametrize("how", ["another user's", "others may write"])
def test_what_another_user_may_have_put_there_is_not_used(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    """The name of an entry can be guessed by whoever may read the source."""
    write_npz(tmp_path / "set.npz")
    load(f"npz:{tmp_path}/set.npz")
    [name] = entries(home)
    assert oct((home / name).stat().st_mode) == oct(0o40700)  # what is kept may be of files that others cannot read
    assert oct(home.stat().st_mode) == oct(0o40700)
    pixels = np.lib.format.open_memmap(home / name / "train_images.npy", mode="r+")
    pixels[:] = 255 - pixels
    pixels.flush()
    changed = load(f"npz:{tmp_path}/set.npz").fingerprint
    if how == "others may write":
        (home / name).chmod(0o770)
    else:
        real = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: real + 1)
    images = load(f"npz:{tmp_path}/set.npz")
    assert images.fingerprint != changed
    assert f"{name}: others can write to it" in caplog.text


def test_a_folder_that_is_taken_for_a_leftover_is_written_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process can find it in the moment before it is held."""
    taken: list[Path] = []
    hold = locks.hold

    def late(path: Path) -> int | None:
        if not taken:
            taken.append(path)
            path.rmdir()
        return hold(path)

    monkeypatch.setattr(locks, "hold", late)
    (tmp_path / "file").write_text("source")
    contents = Contents(("a",), train=Split(torch.zeros(1, 2, 2, 1, dtype=torch.uint8), torch.zeros(1).long()))
    decoded.kept(lambda: contents, kind="example", paths=[tmp_path / "file"])
    assert (len(taken), len(entries(home))) == (1, 1)
