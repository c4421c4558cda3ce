"""Names of splits, and the files below a folder."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from supcrd.errors import DataError

NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Split -> what it is called in folders, arrays and shards, in any case."""

SHOWN = 10
"""Reasons that a line about files that were left out names."""


def split_of(name: str) -> str | None:
    """The split that a name means.

    Example:
        >>> split_of("Valid"), split_of("extra")
        ('validation', None)
    """
    return next((split for split, names in NAMES.items() if name.lower() in names), None)


def split_in(name: str) -> str | None:
    """The split that a file's name or that of its folder has among its words; the file's goes first.

    Example:
        >>> split_in("data/train-00000-of-00002.parquet"), split_in("test/0000.parquet"), split_in("0000.parquet")
        ('train', 'test', None)
        >>> split_in("imagenet-train-000000.tar"), split_in("training.parquet"), split_in("retrain.parquet")
        ('train', 'train', None)
    """
    for part in reversed(name.split("/")):
        split = next((split for word in re.split(r"[^A-Za-z]+", part) if (split := split_of(word))), None)
        if split is not None:
            return split
    return None


def is_hidden(name: str) -> bool:
    """Whether a file or folder is no part of a data set: hidden, or left by a Mac's zip or a network disk.

    Example:
        >>> is_hidden(".DS_Store"), is_hidden("__MACOSX"), is_hidden("cat")
        (True, True, False)
    """
    return name.startswith(".") or name in ("__MACOSX", "@eaDir")


def entries_of(folder: Path, skipped: list[str] | None = None) -> list["os.DirEntry[str]"]:
    """What is not hidden in a folder, by name; what is hidden is added to `skipped`.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            every = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
    if skipped is not None:
        skipped += [f"hidden {'folder' if e.is_dir() else 'file'}" for e in every if is_hidden(e.name)]
    return [entry for entry in every if not is_hidden(entry.name)]


def walk(
    folder: Path, inside: str = "", above: tuple[str, ...] = (), skipped: list[str] | None = None
) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """(relative name, entry) of all that is not hidden: folders followed, links too but in circles; sorted by folder.

    Raises:
        DataError: a folder that cannot be read.
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    folders = []
    for entry in entries_of(folder, skipped):
        yield inside + entry.name, entry
        if entry.is_dir():
            folders.append(entry)
    for entry in folders:
        yield from walk(Path(entry.path), f"{inside}{entry.name}/", (*above, real), skipped)


def counted(skipped: Sequence[str]) -> str:
    """Reasons with how often each was met.

    Example:
        >>> counted([".txt", "a broken link", ".txt"])
        '2 .txt, 1 a broken link'
    """
    counts = Counter(skipped)  # in the order of coming
    most = dict(counts.most_common(SHOWN))
    shown = [f"{count} {reason}" for reason, count in counts.items() if reason in most]
    rest = counts.total() - sum(most.values())
    return ", ".join([*shown, *([f"{rest} others"] if rest else [])])
