"""Images that stay encoded on disk and are decoded batch by batch, for sets that do not fit into memory.

Decoding runs in threads: Pillow releases the GIL while it decodes, resizes and converts, so no process has to be
started and no pixel is copied between processes. Any image can be read at any time, so the order of an epoch is the
same permutation as in memory, and resuming in the middle of one is exact.
"""

import os
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supcrd.base.seeding import permutation
from supcrd.data.cut import Cut
from supcrd.data.imagefile import File, cut_out
from supcrd.data.levels import Levels

AHEAD = 3  # batches that are decoded while one is trained on; with it they bound the memory
TASK = 8  # images a task of the pool: handing one over costs little compared with decoding them
SAMPLE = 5000  # images that stand for a streamed set where all of them would have to be read

Index = slice | Tensor


class Files(Protocol):
    """Encoded images by row, read by several threads at once."""

    def __len__(self) -> int: ...

    def name(self, row: int) -> str:
        """Where the image is, for messages."""

    def open(self, row: int) -> File:
        """What Pillow reads."""

    def identity(self, row: int) -> bytes:
        """What is known of the image without reading it: its name and size, not the folder of the set."""


class StreamedImages:
    """Images decoded when they are asked for, with the face of a (N, H, H, channels) uint8 tensor where it is used.

    `images[slice]` and `images[index]`, index (B,) int64, give a contiguous uint8 tensor on the CPU, decoded by the
    pool's threads. Nothing decoded is kept.

    Args:
        files: where the encoded images are.
        pool: decodes; shared by the splits of a set.
        channels: 1 for grey, 3 for RGB; images are converted.
        size: H, pixels; an image's shorter side is resized to it and its centre cropped.
        levels: black and white of deep images; if not given, those of each image by itself.
        rows: (N,) int64, the rows of `files` that are meant, in order; all if not given.
        draft: as `imagefile.pixels`.

    Raises:
        DataError: from where the images are asked for, for the first one (in their order) that cannot be read.

    Cost: 8 bytes an image, and what `files` holds.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from supcrd.data import load
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("train/cat/a.png", "train/dog/b.png"):
        ...         Path(folder, name).parent.mkdir(parents=True)
        ...         Image.new("L", (9, 8), color=200).save(Path(folder, name))
        ...     images = load(f"folder:{folder}", validation=0, image_size=8, stream=True).train.images
        ...     images, images[:1].shape, images[torch.tensor([1, 0, 1])][:, 0, 0, 0]
        (StreamedImages(2 x 8 x 8 x 1), torch.Size([1, 8, 8, 1]), tensor([200, 200, 200], dtype=torch.uint8))
    """

    def __init__(
        self,
        files: Files,
        pool: ThreadPoolExecutor,
        *,
        channels: int,
        size: int,
        levels: Levels | None = None,
        rows: NDArray[np.int64] | None = None,
        draft: bool = False,
    ) -> None:
        self.files, self.pool, self.levels, self.draft = files, pool, levels, draft
        self.rows = np.arange(len(files)) if rows is None else rows
        self.shape = torch.Size((len(self.rows), size, size, channels))
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"StreamedImages({' x '.join(map(str, self.shape))})"

    def __getitem__(self, index: Index) -> Tensor:
        (images,) = self.fetch([index])
        return images

    def subset(self, index: Tensor) -> "StreamedImages":
        """The chosen images, index (M,) int64; nothing is read."""
        return self.changed(rows=self.rows[index.numpy()])

    def changed(self, **arguments: Any) -> "StreamedImages":
        """The same but for some arguments of the class."""
        _, size, _, channels = self.shape
        own: dict[str, Any] = {
            "files": self.files,
            "channels": channels,
            "size": size,
            "levels": self.levels,
            "rows": self.rows,
        }
        return StreamedImages(pool=self.pool, **own | {"draft": self.draft} | arguments)

    def to(self, device: torch.device) -> "StreamedImages":
        """Itself: there is nothing to move before it is decoded; `fetch` brings batches to a device."""
        return self

    def identity(self) -> Iterator[bytes]:
        """Name and size of each file, in order; first that they are decoded smaller, where they are."""
        return chain([b"draft"] if self.draft else [], map(self.files.identity, self.rows.tolist()))

    def fetch(
        self,
        batches: Sequence[Index],
        device: torch.device | None = None,
        cuts: tuple[Cut, ...] = (None,),
        ahead: int = 0,
    ) -> Iterator[Tensor]:
        """Decode batch after batch, always `AHEAD` batches before the one that was last asked for.

        Of several `cuts` of the images each batch is (cuts * B, H, H, channels), cut after cut.

        At most AHEAD + 2 decoded batches are alive: the one in use, the next and those ahead of it. Where the caller
        stops early, what was not begun is not decoded. `ahead`: of so many batches at a time, and once more as many
        before they are due, the files are asked for in the order in which they lie on the disk.
        """
        device = device or torch.device("cpu")
        pending: deque[tuple[Tensor, list[Future[None]]]] = deque()
        try:
            for number, batch in enumerate(batches):
                if ahead and number % ahead == 0:
                    for start in (number, number + ahead) if number == 0 else (number + ahead,):
                        self._ask(batches[start : start + ahead])
                pending.append(self._begin(batch, cuts, pinned=device.type == "cuda"))
                if len(pending) > AHEAD:
                    yield _finished(pending, device)
            while pending:
                yield _finished(pending, device)
        finally:
            for _, tasks in pending:
                for task in tasks:
                    task.cancel()

    def _ask(self, batches: Sequence[Index]) -> None:
        """Have the system read what batches need, if the files know how to ask for it."""
        ask: Callable[[NDArray[np.int64]], None] | None = getattr(self.files, "ask", None)
        if ask is not None and batches:
            rows = [self.rows[index if isinstance(index, slice) else index.numpy()] for index in batches]
            self.pool.submit(ask, np.concatenate(rows))

    def _begin(self, index: Index, cuts: tuple[Cut, ...], *, pinned: bool) -> tuple[Tensor, list[Future[None]]]:
        rows = self.rows[index if isinstance(index, slice) else index.numpy()].tolist()
        places = range(len(self))[index] if isinstance(index, slice) else index.tolist()
        _, size, _, channels = self.shape
        count = len(rows)
        images = torch.empty(len(cuts) * count, size, size, channels, dtype=torch.uint8, pin_memory=pinned)
        into = images.numpy()
        how: dict[str, Any] = {"channels": channels, "size": size, "levels": self.levels, "draft": self.draft}

        def decode(start: int) -> None:
            for number in range(start, min(start + TASK, count)):
                row = rows[number]
                parts = cut_out(self.files.open(row), self.files.name(row), cuts, places[number], **how)
                into[number::count] = parts

        return images, [self.pool.submit(decode, start) for start in range(0, count, TASK)]


