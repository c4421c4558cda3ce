"""Splits of a user's own for images without files of their own: `data.split_file` by the keys or numbers of rows."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from supcrd.base.files import user_path
from supcrd.base.wording import show
from supcrd.data.listed import Dividing, split
from supcrd.data.listing import NAMES
from supcrd.data.rows import FILES, SPLITS, column, read_rows
from supcrd.errors import DataError

KEYS = ("row", "row_number", "index", "key", "__key__", "id", *FILES)
"""Usual names of the column of keys."""


class Assigned(NamedTuple):
    """What a table of splits says of the rows of a source."""

    places: dict[str, NDArray[np.int64]]
    """split -> the numbers of its rows, ascending; without splits that have none"""
    notes: list[str]


def assigned(
    dividing: Dividing, there: Iterable[str], count: int, source: object, keys: Mapping[str, int | None] | None = None
) -> Assigned | None:
    """The splits of `data.split_file`; None where none is given. Rows that it does not name are left out, and counted.

    Args:
        dividing: its `file_column` is the column of keys.
        there: splits of the source.
        count: N, its rows.
        source: for messages.
        keys: key -> row, None for a key that several rows have; without keys rows are known by their number, from 0.

    Raises:
        DataError: the source has splits of its own; a key that no row or several rows have; a row with two splits; no
            row for train; a table that cannot be read.
    """
    if dividing.split_file is None:
        return None
    if list(there) != ["train"]:
        raise DataError(f"data.split_file: {source} has splits already; a source without splits is right")
    rows = read_rows(user_path(dividing.split_file, "data.split_file", error=DataError), "data.split_file")
    split_at = column(rows, dividing.split_column, "data.split_column", SPLITS)
    key_at = column(rows, dividing.file_column, "data.file_column", KEYS)
    split_of: dict[int, str] = {}
    for row, line in zip(rows.values, rows.lines, strict=True):
        key, where = str(row[key_at]), f"{rows.path}, line {line}"
        if keys is None:
            place = int(key) if key.isdecimal() and len(key) < 19 and int(key) < count else None
            right = f"is no row of {source}; whole numbers of 0 to {count - 1} are right"
        else:
            place = keys.get(key)
            again = f"is the name of several images of {source}; SHARD.tar/NAME is right"
            right = again if key in keys else f"is no image of {source}; its names are like {next(iter(keys), 'none')}"
        if place is None:
            raise DataError(f"{where}: {show(key, 60)} {right}")
        value = split(row[split_at], where)
        if split_of.setdefault(place, value) != value:
            raise DataError(f"{where}: {show(key, 60)} is {value!r} here and {split_of[place]!r} before")
    held = {name: sorted(place for place, value in split_of.items() if value == name) for name in NAMES}
    if not held["train"]:
        raise DataError(f"{rows.path}: names no image of {source} for train; some are right")
    left = count - len(split_of)
    notes = [f"{left} images are not in {rows.path} and left out"] if left else []
    return Assigned({name: np.array(places, dtype=np.int64) for name, places in held.items() if places}, notes)
