"""What pictures of an embedding share: its classes and images, its principal directions, notes on it."""

import difflib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from supcrd.base.seeding import generator
from supcrd.errors import RunError, SupcrdError
from supcrd.figures.points import Integers, Points

Doubles = NDArray[np.float64]
ROUNDING = 1e-10  # a variance of unit rows this small is float32's rounding


class Reduced(NamedTuple):
    """Rows in few dimensions."""

    rows: Doubles  # (N, K)
    share: float  # of the variance that the K dimensions hold, 0..1


def principal(rows: NDArray[np.floating], count: int) -> Reduced:
    """Principal component analysis: centred rows on the `count` directions of largest variance.

    Args:
        rows: (N, P) float, N >= 1.
        count: K; where P < K the further columns are 0.

    Returns:
        Reduced: (N, K); the sign of a direction is that its largest loading is positive, so that a figure does not flip
        from machine to machine. The share is 0 where all rows are alike.

    Cost: O(N P^2 + P^3), in float64.

    Example:
        >>> principal(np.array([[0.0, 1.0], [3.0, 1.0], [6.0, 1.0]]), 1)
        Reduced(rows=array([[-3.], [ 0.], [ 3.]]), share=1.0)
    """
    centred = np.asarray(rows, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    variances, directions = variances[::-1].clip(min=0), directions[:, ::-1][:, :count]
    directions = directions * np.where(directions.max(axis=0) >= -directions.min(axis=0), 1, -1)
    reduced = np.zeros((len(centred), count))
    reduced[:, : directions.shape[1]] = centred @ directions
    total = variances.sum()
    return Reduced(reduced, float(variances[:count].sum() / total) if total > ROUNDING else 0.0)


def check_spread(run: Points) -> None:
    """Refuse to draw what is one point.

    Raises:
        RunError: all projections point the same way, or have no dimension.
    """
    unit = run.unit
    if not unit.size or np.ptp(unit, axis=0).max() ** 2 < ROUNDING:
        raise RunError(
            f"{run.folder}: all {len(unit):,} projections point the same way, there is nothing to draw; the "
            "representation has collapsed"
        )


def on_sphere(run: Points, count: int) -> Reduced:
    """A run's projections on the sphere of `count` dimensions: unit rows, their principal components, normalised again.

    What is nearly the mean of all rows has hardly a direction; the share of the variance says how much such a picture
    leaves out. `metrics` never see these points.

    Args:
        run: N images.
        count: K: 2 for the circle, 3 for the sphere.

    Returns:
        Reduced: (N, K) of length 1, or 0 where a row is the mean itself; the share is that before normalising.

    Raises:
        RunError: all projections point the same way.
    """
    check_spread(run)
    rows, share = principal(run.unit, count)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return Reduced(rows / np.where(length > 0, length, 1), share)


def named_classes(run: Points, names: Sequence[str], *, most: int) -> tuple[int, ...]:
    """The numbers of the classes asked for by name or number, or the first `most` of which there are images.

    Raises:
        SupcrdError: a class that the run does not have or has no image of; one named twice; more than `most`.

    Example:
        >>> from types import SimpleNamespace
        >>> run = SimpleNamespace(class_names=("cat", "dog", "eel"), labels=np.array([0, 2, 2]), folder="runs/a")
        >>> named_classes(run, (), most=2), named_classes(run, ("eel",), most=2)
        ((0, 2), (2,))
    """
    present = tuple(int(number) for number in np.unique(run.labels))
    if not names:
        return present[:most]
    if len(names) > most:
        raise SupcrdError(f"{len(names)} classes are named, this figure shows at most {most}")
    known = {name: number for number, name in reversed(list(enumerate(run.class_names)))}
    chosen = []
    for name in names:
        number = known.get(name, known.get(name.replace(" ", "_")))
        if number is None:
            near = difflib.get_close_matches(name, run.class_names, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"the first: {', '.join(run.class_names[:5])}"
            raise SupcrdError(f"{run.folder} has no class {name!r} among its {len(run.class_names)}; {hint}")
        if number not in present:
            raise SupcrdError(f"{run.folder} has no image of class {name!r}")
        if number in chosen:
            raise SupcrdError(f"class {name!r} is named twice")
        chosen.append(number)
    return tuple(chosen)


def some_images(labels: Integers, classes: Sequence[int], *, most: int, seed: int) -> Integers:
    """Rows of these classes, ascending; if there are more than `most`, the same number of each class, drawn by `seed`.

    Example:
        >>> some_images(np.array([0, 1, 1, 2, 0]), (0, 1), most=10, seed=0).tolist()
        [0, 1, 2, 4]
    """
    rows = [np.flatnonzero(labels == number) for number in classes]
    if sum(map(len, rows)) > most:
        per_class = max(most // len(classes), 1)
        rows = [
            own[generator("figure", seed, number).permutation(len(own))[:per_class]]
            for own, number in zip(rows, classes, strict=True)
        ]
    return np.sort(np.concatenate(rows)).astype(np.int64)


def split_of(run: Points) -> str:
    """What images: `test` mostly."""
    return str(run.evaluation.get("split", "test"))


def shown(name: str) -> str:
    """A class's name as people read it."""
    return name.replace("_", " ")


def caveat(runs: Sequence[Points]) -> str:
    """What must stand under a picture of projections whose head was never trained, or nothing."""
    untrained = [run.name for run in runs if run.evaluation.get("projection_trained") is False]
    if not untrained:
        return ""
    return (
        f" The projection head of {' and '.join(untrained)} was never trained: its projections are a random map of the "
        "features."
    )
