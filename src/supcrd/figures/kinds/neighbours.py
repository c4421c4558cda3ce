"""Nearest neighbours of a few test images, in the student's space and in the teacher's, as pictures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from supcrd.errors import RunError
from supcrd.figures.points import Floats, Integers, Pictures, Points
from supcrd.figures.registry import Page, figure
from supcrd.figures.several import beside, clipped
from supcrd.figures.style import FONT, LIGHT, Theme, headline, new_figure
from supcrd.figures.subjects import caveat, shown, split_of
from supcrd.runs.folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUERIES = 6  # images whose neighbours are shown
COUNT = 5  # neighbours of each
SIZE, DOWN, GAP = 0.88, 1.36, 0.3  # of a picture, from row to row, before a block; a picture with its margin is 1
LETTERS = 15  # of a class's name that fit under a picture


class Nearest(NamedTuple):
    """Of some images."""

    rows: Integers  # (Q, k), nearest first
    cosine: Floats  # (Q, k), falling


def nearest(unit: Floats, queries: Integers, *, count: int) -> Nearest:
    """The rows nearest to some of them by cosine, themselves left out.

    Args:
        unit: (M, P) points on the unit sphere.
        queries: (Q,) rows of it.
        count: k; at most M - 1 are found.

    Returns:
        Nearest; of equal cosines the row that comes first counts as the nearer.

    Example:
        >>> nearest(np.array([[1.0, 0], [0, 1], [0.6, 0.8]]), np.array([0]), count=2).rows
        array([[2, 1]])
    """
    cosine = unit[queries] @ unit.T
    cosine[np.arange(len(queries)), queries] = -np.inf
    index = np.argsort(-cosine, axis=1, kind="stable")[:, : min(count, len(unit) - 1)]
    return Nearest(index, np.take_along_axis(cosine, index, axis=1))


def chosen(labels: Integers, *, count: int, seed: int = 0) -> Integers:
    """A few rows at random, of as many classes as there are: `count` rows, rising by class.

    Args:
        labels: (M,).
        count: at most M are chosen.
        seed: of the draw.

    Example:
        >>> labels = np.array([0, 0, 0, 1, 2])
        >>> sorted(labels[chosen(labels, count=3)])
        [np.int64(0), np.int64(1), np.int64(2)]
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    turn = np.empty(len(labels), dtype=np.int64)  # how many of its class came before
    seen: dict[int, int] = {}
    for row in order:
        label = int(labels[row])
        turn[row] = seen[label] = seen.get(label, -1) + 1
    first = order[np.argsort(turn[order], kind="stable")][:count]
    rows: Integers = first[np.argsort(labels[first], kind="stable")]
    return rows


def right_share(unit: Floats, labels: Integers, *, count: int) -> float:
    """Share of the `count` nearest neighbours that are of the right class, 0..1, over all rows (M, P), M >= 2.

    Example:
        >>> right_share(np.array([[1.0, 0], [1, 0.1], [0, 1]]), np.array([0, 0, 1]), count=1)
        0.6666666666666666
    """
    rows = nearest(unit, np.arange(len(unit)), count=count).rows
    return float((labels[rows] == labels[:, None]).mean())


