"""Images of Parquet files that are read by row group when they are asked for: no memory has to hold a file."""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supcrd.data.order import WINDOW
from supcrd.data.sources import arrow
from supcrd.data.sources.chunks import only_paths
from supcrd.data.stream import Images, StreamedImages
from supcrd.errors import DataError

LIMIT = 2**29  # bytes of row groups that a process holds, those that decoding is about to use apart


class Recent:
    """Row groups that were read lately, by several threads at once: each is read by one, for which the others wait.

    Args:
        limit: bytes that are held; beyond it those go that were not used for the longest time. The newest one stays.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0
        self._lock = Lock()
        self._groups: OrderedDict[object, Future[Any]] = OrderedDict()

    def get(self, key: object, read: Callable[[], Any]) -> Any:
        """What `read()` gave for a key: an array of pyarrow's."""
        with self._lock:
            group = self._groups.get(key)
            if group is not None:
                self._groups.move_to_end(key)
            else:
                own = self._groups[key] = Future[Any]()
        if group is not None:
            return group.result()
        try:
            array = read()
        except BaseException as error:
            with self._lock:
                del self._groups[key]
            own.set_exception(error)
            raise
        with self._lock:
            self.held += array.nbytes
            own.set_result(array)
            read_whole = [other for other, group in self._groups.items() if group.done() and other != key]
            for oldest in read_whole:
                if self.held <= self.limit:
                    break
                self.held -= self._groups.pop(oldest).result().nbytes
        return array


class RowGroup:
    """The encoded images of a row group; see `arrow.Chunk`. Their sizes are known once it was read, and stay so."""

    def __init__(self, file: "ParquetImages", number: int, count: int, size: int) -> None:
        self.file, self.number, self.count, self.bytes = file, number, count, size
        self.sizes: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self.count

    def _held(self) -> Any:
        return self.file.recent.get(self, self._read)

    def _read(self) -> Any:
        from pyarrow import compute

        array = self.file.read(self.number, self.count)
        if self.sizes is None:
            self.sizes = compute.binary_length(array).fill_null(0).to_numpy().astype(np.int64)
        return array

    def content(self, row: int) -> bytes | None:
        """See `arrow.Chunk`."""
        content: bytes | None = self._held()[row].as_py()
        return content

    def size(self, row: int) -> int:
        """See `arrow.Chunk`."""
        if self.sizes is None:
            self._held()
        assert self.sizes is not None
        return int(self.sizes[row])


class ParquetImages:
    """A column of images of a file, which stays what it was when its row groups were listed.

    A file is opened for every row group: a set may have more files than a process may have open. It is not mapped
    into memory: a mapped one that is cut short ends the process.

    Args:
        path: of the file.
        column: of bytes, or structs with `bytes`.
        recent: holds what is read.

    Raises:
        DataError: the file cannot be read; it has no image's bytes.
    """

    def __init__(self, path: Path, column: str, recent: Recent) -> None:
        from pyarrow import parquet

        self.path, self.column, self.recent = path, column, recent
        self.groups: list[RowGroup] = []
        with damage(path):
            self.stamp = _stamp(path)  # before it is opened: one that takes its place in between is refused later
            with arrow.pyarrow().OSFile(str(path)) as opened:
                about = parquet.ParquetFile(opened).metadata
            names = [about.schema.column(at).path for at in range(about.num_columns)]
            place = names.index(column) if column in names else names.index(f"{column}.bytes")
            null = 0
            for number in range(about.num_row_groups):
                group = about.row_group(number)
                images = group.column(place)
                self.groups.append(RowGroup(self, number, group.num_rows, images.total_uncompressed_size))
                null += (images.statistics and images.statistics.null_count) or 0  # not all files say it
        self.leaf = names[place]
        if self.leaf != column and about.num_rows and null == about.num_rows:
            raise DataError(f"{path}: {only_paths(column)}")

    def read(self, number: int, count: int) -> Any:
        """The bytes of the images of a row group; an array of pyarrow's, with null where an image has none.

        Raises:
            DataError: the file is gone, damaged, or another than at first.
        """
        from pyarrow import compute, parquet

        with damage(self.path), arrow.pyarrow().OSFile(str(self.path)) as opened, self._unchanged():
            # in one thread: the images of several row groups are wanted by several threads
            table = parquet.ParquetFile(opened).read_row_group(number, columns=[self.leaf], use_threads=False)
            table.validate(full=True)  # wrong offsets would read memory of others
            if len(table) != count:
                raise ValueError(f"{len(table)} rows, not {count}")
            array = table.column(0)
            return array if self.leaf == self.column else compute.struct_field(array, "bytes")

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Refuse a file that is another than at first, before it is read and after: it may change in between."""
        self._check()
        try:
            yield
        finally:
            self._check()

    def _check(self) -> None:
        if _stamp(self.path) != self.stamp:
            raise DataError(f"{self.path}: was changed during the run")


def read_often(images: Images, block: int) -> str | None:
    """What is to be said of an order that reads row groups many times in an epoch; None where it does not.

    Args:
        images: of train.
        block: as `data.block`.
    """
    files = images.files if isinstance(images, StreamedImages) else None
    if not isinstance(files, arrow.ArrowFiles):
        return None
    groups = [chunk for chunk in files.chunks if isinstance(chunk, RowGroup)]
    whole, limit = sum(group.bytes for group in groups), LIMIT
    if whole <= limit:
        return None
    rows, size = -(-len(files) // len(groups)), whole / len(groups)
    # a block that is as long as a row group mostly lies in two
    if block and min(WINDOW * (block / rows + 1), len(groups)) * size <= limit:
        return None
    text = (
        f"data.block = {block} reads row groups of {size / 1e6:.3g} MB ({rows} images) many times an epoch: more than "
    )
    text += f"{limit / 1e6:.3g} MB are in use at a time"
    if 2 * WINDOW * size <= limit:
        return f"{text}; data.block = {rows} reads each about twice"
    return f"{text}; write the set with smaller row groups, of at most {limit / 2 / WINDOW / 1e6:.3g} MB"


def _stamp(path: Path) -> tuple[int, int]:
    """By name: an open file of pyarrow before 23 has no number that os.fstat takes."""
    about = path.stat()
    return about.st_size, about.st_mtime_ns


class damage:
    """What pyarrow raises on a damaged file, as one line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, DataError):
            return
        if isinstance(error, PermissionError | FileNotFoundError):
            # pyarrow's own text repeats the path
            reason = error.strerror if error.errno is None else os.strerror(error.errno)
            raise DataError(f"{self.path}: cannot be read ({reason})") from error
        if isinstance(error, OSError | ValueError | EOFError | arrow.pyarrow().ArrowException):
            reason = " ".join(str(error).split())[:90] or type(error).__name__
            raise DataError(f"{self.path}: damaged or cut short, or no file of its kind ({reason})") from error
