"""Images and labels in Arrow tables, as Hugging Face lays them out: what `parquet:` and `hf:` share."""

import io
import json
from array import array
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supcrd.base.wording import show
from supcrd.data.encoded import Reading, contents
from supcrd.data.grouped import numbered
from supcrd.data.images import Contents
from supcrd.data.keyed import assigned
from supcrd.data.listed import AS_THEY_ARE, Dividing
from supcrd.data.sources.chunks import Chunk, held
from supcrd.data.sources.tablelabels import Values, classes, groups
from supcrd.errors import DataError

IMAGE = ("image", "img", "images", "picture", "jpg", "png")
LABEL = ("label", "labels", "fine_label", "class", "target", "category", "cls", "y")
"""What columns are called, the likeliest first."""


class Columns(NamedTuple):
    """Which columns of a table are read."""

    image: str
    label: str | None
    """None where labels are not read"""
    class_names: tuple[str, ...] | None  # of a ClassLabel
    others: tuple[str, ...]  # further columns of classes
    group: str | None = None
    """that of `data.groups`"""

    @property
    def names(self) -> list[str]:
        """Those that are read."""
        return [name for name in (self.image, self.label, self.group) if name is not None]


class Table(NamedTuple):
    """A table of a split, and where it is."""

    where: str
    table: Any  # pyarrow.Table with at least the columns that are read
    later: Sequence[Chunk] | None = None
    """of images that are read when they are asked for, which the table then lacks"""


def pyarrow() -> Any:
    """The package.

    Raises:
        DataError: it is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise DataError("Parquet and Arrow files need pyarrow, which is not installed: pip install 'supcrd[parquet]'") \
            from error  # fmt: skip
    return pyarrow


def columns(schema: Any, where: str, *, labels: bool = True, group: str | None = None) -> Columns:
    """The columns of images and labels: by Hugging Face's features, by type and by name.

    Args:
        schema: pyarrow.Schema.
        where: the file, for messages.
        labels: False: none are read, and need not be there.
        group: the column of groups, None for none.

    Raises:
        DataError: no such column, several that could be meant, or one of a type that is not read.
    """
    features = _features(schema)
    if group is not None and group not in schema.names:
        raise DataError(f"{where}: data.groups = {show(group)}: no such column among {_listed(schema)}")
    images = [field.name for field in schema if _is_image(field, features)]
    image = _one(images, IMAGE)
    if image is None:
        what = f"several columns of images ({', '.join(images)}); one called image" if images else (
            f"no image column among {_listed(schema)}; a struct of bytes and path, as Hugging Face has it, or bytes"
        )  # fmt: skip
        raise DataError(f"{where}: {what} is right")
    if not labels:
        return Columns(image, None, None, (), group)
    named = {name for name in schema.names if features.get(name, {}).get("_type") == "ClassLabel"} - {image, group}
    known = [name for name in LABEL if name in schema.names and name not in (image, group)]
    label = known[0] if known else _one(sorted(named), LABEL)
    if label is None:
        what = f"several columns of classes ({', '.join(sorted(named))})" if named else (
            f"no label column among {_listed(schema)}"
        )  # fmt: skip
        raise DataError(f"{where}: {what}; one called label is right")
    names = features.get(label, {}).get("names")
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        names = None
    twice = next((name for place, name in enumerate(names or ()) if name in (names or ())[:place]), None)
    if twice is not None:
        raise DataError(f"{where}: two classes of column {label} are called {twice!r}; a name for each is right")
    return Columns(image, label, None if names is None else tuple(names), tuple(sorted(named - {label})), group)


def read(
    splits: Mapping[str, Sequence[Table]],
    which: Columns,
    reading: Reading,
    unlabelled: str,
    notes: Sequence[str] = (),
    *,
    source: object,
    dividing: Dividing = AS_THEY_ARE,
) -> Contents:
    """The contents of tables.

    Args:
        splits: split -> its tables.
        which: their columns.
        reading: how images become pixels.
        unlabelled: what to do with images of label -1 or null: "refuse" the set, or "skip" them; unused where no
            label is read, and all images are of one class.
        notes: messages about the set so far.
        source: for messages.
        dividing: its `split_file`, of row numbers, divides tables of train alone.

    Raises:
        DataError: a label that is null or names no class, an image without a group, a group in two splits, images that
            cannot be read (`encoded.contents`).
    """
    messages = list(notes)
    if which.others:
        messages.append(f"classes are those of column {which.label}; not read: {', '.join(which.others)}")
    if which.label is None:
        whole = {split: sum(table.table.num_rows for table in tables) for split, tables in splits.items()}
        every = {
            split: (ArrowFiles(splits[split], which.image, np.arange(count)), torch.zeros(count, dtype=torch.int64))
            for split, count in whole.items()
        }
        return contents(("any",), every, reading, messages)
    own = assigned(dividing, splits, sum(table.table.num_rows for table in splits.get("train", ())), source)
    if own is not None:
        messages += own.notes
        splits = dict.fromkeys(own.places, splits["train"])
    values = {
        split: [Values(table.where, which.label, table.table.column(which.label)) for table in tables]
        for split, tables in splits.items()
    }
    names, labels, rows, lines = classes(values, which.class_names, unlabelled, own.places if own is not None else None)
    files: dict[str, tuple[ArrowFiles, Tensor]] = {}
    grouped: dict[str, list[str]] = {}
    for split, tables in splits.items():
        if len(rows[split]) == 0 and any(table.table.num_rows for table in tables):
            continue  # all of them unlabelled
        files[split] = ArrowFiles(tables, which.image, rows[split]), torch.from_numpy(labels[split])
        if which.group is not None:
            columns_of = [Values(table.where, which.group, table.table.column(which.group)) for table in tables]
            grouped[split] = groups(columns_of, rows[split])
    of_images = numbered(grouped, source) if which.group is not None else None
    return contents(names, files, reading, messages + lines, of_images)


class ArrowFiles:
    """The encoded images of tables, by row; see `stream.Files`. What Arrow maps from a file stays there.

    Args:
        tables: one behind the other.
        column: of the images.
        rows: (N,) int64, those that are meant.

    Raises:
        DataError: a table with the paths of images and none of their bytes.
    """

    def __init__(self, tables: Sequence[Table], column: str, rows: NDArray[np.int64]) -> None:
        self.rows = rows
        self.where: list[str] = []
        self.chunks: list[Chunk] = []
        self.paths: list[Any] = []  # arrays of text, or None
        self.table, self.inside, self.starts = array("q"), array("q"), array("q", [0])
        for table in tables:
            self.where.append(table.where)
            before = 0
            for chunk, paths in _chunks(table, column):
                self.chunks.append(chunk)
                self.paths.append(paths)
                self.table.append(len(self.where) - 1)
                self.inside.append(before)
                self.starts.append(self.starts[-1] + len(chunk))
                before += len(chunk)

    def __len__(self) -> int:
        return len(self.rows)

    def _place(self, row: int) -> tuple[int, int]:
        """(chunk, row in it)."""
        at = int(self.rows[row])
        chunk = bisect_right(self.starts, at) - 1
        return chunk, at - self.starts[chunk]

    def name(self, row: int) -> str:
        """File, row in it from 0, and what it says the image was called."""
        chunk, at = self._place(row)
        paths = self.paths[chunk]
        called = None if paths is None else paths[at].as_py()
        return f"{self.where[self.table[chunk]]}: row {self.inside[chunk] + at}" + (f" ({called})" if called else "")

    def open(self, row: int) -> IO[bytes]:
        """The image's bytes; none where they are null."""
        chunk, at = self._place(row)
        return io.BytesIO(self.chunks[chunk].content(at) or b"")

    def identity(self, row: int) -> bytes:
        """Name of the file, row and size."""
        chunk, at = self._place(row)
        file = self.where[self.table[chunk]].rpartition("/")[2].encode("utf-8", "surrogateescape")
        return b"%b\0%d\0%d\0" % (file, self.inside[chunk] + at, self.chunks[chunk].size(at))


