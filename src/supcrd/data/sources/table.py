"""`csv:PATH`: image files that a table lists with their labels: .csv, .tsv or .jsonl, and Hugging Face's metadata."""

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from supcrd.base.wording import show
from supcrd.data import decoded
from supcrd.data.images import Contents
from supcrd.data.listed import Image, Listed, by_number, group, read_listed, split
from supcrd.data.listing import entries_of, split_of
from supcrd.data.rows import FILES, LABELS, SPLITS, Rows, column, column_if_any, read_rows
from supcrd.data.sources import METADATA, Request
from supcrd.errors import DataError
from supcrd.recipe.paths import is_table

FLOAT = re.compile(r"[+-]?(\d+\.\d*|\.\d+|\d+(?=[eE]))([eE][+-]?\d+)?|nan|NaN|NAN")
UNLABELLED = ("", "-1")
"""Labels that are none."""


ANY = "any"
"""The class of all images whose labels are not read."""


class Table(NamedTuple):
    """A table of the set."""

    rows: Rows
    prefix: str
    """between the set's folder and the names in the table: that of a split's folder, or nothing"""
    split: str | None
    """of all its images, where a folder says it"""


class Places(NamedTuple):
    """Places of columns."""

    file: int
    label: int | None
    """None where labels are not read"""
    split: int | None
    group: int | None


def source(request: Request) -> Contents:
    """`csv:PATH`: the images of a table, or of a folder's `metadata.csv` (`.jsonl`, `.tsv`), or its splits' ones.

    Columns have their usual names (`rows.FILES`, `LABELS`, `SPLITS`) or those of `data.file_column` and so on. Names of
    files are relative to the table's folder, or absolute. Classes are all labels of train: by number if all are whole
    numbers, else in alphabetical order. Splits are those of the split column; without it those that the names begin
    with (`train/1.png`), if all do.

    Raises:
        DataError: no such table; a column that is missing; a row without file, label, split or group, or whose label is
            a float; a file with two labels or in two splits; no file that is there; as `listed.read_listed`.

    Cost: about 500 bytes an image while they are listed.
    """
    path, dividing = request.path, request.dividing
    tables = _tables(path)
    folder = path if path.is_dir() else path.parent
    notes: list[str] = []
    images: list[Image] = []
    for table in tables:
        images += _images(table, request, notes)
    if not images:
        raise DataError(f"{path}: no row has a label")
    images = _once(images, folder, notes)
    listed = Listed(folder, _with_sizes(images, folder, tables[0].rows.path), notes)
    return decoded.images(
        lambda _, reading, require_train: read_listed(
            listed, dividing, reading, require_train=require_train, order=by_number
        ),
        *(request.kind, path if path.is_file() else tables[0].rows.path, request.reading),
        require_train=request.require_train,
        beside=[
            *(table.rows.path for table in tables[1:]),
            *(file for file in dividing.tables if file.is_file()),
        ],
        listed=[Path(folder, image.name) for image in listed.images],
        further=(*dividing, request.unlabelled),
    )


def _tables(path: Path) -> list[Table]:
    """The table of a path, or those of a folder."""
    if not path.is_dir():
        return [Table(read_rows(path, "data.source"), "", None)]
    here = _metadata(path)
    if here is not None:
        return [Table(read_rows(here, "data.source"), "", None)]
    splits = [(entry.name, split_of(entry.name)) for entry in entries_of(path) if entry.is_dir()]
    inside = [(name, meant, _metadata(path / name)) for name, meant in splits if meant is not None]
    tables = [Table(read_rows(file, "data.source"), name, meant) for name, meant, file in inside if file is not None]
    if not tables:
        raise DataError(f"{path}: no {' or '.join(METADATA)} in it or its split folders; csv:FILE names another table")
    return tables


def _metadata(folder: Path) -> Path | None:
    there = [folder / name for name in METADATA if (folder / name).is_file()]
    if len(there) > 1:
        raise DataError(f"{folder}: holds both {there[0].name} and {there[1].name}; csv:FILE says which one is meant")
    return there[0] if there else None


