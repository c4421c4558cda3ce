"""Images that are there twice: equal ones by a digest, near ones by a difference hash."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from supcrd.base.seeding import permutation

BITS = 64
FARTHEST = 10  # bits in which the hashes of near images differ at most
ALIKE = 0.85  # correlation of the differences of near images at least
MOST = 100_000  # images that are compared with one another
SMALLEST = 16  # pixels: of smaller images too little is left to tell near ones by
BLOCK = 512  # images that are compared with all at a time
PAIRS = 20  # candidates an image, on average, that are looked at more closely
SHOWN = 20  # pairs that are named

Index = NDArray[np.int64]


class Marks(NamedTuple):
    """What images are compared by; N images, the same order everywhere."""

    bits: NDArray[np.bool_]  # (N, 64)
    slopes: NDArray[np.float16]  # (N, 480), of mean 0 and length 1, or 0 for a flat image
    digests: NDArray[Any]  # (N,) of 16 bytes


class Pair(NamedTuple):
    """Two images that are alike, by their places."""

    first: int
    second: int


class Duplicates(NamedTuple):
    """What repeats; counts are of images, not of pairs.

    Attributes:
        within: split -> images like an earlier one of it.
        across: (split, later split) -> images of the later one like one of the other: leaks.
        pairs: some of them, those across splits first.
        labels: images that are like one of another label; -1 is none.
    """

    within: dict[int, int]
    across: dict[tuple[int, int], int]
    pairs: list[Pair]
    labels: int


def marks(images: Tensor) -> tuple[NDArray[np.bool_], NDArray[np.float16]]:
    """Difference hashes of images, and their slopes.

    The hash has a bit for each of 8 x 8 places: whether brightness (ITU-R 601) grows to the right, in the image brought
    to 8 x 9 pixels. Slopes are the differences of neighbours across and down in the image brought to 16 x 16.

    Args:
        images: (B, H, H, 1 or 3) uint8.

    Returns:
        (B, 64) bool; (B, 480) float16, each row centred and of length 1 (0 where the image is flat).

    Source: N. Krawetz 2013, "Kind of Like That" (dHash). Ours averages areas where it is resized.

    Example:
        >>> ramp = torch.arange(0, 160, 10, dtype=torch.uint8).expand(1, 16, 16)[..., None]
        >>> bits, slopes = marks(ramp)
        >>> bool(bits.all()), slopes.shape
        (True, (1, 480))
    """
    values = images.float()
    grey = values[..., 0] if values.shape[3] == 1 else values @ torch.tensor([0.299, 0.587, 0.114])
    small = adaptive_avg_pool2d(grey[:, None], (8, 9))[:, 0]
    bits = (small[:, :, 1:] > small[:, :, :-1]).flatten(1)
    large = adaptive_avg_pool2d(grey[:, None], (16, 16))[:, 0]
    across, down = large[:, :, 1:] - large[:, :, :-1], large[:, 1:] - large[:, :-1]
    slopes = torch.cat([across.flatten(1), down.flatten(1)], dim=1)
    slopes = slopes - slopes.mean(dim=1, keepdim=True)
    length = slopes.norm(dim=1, keepdim=True)
    slopes = torch.where(length > 1e-3, slopes / length.clamp_min(1e-3), torch.zeros(()))
    return bits.numpy(), slopes.to(torch.float16).numpy()


def equal(known: Marks, splits: Index, labels: Index) -> Duplicates:
    """Images of one digest.

    Example:
        >>> digests = np.array([b"a", b"b", b"a", b"a"], dtype="S16")
        >>> found = equal(Marks(np.zeros((4, 64), bool), np.zeros((4, 480), np.float16), digests),
        ...               np.array([0, 0, 0, 1]), np.array([0, 1, 0, 1]))
        >>> found.within, found.across, found.pairs[0], found.labels
        ({0: 1}, {(0, 1): 1}, Pair(first=0, second=3), 3)
    """
    order = np.argsort(known.digests, kind="stable")
    ordered = known.digests[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    tally = _Tally(splits, labels)
    for group in np.split(order, starts[1:]):
        if len(group) > 1:
            tally.add_group(group)
    return tally.done()


def near(known: Marks, splits: Index, labels: Index) -> tuple[Duplicates, int, int]:
    """Images that are nearly equal, but for equal ones: (what they are, distance of hashes, images compared).

    Near are two images whose hashes differ in at most `FARTHEST` bits and whose slopes correlate by `ALIKE` or more.
    Where so many hashes are near (drawings on white) that an image has more than `PAIRS` candidates, the distance is
    lower. Of more than `MOST` images so many are compared, always the same ones.

    Cost: O(N^2): 10 s for 60,000 images on one core.
    """
    chosen = _representatives(known.digests, splits)
    if len(chosen) > MOST:
        chosen = chosen[np.sort(permutation(len(chosen), "near")[:MOST].numpy())]
    signs = torch.from_numpy(known.bits[chosen]).float() * 2 - 1
    farthest = _distance(signs)
    tally = _Tally(splits, labels)
    for first, second in _candidates(signs, farthest):
        a, b = chosen[first], chosen[second]
        for part in range(0, len(a), 100_000):
            some = slice(part, part + 100_000)
            alike = np.einsum("ij,ij->i", known.slopes[a[some]], known.slopes[b[some]], dtype=np.float32) >= ALIKE
            alike &= known.digests[a[some]] != known.digests[b[some]]
            tally.add(a[some][alike], b[some][alike])
    return tally.done(), farthest, len(chosen)


def _representatives(digests: NDArray[Any], splits: Index) -> Index:
    """The first image of each digest in each split, ascending."""
    order = np.lexsort((np.arange(len(digests)), digests, splits))
    new = (digests[order][1:] != digests[order][:-1]) | (splits[order][1:] != splits[order][:-1])
    return np.sort(order[np.concatenate([[True], new])])


def _distance(signs: Tensor) -> int:
    """The largest distance up to `FARTHEST` that leaves few candidates, from a sample of images."""
    count = len(signs)
    some = signs[permutation(count, "distance")[:1000]]
    counts = torch.zeros(BITS + 1, dtype=torch.int64)
    for block in torch.split(some, 250):
        distances = ((BITS - block @ signs.T) / 2).to(torch.int64)
        counts += torch.bincount(distances.flatten(), minlength=BITS + 1)
    counts[0] -= len(some)  # with themselves
    within = counts.cumsum(0)[: FARTHEST + 1] / len(some)
    return max(int((within <= PAIRS).sum()) - 1, 0)


def _candidates(signs: Tensor, farthest: int) -> Iterator[tuple[Index, Index]]:
    """Pairs (i, j), i < j, whose hashes differ in at most `farthest` bits, block by block."""
    count = len(signs)
    into = torch.empty(BLOCK * count)
    for start in range(0, count, BLOCK):
        block, others = signs[start : start + BLOCK], signs[start:]
        products = into[: len(block) * len(others)].view(len(block), len(others))
        torch.mm(block, others.T, out=products)
        places = np.flatnonzero((products >= BITS - 2 * farthest).numpy())  # many times as fast as torch's nonzero
        first, second = np.divmod(places, len(others))
        ascending = first < second
        yield first[ascending] + start, second[ascending] + start


class _Tally:
    """Counts of images that are like others."""

    def __init__(self, splits: Index, labels: Index) -> None:
        self.splits, self.labels = splits, labels
        self.names = np.unique(splits).tolist()
        self.like = {split: np.zeros(len(splits), bool) for split in self.names}  # like one of that split before it
        self.other = np.zeros(len(splits), bool)
        self.across: list[Pair] = []
        self.inside: list[Pair] = []

    def add(self, first: Index, second: Index) -> None:
        """Pairs, first < second."""
        for split in self.names:
            self.like[split][second[self.splits[first] == split]] = True
        differ = (self.labels[first] != self.labels[second]) & (self.labels[first] >= 0) & (self.labels[second] >= 0)
        self.other[first[differ]] = self.other[second[differ]] = True
        apart = self.splits[first] != self.splits[second]
        for pairs, chosen in ((self.across, apart), (self.inside, ~apart)):
            here = np.flatnonzero(chosen)[: SHOWN - len(pairs)]
            pairs += [Pair(int(a), int(b)) for a, b in zip(first[here], second[here], strict=True)]

    def add_group(self, group: Index) -> None:
        """Images that are all alike, ascending."""
        leads = [group[self.splits[group] == split][0] for split in np.unique(self.splits[group])]
        for lead in leads:
            later = group[group > lead]
            self.add(np.full(len(later), lead), later)
        labelled = group[self.labels[group] >= 0]
        if len(np.unique(self.labels[labelled])) > 1:
            self.other[labelled] = True

    def done(self) -> Duplicates:
        """The sums; nothing where there is none."""
        counts = {
            (a, b): int((self.like[a] & (self.splits == b)).sum()) for a in self.names for b in self.names if a <= b
        }
        within = {a: count for (a, b), count in counts.items() if a == b and count}
        across = {pair: count for pair, count in counts.items() if pair[0] != pair[1] and count}
        return Duplicates(within, across, (self.across + self.inside)[:SHOWN], int(self.other.sum()))
