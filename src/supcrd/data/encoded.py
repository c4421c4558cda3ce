"""A set of encoded images -> its contents, decoded or to be streamed; headers, levels and damage come first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supcrd.data.imagefile import Form, extent, form, pixels, upright_size
from supcrd.data.images import Contents, Split
from supcrd.data.levels import Extent, Levels, find
from supcrd.data.stream import Files, StreamedImages, decoding_pool, sample
from supcrd.errors import DataError

TRIED = 20_000  # images: streamed splits of at most this many are decoded once before they are used
BLOCK = 32  # images a task of the pool
NAMED = 3  # damaged files that are named; the others are counted

Result = TypeVar("Result")


class Reading(NamedTuple):
    """How encoded images become pixels; see `supcrd.recipe.settings.DataSettings`."""

    image_size: int | None = None
    stream: bool = False
    workers: int | None = None
    levels: tuple[float, float] | None = None
    damaged: str = "refuse"
    draft: bool = False

    @property
    def settings(self) -> tuple[object, ...]:
        """What the images that are kept depend on."""
        return (self.image_size, self.levels, self.damaged, *(("draft",) if self.draft else ()))


AS_IT_IS = Reading()


class Part(NamedTuple):
    """A split: its files and what is known of them."""

    files: Files
    labels: Tensor
    well: NDArray[np.bool_]  # (N,) whether the image can be read
    grey: NDArray[np.bool_]
    deep: NDArray[np.bool_]
    narrowed: NDArray[np.bool_]


def contents(
    class_names: Sequence[str],
    files: Mapping[str, tuple[Files, Tensor]],
    reading: Reading,
    notes: Sequence[str] = (),
    groups: Mapping[str, Tensor] | None = None,
) -> Contents:
    """The splits (name -> encoded images and their labels) of a set, decoded or streamed.

    Every header is read. The set is grey if every image is single-channel. Images in memory, and those of streamed
    splits of at most `TRIED` images, are decoded, so that all damaged images are reported, or left out, at once.

    Args:
        class_names: in the order of the labels.
        files: not empty.
        reading: how.
        notes: messages about the set so far.
        groups: of the images of each split, (N,) int64.

    Raises:
        DataError: images that cannot be read, unless they shall be left out; sizes that differ without image_size;
            levels that cannot be inferred (`levels.find`).
    """
    pool, messages, bad = decoding_pool(reading.workers), list(notes), Failures()
    parts: dict[str, Part] = {}
    for split, (held, labels) in files.items():
        count = len(held)
        none = [np.zeros(count, bool) for _ in range(3)]
        part = Part(held, labels, np.ones(count, bool), *none)
        parts[split] = part
        if count == 0:
            messages.append(f"{split} holds no image: read as a set without it")
    size = _size(pool, parts, reading.image_size, bad)
    levels = _levels(pool, parts, reading, bad, messages)
    channels = 1 if all(part.grey[part.well].all() for part in parts.values()) else 3
    decoded, dark = {}, Dark()
    for split, part in parts.items():
        if not reading.stream or len(part.files) <= TRIED:
            decoded[split] = _decode(
                pool, part, bad, dark, channels=channels, size=size, levels=levels, keep=not reading.stream,
                draft=reading.draft,
            )  # fmt: skip
    messages += dark.lines()
    messages += bad.end(sum(len(part.files) for part in parts.values()), skip=reading.damaged == "skip")
    if levels is not None and levels.beyond and not reading.stream:
        messages.append(levels.beyond)
    splits = {}
    for split, part in parts.items():
        rows = np.flatnonzero(part.well)
        if len(rows) == 0:
            continue
        whole = len(rows) == len(part.well)
        well = torch.from_numpy(rows)
        labels = part.labels if whole else part.labels[well]
        if reading.stream:
            images: StreamedImages | Tensor = StreamedImages(
                part.files, pool, channels=channels, size=size, levels=levels, rows=rows, draft=reading.draft
            )
        else:
            images = torch.from_numpy(decoded[split] if whole else decoded[split][rows])
        splits[split] = Split(images, labels, groups[split][well] if groups else None)
    if not splits:
        raise DataError("no image of the set can be read")
    if not reading.stream:
        pool.shutdown()
    return Contents(
        tuple(class_names),
        splits.get("train"),
        splits.get("validation"),
        splits.get("test"),
        levels=None if levels is None else levels.pair,
        notes=tuple(messages),
    )


class Failures:
    """Images that cannot be read: the first ones named, the others counted."""

    def __init__(self) -> None:
        self.count, self.first, self.others = 0, "", list[str]()

    def add(self, error: DataError, name: str) -> None:
        """Take one more, the image `name`."""
        self.count += 1
        if self.count == 1:
            self.first = str(error)
        elif self.count <= NAMED:
            self.others.append(name.rpartition("/")[2])

    def end(self, total: int, *, skip: bool) -> list[str]:
        """A line about those left out.

        Raises:
            DataError: there are some, and none shall be left out.
        """
        if not self.count:
            return []
        others = f"; also {', '.join(self.others)}" if self.others else ""
        more = f"; and {self.count - NAMED} more" if self.count > NAMED else ""
        named = f"{self.first}{others}{more}"
        if skip:
            return [f"{self.count} of {total} images cannot be read and are left out: {named}"]
        many = f"{self.count} of {total} images cannot be read: " if self.count > 1 else ""
        raise DataError(f"{many}{named}; data.damaged=skip leaves such images out")


class Dark:
    """Images of 16 bits a colour, which Pillow narrows to the upper 8: nearly black where fewer bits are used."""

    def __init__(self) -> None:
        self.count, self.brightest = 0, 0

    def lines(self) -> list[str]:
        """Messages about them."""
        if not self.count or self.brightest >= 64:
            return []
        return [
            f"{self.count} images have 16 bits a colour, of which the upper 8 are read, and these reach only "
            f"{self.brightest} of 255; bring them to 8 bits before"
        ]


def _each(
    pool: ThreadPoolExecutor, work: Callable[[int], Result], rows: Sequence[int]
) -> Iterator[tuple[int, Result | DataError]]:
    """(row, what `work` gives or the error it raises) in the order of the rows; few tasks wait at a time."""

    def block(some: Sequence[int]) -> list[tuple[int, Result | DataError]]:
        done: list[tuple[int, Result | DataError]] = []
        for row in some:
            try:
                done.append((row, work(row)))
            except DataError as error:
                done.append((row, error))
        return done

    blocks = (rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK))
    while window := list(islice(blocks, 256)):
        yield from chain.from_iterable(pool.map(block, window))


def _size(pool: ThreadPoolExecutor, parts: Mapping[str, Part], image_size: int | None, bad: Failures) -> int:
    """H of the set; records what the headers say."""
    first: tuple[str, tuple[int, int]] | None = None
    for part in parts.values():
        held = part.files

        def look(row: int, held: Files = held) -> Form:
            return form(held.open(row), held.name(row))

        for row, header in _each(pool, look, range(len(held))):
            if isinstance(header, DataError):
                part.well[row] = False
                bad.add(header, held.name(row))
                continue
            part.grey[row], part.deep[row], part.narrowed[row] = header.grey, header.deep, header.narrowed
            first = first or (held.name(row), header.size)
            width, height = header.size
            if image_size is None and (width != height or header.size != first[1]):
                width, height = upright_size(held.open(row), held.name(row))
                raise DataError(
                    f"{held.name(row)}: {width} x {height} px, but all images must be squares of one size "
                    f"({Path(first[0]).name} is {first[1][0]} x {first[1][1]}); data.image_size=N resizes and crops "
                    "them"
                )
    return image_size or (first[1][0] if first else 1)


def _levels(
    pool: ThreadPoolExecutor, parts: Mapping[str, Part], reading: Reading, bad: Failures, messages: list[str]
) -> Levels | None:
    """Black and white of the set's deep images, of a streamed one inferred from a sample; None if it has none."""
    if not any(part.deep.any() for part in parts.values()):
        return None
    if reading.levels is not None:
        return Levels(*reading.levels, stated=True)
    extents: dict[str, list[Extent]] = {}
    for split, part in parts.items():
        held = part.files

        def measure(row: int, held: Files = held) -> Extent:
            return extent(held.open(row), held.name(row))

        rows = np.flatnonzero(part.deep & part.well)
        if reading.stream:
            rows = rows[sample(len(rows)).numpy()]
        extents[split] = []
        for row, result in _each(pool, measure, rows.tolist()):
            if isinstance(result, DataError):
                part.well[row] = False
                bad.add(result, held.name(row))
            else:
                extents[split].append(result)
    every = list(chain.from_iterable(extents.values()))
    if not every:  # all damaged, or none in the sample
        return None
    pair, line = find(every, extents.get("train") or every)
    if line:
        messages.append(line)
    return Levels(*pair, log=reading.stream)


def _decode(
    pool: ThreadPoolExecutor,
    part: Part,
    bad: Failures,
    dark: Dark,
    *,
    channels: int,
    size: int,
    levels: Levels | None,
    keep: bool,
    draft: bool,
) -> NDArray[np.uint8]:
    """Decode what can be; (N, size, size, channels), or nothing where it is only tried."""
    held = part.files
    into = np.zeros((len(held) if keep else 0, size, size, channels), dtype=np.uint8)

    def decode(row: int) -> None:
        decoded = pixels(held.open(row), held.name(row), channels=channels, size=size, levels=levels, draft=draft)
        if keep:
            into[row] = decoded
        if part.narrowed[row]:
            dark.count, dark.brightest = dark.count + 1, max(dark.brightest, int(decoded.max()))

    for row, done in _each(pool, decode, np.flatnonzero(part.well).tolist()):
        if isinstance(done, DataError):
            part.well[row] = False
            bad.add(done, held.name(row))
    return into
