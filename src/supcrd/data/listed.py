"""Images that are known by their files, each with its class: splits and groups of their user's own, before decoding."""

import os
from array import array
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from supcrd.base.files import user_path
from supcrd.base.wording import show
from supcrd.data.encoded import Reading, contents
from supcrd.data.images import Contents
from supcrd.data.listing import NAMES, split_of
from supcrd.data.rows import FILES, GROUPS, SPLITS, Rows, column, column_if_any, read_rows
from supcrd.data.stream import Names
from supcrd.errors import DataError

DIGITS = 4000
"""Of a class name that is read as a number, at most; Python converts some more."""


class Dividing(NamedTuple):
    """What the `[data]` table says of columns, and of splits and groups of its user's own."""

    split_file: str | None = None
    groups: str | None = None
    file_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None

    @property
    def of_splits(self) -> tuple[str, ...]:
        """What is said of `split_file`, that first; nothing where there is none."""
        said = (self.split_file, self.file_column, self.split_column)
        return tuple(str(value) for value in said) if self.split_file is not None else ()

    @property
    def split_files(self) -> list[Path]:
        """`split_file` as a path."""
        return [user_path(name, error=DataError) for name in (self.split_file,) if name is not None]

    @property
    def tables(self) -> list[Path]:
        """The files that it names; `groups` counts as one."""
        return [user_path(name, error=DataError) for name in (self.split_file, self.groups) if name is not None]


AS_THEY_ARE = Dividing()


class Image(NamedTuple):
    """An image file."""

    name: str
    """from the set's folder on, or absolute"""
    size: int
    """bytes; 0 where there is no such file"""
    label: str
    """its class"""
    split: str | None = None
    group: str | None = None
    where: str = ""
    """what stands behind its name in messages: the line of a table"""


class Listed(NamedTuple):
    """All images of a set, either all of them with a split or none."""

    folder: Path
    images: list[Image]
    notes: list[str]

    @property
    def divided(self) -> bool:
        """Whether the images have splits."""
        return self.images[0].split is not None


class ListedFiles:
    """Image files by row; see `stream.Files`."""

    def __init__(self, folder: Path, images: Iterable[Image]) -> None:
        self.folder, self.names, self.sizes, self.wheres = folder, Names(), array("q"), Names()
        for image in images:
            self.names.append(os.fsencode(image.name))
            self.sizes.append(image.size)
            self.wheres.append(os.fsencode(image.where))

    def __len__(self) -> int:
        return len(self.names)

    def open(self, row: int) -> Path:
        """The path of the file."""
        return self.folder / os.fsdecode(self.names[row])

    def name(self, row: int) -> str:
        """The same as text, with the line of the table that names it."""
        return f"{self.open(row)}{os.fsdecode(self.wheres[row])}"

    def identity(self, row: int) -> bytes:
        """The name and the size."""
        return b"%b\0%d\0" % (self.names[row], self.sizes[row])


def read_listed(
    listed: Listed,
    dividing: Dividing,
    reading: Reading,
    *,
    require_train: bool,
    order: Callable[[Iterable[str]], list[str]] = sorted,
) -> Contents:
    """Divide the images as their user says, and read them.

    Args:
        listed: the images.
        dividing: `groups` is a column that `listed` has read, or a table.
        reading: how pixels are read.
        require_train: refuse images of which none is for training.
        order: of class names.

    Raises:
        DataError: tables that do not fit the images; a group in two splits; a class that train lacks; as
            `encoded.contents`.
    """
    if dividing.split_file is not None:
        listed = _split_by_file(listed, dividing)
    if dividing.groups is not None and listed.images[0].group is None:
        listed = _grouped_by_file(listed, dividing)
    if listed.divided:
        _check_groups(listed)
    parts = {split: [image for image in listed.images if (image.split or "train") == split] for split in NAMES}
    if require_train and not parts["train"]:
        raise DataError(f"{listed.folder}: no image is of the split train")
    names = order({image.label for image in parts["train"] or listed.images})
    label, number = {name: place for place, name in enumerate(names)}, _numbers(listed)
    files: dict[str, tuple[ListedFiles, Tensor]] = {}
    groups: dict[str, Tensor] = {}
    for split, images in parts.items():
        strange = next((image for image in images if image.label not in label), None)
        if strange is not None:
            raise DataError(
                f"{listed.folder / strange.name}{strange.where}: class {strange.label!r} of {split} is not in train"
            )
        if images:
            files[split] = ListedFiles(listed.folder, images), _tensor(label[image.label] for image in images)
            if number:
                groups[split] = _tensor(number[str(image.group)] for image in images)
    read = contents(names, files, reading, listed.notes, groups)
    return read._replace(undivided=not listed.divided)


def _tensor(values: Iterable[int]) -> Tensor:
    return torch.from_numpy(np.fromiter(values, dtype=np.int64))


def _numbers(listed: Listed) -> dict[str, int]:
    """Group -> its number; nothing where there are no groups."""
    return {name: place for place, name in enumerate(sorted({i.group for i in listed.images if i.group is not None}))}


