"""How the images of a batch are divided: into parts that are computed apart, and the parts among processes."""

from typing import NamedTuple

LEAST = 2
"""Images in a part: terms may compare them, and batch normalisation needs more than one row."""


class Shares(NamedTuple):
    """A batch in `parts` parts of consecutive images, of which each of `size` processes has the same number.

    Sizes differ by one image at most. A batch that is smaller than the others (the last one of an epoch) has fewer
    parts, so that none has less than LEAST images; the last processes may then have none.

    Args:
        parts: P, a multiple of `size`.
        rank: the number of this process, from 0.
        size: R, processes.

    Example:
        >>> shares = Shares(parts=4, rank=1, size=2)
        >>> shares.cut(10), shares.own(10), shares.images(10)
        ([range(0, 3), range(3, 6), range(6, 8), range(8, 10)], [2, 3], slice(6, 10, None))
        >>> shares.cut(5), shares.own(5), shares.images(5)
        ([range(0, 3), range(3, 5)], [], slice(5, 5, None))
    """

    parts: int = 1
    rank: int = 0
    size: int = 1

    def cut(self, images: int) -> list[range]:
        """The places in the batch of each part."""
        count = max(1, min(self.parts, images // LEAST))
        sizes = [images // count + (number < images % count) for number in range(count)]
        starts = [sum(sizes[:number]) for number in range(count)]
        return [range(start, start + size) for start, size in zip(starts, sizes, strict=True)]

    def own(self, images: int, rank: int | None = None) -> list[int]:
        """The numbers of the parts of this process, or of another one."""
        rank, count = self.rank if rank is None else rank, self.parts // self.size
        return [number for number in range(rank * count, (rank + 1) * count) if number < len(self.cut(images))]

    def images(self, images: int, rank: int | None = None) -> slice:
        """The places in the batch that this process, or another one, has."""
        own = [place for number in self.own(images, rank) for place in self.cut(images)[number]]
        return slice(own[0], own[-1] + 1) if own else slice(images, images)

    def sizes(self, images: int) -> list[int]:
        """Images of every process."""
        slices = [self.images(images, rank) for rank in range(self.size)]
        return [own.stop - own.start for own in slices]


WHOLE = Shares()
