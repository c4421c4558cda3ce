"""Tables in files: .csv, .tsv and .jsonl as columns of values, each row with its line for messages."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from supcrd.base.wording import nearest, show
from supcrd.errors import DataError

DELIMITERS = ",;\t"
LONGEST = 2**24  # characters of a value; csv's own limit is 128 KiB
FILES = (
    "file_name", "filename", "file", "file_path", "filepath", "path", "image_path", "image_file", "image_name", "image",
    "img_path", "img",
)  # fmt: skip
"""Usual names of the column of files."""
LABELS = ("label", "labels", "class", "class_name", "label_name", "category", "target", "y")
SPLITS = ("split", "splits", "set", "subset", "partition")
GROUPS = ("group", "groups", "group_id", "patient", "patient_id", "subject", "subject_id", "person", "case_id")


class Rows(NamedTuple):
    """A table."""

    path: Path
    columns: tuple[str, ...]
    values: list[list[Any]]
    """a list a row, as long as `columns`: text without spaces around it; of JSON any value"""
    lines: list[int]
    """of each row in the file, from 1"""


def read_rows(path: Path, key: str) -> Rows:
    """Read a table: JSON lines (or one JSON list of objects) by its ending, else values separated by a delimiter.

    The delimiter of `.tsv` and `.tab` is the tab; elsewhere it is the one of comma, semicolon and tab that the first
    line has most often. The first line names the columns. Lines without a value are passed over. Columns of JSON lines
    are the keys of all objects; a key that an object lacks is None.

    Args:
        path: the file, UTF-8, with or without a byte order mark.
        key: that names it, for messages.

    Raises:
        DataError: it cannot be read, is no such table, has no row, or a row of another length than its first line.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "a.csv")
        ...     _ = path.write_text("file;label\\na.png;cat\\n")
        ...     rows = read_rows(path, "data.source")
        >>> rows.columns, rows.values, rows.lines
        (('file', 'label'), [['a.png', 'cat']], [2])
    """
    if not path.is_file():
        what = "is no file" if path.exists() else f"no such file (looked for from {Path.cwd()})"
        raise DataError(f"{key}: {path}: {what}; a .csv, .tsv or .jsonl file is right")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise DataError(f"{key}: {path} cannot be read ({reason}); a .csv, .tsv or .jsonl file is right") from None
    suffix = path.suffix.lower()
    rows = _json(path, text) if suffix in (".jsonl", ".ndjson", ".json") else _delimited(path, text, suffix)
    if not rows.values:
        raise DataError(f"{path}: holds no row")
    return rows


def _delimited(path: Path, text: str, suffix: str) -> Rows:
    first = next((line for line in io.StringIO(text) if line.strip(f"{DELIMITERS} \n")), "")
    delimiter = "\t" if suffix in (".tsv", ".tab") else max(DELIMITERS, key=first.count)
    csv.field_size_limit(LONGEST)
    values: list[list[Any]] = []
    lines: list[int] = []
    columns: tuple[str, ...] = ()
    # spaces are skipped before quotes, which would be a part of the value behind them
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not columns:
                columns = tuple(cells)
            elif len(cells) != len(columns):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(cells)} values, but {len(columns)} columns ("
                    f"{named(columns)}); quotes around a value with a {delimiter!r} are right"
                )
            else:
                values.append(cells)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None
    twice = next((name for place, name in enumerate(columns) if name and name in columns[:place]), None)
    if twice is not None:
        raise DataError(f"{path}: two columns are called {twice!r}")
    return Rows(path, columns, values, lines)


def _json(path: Path, text: str) -> Rows:
    objects = list(_objects(path, text))
    columns = tuple(dict.fromkeys(name for _, row in objects for name in row))
    values = [[_stripped(row.get(name)) for name in columns] for _, row in objects]
    return Rows(path, columns, values, [line for line, _ in objects])


def _objects(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, object) of JSON lines, or of one list; of a list the line is the place in it."""
    whole = text.lstrip().startswith("[")
    lines: Sequence[Any] = [text] if whole else text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            read = json.loads(line)
        except (ValueError, RecursionError):
            raise DataError(f"{path}, line {number}: no JSON object; an object a line is right") from None
        if "\\ud" in line.lower():  # an escape that can be half of a character
            try:
                json.dumps(read, ensure_ascii=False).encode()
            except UnicodeEncodeError:
                raise DataError(f"{path}, line {number}: an escape \\ud... that is no character") from None
        for place, row in enumerate(read if whole else [read], number):
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {place}: {show(row, 40)} is no JSON object; an object a line is right")
            yield place, row


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def column(rows: Rows, given: str | None, key: str, usual: Sequence[str]) -> int:
    """The place of a column: the one that a user named, else the one with a usual name, in any case.

    Args:
        rows: the table.
        given: the name that `key` gives, if any.
        key: of a recipe, for messages.
        usual: names that are recognised.

    Raises:
        DataError: no column of that name, none of the usual names, or several of them.

    Example:
        >>> rows = Rows(Path("a.csv"), ("Image", "dx"), [["a.png", "mel"]], [2])
        >>> column(rows, None, "data.file_column", FILES), column(rows, "dx", "data.label_column", LABELS)
        (0, 1)
    """
    place = column_if_any(rows, given, key, usual)
    if place is None:
        raise DataError(f"{rows.path}: {key}=NAME is needed; its columns are {named(rows.columns)}")
    return place


def column_if_any(rows: Rows, given: str | None, key: str, usual: Sequence[str]) -> int | None:
    """As `column`; None where none was named and none has a usual name."""
    if given is not None:
        if given in rows.columns:
            return rows.columns.index(given)
        hint = nearest(given, rows.columns)
        raise DataError(f"{key} = {given!r}: {rows.path} has no such column; it has {named(rows.columns)}{hint}")
    places = [place for place, name in enumerate(rows.columns) if name.lower() in usual]
    if len(places) > 1:
        several = named([rows.columns[place] for place in places])
        raise DataError(f"{rows.path}: which column is meant, {several}? {key}=NAME says it")
    return places[0] if places else None


def named(columns: Sequence[str]) -> str:
    """Names of columns for a message, long ones cut, of many the first.

    Example:
        >>> named(["file", "label"])
        'file, label'
    """
    shown = [name[:30] or "(without a name)" for name in columns[:12]]
    more = [f"{len(columns) - 12} more"] if len(columns) > 12 else []
    return ", ".join([*shown, *more]) or "none"
