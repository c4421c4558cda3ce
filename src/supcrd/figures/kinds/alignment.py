"""Alignment and uniformity sheet: distances of positive pairs, and directions on the unit circle."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from supcrd.base.seeding import generator
from supcrd.errors import RunError
from supcrd.figures import style
from supcrd.figures.points import Floats, Integers, Points
from supcrd.figures.registry import Page, figure
from supcrd.figures.several import colors_of
from supcrd.figures.style import LIGHT, Theme
from supcrd.figures.style.palette import palette
from supcrd.figures.subjects import Doubles, caveat, named_classes, on_sphere, shown, split_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

PAIRS = 100_000_000  # of one class, up to which all are taken: a second of one core
FINE = 4000  # bins of 0.001 over 0..4 that distances are counted in
SHOWN = 80  # bars over 0..4
NAMED = 4  # classes with a circle of their own
ANGLES = 36  # bars of 10 degrees
BLOCK = 2048  # rows at a time


class Distances(NamedTuple):
    """Squared distances of same-class pairs on the unit sphere, counted."""

    counts: Integers  # (FINE,) pairs by distance, bins of 4 / FINE
    pairs: int  # that are counted
    of: int  # that there are
    mean: float  # of all that there are, exact: `metrics.alignment`


def positive_distances(unit: Floats, labels: Integers, *, most: int = PAIRS, seed: int = 0) -> Distances:
    """Count the squared distances ||z_i - z_j||^2, i < j, y_i = y_j.

    Args:
        unit: (N, P) float, rows of length 1 (or 0).
        labels: (N,) int >= 0.
        most: pairs, up to which all are counted; beyond, all pairs among a part of each class's rows, the same share of
            each, drawn by `seed`.
        seed: of the draw.

    Returns:
        Distances. Those of rounding below 0 are in the first bin, those above 4 in the last.

    Raises:
        ValueError: no class has two rows.

    Cost: O(pairs P) time, O(BLOCK^2) memory beside the input.

    Example:
        >>> found = positive_distances(np.eye(3, dtype=np.float32), np.array([0, 0, 1]))
        >>> found.pairs, found.mean, int(found.counts.argmax())
        (1, 2.0, 2000)
    """
    sizes = np.bincount(labels)
    total = int((sizes * (sizes - 1) // 2).sum())
    if total == 0:
        raise ValueError("no class has two rows")
    share = min(1.0, math.sqrt(most / total))
    counts, distances = np.zeros(FINE, dtype=np.int64), 0.0
    for number in np.flatnonzero(sizes > 1).tolist():
        rows = np.flatnonzero(labels == number)
        own = unit[rows].astype(np.float64)
        # sum_{i<j} |z_i|^2 + |z_j|^2 - 2 z_i z_j, as in `metrics.alignment`
        distances += len(rows) * float((own**2).sum()) - float((own.sum(axis=0) ** 2).sum())
        if share < 1:
            chosen = generator("pairs", seed, number).permutation(len(rows))
            rows = rows[chosen[: max(int(share * len(rows)), 2)]]
        _count(unit[rows], counts)
    return Distances(counts, int(counts.sum()), total, max(distances / total, 0.0))


def _count(rows: Floats, counts: Integers) -> None:
    """Add the distances of all pairs of one class's rows (n, P)."""
    squares = (rows**2).sum(axis=1)
    for start in range(0, len(rows), BLOCK):
        own = rows[start : start + BLOCK]
        for other in range(start, len(rows), BLOCK):
            columns = rows[other : other + BLOCK]
            distance = squares[start : start + BLOCK, None] + squares[other : other + BLOCK] - 2 * own @ columns.T
            if other == start:
                distance = distance[np.triu_indices(len(own), k=1)]
            bins = (distance.ravel() * (FINE / 4)).astype(np.int64).clip(0, FINE - 1)
            counts += np.bincount(bins, minlength=FINE)