def _finished(pending: deque[tuple[Tensor, list[Future[None]]]], device: torch.device) -> Tensor:
    """Wait for the oldest batch; the first failure, in the order of its images, is raised here."""
    for task in pending[0][1]:
        task.result()
    return pending.popleft()[0].to(device, non_blocking=True)  # from pinned memory, where that can be


Images = Tensor | StreamedImages


def fetch(
    images: Images, batches: Sequence[Index], device: torch.device, cuts: tuple[Cut, ...] = (None,), ahead: int = 0
) -> Iterator[Tensor]:
    """The images of each batch on `device`; of streamed ones the next batches are decoded at the same time.

    Args:
        images: (N, H, H, channels) uint8, anywhere, or streamed.
        batches: slices, or (B,) int64 indices on the device of the images (streamed: on any).
        device: where they shall be.
        cuts, ahead: of streamed images, as `StreamedImages.fetch`.

    Example:
        >>> batches = [slice(0, 2), slice(2, 4)]
        >>> [len(block) for block in fetch(torch.zeros(3, 8, 8, 1, dtype=torch.uint8), batches, torch.device("cpu"))]
        [2, 1]
    """
    if isinstance(images, Tensor):
        # index_select is many times as fast as indexing by a tensor
        chosen = (images[b] if isinstance(b, slice) else images.index_select(0, b) for b in batches)
        return (block.to(device) for block in chosen)
    indices = [batch for batch in batches if isinstance(batch, Tensor)]
    if indices and len(indices) == len(batches):  # one copy from the device an epoch, not one a step
        batches = torch.split(torch.cat(indices).cpu(), [len(index) for index in indices])
    return images.fetch(batches, device, cuts, ahead)


def sample(count: int) -> Tensor:
    """Rows that stand for `count` images: all of them, or SAMPLE, drawn once and for all; int64, ascending.

    Example:
        >>> sample(3), len(sample(10**6))
        (tensor([0, 1, 2]), 5000)
    """
    return permutation(count, "sample")[:SAMPLE].sort().values


def decoding_pool(workers: int | None) -> ThreadPoolExecutor:
    """Threads that decode: `workers`, or as many as the machine has cores, at most 16."""
    return ThreadPoolExecutor(workers or min(16, os.cpu_count() or 1), thread_name_prefix="decode")


class Names:
    """Byte strings in one block: a million Python strings would take several times the memory.

    Example:
        >>> names = Names()
        >>> for name in (b"cat/1.png", b"", b"dog/2.png"):
        ...     names.append(name)
        >>> len(names), names[0], names[1], names[2]
        (3, b'cat/1.png', b'', b'dog/2.png')
    """

    def __init__(self) -> None:
        self._bytes: Any = bytearray()  # or arrays, which `of` was given
        self._ends: Any = array("q", [0])

    @classmethod
    def of(cls, block: NDArray[np.uint8], ends: NDArray[np.int64]) -> "Names":
        """What `blocks` gave; nothing can be added to it."""
        names = cls()
        names._bytes, names._ends = block, ends
        return names

    def blocks(self) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """All bytes, and where each string ends, after a 0."""
        return np.frombuffer(self._bytes, np.uint8), np.asarray(self._ends, np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: int) -> bytes:
        return bytes(self._bytes[self._ends[row] : self._ends[row + 1]])

    def append(self, name: bytes) -> None:
        """Add one at the end."""
        self._bytes += name
        self._ends.append(len(self._bytes))
