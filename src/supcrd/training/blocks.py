"""Passes over the images of a split in blocks, which all processes share while the first one alone does the job.

The first process hands such work out, and the others do their blocks of it wherever they wait for its word
(`Group.told`): so nothing that it does beside needs a counterpart in them. Blocks are those of one process, done whole
by one process each, and their results come in order; on a CPU they are the same to the bit.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from supcrd.base import device
from supcrd.base.device import Place
from supcrd.data import ImageSet
from supcrd.data.stream import Images
from supcrd.errors import RunError, SupcrdError
from supcrd.recipe import plugins
from supcrd.training.processes import Errand, Group, everyone, started

MOST = 500
"""Images of a block at most."""
PIXELS = MOST * 64**2
"""Of a block at most: 500 images of 224 px took 5 GB in a ResNet-34."""


def at_a_time(side: int, most: int = MOST) -> int:
    """How many images are passed through a network at a time: fewer of those that are larger than 64 px.

    Args:
        side: px, of the images or of what the network is fed of them, whichever is larger.
        most: of small ones.

    Example:
        >>> at_a_time(32), at_a_time(96), at_a_time(224), at_a_time(224, most=20), at_a_time(4000)
        (500, 222, 40, 20, 1)
    """
    return max(1, min(most, PIXELS // side**2))


class Source(NamedTuple):
    """From where every process has the images that the first one has."""

    load: Callable[[], ImageSet]
    """can be pickled"""
    plugins: tuple[str, ...]
    """files or modules that register what data and models name"""
    fingerprint: str
    """of the images in the first process"""


class Work(Protocol):
    """What is done with each block of images; pickled, it travels to the other processes."""

    def results(self, images: Images, labels: Tensor, blocks: Sequence[slice], place: Place) -> Iterator[Any]:
        """What comes of each block, on the CPU.

        Args:
            images, labels: of the split.
            blocks: places of consecutive images.
            place: where networks run.
        """


class _Here:
    """What this process has, and what it knows of the others."""

    source: Source | None = None
    images: ImageSet | None = None
    busy = False
    """in the first process: the others are in the middle of something, and would not hear a word"""


def use(source: Source | None, images: ImageSet | None) -> None:
    """In the first process: whose images the work that follows is about; None for none."""
    _Here.source, _Here.images = source, images


def busy(value: bool | None = None) -> bool:
    """Whether the other processes are in the middle of something, in which no word of the first one reaches them.

    Args:
        value: what it is from now on; None asks only.
    """
    _Here.busy = _Here.busy if value is None else value
    return _Here.busy


def images_of(source: Source) -> ImageSet:
    """The images of a source in this process, loaded once; plug-ins are loaded first.

    Raises:
        SupcrdError: they cannot be loaded here.
    """
    plugins.load(source.plugins, Path())
    if _Here.images is None or _Here.images.fingerprint != source.fingerprint:
        _Here.images = None  # two data sets at a time may be too many
        _Here.images = source.load()
    return _Here.images


def in_blocks(work: Work, images: Images, labels: Tensor, blocks: Sequence[slice], place: Place) -> Iterator[Any]:
    """The results of the blocks in their order; computed by all processes where these know the images.

    In every round each process has one block, so that no more than a block a process is in memory. One block, or
    images that are no split of the data in use, are done by the caller alone.

    Args:
        work, images, labels, blocks, place: see `Work.results`.

    Raises:
        RunError: another process could not do its part: its number and reason, or that it is gone.
    """
    rank, size = started()
    split = _named(images) if size > 1 and rank == 0 and len(blocks) > 1 else None
    if split is None:
        yield from work.results(images, labels, blocks, place)
        return
    assert _Here.source is not None
    group, where = everyone(), (place.device.type, "bfloat16" if place.bfloat16 else "float32")
    group.told(_Share(work, _Here.source, split, tuple(blocks), where))
    busy(True)  # and so it stays where this fails: the others then see that this process has ended
    own = work.results(images, labels, blocks[::size], place)
    for start in range(0, len(blocks), size):
        for number, result in enumerate(group.collected(next(own))[: len(blocks) - start]):
            if isinstance(result, _Failed):
                raise RunError(f"process {number} of {size}: {result.why}")
            yield result
    busy(False)


def _named(images: Images) -> str | None:
    """Which split of the data in use these images are."""
    known = _Here.images
    splits = {} if known is None else {"train": known.train, "validation": known.validation, "test": known.test}
    return next((name for name, split in splits.items() if split is not None and split.images is images), None)


class _Failed(NamedTuple):
    why: str


@dataclass(frozen=True)
class _Share(Errand):
    """The part of a process that is not the first one."""

    work: Work
    source: Source
    split: str
    blocks: tuple[slice, ...]
    where: tuple[str, str]
    """kind of device, precision"""

    def run(self, group: Group) -> None:
        """Do the blocks of this process, and hand each over; where one fails, the reason."""
        own = self._results(group)
        for start in range(0, len(self.blocks), group.size):
            result: Any = None
            if start + group.rank < len(self.blocks):
                try:
                    result = next(own)
                except SupcrdError as error:
                    result = _Failed(str(error))
            group.collected(result)
            if isinstance(result, _Failed):
                return  # the first process ends, which is seen where its next word is waited for

    def _results(self, group: Group) -> Iterator[Any]:
        images = images_of(self.source)
        if images.fingerprint != self.source.fingerprint:
            raise SupcrdError(
                f"has another data set than process 0 ({images.fingerprint[:8]}, not {self.source.fingerprint[:8]})"
            )
        split = getattr(images, self.split)
        yield from self.work.results(
            split.images, split.labels, self.blocks[group.rank :: group.size], device.choose(*self.where)
        )
