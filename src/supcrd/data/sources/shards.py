"""`shards:PATH`: a folder of tar files in WebDataset's format."""

import io
import re
from array import array
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import torch

from supcrd.data import decoded
from supcrd.data.encoded import AS_IT_IS, Reading, contents
from supcrd.data.images import Contents
from supcrd.data.listing import NAMES
from supcrd.data.sources import Request
from supcrd.data.sources.samples import CLASS_NAMES, complete, samples_of
from supcrd.data.stream import Names
from supcrd.errors import DataError

COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".lz4")


def read(
    path: Path,
    *,
    reading: Reading = AS_IT_IS,
    require_train: bool = True,
) -> Contents:
    """Read PATH/train*.tar and, where they are there, PATH/val*.tar (or validation*.tar) and PATH/test*.tar.

    A sample is the members of a shard whose names are the same up to the first dot of their last part: one image (.jpg,
    .jpeg, .png or .webp) and its label, .cls (an integer as ASCII) or .json (an object with an integer `label`).
    Other members, and tar files of no split, are left out and counted. Names with more dots: see `samples.samples_of`.
    Samples come in the order of the shards' names, then of their first members. The classes are the lines of
    PATH/classes.txt; without it the labels count from 0 and are their own names. Grey or RGB, and sizes: as in
    `folder:`.

    The members are listed once. Each image is then read at its offset, so that any order is random access, nothing is
    extracted and no file stays open.

    Args:
        path: the folder.
        reading: as for `folder.read`.
        require_train: False allows a folder without train*.tar.

    Raises:
        DataError: no train shard; a shard that is damaged, cut short or compressed; a sample without an image or label,
            or with two; a label that is no integer or names no class; as `folder.read` for images. Each names the
            shard and the member.

    Cost: listing about 5 s for 100,000 samples; streamed, 44 bytes an image and the letters of its name.

    Source: https://github.com/webdataset/webdataset (the format; no code).
    """
    if not path.is_dir():
        what = "is a file; shards: takes the folder of the tar files" if path.is_file() else "no such folder"
        raise DataError(f"{path}: {what} (looked for from {Path.cwd()})")
    shards = {split: tars for split in NAMES if (tars := _tar_files(path, split))}
    if not shards or (require_train and "train" not in shards):
        raise DataError(f"{path}: no train shard; tar files are expected as {path}/train-000000.tar")
    names = _class_names(path / CLASS_NAMES)
    skipped = Counter[str]()
    files = {split: ShardFiles(tars, names, skipped) for split, tars in shards.items()}
    read = {file for tars in shards.values() for file in tars}
    for other in sorted(set(path.glob("*.tar")) - read):
        skipped[f"tar file of no split ({other.name})"] += 1
    labels = {split: held.labels for split, held in files.items()}
    if names is None:
        highest = max(int(held.max()) for held in labels.values())
        # no name for each number in between: it would be a mistake, and a number may be of any size
        if highest >= sum(map(len, labels.values())):
            raise DataError(
                f"{path}: a label is {highest}, but labels count from 0 and there are only "
                f"{sum(map(len, labels.values()))} images; name the classes in {CLASS_NAMES}, or correct the label"
            )
        names = [str(label) for label in range(highest + 1)]
    left_out = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
    notes = [f"left out: {left_out}"] if skipped else []
    return contents(names, {split: (held, labels[split]) for split, held in files.items()}, reading, notes)


class ShardFiles:
    """The images of a split's shards: where each image is, stored compactly; see `stream.Files`."""

    def __init__(self, shards: Sequence[Path], class_names: Sequence[str] | None, skipped: Counter[str]) -> None:
        self.shards, self.names = shards, Names()
        self.shard, self.offsets, self.sizes, labels = array("i"), array("q"), array("q"), array("q")
        for number, shard in enumerate(shards):
            for key, sample in samples_of(shard, skipped).items():
                image, label = complete(shard, key, sample, class_names)
                self.names.append(image.name.encode("utf-8", "surrogateescape"))
                self.shard.append(number)
                self.offsets.append(image.offset)
                self.sizes.append(image.size)
                labels.append(label)
        self.labels = torch.from_numpy(np.array(labels, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.names)

    def name(self, row: int) -> str:
        """Shard and member."""
        return f"{self.shards[self.shard[row]]}: {self.names[row].decode('utf-8', 'backslashreplace')}"

    def open(self, row: int) -> IO[bytes]:
        """The bytes of the member."""
        # Opened for every image: a set may have more shards than a process may have open files.
        try:
            with open(self.shards[self.shard[row]], "rb", buffering=0) as shard:
                shard.seek(self.offsets[row])
                content = shard.read(self.sizes[row])
        except OSError as error:
            raise DataError(f"{self.name(row)}: cannot be read ({error.strerror})") from error
        if content is None or len(content) < self.sizes[row]:
            raise DataError(f"{self.name(row)}: the shard ends before it; was it changed during the run?")
        return io.BytesIO(content)

    def identity(self, row: int) -> bytes:
        """Shard and member by name, offset and size."""
        shard = self.shards[self.shard[row]].name.encode("utf-8", "surrogateescape")
        return b"%b\0%b\0%d\0%d\0" % (shard, self.names[row], self.offsets[row], self.sizes[row])


def _tar_files(path: Path, split: str) -> list[Path]:
    """The tar files of a split, sorted by name."""
    try:
        entries = sorted(entry for entry in path.iterdir() if _called(entry.name, split) and entry.is_file())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    compressed = [
        file for file in entries if file.suffix in COMPRESSED and (".tar" in file.name or ".tgz" in file.name)
    ]
    if compressed:
        raise DataError(f"{compressed[0]}: a compressed tar cannot be read from the middle; unpack it to .tar")
    tars = [file for file in entries if file.suffix == ".tar"]
    called = sorted({_called(file.name, split) for file in tars})
    if len(called) > 1:
        raise DataError(f"{path}: holds both {called[0]}*.tar and {called[1]}*.tar; keep one of them")
    return tars


def _called(name: str, split: str) -> str:
    """The name of the split that a file's name begins with, the longest that is right; empty where it has none."""
    word = re.split(r"[^a-z]", name.lower(), maxsplit=1)[0]
    # "dev" as a whole word: device-0.tar is not one
    known = [
        spelling for spelling in NAMES[split] if word == spelling or (spelling != "dev" and word.startswith(spelling))
    ]
    return max(known, key=len, default="")


def _class_names(path: Path) -> list[str] | None:
    if not path.exists():
        return None
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DataError(f"{path}: cannot be read ({reason})") from error
    while names and not names[-1]:
        names.pop()
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name or name in seen:
            what = f"names {name!r} again" if name else "is empty"
            raise DataError(f"{path}: line {number} {what}; one class a line is right, in the order of the labels")
        seen.add(name)
    if not names:
        raise DataError(f"{path}: names no class; one a line is right, in the order of the labels")
    return names


def source(request: Request) -> Contents:
    """`shards:PATH`."""
    return decoded.images(read, request.kind, request.path, request.reading, require_train=request.require_train)
