import gzip
import hashlib
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
from torchvision import datasets

from supcrd.data import load
from supcrd.errors import DataError

OFFICIAL = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}
NAMES = {"cifar10": 10, "cifar100": 100}


class Archive(SimpleNamespace):
    """A small archive in the official layout, and its checksums in place of the official ones."""

    name: str
    folder: Path
    files: dict[str, bytes]
    rows: dict[str, np.ndarray]
    labels: dict[str, list[int]]

    def write(self, patch: pytest.MonkeyPatch, *, files: dict[str, bytes] | None = None, cut: int = 0) -> Path:
        official = OFFICIAL[self.name]
        path = self.folder / official.filename
        with tarfile.open(path, "w:gz") as tar:
            # Not the order of the lists: the reader must not depend on it.
            for file, content in reversed((files or self.files).items()):
                member = tarfile.TarInfo(f"{official.base_folder}/{file}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        if cut:
            path.write_bytes(path.read_bytes()[:-cut])
        patch.setattr(official, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())
        return path

    def extract(self, patch: pytest.MonkeyPatch) -> Path:
        official = OFFICIAL[self.name]
        target = self.folder / official.base_folder
        target.mkdir()
        for file, content in self.files.items():
            (target / file).write_bytes(content)
        md5 = {file: hashlib.md5(content).hexdigest() for file, content in self.files.items()}
        patch.setattr(official, "train_list", [[file, md5[file]] for file, _ in official.train_list])
        patch.setattr(official, "test_list", [[file, md5[file]] for file, _ in official.test_list])
        patch.setattr(official, "meta", {**official.meta, "md5": md5[official.meta["filename"]]})
        return target


@pytest.fixture(params=["cifar10", "cifar100"])
def archive(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    # No test may reach the network, whatever goes wrong.
    monkeypatch.setattr("torchvision.datasets.utils.download_url", no_network)
    name, generator = request.param, np.random.default_rng(0)
    official, classes = OFFICIAL[name], NAMES[request.param]
    result = Archive(name=name, folder=tmp_path, files={}, rows={}, labels={})
    key = b"labels" if name == "cifar10" else b"fine_labels"
    for file in [file for file, _ in official.train_list + official.test_list]:
        n = 2 * classes
        result.rows[file] = generator.integers(0, 256, (n, 3072), dtype=np.uint8)
        result.labels[file] = generator.permutation(np.arange(n) % classes).tolist()
        content = {b"data": result.rows[file], key: result.labels[file], b"filenames": [b"x.png"] * n}
        if name == "cifar100":
            content[b"coarse_labels"] = [0] * n
        result.files[file] = pickle.dumps(content, protocol=2)
    names = [f"class {index}".encode() for index in range(classes)]
    result.files[official.meta["filename"]] = pickle.dumps({official.meta["key"].encode(): names}, protocol=2)
    return result


def no_network(*_: Any, **__: Any) -> None:
    raise URLError("no network")


def check(archive: Archive) -> None:
    data, official = load(archive.name, folder=archive.folder, validation=0), OFFICIAL[archive.name]
    assert data.class_names[:2] == ("class 0", "class 1")
    assert data.num_classes == NAMES[archive.name]
    for split, files in ((data.train, official.train_list), (data.test, official.test_list)):
        rows = np.concatenate([archive.rows[file] for file, _ in files])
        assert split.labels.tolist() == [label for file, _ in files for label in archive.labels[file]]
        assert split.images.shape == (len(rows), 32, 32, 3)
        for n, row, column, channel in [(0, 0, 0, 0), (3, 5, 7, 1), (-1, 31, 30, 2), (9, 0, 31, 2)]:
            assert split.images[n, row, column, channel] == rows[n, channel * 1024 + row * 32 + column]
        assert split.images.is_contiguous()


def test_the_archive_is_read_where_it_lies(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive.write(monkeypatch)
    check(archive)
    assert os.listdir(archive.folder) == [path.name]  # nothing extracted


def test_the_extracted_folder_is_read(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.extract(monkeypatch)
    check(archive)


def test_torchvision_reads_the_same(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    # The official files came from Python 2: torchvision decodes their keys as latin1. Ours are bytes; give it those.
    for file in archive.files:
        content = pickle.loads(archive.files[file], encoding="bytes")
        archive.files[file] = pickle.dumps({key.decode(): value for key, value in content.items()}, protocol=2)
    monkeypatch.setattr("supcrd.data.sources.unpickle._Restricted.load", as_bytes(pickle.Unpickler.load))
    archive.extract(monkeypatch)
    ours = load(archive.name, folder=archive.folder, validation=0)
    for split, train in ((ours.train, True), (ours.test, False)):
        theirs = OFFICIAL[archive.name](archive.folder, train=train)
        np.testing.assert_array_equal(split.images.numpy(), theirs.data)
        assert split.labels.tolist() == theirs.targets


def as_bytes(load_one: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self: {key.encode(): value for key, value in load_one(self).items()}


def test_an_incomplete_folder_gives_way_to_the_archive(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    extracted = archive.extract(monkeypatch)
    (extracted / OFFICIAL[archive.name].meta["filename"]).unlink()
    archive.write(monkeypatch)
    check(archive)


def fails(archive: Archive, *parts: str) -> None:
    with pytest.raises(DataError) as error:
        load(archive.name, folder=archive.folder)
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


def test_a_wrong_checksum_of_the_archive(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive.write(monkeypatch)
    expected = OFFICIAL[archive.name].tgz_md5
    path.write_bytes(path.read_bytes() + b"x")
    fails(archive, str(path), hashlib.md5(path.read_bytes()).hexdigest(), expected)


def test_a_wrong_checksum_of_an_extracted_file(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    extracted = archive.extract(monkeypatch)
    file, expected = OFFICIAL[archive.name].test_list[0]
    content = archive.files[file] + b"x"
    (extracted / file).write_bytes(content)
    fails(archive, str(extracted / file), hashlib.md5(content).hexdigest(), expected)


@pytest.mark.parametrize("cut", [5000, 50_000])
def test_a_truncated_archive(archive: Archive, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    fails(archive, str(archive.write(monkeypatch, cut=cut)))


@pytest.mark.parametrize("damage", ["truncated", "overwritten"])
def test_an_archive_damaged_in_a_file_that_is_not_read(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    readme = np.random.default_rng(0).bytes(200_000)
    path = archive.write(monkeypatch, files={"readme.html": readme, **archive.files})  # the last in the archive
    check(archive)
    content = path.read_bytes()
    content = content[:-50_000] if damage == "truncated" else content[:-100_000] + bytes([255]) * 100_000
    path.write_bytes(content)
    monkeypatch.setattr(OFFICIAL[archive.name], "tgz_md5", hashlib.md5(content).hexdigest())
    fails(archive, str(path), "truncated or damaged")


def test_an_archive_that_is_no_tar(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive.write(monkeypatch)
    for content in (b"hello", gzip.compress(b"hello" * 1000)):
        path.write_bytes(content)
        monkeypatch.setattr(OFFICIAL[archive.name], "tgz_md5", hashlib.md5(content).hexdigest())
        fails(archive, str(path), "truncated or damaged")


def test_an_archive_that_lacks_a_file(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    for lacking in (OFFICIAL[archive.name].test_list[0][0], OFFICIAL[archive.name].meta["filename"]):
        files = {file: content for file, content in archive.files.items() if file != lacking}
        fails(archive, str(archive.write(monkeypatch, files=files)), f"lacks {lacking}")


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_with_code_is_refused_and_not_run(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    file = OFFICIAL[archive.name].test_list[0][0]
    trap = archive.folder / "trap"
    archive.write(monkeypatch, files={**archive.files, file: pickle.dumps(Malicious(trap), protocol=2)})
    fails(archive, file, "refused", ".mkdir")
    assert not trap.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"not a pickle",
        pickle.dumps([1]),
        pickle.dumps({b"data": [1]}),
        pickle.dumps({b"data": np.zeros((2, 3072)), b"labels": [0, 1], b"fine_labels": [0, 1]}),
        pickle.dumps({b"data": np.zeros((0, 3072), np.uint8), b"labels": [], b"fine_labels": []}),
        pickle.dumps({b"data": np.zeros((2, 100), np.uint8), b"labels": [0, 1], b"fine_labels": [0, 1]}),
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0], b"fine_labels": [0]}),
        pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 0.5], b"fine_labels": [0, 0.5]}),
    ],
)
def test_a_batch_that_is_none(archive: Archive, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    file = OFFICIAL[archive.name].test_list[0][0]
    fails(archive, str(archive.write(monkeypatch, files={**archive.files, file: content})), file)


def test_labels_beyond_the_class_names(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = OFFICIAL[archive.name].meta
    few = pickle.dumps({meta["key"].encode(): [b"a", b"b"]}, protocol=2)
    archive.write(monkeypatch, files={**archive.files, meta["filename"]: few})
    fails(archive, archive.name, "2 class names")


def test_no_archive_and_no_network(archive: Archive) -> None:
    archive.folder /= "new"
    fails(archive, "no network", f"put it at {archive.folder / OFFICIAL[archive.name].filename}")
    assert not archive.folder.exists()


def test_a_data_folder_that_cannot_be_made(archive: Archive) -> None:
    (archive.folder / "file").write_text("")
    archive.folder /= "file"
    fails(archive, "file/cifar")


def test_the_archive_is_downloaded_and_verified(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive.write(monkeypatch)
    content = path.read_bytes()
    path.unlink()
    asked: list[str] = []

    def download(url: str, root: str, filename: str, md5: str) -> None:
        assert md5 == hashlib.md5(content).hexdigest()
        asked.append(url)
        Path(root, filename).write_bytes(content)

    monkeypatch.setattr("torchvision.datasets.utils.download_url", download)
    check(archive)
    check(archive)
    assert asked == [OFFICIAL[archive.name].url]  # once
    assert os.listdir(archive.folder) == [path.name]


@pytest.mark.parametrize("error", [RuntimeError("File not found or corrupted."), KeyboardInterrupt()])
def test_half_a_download_leaves_nothing(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def download(url: str, root: str, filename: str, md5: str) -> None:
        Path(root, filename).write_bytes(b"half")
        raise error

    monkeypatch.setattr("torchvision.datasets.utils.download_url", download)
    with pytest.raises(DataError if isinstance(error, RuntimeError) else KeyboardInterrupt):
        load(archive.name, folder=archive.folder)
    assert os.listdir(archive.folder) == []
