"""Which tar files of a folder are shards, of which split, and what opens one."""

import gzip
import io
import re
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from supcrd.data.listing import NAMES, split_of
from supcrd.errors import DataError

PACKED = (".tar.gz", ".tgz")  # unpacked into memory
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".tbz2", ".txz")


GAP = 2**18
"""Bytes between two members that are read rather than left out: a disk's head would take as long to move."""


def shards_of(path: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """(split -> its tar files, sorted by name; names of tar files of no split).

    A split is told from the first word of a file's name (`train-0.tar`, `validation0.tar`), else from any other of its
    words (`imagenet-train-000000.tar`), else from the folder below PATH that the file is in (`train/00000.tar`).

    Raises:
        DataError: a folder that cannot be read; two kinds of names for a split; a file packed by other than gzip.
    """
    try:
        entries = sorted(path.iterdir())
        inside = [
            (file, folder.name)
            for folder in entries
            if folder.is_dir() and split_of(folder.name)
            for file in sorted(folder.iterdir())
        ]
    except OSError as error:
        raise DataError(f"{error.filename or path}: cannot be read ({error.strerror})") from error
    shards: dict[str, dict[str, list[Path]]] = {split: {} for split in NAMES}
    others = []
    for file, folder in [*((entry, "") for entry in entries), *inside]:
        if not _is_tar(file):
            continue
        split, called = _called(file.name) if not folder else (split_of(folder), f"{folder}/")
        if split is None:
            others.append(file.name)
        else:
            shards[split].setdefault(called, []).append(file)
    for kinds in shards.values():
        if len(kinds) > 1:
            first, second = sorted(kinds)[:2]
            raise DataError(f"{path}: holds both {first}*.tar and {second}*.tar; keep one of them")
    # in the order of splits and files, whatever the kinds of names
    return {split: files for split, kinds in shards.items() for files in kinds.values()}, others


def unpacked(shard: Path) -> bytes | None:
    """What a gzip'ed shard holds; None for one that is not packed.

    Raises:
        DataError: it is damaged or cut short.
    """
    if not shard.name.lower().endswith(PACKED):
        return None
    try:
        with gzip.open(shard) as file:
            return file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{shard}: no gzip file, or damaged or cut short; write it again") from error
    except OSError as error:
        raise DataError(f"{shard}: cannot be read ({error.strerror})") from error


def stretches(offsets: NDArray[np.int64], sizes: NDArray[np.int64]) -> list[tuple[int, int]]:
    """(begin, end) of the parts of a file that hold members, in their order; smaller gaps than GAP are read along.

    Example:
        >>> stretches(np.array([5_000_000, 0, 600]), np.array([100, 500, 400]))
        [(0, 1000), (5000000, 5000100)]
    """
    order = np.argsort(offsets)
    begins, ends = offsets[order], (offsets + sizes)[order]
    new = np.flatnonzero(begins[1:] - ends[:-1] > GAP) + 1
    firsts, lasts = np.concatenate([[0], new]), np.concatenate([new, [len(order)]]) - 1
    return [(int(begins[first]), int(ends[last])) for first, last in zip(firsts, lasts, strict=True)]


def opened(shard: Path, content: bytes | None) -> IO[bytes]:
    """A shard to read from: what was unpacked of it, or the file."""
    return open(shard, "rb") if content is None else io.BytesIO(content)


def _is_tar(file: Path) -> bool:
    name = file.name.lower()
    if name.startswith(".") or not file.is_file():
        return False
    if name.endswith((".tar", *PACKED)):
        return True
    if name.endswith(COMPRESSED) and re.search(r"\.tar\.|\.t\w+$", name) and _called(name)[0] is not None:
        raise DataError(f"{file}: compressed by other than gzip; unpack it to .tar")
    return False


def _called(name: str) -> tuple[str | None, str]:
    """(the split that a file's name says, the beginning of the name that says it)."""
    word = re.split(r"[^a-z]", name.lower(), maxsplit=1)[0]
    for split, spellings in NAMES.items():
        # "dev" as a whole word: device-0.tar is not one
        known = [s for s in spellings if word == s or (s != "dev" and word.startswith(s))]
        if known:
            return split, max(known, key=len)
    for match in re.finditer(r"[A-Za-z]+", name):
        if (other := split_of(match[0])) is not None:
            return other, name[: match.end()]
    return None, ""