def density(counts: Integers) -> Doubles:
    """A smooth density at the middles of the fine bins: a Gaussian kernel, mirrored at 0 and 4.

    Args:
        counts: (FINE,) as of `positive_distances`, at least one.

    Returns:
        (FINE,) per unit of squared distance; its sum times 4 / FINE is 1. The kernel's width is Scott's rule,
        std n^(-1/5), and at least two bins.

    Source: D. Scott 1992, Multivariate Density Estimation; the mirror keeps a density from leaking beyond its ends.

    Example:
        >>> counts = np.zeros(FINE, dtype=np.int64)
        >>> counts[[1000, 1001]] = 5
        >>> round(float(density(counts).sum() * 4 / FINE), 6)
        1.0
    """
    middles = (np.arange(FINE) + 0.5) * 4 / FINE
    total = counts.sum()
    mean = counts @ middles / total
    spread = math.sqrt(counts @ (middles - mean) ** 2 / total)
    width = max(spread * total**-0.2, 8 / FINE)
    reach = min(int(5 * width * FINE / 4) + 1, FINE)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * 4 / FINE / width) ** 2)
    padded = np.pad(counts / total, reach, mode="symmetric")
    smooth: Doubles = np.convolve(padded, kernel / kernel.sum(), mode="valid") * FINE / 4
    return smooth


class Circle(NamedTuple):
    """Directions of some rows in the plane."""

    angles: Doubles  # (n,) radians, -pi..pi
    resultant: (
        Doubles  # (2,) their mean as unit vectors: its length is 0 where they are spread evenly, 1 where they agree
    )


def circle(plane: NDArray[np.floating]) -> Circle:
    """Angles of rows on the unit circle, and their mean direction; rows of zeros, having none, are left out.

    Example:
        >>> circle(np.array([[0.0, 1.0], [0.0, -1.0], [0.0, 0.0]])).angles.round(4)
        array([ 1.5708, -1.5708])
    """
    rows = plane[np.any(plane != 0, axis=1)]
    return Circle(np.arctan2(rows[:, 1], rows[:, 0]), rows.mean(axis=0) if len(rows) else np.zeros(2))


def draw(points: Sequence[Points], *, theme: Theme = LIGHT, classes: Sequence[str] = (), seed: int = 0) -> "Figure":
    """The sheet of one run.

    Args:
        points: one run.
        theme: colours.
        classes: names of at most four classes that get a circle of their own; else the first four.
        seed: draws rows where all pairs would be too many.

    Raises:
        RunError: no class has two images; all projections point the same way; evaluation.json is of other outputs.
        SupcrdError: a class that there is not.
    """
    (run,) = points
    wanted = named_classes(run, classes, most=NAMED)
    if np.bincount(run.labels).max() < 2:
        raise RunError(f"{run.folder}: no class has two images, so there are no positive pairs to draw")
    plane, share = on_sphere(run, 2)
    measured = positive_distances(run.unit, run.labels, seed=seed)
    _check(run, measured)
    figure = style.new_figure(theme, height=128)
    above, below = parts = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.25))[:, 0]
    for part in parts:
        part.set_facecolor(theme.background)
    _histogram(above.subplots(), theme, measured, *colors_of(points))
    _circles(below, theme, run, plane, wanted)
    counted = "all" if measured.pairs == measured.of else f"a sample ({measured.pairs:,}, drawn by seed {seed}) of the"
    note = (
        f"Above: {counted} {measured.of:,} same-class pairs, unit rows of {run.projections.shape[1]} dimensions; the "
        "line is a Gaussian kernel's density. Below: the unit rows reduced to 2 dimensions by PCA (centred), which "
        f"hold {share:.0%} of their variance, then normalised. The arrow is the mean direction; its length R is 0 for "
        "points all round the circle, 1 for a single direction." + caveat([run])
    )
    style.headline(figure, theme, _title(run), note)
    return figure


def _title(run: Points) -> str:
    spread = run.evaluation.get("uniformity")
    more = "" if spread is None else f", uniformity {spread:.4f}"
    images = f"{len(run.labels):,} {split_of(run)} images"
    return f"{run.name}: alignment {run.evaluation['alignment']:.4f}{more} ({images})"


