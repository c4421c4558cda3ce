"""`parquet:PATH`: Parquet files as the Hugging Face hub has them, or a data set that `datasets` saved to a folder."""

import glob
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from supcrd.data import decoded
from supcrd.data.encoded import AS_IT_IS, Reading
from supcrd.data.images import Contents
from supcrd.data.listed import AS_THEY_ARE, Dividing
from supcrd.data.listing import NAMES, split_in, split_of, walk
from supcrd.data.sources import Request, arrow, rowgroups
from supcrd.data.sources.chunks import has_paths
from supcrd.data.sources.rowgroups import damage
from supcrd.errors import DataError

DICT, STATE = "dataset_dict.json", "state.json"  # of `save_to_disk`
END = b"\xff\xff\xff\xff\0\0\0\0"  # of an Arrow stream


def read(
    path: Path,
    *,
    reading: Reading = AS_IT_IS,
    require_train: bool = True,
    unlabelled: str = "refuse",
    group: str | None = None,
    dividing: Dividing = AS_THEY_ARE,
) -> Contents:
    """Read PATH: a Parquet file, a folder of them, a pattern such as `data/*.parquet`, or a folder of `save_to_disk`.

    Splits are told from the names of the files (`train-00000-of-00002.parquet`, `validation.parquet`,
    `imagenet-test-0.parquet`) or of their folders (`test/0000.parquet`), by the words of `listing.NAMES`; where no name
    has one, all files are train. A saved set says its splits.

    Images are a struct of `bytes` and `path`, or bytes; labels are integers with names in the schema's metadata
    (ClassLabel), integers without, or text. See `arrow.columns` and `tablelabels.classes`.

    Args:
        path: as above.
        reading: as for `folder.read`. Streamed, the images of Parquet files are read by row group when they are asked
            for (`rowgroups`); a saved set is mapped from the disk.
        require_train: False allows a set with only validation or test.
        unlabelled: "refuse" labels that are null or -1, or "skip" such images; "use": read no label.
        group: the column of groups (whole numbers or texts), None for none.
        dividing: as for `arrow.read`.

    Raises:
        DataError: pyarrow is missing; no file, or none of train; a file that is damaged or cut short; a column that is
            missing; as `arrow.read` for labels and images. Each names the file.

    Cost: the memory of the encoded images of Parquet files; streamed, `rowgroups.LIMIT`, and of each image 8 bytes,
    its label, its group and the letters of its path.

    Source: https://huggingface.co/docs/datasets (the layout; no code).
    """
    arrow.pyarrow()
    if (path / DICT).is_file() or (path / STATE).is_file():
        files, notes = _saved(path)
    else:
        files, notes = _found(path)
    if require_train and "train" not in files:
        raise DataError(f"{path}: no train split, only {', '.join(files)}; train-*.parquet is expected")
    recent = rowgroups.Recent(rowgroups.LIMIT) if reading.stream else None
    tables, which = _tables(files, recent, labels=unlabelled != "use", group=group)
    return arrow.read(tables, which, reading, unlabelled, notes, source=path, dividing=dividing)


def _tables(
    files: Mapping[str, Sequence[Path]], recent: rowgroups.Recent | None, *, labels: bool, group: str | None
) -> tuple[dict[str, list[arrow.Table]], arrow.Columns]:
    """The tables of each split, with the columns that are read; those of the first file count.

    With `recent` the images of Parquet files are read later, and held by it.
    """
    which: arrow.Columns | None = None
    tables: dict[str, list[arrow.Table]] = {}
    for split, paths in files.items():
        tables[split] = []
        for path in paths:
            reader = _Reader(path)
            there = arrow.columns(reader.schema, str(path), labels=labels, group=group)
            which = which or there
            if (there.image, there.label) != (which.image, which.label):
                raise DataError(f"{path}: its columns are {there.image} and {there.label}, not {which.image} and "
                                f"{which.label} as in the files before it")  # fmt: skip
            if there.class_names != which.class_names:
                raise DataError(f"{path}: names other classes than the files before it")
            tables[split].append(reader.table(which, recent))
    if which is None:
        raise DataError("no file to read")
    return tables, which