def _split_by_file(listed: Listed, dividing: Dividing) -> Listed:
    """The images with the splits of `data.split_file`; those that it leaves out are left out."""
    path = user_path(dividing.split_file or "", "data.split_file", error=DataError)
    if listed.divided:
        raise DataError(f"data.split_file: {listed.folder} has splits already; a source without splits is right")
    rows = read_rows(path, "data.split_file")
    at = column(rows, dividing.split_column, "data.split_column", SPLITS)
    split_at = _by_file(rows, at, listed, dividing, "data.split_file", lambda value, _, where: split(value, where))
    images = [image._replace(split=split_at[place]) for place, image in enumerate(listed.images) if place in split_at]
    left = len(listed.images) - len(images)
    return listed._replace(
        images=images, notes=listed.notes + ([f"{left} images are not in {path} and left out"] if left else [])
    )


def _grouped_by_file(listed: Listed, dividing: Dividing) -> Listed:
    """The images with the groups of the table `data.groups`."""
    path = user_path(dividing.groups or "", "data.groups", error=DataError)
    rows = read_rows(path, "data.groups")
    usual = column_if_any(rows, None, "data.groups", GROUPS)
    at = usual if usual is not None else _other(rows, dividing)
    group_at = _by_file(rows, at, listed, dividing, "data.groups", lambda value, name, where: group(value, name, where))
    lacking = [image for place, image in enumerate(listed.images) if place not in group_at]
    if lacking:
        more = f" and {len(lacking) - 1} more images" if len(lacking) > 1 else ""
        raise DataError(
            f"data.groups: {path} has no group of {lacking[0].name}{more}; a group for every image is right"
        )
    return listed._replace(images=[i._replace(group=group_at[place]) for place, i in enumerate(listed.images)])


def _other(rows: Rows, dividing: Dividing) -> int:
    """The only column beside that of the files."""
    file_at = column(rows, dividing.file_column, "data.file_column", FILES)
    others = [place for place in range(len(rows.columns)) if place != file_at]
    if len(others) != 1:
        raise DataError(
            f"data.groups: {rows.path} has no column called group, but {', '.join(rows.columns)}; one of files and one "
            "of groups are right"
        )
    return others[0]


def _by_file(
    rows: Rows, at: int, listed: Listed, dividing: Dividing, key: str, read: Callable[[object, str, str], str]
) -> dict[int, str]:
    """Place of an image -> what a table says of it. Names are taken from the set's folder, else from the table's."""
    file_at = column(rows, dividing.file_column, "data.file_column", FILES)
    places = {_absolute(listed.folder, image.name): place for place, image in enumerate(listed.images)}
    values: dict[int, str] = {}
    strange: list[str] = []
    for row, line in zip(rows.values, rows.lines, strict=True):
        name, where = str(row[file_at]), f"{rows.path}, line {line}"
        known = [places.get(_absolute(base, name)) for base in (listed.folder, rows.path.parent)]
        place = next((place for place in known if place is not None), None)
        value = read(row[at], rows.columns[at], where)
        if place is None:
            strange.append(f"{where}: {show(name)}")
        elif values.setdefault(place, value) != value:
            raise DataError(f"{where}: {show(name)} is {value!r} here and {values[place]!r} before")
    # a table of groups may be of more images than these; one of splits means those that it names
    if not values or (strange and key == "data.split_file"):
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise DataError(
            f"{strange[0]}{more}: no image of {listed.folder} is called so; its names are like {listed.images[0].name}"
        )
    return values


def _absolute(folder: Path, name: str) -> str:
    return os.path.normpath(os.path.join(os.path.abspath(folder), name))


def split(value: object, where: str) -> str:
    """The split that a value of a table means.

    Example:
        >>> split("Valid", "a.csv, line 2")
        'validation'
    """
    meant = split_of(str(value))
    if meant is None:
        known = "; ".join(f"{name}: {', '.join(names)}" for name, names in NAMES.items())
        raise DataError(f"{where}: split {show(value, 40)} is not right; known are {known}")
    return meant


def group(value: object, name: str, where: str) -> str:
    """The group that a value of a table means; a number stands for its digits.

    Example:
        >>> group(7, "patient", "a.csv, line 2")
        '7'
    """
    if value is None or value == "" or isinstance(value, list | dict | float | bool):
        raise DataError(f"{where}: {name} = {show(value, 40)} is no group; a name or a whole number is right")
    return str(value)


def _check_groups(listed: Listed) -> None:
    """Refuse a group that is on both sides of a split."""
    first: dict[str, Image] = {}
    for image in listed.images:
        if image.group is not None and first.setdefault(image.group, image).split != image.split:
            other = first[image.group]
            raise DataError(
                f"data.groups: group {image.group!r} is in {other.split} ({other.name}) and in {image.split} "
                f"({image.name}); a group in one split only is right"
            )


def by_number(names: Iterable[str]) -> list[str]:
    """Class names in order: by number where all of them are whole numbers.

    Example:
        >>> by_number({"10", "9"}), by_number({"b", "9", "10"})
        (['9', '10'], ['10', '9', 'b'])
    """
    every: Sequence[str] = sorted(names)
    numbers = all(name.isdecimal() and len(name) <= DIGITS for name in every)
    return sorted(every, key=int) if numbers else list(every)