def _chunks(table: Table, name: str) -> list[tuple[Chunk, Any]]:
    """(images, paths or None) of each chunk of a column."""
    if table.later is None:
        return held(table.table.column(name), table.where, name)
    from pyarrow import compute

    paths = compute.struct_field(table.table.column(name), "path") if name in table.table.column_names else None
    starts = np.cumsum([0, *map(len, table.later)]).tolist()
    return [
        (chunk, None if paths is None else paths.slice(start, len(chunk)))
        for chunk, start in zip(table.later, starts, strict=False)
    ]


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """Column -> what Hugging Face's `datasets` wrote of it; what cannot be read is as if it were not there."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _is_image(field: Any, features: Mapping[str, Mapping[str, Any]]) -> bool:
    types = pyarrow().types

    def is_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    if types.is_struct(field.type):
        parts = {field.type.field(at).name: field.type.field(at).type for at in range(field.type.num_fields)}
        whole = "bytes" in parts and is_bytes(parts["bytes"])
    else:
        whole = is_bytes(field.type)
    return whole and features.get(field.name, {}).get("_type", "Image") in ("Image", "Value")


def _one(names: Sequence[str], likely: Sequence[str]) -> str | None:
    """The only name, or the likeliest."""
    return names[0] if len(names) == 1 else next((name for name in likely if name in names), None)


def _listed(schema: Any) -> str:
    return show(", ".join(f"{field.name} ({field.type})" for field in schema), 160).strip("'") or "none"