class _Reader:
    """A Parquet or Arrow file: its schema, then its columns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: Any
        with damage(path):
            if path.suffix == ".arrow":
                pa = arrow.pyarrow()
                mapped = pa.memory_map(str(path))
                # pyarrow takes a stream that is cut between two batches for a whole one
                if mapped.size() < len(END) or mapped.read_at(len(END), mapped.size() - len(END)) != END:
                    raise ValueError("no end of an Arrow stream")
                self.file = pa.ipc.open_stream(mapped)
                self.schema = self.file.schema
            else:
                from pyarrow import parquet

                self.file = parquet.ParquetFile(path)
                self.schema = self.file.schema_arrow

    def table(self, which: arrow.Columns, recent: rowgroups.Recent | None) -> arrow.Table:
        """The columns, of Arrow's files mapped into memory; of images that `recent` will hold the paths alone."""
        later = None
        with damage(self.path):
            if self.path.suffix == ".arrow":
                table = self.file.read_all().select(which.names)
            else:
                names = which.names
                if recent is not None:
                    later = rowgroups.ParquetImages(self.path, which.image, recent).groups
                    paths = [f"{which.image}.path"] if has_paths(self.schema.field(which.image).type) else []
                    names = [*paths, *(name for name in names if name != which.image)]
                with self.file:
                    table = self.file.read(columns=names)
            table.validate(full=True)  # wrong offsets would read memory of others
            if later is not None and sum(map(len, later)) != table.num_rows:
                raise ValueError("row groups of other lengths")
            return arrow.Table(str(self.path), table, later)


def _found(path: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Split -> its Parquet files, and what is to be said of others."""
    if path.is_file():
        return {split_in(path.name) or "train": [path]}, []
    if path.is_dir():
        names = [name for name, entry in walk(path) if entry.is_file() and name.endswith((".parquet", ".pq"))]
        files = {path / name: name for name in sorted(names)}
    else:
        # with the folder, which may be what names the split
        matching = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        files = {file: f"{file.parent.name}/{file.name}" for file in matching}
        files = {file: name for file, name in files.items() if file.is_file()}
    if not files:
        what = "no such file or folder" if not path.exists() else "no .parquet file in it, nor a saved data set"
        raise DataError(f"{path}: {what} (looked for from {Path.cwd()})")
    splits: dict[str, list[Path]] = {split: [] for split in NAMES}
    others = []
    for file, name in files.items():
        split = split_in(name)
        if split is None:
            others.append(file)
        else:
            splits[split].append(file)
    if not any(splits.values()):
        return {"train": others}, [f"no name of a split in that of {others[0].name}: all files are train"]
    for split, held in splits.items():
        folders = sorted({str(file.parent) for file in held})
        if len(folders) > 1:
            raise DataError(f"{path}: {split} files in {folders[0]} and {folders[1]}; give one of the folders, or a "
                            "pattern")  # fmt: skip
    notes = [f"left out: {len(others)} Parquet files of no split ({others[0].name})"] if others else []
    return {split: held for split, held in splits.items() if held}, notes


def _saved(path: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """Split -> the Arrow files of a saved set, and what is to be said of others."""
    if not (path / DICT).is_file():
        state = _json(path / STATE)
        return {split_of(str(state.get("_split"))) or "train": _parts(path, state)}, []
    splits: dict[str, list[Path]] = {}
    notes = []
    names = _json(path / DICT).get("splits")
    if not isinstance(names, list) or not names:
        raise DataError(f"{path / DICT}: names no splits")
    for name in map(str, names):
        split = split_of(name)
        if split is None:
            notes.append(f"left out: split {name!r}")
        elif split in splits:
            raise DataError(f"{path / DICT}: two of its splits are {split} ({name!r} is the second)")
        else:
            splits[split] = _parts(path / name, _json(path / name / STATE))
    if not splits:
        raise DataError(f"{path}: its splits are {', '.join(map(str, names))}; train, validation or test is right")
    return splits, notes


def _parts(folder: Path, state: Mapping[str, Any]) -> list[Path]:
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise DataError(f"{folder}: saved with a choice of rows beside it, by an old datasets; save it again")
    try:
        names = [str(entry["filename"]) for entry in state["_data_files"]]
    except (KeyError, TypeError):
        raise DataError(f"{folder / STATE}: names no data files; save_to_disk writes one") from None
    wrong = next((name for name in names if Path(name).name != name or not name.endswith(".arrow")), None)
    if wrong is not None or not names:
        raise DataError(f"{folder / STATE}: names {wrong!r} as a data file; an .arrow file beside it is right")
    return [folder / name for name in names]


def _json(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError):
        raise DataError(f"{path}: no JSON, damaged or cut short") from None
    if not isinstance(table, dict):
        raise DataError(f"{path}: no JSON object")
    return table


def source(request: Request) -> Contents:
    """`parquet:PATH`."""
    path, reading, group = request.path, request.reading, request.dividing.groups

    def decode() -> Contents:
        return read(
            path, reading=reading, require_train=request.require_train, unlabelled=request.unlabelled, group=group,
            dividing=request.dividing,
        )  # fmt: skip

    if reading.stream:
        return decode()
    settings = (*reading.settings, request.unlabelled, request.dividing.groups, *request.dividing.of_splits)
    files = [path] if path.exists() else [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
    return decoded.kept(
        decode, kind=request.kind, paths=files or [path], settings=settings, require_train=request.require_train,
        further=request.dividing.split_files,
    )  # fmt: skip
