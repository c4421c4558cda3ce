"""One pass over the images of a split: marks, sizes, modes, statistics, and what cannot be read."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supcrd.data.digests import content, digest
from supcrd.data.imagefile import header, pixels
from supcrd.data.images import Split
from supcrd.data.overview.duplicates import Marks, marks
from supcrd.data.stream import StreamedImages
from supcrd.errors import DataError

BLOCK = 512  # images
NAMED = 20  # images that cannot be read which are named


class Seen:
    """What was seen of a split of N images.

    Attributes:
        labels: (N,) int64.
        well: (N,) bool, whether the image could be read; `marks` has these alone, in order.
        sizes: (width, height) -> images.
        modes: Pillow's name -> images.
        damaged: the first messages about images that cannot be read.
        count_damaged: how many these are, those included that were left out when the set was loaded.
    """

    def __init__(self, labels: Tensor, channels: int, name: Callable[[int], str], *, of_files: bool) -> None:
        self.labels: NDArray[np.int64] = labels.cpu().numpy()
        self.well = np.ones(len(labels), bool)
        self.name, self.of_files = name, of_files
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.modes: Counter[str] = Counter()
        self.damaged: list[str] = []
        self.count_damaged = 0
        self._parts: list[Marks] = []
        self._sums = np.zeros((2, channels), dtype=object)  # integers of any size
        self._pixels = 0

    def add(self, images: Tensor, digests: Sequence[bytes]) -> None:
        """The next images that can be read, (B, H, H, channels) uint8."""
        if len(images) == 0:
            return
        bits, slopes = marks(images)
        self._parts.append(Marks(bits, slopes, np.frombuffer(b"".join(digests), dtype="V16")))
        values = images.flatten(0, 2).to(torch.int64)
        for at, total in enumerate((values.sum(0), (values * values).sum(0))):
            self._sums[at] += np.array(total.tolist(), dtype=object)
        self._pixels += len(values)

    @property
    def marks(self) -> Marks:
        """Of all images that could be read."""
        if not self._parts:
            return Marks(np.zeros((0, 64), bool), np.zeros((0, 480), np.float16), np.zeros(0, "V16"))
        return Marks(*(np.concatenate(column) for column in zip(*self._parts, strict=True)))

    @staticmethod
    def joined(parts: "Sequence[Seen]") -> Marks:
        """The marks of several splits, one behind the other."""
        return Marks(*(np.concatenate(column) for column in zip(*(one.marks for one in parts), strict=True)))

    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and population standard deviation of each channel on the 0..1 scale."""
        count = self._pixels
        if count == 0:
            return [], []
        totals, squares = self._sums
        variances = [count * square - total * total for total, square in zip(totals, squares, strict=True)]
        return [total / (count * 255) for total in totals], [math.sqrt(value) / (count * 255) for value in variances]


def see(split: Split) -> Seen:
    """Look at every image of a split once.

    Example:
        >>> from supcrd.data import load
        >>> seen = see(load("digits").test)
        >>> seen.modes, seen.count_damaged
        (Counter({'L': 359}), 0)
    """
    if isinstance(split.images, StreamedImages):
        return _files(split.images, split.labels)
    images, channels = split.images, split.images.shape[3]
    seen = Seen(split.labels, channels, lambda row: f"image {row}", of_files=False)
    seen.modes["L" if channels == 1 else "RGB"] = len(images)
    seen.sizes[images.shape[2], images.shape[1]] = len(images)
    for block in torch.split(images, BLOCK):
        seen.add(block, [digest(image.tobytes()) for image in block.numpy()])
    return seen


def _files(images: StreamedImages, labels: Tensor) -> Seen:
    files, rows = images.files, images.rows.tolist()
    _, size, _, channels = images.shape
    seen = Seen(labels, channels, lambda row: files.name(rows[row]), of_files=True)

    def one(row: int) -> tuple[str, tuple[int, int], bytes, Any] | DataError:
        name = files.name(row)
        try:
            mode, shape = header(files.open(row), name)
            image = pixels(files.open(row), name, channels=channels, size=size, levels=images.levels)
            return mode, shape, digest(content(files.open(row))), image
        except DataError as error:
            return error

    for start in range(0, len(rows), BLOCK):
        decoded, of_files = [], []
        for at, result in enumerate(images.pool.map(one, rows[start : start + BLOCK]), start):
            if isinstance(result, DataError):
                seen.well[at] = False
                seen.count_damaged += 1
                seen.damaged.append(str(result))
                continue
            mode, shape, of_file, image = result
            seen.modes[mode] += 1
            seen.sizes[shape] += 1
            of_files.append(of_file)
            decoded.append(torch.from_numpy(image))
        if decoded:
            seen.add(torch.stack(decoded), of_files)
    left_out = sorted(set(range(len(files))) - set(rows))  # when the set was loaded
    seen.count_damaged += len(left_out)
    for result in map(one, left_out[:NAMED]):
        if isinstance(result, DataError):
            seen.damaged.append(str(result))
    return seen
