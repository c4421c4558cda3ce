"""`cifar10` and `cifar100`: the official Python archives, found or downloaded, verified, and read without trust."""

import contextlib
import hashlib
import http.client
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO

import numpy as np
import torch

from supcrd.base import locks
from supcrd.base.wording import show
from supcrd.data import decoded
from supcrd.data.images import Contents, Split
from supcrd.data.sized import all_sized
from supcrd.data.sources import Request
from supcrd.data.sources.unpickle import restricted_load
from supcrd.errors import DataError

DOWNLOAD = ".download-"
"""What the name of a folder begins with that a download goes to before it is whole."""


@dataclass(frozen=True)
class Layout:
    """Where an official archive keeps what. File names map to their MD5, which torchvision knows."""

    url: str
    archive: str
    archive_md5: str
    inside: str
    train: Mapping[str, str]
    test: Mapping[str, str]
    meta: Mapping[str, str]
    names_key: bytes
    labels_key: bytes

    @property
    def files(self) -> dict[str, str]:
        """All files that are read, with their MD5."""
        return {**self.train, **self.test, **self.meta}


def read(name: str, folder: Path) -> Contents:
    """Read `cifar10` or `cifar100` (fine labels), 32 x 32 RGB, images in the official order.

    In `folder` the extracted folder (`cifar-10-batches-py`, `cifar-100-python`) is looked for, then the archive
    (`cifar-10-python.tar.gz`, `cifar-100-python.tar.gz`); if neither is there the archive is downloaded. Nothing is
    extracted to disk.

    Args:
        name: `cifar10` or `cifar100`.
        folder: made if a download needs it.

    Raises:
        DataError: no archive and no download; a wrong checksum; a damaged file; a pickle that names anything but
            arrays.

    Source: A. Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html.
    """
    layout = _layout(name)
    batches: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    names: tuple[str, ...] = ()
    for file, where, stream in _files(layout, folder):
        if file in layout.meta:
            names = _class_names(stream, layout.names_key, where)
        else:
            batches[file] = _batch(stream, layout.labels_key, where)
    missing = [file for file in layout.files if file not in batches and file not in layout.meta]
    if missing or not names:
        raise DataError(f"{folder / layout.archive}: lacks {', '.join(missing or layout.meta)}; download it again")

    splits = []
    for files in (layout.train, layout.test):
        images = np.concatenate([batches[file][0] for file in files])
        labels = np.concatenate([batches.pop(file)[1] for file in files])
        if labels.min() < 0 or labels.max() >= len(names):
            raise DataError(f"{name}: labels {labels.min()} to {labels.max()}, but {len(names)} class names")
        splits.append(Split(torch.from_numpy(images), torch.from_numpy(labels)))
    return Contents(names, train=splits[0], test=splits[1])


def is_there(name: str, folder: Path) -> bool:
    """Whether `read` needs no download: the extracted folder or the archive is in `folder`."""
    layout = _layout(name)
    return (folder / layout.inside).is_dir() or (folder / layout.archive).is_file()


def _layout(name: str) -> Layout:
    from torchvision import datasets

    official = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    return Layout(
        url=official.url,
        archive=official.filename,
        archive_md5=official.tgz_md5,
        inside=official.base_folder,
        train=dict(official.train_list),
        test=dict(official.test_list),
        meta={official.meta["filename"]: official.meta["md5"]},
        names_key=official.meta["key"].encode(),
        labels_key=b"labels" if name == "cifar10" else b"fine_labels",
    )


def _files(layout: Layout, folder: Path) -> Iterator[tuple[str, str, IO[bytes]]]:
    """Yield (name, its path, its open stream) for each file of the layout, verified."""
    extracted = folder / layout.inside
    if all((extracted / file).is_file() for file in layout.files):
        for file, md5 in layout.files.items():
            with _opened(extracted / file) as stream:
                _verify(stream, extracted / file, md5)
                yield file, str(extracted / file), stream
        return

    archive = folder / layout.archive
    if not archive.is_file():
        _download(layout, folder)
    with _opened(archive) as stream:
        _verify(stream, archive, layout.archive_md5)
        try:
            with tarfile.open(fileobj=stream, mode="r:gz") as tar:
                for member in tar:
                    inside, _, file = member.name.rpartition("/")
                    content = tar.extractfile(member) if member.isfile() else None
                    if content is not None and inside == layout.inside and file in layout.files:
                        yield file, f"{archive}: {member.name}", content
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise DataError(f"{archive}: truncated or damaged ({error}); remove it to download it again") from error


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    with stream:
        yield stream


def _verify(stream: BufferedReader, path: Path, expected: str) -> None:
    """Compare the MD5 of the whole stream, then go back to its start."""
    digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if digest != expected:
        raise DataError(f"{path}: MD5 is {digest}, expected {expected}; remove it to download it again")
    stream.seek(0)


def _download(layout: Layout, folder: Path) -> None:
    """Bring the archive into `folder`; it gets its name only when it is whole."""
    from torchvision.datasets.utils import download_url

    archive = folder / layout.archive
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        locks.remove_abandoned(folder, DOWNLOAD)
        with tempfile.TemporaryDirectory(dir=folder, prefix=DOWNLOAD) as temporary:
            held = locks.hold(Path(temporary))
            try:
                download_url(layout.url, temporary, filename=layout.archive, md5=layout.archive_md5)
                os.replace(Path(temporary, layout.archive), archive)
            finally:
                locks.release(held)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        if is_new:  # an empty folder would be all that is left of the attempt
            with contextlib.suppress(OSError):
                folder.rmdir()
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{layout.archive} is not there, and downloading {layout.url} failed ({show(reason)}); put it at {archive} "
            "by other means"
        ) from error


def _class_names(stream: IO[bytes], key: bytes, where: str) -> tuple[str, ...]:
    content = restricted_load(stream, where=where)
    names = content.get(key) if isinstance(content, dict) else None
    if not isinstance(names, list) or not names or not all(isinstance(name, bytes | str) for name in names):
        raise DataError(f"{where}: holds no list of names {key.decode()!r}; download it again")
    return tuple(name if isinstance(name, str) else name.decode("utf-8", "replace") for name in names)


def _batch(stream: IO[bytes], labels_key: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Images as contiguous (N, 32, 32, 3) uint8 and labels as (N,) int64."""
    content = restricted_load(stream, where=where)
    data = content.get(b"data") if isinstance(content, dict) else None
    labels = content.get(labels_key) if isinstance(content, dict) else None
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3072,) or data.size == 0:
        raise DataError(f"{where}: 'data' is no (N, 3072) uint8 array; download it again")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels) or len(labels) != len(data):
        raise DataError(f"{where}: {labels_key.decode()!r} is no list of {len(data)} integers; download it again")
    # A row holds its 1,024 red values first, then green, then blue.
    images = np.ascontiguousarray(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return images, np.array(labels, dtype=np.int64)


# Where `read` looks, as in torchvision, whose import takes longer than mapping what is kept of an earlier start.
PLACES = {
    "cifar10": ("cifar-10-batches-py", "cifar-10-python.tar.gz"),
    "cifar100": ("cifar-100-python", "cifar-100-python.tar.gz"),
}


def source(request: Request) -> Contents:
    """`cifar10` and `cifar100`."""
    paths = [request.folder / place for place in PLACES[request.kind]]
    size = request.reading.image_size
    return decoded.kept(
        lambda: all_sized(read(request.kind, request.folder), request.reading),
        kind=request.kind,
        paths=paths,
        settings=() if size is None else (size,),
    )
