"""A column of labels -> class names and indices into them; a column of groups."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from supcrd.base.wording import show
from supcrd.data.listed import group
from supcrd.errors import DataError

Indices = NDArray[np.int64]


class Values(NamedTuple):
    """The labels of a table."""

    where: str
    column: str
    array: Any  # pyarrow.ChunkedArray

    def checked(self) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """(labels: int64 or text, those that are there).

        Raises:
            DataError: a type that is no label.
        """
        from pyarrow import types

        array = self.array
        if types.is_dictionary(array.type):
            array = array.cast(array.type.value_type)
        there = ~array.is_null().to_numpy().astype(bool)
        if types.is_integer(array.type) or types.is_boolean(array.type):
            whole = array.cast("int64", safe=False).fill_null(-1).to_numpy()
            return whole, there & (whole != -1)
        if types.is_string(array.type) or types.is_large_string(array.type):
            text = np.array(array.fill_null("").to_pylist(), dtype=str)
            return text, there & ~np.isin(text, ("", "-1"))
        raise DataError(
            f"{self.where}: column {self.column} is of type {show(str(array.type)).strip(chr(39))}; an integer or a "
            "text for each image is right"
        )


def classes(
    values: Mapping[str, Sequence[Values]],
    class_names: Sequence[str] | None,
    unlabelled: str,
    only: Mapping[str, Indices] | None = None,
) -> tuple[tuple[str, ...], dict[str, Indices], dict[str, Indices], list[str]]:
    """Class names, and of each split the labels as indices into them and the rows that have one.

    With class names, integers index them. Else the classes are the distinct labels of train in ascending order, named
    by their value; integers of a set without train count from 0.

    Args:
        values: split -> the labels of its tables.
        class_names: C names, or None.
        unlabelled: "refuse" labels that are null or -1, or "skip" such images.
        only: split -> the rows of its tables that are looked at, ascending; all if not given.

    Returns:
        (names, split -> (N,) labels in 0..C-1, split -> (N,) rows of the split's tables, messages).

    Raises:
        DataError: a label that is null, or is none of the classes; each names the file and the row.
    """
    labels: dict[str, NDArray[Any]] = {}
    rows: dict[str, Indices] = {}
    notes: list[str] = []
    for split, tables in values.items():
        parts = [table.checked() for table in tables]
        if len({part.dtype.kind for part, _ in parts}) > 1:
            raise DataError(f"{tables[0].where}: column {tables[0].column} has numbers in one file and text in another")
        there = np.concatenate([well for _, well in parts])
        looked_at = np.arange(len(there)) if only is None else only[split]
        lacking = looked_at[~there[looked_at]]
        of = f"{len(lacking)} of {len(looked_at)} {split} images"
        if len(lacking) and unlabelled != "skip":
            table, row = _where(tables, int(lacking[0]))
            value = table.array[row].as_py()
            raise DataError(
                f"{table.where}: row {row}: {table.column} is {'null' if value is None else value}, as are those of "
                f"{of}: no label; data.unlabelled=skip leaves such images out"
            )
        if len(lacking):
            notes.append(f"{of} have no label (null or -1) and are left out")
        rows[split] = looked_at[there[looked_at]].astype(np.int64)
        labels[split] = np.concatenate([part for part, _ in parts])[rows[split]]
    known, names = _known(labels, class_names)
    indices = {}
    for split, array in labels.items():
        well = np.isin(array, known)
        if not well.all():
            table, row = _where(values[split], int(rows[split][np.argmin(well)]))
            named = class_names is not None and array.dtype.kind == "i"
            right = (
                f"0 to {len(names) - 1}" if named or "train" not in labels else f"one of train's {len(names)} classes"
            )
            raise DataError(
                f"{table.where}: row {row}: {table.column} is {show(table.array[row].as_py())}; {right} is right"
            )
        indices[split] = np.searchsorted(known, array).astype(np.int64)
    return names, indices, rows, notes


def groups(tables: Sequence[Values], rows: Indices) -> list[str]:
    """The groups of some rows of a split, which stand in a column as whole numbers or texts.

    Args:
        tables: the column of each table of the split.
        rows: (N,) int64, ascending, counted through all tables.

    Returns:
        N names.

    Raises:
        DataError: a row without a group, or with what is none; it names the file and the row.
    """
    named: list[str] = []
    start = 0
    for table in tables:
        values = table.array.to_pylist()
        for row in (rows[(rows >= start) & (rows < start + len(values))] - start).tolist():
            named.append(group(values[row], table.column, f"{table.where}: row {row}"))
        start += len(values)
    return named


def _known(
    labels: Mapping[str, NDArray[Any]], class_names: Sequence[str] | None
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """The values that labels may have, ascending, and what the classes are called."""
    if class_names is not None and all(array.dtype.kind == "i" for array in labels.values()):
        return np.arange(len(class_names)), tuple(class_names)
    train = labels.get("train")
    if train is not None:
        values = np.unique(train)
    else:
        values = np.unique(np.concatenate(list(labels.values())))
        if values.dtype.kind == "i" and len(values):
            highest = int(values.max())
            if highest >= sum(map(len, labels.values())):
                raise DataError(f"a label is {highest}, but without train they count from 0; name the classes")
            values = np.arange(highest + 1)
    return values, tuple(map(str, values.tolist()))


def _where(tables: Sequence[Values], row: int) -> tuple[Values, int]:
    """The table that a row of a split is in, and its row there."""
    for table in tables:
        if row < len(table.array):
            return table, row
        row -= len(table.array)
    raise IndexError(row)
