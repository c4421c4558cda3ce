"""Names of splits, and the files below a folder."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from supcrd.errors import DataError

NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Split -> what it is called in folders, arrays and shards, in any case."""


def split_of(name: str) -> str | None:
    """The split that a name means.

    Example:
        >>> split_of("Valid"), split_of("extra")
        ('validation', None)
    """
    return next((split for split, names in NAMES.items() if name.lower() in names), None)


def walk(folder: Path, inside: str = "", above: tuple[str, ...] = ()) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """(relative name, entry) of all that is not hidden: folders followed, links too but in circles; sorted by folder.

    Raises:
        DataError: a folder that cannot be read.
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as entries:
            listed = sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
    folders = []
    for entry in listed:
        yield inside + entry.name, entry
        if entry.is_dir():
            folders.append(entry)
    for entry in folders:
        yield from walk(Path(entry.path), f"{inside}{entry.name}/", (*above, real))


def counted(skipped: Sequence[str]) -> str:
    """Reasons with how often each was met.

    Example:
        >>> counted([".txt", "a broken link", ".txt"])
        '2 .txt, 1 a broken link'
    """
    return ", ".join(f"{skipped.count(reason)} {reason}" for reason in dict.fromkeys(skipped))