def _check(run: Points, measured: Distances) -> None:
    """The numbers in the title are evaluation.json's: they must be those of the points drawn."""
    reported = run.evaluation.get("alignment")
    if not isinstance(reported, int | float) or abs(reported - measured.mean) > 1e-4:
        raise RunError(
            f"{run.folder}: evaluation.json says alignment {reported}, the projections in outputs.npz give "
            f"{measured.mean:.6f}; the two files are not of one evaluation"
        )


def _histogram(axes: "Axes", theme: Theme, measured: Distances, color: str) -> None:
    style.dress(axes, theme, title="Positive pairs", x="squared distance", y="density")
    edges = np.linspace(0, 4, SHOWN + 1)
    heights = measured.counts.reshape(SHOWN, -1).sum(axis=1) / measured.pairs / (4 / SHOWN)
    axes.bar(edges[:-1], heights, width=4 / SHOWN, align="edge", color=color, alpha=0.45, linewidth=0.4,
             edgecolor=theme.background)  # fmt: skip
    axes.plot((np.arange(FINE) + 0.5) * 4 / FINE, density(measured.counts), color=color, linewidth=1.4)
    axes.axvline(measured.mean, color=theme.ink, linewidth=1.4, linestyle="--")
    axes.annotate(f"mean {measured.mean:.4f}", (measured.mean, 0.97), xycoords=("data", "axes fraction"), xytext=(4, 0),
                  textcoords="offset points", va="top", color=theme.ink, fontsize=style.FONT)  # fmt: skip
    axes.set_ylim(top=1.15 * axes.get_ylim()[1])  # room for the mean's number
    last = float(np.flatnonzero(measured.counts)[-1] + 1) * 4 / FINE
    axes.set_xlim(0, min(4.0, max(1.1 * last, 1.3 * measured.mean, 0.1)))


def _circles(figure: "SubFigure", theme: Theme, run: Points, plane: Doubles, wanted: Sequence[int]) -> None:
    """A circle for all classes and one for each class named, histograms of the angles below."""
    panels = figure.subplots(2, 1 + len(wanted), height_ratios=(2, 1), sharey="row", squeeze=False)
    chosen = [np.ones(len(plane), dtype=bool), *(run.labels == number for number in wanted)]
    names = ["all classes", *(shown(run.class_names[number]) for number in wanted)]
    colors = [theme.ink, *(look.color for look in palette(len(wanted)))]
    dashed = np.linspace(0, 2 * np.pi, 181)
    for column, (own, name, color) in enumerate(zip(chosen, names, colors, strict=True)):
        measured = circle(plane[own])
        upper, lower = panels[:, column]
        length = float(np.linalg.norm(measured.resultant))
        style.dress(upper, theme, title=f"{name}\nn {own.sum():,}, R {length:.2f}", grid=False)
        upper.axis("off")
        upper.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal")
        upper.plot(np.cos(dashed), np.sin(dashed), color=theme.grid, linewidth=0.8, zorder=0)
        upper.scatter(np.cos(measured.angles), np.sin(measured.angles), s=5, color=color, linewidths=0, rasterized=True,
                      alpha=max(0.02, min(0.8, 60 / max(len(measured.angles), 1))))  # fmt: skip
        if length > 0.1:
            upper.annotate("", measured.resultant, (0, 0), arrowprops={"arrowstyle": "-|>", "color": theme.ink,
                           "lw": 0.9, "mutation_scale": 7, "shrinkA": 0, "shrinkB": 0})  # fmt: skip
        style.dress(lower, theme, x="angle", y="density" if column == 0 else "")
        lower.hist(
            np.degrees(measured.angles), bins=ANGLES, range=(-180, 180), density=bool(len(measured.angles)), color=color
        )
        lower.set(xlim=(-180, 180), xticks=(-180, 0, 180))
        lower.set_xticklabels(["−180°", "0°", "180°"])


figure(
    "alignment",
    help="distances of same-class pairs, and directions of all and of four named classes",
    options=("classes", "seed"),
    page=Page(
        90,
        "Alignment and uniformity",
        "Squared distances of pairs of one class, and where the projections, reduced to two dimensions, lie on the "
        "circle.",
        "each",
    ),
)(draw)
