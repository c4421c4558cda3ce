"""Accuracy of each class, its change from one set of runs to another with an error, and the order of classes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from supcrd.figures.points import Floats, Integers
from supcrd.figures.style.palette import GROUP
from supcrd.figures.superclasses import order

Doubles = NDArray[np.float64]
MOST = 120  # classes that a page has room for


class PerClass(NamedTuple):
    """Of each class."""

    images: Integers  # (C,) images
    accuracy: Doubles  # (C,) share classified rightly, 0..1; NaN without images

    @property
    def overall(self) -> float:
        """The accuracy of all images, 0..1."""
        return float(np.nansum(self.images * self.accuracy) / self.images.sum())


class Change(NamedTuple):
    """Of each class, from the baseline to the run."""

    difference: Doubles  # (C,) of accuracy, -1..1; NaN without images
    error: Doubles  # (C,) its standard error; NaN for fewer than two images


def class_accuracy(logits: Floats, labels: Integers) -> PerClass:
    """Accuracy of the images of each class (its recall).

    Args:
        logits: (N, C); of equal logits the first counts as the largest, as in `supcrd.metrics.top_k_accuracy`.
        labels: (N,) in 0..C-1.

    Example:
        >>> class_accuracy(np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 1.0, 0]]), np.array([0, 0, 1])).accuracy
        array([0.5, 1. , nan])
    """
    classes = logits.shape[1]
    count = np.bincount(labels, minlength=classes)
    right = np.bincount(labels, weights=logits.argmax(axis=1) == labels, minlength=classes)
    return PerClass(count, right / np.where(count > 0, count, np.nan))


def class_change(logits: Sequence[Floats], baseline: Sequence[Floats], labels: Integers) -> Change:
    """Difference of `class_accuracy` to a baseline on the same images, means over seeds, with its standard error.

    The error has two parts, whose squares are added. The first is that of drawing these images: an image gives the
    share of seeds that get it right less that of the baseline's seeds, and a class's change is the mean over its
    images, so that what both get right or wrong adds no noise. The second is that of the seeds, on a side that has
    several: the variance of a class's accuracy between seeds over their number, averaged over all classes, since a few
    seeds do not suffice to estimate it for one class. The interaction of seed and image is counted in both: with few
    images a class the error is too large rather than too small.

    Args:
        logits, baseline: (N, C) of the same images for each seed; one seed has no error of its own.
        labels: (N,) in 0..C-1.

    Example:
        >>> change = class_change([np.array([[1.0, 0], [1, 0], [0, 1]])], [np.array([[1.0, 0], [0, 1], [0, 1]])],
        ...                     np.array([0, 0, 1]))
        >>> change.difference, change.error
        (array([0.5, 0. ]), array([0.5, nan]))
    """
    sides = [np.stack([logit.argmax(axis=1) == labels for logit in side]) for side in (logits, baseline)]
    step = sides[0].mean(axis=0) - sides[1].mean(axis=0)
    classes = logits[0].shape[1]
    count = np.bincount(labels, minlength=classes)
    some, several = np.where(count > 0, count, np.nan), np.where(count > 1, count - 1, np.nan)
    mean = np.bincount(labels, weights=step, minlength=classes) / some
    square = np.bincount(labels, weights=step**2, minlength=classes)
    images = np.maximum(square - some * mean**2, 0) / several / some
    seeds = 0.0
    for side in sides:
        if len(side) > 1:
            by_seed = np.stack([np.bincount(labels, weights=right, minlength=classes) / some for right in side])
            seeds += float(np.nanmean(by_seed.var(axis=0, ddof=1))) / len(side)
    return Change(mean, np.sqrt(images + seeds))


class Group(NamedTuple):
    """Classes that stand together."""

    name: str  # "" where there are no superclasses
    classes: list[int]


def arranged(class_names: Sequence[str], accuracy: Doubles, change: Doubles | None = None) -> list[Group]:
    """The order that classes are shown in: by accuracy, falling; CIFAR-100's superclasses together, likewise.

    Of more than MOST classes those stay that changed the most (half of them up, half down), or, without a change, those
    of highest and lowest accuracy. Classes without images stand last.

    Args:
        class_names: (C,).
        accuracy: (C,), NaN without images.
        change: (C,) against a baseline.

    Example:
        >>> arranged(("cat", "dog", "eel"), np.array([0.5, np.nan, 0.9]))
        [Group(name='', classes=[2, 0, 1])]
    """
    level = np.nan_to_num(accuracy, nan=-1.0)
    named = order(class_names)
    if named.groups:
        blocks = np.array(named.classes).reshape(-1, GROUP)
        groups = [
            Group(name, sorted(map(int, block), key=lambda number: -level[number]))
            for name, block in zip(named.groups, blocks, strict=True)
        ]
        return sorted(groups, key=lambda group: -float(level[group.classes].mean()))
    chosen = list(range(len(class_names)))
    if len(chosen) > MOST:
        by = np.nan_to_num(level if change is None else change, nan=0.0)
        ranked = np.argsort(-by, kind="stable").tolist()
        chosen = ranked[: MOST // 2] + ranked[-MOST // 2 :]
    return [Group("", sorted(chosen, key=lambda number: -level[number]))]
