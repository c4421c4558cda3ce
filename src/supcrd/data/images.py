"""What every data source becomes: labelled uint8 images in up to three splits."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from supcrd.data.stream import Images, StreamedImages, fetch, sample
from supcrd.errors import DataError


@dataclass(frozen=True)
class Split:
    """Images with their labels.

    Attributes:
        images: (N, H, W, channels) uint8 in 0..255, channels last, H = W: a contiguous tensor, or `StreamedImages`,
            which are decoded when they are asked for.
        labels: (N,) int64 in 0..C-1.
        groups: (N,) int64, the group of each image, which no split that is drawn divides; None if there are none.

    Raises:
        DataError: the images are not square.

    Example:
        >>> len(Split(torch.zeros(4, 8, 8, 1, dtype=torch.uint8), torch.tensor([0, 0, 1, 1])))
        4
    """

    images: Images
    labels: Tensor
    groups: Tensor | None = None

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[1] != self.images.shape[2]:
            shape = " x ".join(map(str, self.images.shape))
            raise DataError(f"images must be square (N, H, H, channels), not {shape}")

    def __len__(self) -> int:
        return len(self.labels)


class Contents(NamedTuple):
    """What a source holds, before test and validation splits are taken out of train."""

    class_names: tuple[str, ...]
    train: Split | None = None
    validation: Split | None = None
    test: Split | None = None
    levels: tuple[float, float] | None = None  # as of `ImageSet`
    notes: tuple[str, ...] = ()  # what its user should know of how it was read, a line each
    undivided: bool = False  # a source that could have had splits has none: all its images stand in train


@dataclass(frozen=True)
class Unlabelled:
    """Further training images, of which no label is known.

    Attributes:
        source: what `data.unlabelled` names.
        split: the images of train and, behind them, those without a label, which is -1.
        fingerprint: 32 hexadecimal digits of the latter.
    """

    source: str
    split: Split
    fingerprint: str


@dataclass(frozen=True)
class ImageSet:
    """A data set as it will be used; at least one split is there.

    Attributes:
        source: what `load` was given, e.g. `cifar100` or `npz:x.npz`.
        train, validation, test: the splits; None if the set lacks it.
        class_names: C names, in the order of the labels.
        fingerprint: 32 hexadecimal digits; equal only for equal pixels, labels, class names and division into splits.
            Of streamed images the names and sizes of their files stand for the pixels.
        levels: the values of deep images (16- or 32-bit integers, floats) that became 0 and 255; None where the source
            has none.
        unlabelled: further training images (`data.unlabelled`), which have no part in anything else.

    Example:
        >>> split = Split(torch.zeros(4, 8, 8, 1, dtype=torch.uint8), torch.tensor([0, 0, 1, 1]))
        >>> data = ImageSet("example", split, None, None, ("cat", "dog"), fingerprint="0")
        >>> data.num_classes, data.channels, data.image_size
        (2, 1, 8)
    """

    source: str
    train: Split | None
    validation: Split | None
    test: Split | None
    class_names: tuple[str, ...]
    fingerprint: str
    levels: tuple[float, float] | None = None
    unlabelled: Unlabelled | None = None

    @property
    def shown(self) -> Split:
        """What a student is shown in its training: train, and behind it the images without a label."""
        split = self.unlabelled.split if self.unlabelled is not None else self.train
        if split is None:
            raise DataError(f"{self.source} has no training images")
        return split

    @property
    def shown_fingerprint(self) -> str:
        """Of all that this set has: `fingerprint`, and that of the images without a label."""
        return self.fingerprint + (f"+{self.unlabelled.fingerprint}" if self.unlabelled is not None else "")

    @property
    def num_classes(self) -> int:
        """C, the number of classes."""
        return len(self.class_names)

    @property
    def named(self) -> bool:
        """Whether the classes have names of their own, and not only the numbers that stand for labels.

        Example:
            >>> ImageSet("npz:x.npz", None, None, None, ("0", "1"), "").named
            False
        """
        may_be_numbers = self.source.startswith(("npz:", "csv:", "shards:", "parquet:", "hf:"))
        return not (may_be_numbers and all(name.isdecimal() for name in self.class_names))

    @property
    def channels(self) -> int:
        """1 for grey, 3 for RGB."""
        return self._images.shape[3]

    @property
    def image_size(self) -> int:
        """H = W, in pixels."""
        return self._images.shape[1]

    @property
    def _images(self) -> Images:
        return next(split.images for split in (self.train, self.validation, self.test) if split is not None)


def fingerprint(splits: Sequence[Split | None], class_names: Sequence[str]) -> str:
    """BLAKE2b of the splits (pixels, labels, shapes and places) and the class names, as 32 hexadecimal digits.

    Streamed images are not read: for their pixels stand the names of their files (from the set's folder on) and sizes,
    in shards also the offsets. A changed file of the same size is not distinguished from the old one, and a streamed
    set is always distinguished from the same set in memory.

    Cost: about a second for a gigabyte, or for a million streamed images; no copy.

    Example:
        >>> split = Split(torch.zeros(1, 2, 2, 1, dtype=torch.uint8), torch.tensor([0]))
        >>> fingerprint([split, None], "ab") == fingerprint([None, split], "ab")
        False
    """
    # The header gives every length, so that no two different sets run together into the same bytes.
    shapes = [None if split is None else tuple(split.images.shape) for split in splits]
    digest = hashlib.blake2b(repr((list(class_names), shapes)).encode(), digest_size=16)
    for split in splits:
        if split is not None:
            if isinstance(split.images, Tensor):
                digest.update(split.images.reshape(-1).numpy().data)
            else:
                digest.update(b"streamed")
                for identity in split.images.identity():
                    digest.update(identity)
            digest.update(split.labels.reshape(-1).numpy().data)
    return digest.hexdigest()


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and population standard deviation of each channel, over all images and pixels.

    Exact but for the last rounding: each channel's sums are integers, taken from its histogram. Of more than 5,000
    streamed images, 5,000 are measured, always the same ones (`stream.sample`).

    Args:
        images: (N, H, W, channels) uint8, or streamed.

    Returns:
        (mean, std), each one float a channel on the 0..1 scale (1 = white). The std of a constant channel, which is 0,
        is given as 1.0, so that dividing by it leaves the channel finite.

    Raises:
        ValueError: not a non-empty 4-D uint8 tensor.
        DataError: a streamed image cannot be read.

    Cost: O(N H W), and the memory of one channel of 4,096 images (streamed: of a few hundred whole images).

    Example:
        >>> channel_statistics(torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1))
        ((0.5,), (0.5,))
    """
    if isinstance(images, StreamedImages):
        blocks = fetch(images, torch.split(sample(len(images)), 128), torch.device("cpu"))
    elif images.dtype != torch.uint8 or images.ndim != 4 or images.numel() == 0:
        raise ValueError(
            f"images must be a non-empty (N, H, W, channels) uint8, not {images.dtype} {tuple(images.shape)}"
        )
    else:
        blocks = iter(torch.split(images, 4096))
    histograms = torch.zeros(images.shape[3], 256, dtype=torch.int64)
    for block in blocks:
        for channel, histogram in enumerate(histograms):
            histogram += torch.bincount(block[..., channel].flatten(), minlength=256).to(histogram.device)
    means: list[float] = []
    stds: list[float] = []
    for counts in histograms.tolist():
        n = sum(counts)
        total = sum(value * count for value, count in enumerate(counts))
        squares = sum(value * value * count for value, count in enumerate(counts))
        variance = n * squares - total * total  # times n^2, an exact integer: no cancellation
        means.append(total / (n * 255))
        stds.append(math.sqrt(variance) / (n * 255) if variance else 1.0)
    return tuple(means), tuple(stds)