def _images(table: Table, request: Request, notes: list[str]) -> list[Image]:
    """The images of a table, without sizes."""
    rows, dividing = table.rows, request.dividing
    used = request.unlabelled == "use"
    groups = dividing.groups if dividing.groups is not None and not is_table(dividing.groups) else None
    split_at = None
    if table.split is None and dividing.split_file is None:
        split_at = column_if_any(rows, dividing.split_column, "data.split_column", SPLITS)
    at = Places(
        column(rows, dividing.file_column, "data.file_column", FILES),
        None if used else column(rows, dividing.label_column, "data.label_column", LABELS),
        split_at,
        None if groups is None else column(rows, groups, "data.groups", ()),
    )
    images = [_image(table, at, values, line) for values, line in zip(rows.values, rows.lines, strict=True)]
    labelled = [image for image in images if image.label not in UNLABELLED]
    if len(labelled) < len(images):
        none = next(image for image in images if image.label in UNLABELLED)
        count = len(images) - len(labelled)
        if request.unlabelled == "refuse":
            more = f", and {count - 1} more rows" if count > 1 else ""
            assert at.label is not None
            what = f"no label ({rows.columns[at.label]} = {none.label!r})"
            raise DataError(f"{none.name}{none.where}: {what}{more}; data.unlabelled=skip leaves such images out")
        notes.append(f"{count} images without a label are left out")
    return _named_splits(labelled, at, table, notes) if dividing.split_file is None else labelled


def _image(table: Table, at: Places, values: Sequence[object], line: int) -> Image:
    rows = table.rows
    where, name = f"{rows.path}, line {line}", values[at.file]
    if not isinstance(name, str) or not name or "\0" in name:
        raise DataError(f"{where}: {rows.columns[at.file]} = {show(name, 40)} is no name of a file")
    return Image(
        os.path.normpath(os.path.join(table.prefix, name)),
        0,
        ANY if at.label is None else _label(values[at.label], rows.columns[at.label], where),
        table.split if at.split is None else split(values[at.split], where),
        None if at.group is None else group(values[at.group], rows.columns[at.group], where),
        f" (line {line} of {rows.path.name})",
    )


def _label(value: object, name: str, where: str) -> str:
    """A label as a class name; "" where there is none."""
    if value is None or value == "":
        return ""
    text = str(value)
    if isinstance(value, list | dict | bool | float) or FLOAT.fullmatch(text):
        what = "a float" if isinstance(value, float) or FLOAT.fullmatch(text) else "neither text nor a whole number"
        raise DataError(f"{where}: {name} = {show(value, 40)} is {what}; a class name or a whole number is right")
    if text.startswith("-") and text[1:].isdecimal() and text != "-1":
        raise DataError(f"{where}: {name} = {text} is negative; a class name, or a whole number of 0 or more, is right")
    return text


def _named_splits(images: list[Image], at: Places, table: Table, notes: list[str]) -> list[Image]:
    """With the splits that the names begin with, if no column says them and all do."""
    if not images or at.split is not None or table.split is not None:
        return images
    splits = [split_of(image.name.partition("/")[0]) for image in images]
    if any(name is None for name in splits):
        return images
    notes.append("splits are those that the names of the files begin with")
    return [image._replace(split=name) for image, name in zip(images, splits, strict=True)]


def _once(images: list[Image], folder: Path, notes: list[str]) -> list[Image]:
    """The images without those that are there again; refused if they differ."""
    known: dict[str, Image] = {}
    for image in images:
        first = known.setdefault(os.path.normpath(os.path.join(folder, image.name)), image)
        for what, one, other in (
            ("labels", first.label, image.label),
            ("splits", first.split, image.split),
            ("groups", first.group, image.group),
        ):
            if one != other:
                raise DataError(f"{image.name}{image.where}: two {what}, {other!r} and {one!r}{first.where}")
    if len(known) < len(images):
        notes.append(f"{len(images) - len(known)} rows name a file again and are left out")
    return list(known.values())


def _with_sizes(images: list[Image], folder: Path, table: Path) -> list[Image]:
    """With the sizes of the files. What is not there is told with what cannot be read; if nothing is, here."""
    there: list[Image] = []
    lacking = 0
    for image in images:
        try:
            status = os.stat(os.path.join(folder, image.name))
        except OSError:
            lacking += 1
            there.append(image)
            continue
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{folder / image.name}{image.where}: is no file; an image file is right")
        there.append(image._replace(size=status.st_size))
    if lacking == len(images):
        first = images[0]
        raise DataError(
            f"{table}: none of its {len(images)} files is there, the first {folder / first.name}{first.where}; names "
            "in it are relative to its folder"
        )
    return there