def draw(points: Sequence[Points], *, theme: Theme = LIGHT, seed: int = 0) -> "Figure":
    """Neighbours of a few images in a run's space and in its teacher's, or a second run's, as pictures.

    Neighbours are sought among the images of which the run keeps pictures. Without a teacher's folder the run's space
    stands alone.

    Args:
        points: one run or two.
        theme: colours.
        seed: of the draw of images.

    Raises:
        RunError: no pictures, or damaged ones; more than two runs, or runs of different images.
    """
    alone = len(points) == 1 and points[0].teacher is None
    runs = (points[0],) if alone else beside(points, what="neighbours")
    pictures = _pictures(runs)
    labels = runs[0].labels[pictures.rows]
    queries = chosen(labels, count=QUERIES, seed=seed)
    count = min(COUNT, len(labels) - 1)
    across = 1 + len(runs) * (GAP + count)  # in pictures with their margins
    width = 170 if len(runs) > 1 else 100
    figure = new_figure(theme, height=14 + width / across * (len(queries) * DOWN + 0.6), width=width)
    # one pair of axes for all pictures: 66 of them would take seconds to arrange
    axes = figure.add_subplot()
    axes.axis("off")
    shelf = _Shelf(
        axes, theme, pictures.images, [clipped(shown(runs[0].class_names[label]), LETTERS) for label in labels]
    )
    axes.text(0, -0.1, "image", fontsize=FONT - 1, color=theme.ink)
    for row, query in enumerate(queries):
        shelf.put(int(query), 0, row)
    roles = ("student: ", "teacher: ") if len(points) == 1 and not alone else ("", "")
    for block, run in enumerate(runs):
        unit = run.unit[pictures.rows]
        neighbours = nearest(unit, queries, count=count)
        left = 1 + GAP + block * (count + GAP)
        share = right_share(unit, labels, count=count)
        heading = f"{roles[block]}{clipped(run.name, 34)}\n{100 * share:.0f} % of all neighbours are of the right class"
        axes.text(left, -0.1, heading, fontsize=FONT - 1, color=theme.ink, va="bottom", parse_math=False)
        for row, query in enumerate(queries):
            for column, (index, cosine) in enumerate(zip(neighbours.rows[row], neighbours.cosine[row], strict=True)):
                right = bool(labels[index] == labels[query])
                shelf.put(int(index), left + column, row, right, float(cosine))
    axes.set(xlim=(-0.02, across), ylim=(len(queries) * DOWN, -0.6), aspect="equal")
    note = (
        f"The {count} images nearest by cosine of projections, nearest first, among {len(labels):,} pictures "
        f"(the {split_of(runs[0])} split has {len(runs[0].labels):,}); the cosine is beneath. Solid frame and tick: "
        f"the image's class; dashed and cross: another. Images drawn at random, seed {seed}."
    )
    headline(figure, theme, "Nearest neighbours", note + caveat(runs))
    return figure


def _pictures(runs: Sequence[Points]) -> Pictures:
    pictures = next((run.pictures for run in runs if run.pictures is not None), None)
    path = RunFolder(runs[0].folder).pictures_file
    if pictures is None:
        raise RunError(
            f"{path} is not there: the run was made before pictures were kept; supcrd train --force makes it anew"
        )
    rows, images = pictures.rows, pictures.images
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or rows.shape != images.shape[:1]:
        raise RunError(
            f"{path}: rows {rows.shape} and images {images.dtype} {images.shape} are no pictures of some rows"
        )
    if len(rows) < 2 or rows.min() < 0 or rows.max() >= len(runs[0].labels):
        raise RunError(f"{path}: {len(rows)} rows, of {len(runs[0].labels):,} images; two or more of these are needed")
    return pictures


class _Shelf(NamedTuple):
    """Where pictures are put, one unit apart."""

    axes: "Axes"
    theme: Theme
    images: NDArray[np.uint8]
    names: list[str]  # of their classes

    def put(self, index: int, x: float, row: int, right: bool | None = None, cosine: float = 0.0) -> None:
        """A picture in its frame; `right` is None for the image that is asked about."""
        from matplotlib.patches import Rectangle

        theme, image, y = self.theme, self.images[index], DOWN * row
        box = (x, x + SIZE, y + SIZE, y)
        image = image[:, :, 0] if image.shape[2] == 1 else image
        self.axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=box)
        color = theme.ink if right is None else theme.accent if right else theme.second
        style = (0, (3, 2)) if right is False else "-"
        frame = Rectangle((x, y), SIZE, SIZE, fill=False, edgecolor=color, linestyle=style, joinstyle="miter")
        frame.set_linewidth(0.8 if right is None else 1.6)
        self.axes.add_patch(frame)
        caption = self.names[index] if right is None else f"{self.names[index]}\n{'✓' if right else '✗'} {cosine:.2f}"
        place = (x + SIZE / 2, y + SIZE + 0.05)
        self.axes.text(*place, caption, fontsize=FONT - 2.5, color=theme.ink, ha="center", va="top", parse_math=False)


figure(
    "neighbours",
    help="nearest neighbours of some images as pictures, for a run and for its teacher or a second run",
    most=2,
    options=("seed",),
    page=Page(
        60,
        "Nearest neighbours",
        "A few test images, and what lies nearest to them in the student's space and in its teacher's.",
        "student",
        beside="teacher",
    ),
)(draw)
