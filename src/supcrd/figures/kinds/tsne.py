"""t-SNE sheet: twenty classes' projections on a plane, of one run, or of two runs embedded together."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from supcrd.errors import RunError
from supcrd.figures import style
from supcrd.figures.points import Integers, Points
from supcrd.figures.registry import Page, figure
from supcrd.figures.several import check_same_data, clipped
from supcrd.figures.style import LIGHT, Theme
from supcrd.figures.style.palette import SYMBOLS, palette
from supcrd.figures.subjects import (
    Doubles,
    caveat,
    check_spread,
    named_classes,
    principal,
    shown,
    some_images,
    split_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as PlotlyFigure

CLASSES = 20  # that can be distinguished
IMAGES = 4000  # of a run: half a minute
PERPLEXITY = 30.0
LEAST = 5  # images that have neighbours to speak of


class Embedded(NamedTuple):
    """M images of R runs on one plane."""

    classes: tuple[int, ...]  # that are shown, in the legend's order
    images: Integers  # (M,) rows of outputs.npz
    labels: Integers  # (M,)
    positions: tuple[Doubles, ...]  # R of (M, 2)
    perplexity: float
    cosines: tuple[float, float] | None  # of two runs: of the same image as it is, and after the rotation


def rotation(moving: NDArray[np.floating], fixed: NDArray[np.floating]) -> Doubles:
    """The orthogonal map that brings rows nearest to their partners: argmin_R sum_i ||moving_i R - fixed_i||^2.

    It changes no distance among the rows that it moves.

    Args:
        moving, fixed: (N, P) float each, row i of the one belonging to row i of the other.

    Returns:
        (P, P) orthogonal.

    Source: P. Schoenemann 1966, the orthogonal Procrustes problem.

    Example:
        >>> rotation(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 1.0], [-1.0, 0.0]])).round() + 0.0
        array([[ 0.,  1.], [-1.,  0.]])
    """
    left, _, right = np.linalg.svd(np.asarray(moving, np.float64).T @ np.asarray(fixed, np.float64))
    turned: Doubles = left @ right
    return turned


def in_one_space(first: Points, second: Points) -> tuple[Doubles, Doubles, tuple[float, float]]:
    """Unit rows of two runs such that both may be embedded together.

    Where a projection head happens to point is no property of a representation, and no two runs share it: a student has
    trained a copy of its teacher's head, a baseline one of its own. So the second run is always rotated onto the first,
    by all images (shorter rows are filled with zeros). Distances within a run stay what they are; the mean cosines
    between the two rows of an image, before and after, say how far the runs shared a space to begin with.

    Returns:
        (N, P) of the first, (N, P) of the second, rotated, and the two cosines.
    """
    width = max(first.unit.shape[1], second.unit.shape[1])
    a, b = (np.pad(run.unit.astype(np.float64), ((0, 0), (0, width - run.unit.shape[1]))) for run in (first, second))
    turned = b @ rotation(b, a)
    return a, turned, (float((a * b).sum(axis=1).mean()), float((a * turned).sum(axis=1).mean()))


def embed(points: Sequence[Points], *, classes: Sequence[str] = (), seed: int = 0) -> Embedded:
    """Embed one run, or two runs' rows in one t-SNE, so that a place means the same in both panels.

    Args:
        points: one run, or two of the same images.
        classes: names, at most 20; else the first 20.
        seed: of the embedding, and of the images where there are more than 4,000.

    Raises:
        RunError: fewer than five images, or all projections alike; two runs of different images.
        SupcrdError: a class that there is not.

    Source: L. van der Maaten, G. Hinton 2008; P. Policar et al. 2019, openTSNE; started from principal components,
        D. Kobak, P. Berens 2019.
    """
    from openTSNE import TSNE

    first = points[0]
    check_same_data(points)
    for run in points:
        check_spread(run)
    wanted = named_classes(first, classes, most=CLASSES)
    images = some_images(first.labels, wanted, most=IMAGES, seed=seed)
    if len(images) < LEAST:
        raise RunError(f"{first.folder}: {len(images)} images of the classes shown; t-SNE needs {LEAST} or more")
    cosines = None
    if len(points) == 1:
        spaces = [first.unit.astype(np.float64)]
    else:
        *spaces, cosines = in_one_space(points[0], points[1])
    rows = np.concatenate([space[images] for space in spaces])
    perplexity = min(PERPLEXITY * len(points), (len(rows) - 1) / 3)
    positions = np.asarray(
        TSNE(
            perplexity=perplexity,
            initialization=_start(rows, seed),
            metric="euclidean",  # of unit rows: the order of neighbours is that of their cosines
            neighbors="exact",
            negative_gradient_method="bh" if len(rows) < 1000 else "fft",
            n_jobs=1,  # sums in one order: the same positions again
            random_state=seed,
        ).fit(rows)
    )
    return Embedded(wanted, images, first.labels[images], tuple(np.split(positions, len(points))), perplexity, cosines)


def _start(rows: Doubles, seed: int) -> Doubles:
    """Principal components, small as t-SNE wants its start, and no two places alike."""
    start = principal(rows, 2).rows
    start = start / max(float(start[:, 0].std()), 1e-12) * 1e-4
    noise: Doubles = np.random.default_rng(seed).normal(scale=1e-6, size=start.shape)
    return start + noise


def draw(points: Sequence[Points], *, theme: Theme = LIGHT, classes: Sequence[str] = (), seed: int = 0) -> "Figure":
    """The sheet: a panel a run, and the classes' legend, whose numbers stand at their medians.

    Args:
        points: one run, or two of the same images.
        theme: colours.
        classes: names, at most 20; else the first 20.
        seed: see `embed`.

    Raises:
        RunError, SupcrdError: see `embed`.
    """
    embedded = embed(points, classes=classes, seed=seed)
    looks = palette(len(embedded.classes))
    words = _words(points[0], embedded)
    map_height, key_height = 84 if len(points) > 1 else 150, style.LINE * -(-len(words) // 5)
    figure = style.new_figure(theme, height=map_height + key_height + (26 if len(points) > 1 else 16))
    grid = figure.add_gridspec(2, len(points), height_ratios=(map_height, key_height))
    reach = _reach(embedded)
    for column, (run, positions) in enumerate(zip(points, embedded.positions, strict=True)):
        axes = figure.add_subplot(grid[0, column])
        _panel(axes, theme, embedded, positions, [word for word, _ in words], size=5 if len(points) > 1 else 8)
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
        if len(points) > 1:
            axes.set_title(clipped(run.name, 44), color=theme.ink, fontsize=style.FONT, loc="left", parse_math=False)
    entries = [(entry, look) for (_, entry), look in zip(words, looks, strict=True)]
    style.legend(figure.add_subplot(grid[1, :]), theme, entries)
    style.headline(figure, theme, _title(points, embedded), _note(points, embedded, seed))
    return figure


def _words(run: Points, embedded: Embedded) -> list[tuple[str, str]]:
    """What stands at a class's median and in the legend: short names as they are, else numbers."""
    names = [shown(run.class_names[number]) for number in embedded.classes]
    if max(map(len, names)) <= 3:
        return [(name, name) for name in names]
    return [(str(place), f"{place}  {name}") for place, name in enumerate(names, start=1)]


def _reach(embedded: Embedded) -> float:
    """Half the side of the square that holds both panels' points."""
    return 1.04 * max(float(np.abs(positions).max()) for positions in embedded.positions)


def _panel(
    axes: "Axes", theme: Theme, embedded: Embedded, positions: Doubles, words: Sequence[str], *, size: float
) -> None:
    from matplotlib.patheffects import withStroke

    style.dress(axes, theme, grid=False)
    for spine in axes.spines.values():
        spine.set(visible=True, color=theme.grid)
    for number, look in zip(embedded.classes, palette(len(embedded.classes)), strict=True):
        x, y = positions[embedded.labels == number].T
        axes.scatter(x, y, s=size, c=look.color, marker=look.marker, linewidths=0.2, edgecolors=theme.background,
                     rasterized=len(positions) > 1000)  # fmt: skip
    for number, word in zip(embedded.classes, words, strict=True):
        x, y = np.median(positions[embedded.labels == number], axis=0)
        axes.text(x, y, word, color=theme.ink, fontsize=style.FONT - 0.5, weight="bold", ha="center", va="center",
                  path_effects=[withStroke(linewidth=1.8, foreground=theme.background)])  # fmt: skip


def _title(points: Sequence[Points], embedded: Embedded) -> str:
    count, run = len(embedded.classes), points[0]
    what = f"{len(embedded.images):,} {split_of(run)} images of {count} class{'es' * (count > 1)}"
    return f"t-SNE of {run.name}: {what}" if len(points) == 1 else f"t-SNE of two runs in one embedding: {what} in each"


def _note(points: Sequence[Points], embedded: Embedded, seed: int) -> str:
    note = f"Projections, cosine, perplexity {embedded.perplexity:.0f}, seed {seed}, "
    note += "started from principal components. "
    if len(points) > 1 and embedded.cosines is not None:
        raw, turned = embedded.cosines
        note += (
            "Both runs' rows are in one t-SNE with one scale, so places compare. The second run was first rotated onto "
            f"the first (its own distances stay): the mean cosine of an image's two rows is {raw:.2f} as trained and "
            f"{turned:.2f} rotated; the lower the latter, the less places compare. "
        )
    return note + "Neighbours mean something, gaps and areas little." + caveat(points)


def interactive(
    points: Sequence[Points], *, theme: Theme = LIGHT, classes: Sequence[str] = (), seed: int = 0
) -> "PlotlyFigure":
    """The same with class and image index under the pointer; a click in the legend toggles a class in both panels."""
    from plotly import graph_objects
    from plotly.subplots import make_subplots

    embedded = embed(points, classes=classes, seed=seed)
    titles = [style.escaped(clipped(run.name, 36)) for run in points] if len(points) > 1 else None
    figure = make_subplots(rows=1, cols=len(points), subplot_titles=titles, horizontal_spacing=0.02)
    for panel, positions in enumerate(embedded.positions, start=1):
        for number, look in zip(embedded.classes, palette(len(embedded.classes)), strict=True):
            own = embedded.labels == number
            name = style.escaped(shown(points[0].class_names[number]))
            trace = graph_objects.Scattergl(
                x=positions[own, 0].astype(np.float32),
                y=positions[own, 1].astype(np.float32),
                customdata=embedded.images[own].astype(np.int32),
                mode="markers",
                name=name,
                legendgroup=name,
                showlegend=panel == 1,
                marker={"color": look.color, "symbol": SYMBOLS[look.marker], "size": 6},
                hovertemplate="%{fullData.name}, image %{customdata}<extra></extra>",
            )
            figure.add_trace(trace, row=1, col=panel)
    reach = _reach(embedded)
    hidden = {"showticklabels": False, "showgrid": False, "zeroline": False, "range": [-reach, reach]}
    hidden |= {"showline": True, "mirror": True, "linecolor": theme.grid, "constrain": "domain"}
    figure.update_xaxes(**hidden, matches="x")
    figure.update_yaxes(**hidden, matches="y", scaleanchor="x")
    figure.update_layout(
        style.layout(
            theme,
            title={"text": style.escaped(_title(points, embedded)), "font": {"size": 16}, "x": 0.01},
            meta={"note": _note(points, embedded, seed), "narrow": _narrow(len(points), len(embedded.classes))},
            margin={"l": 10, "r": 10, "t": 70, "b": 10},
            legend={"tracegroupgap": 0, "itemsizing": "constant"},
            height=640,
        )
    )
    return figure


def _narrow(panels: int, classes: int) -> dict[str, Any]:
    """One panel above the other, and the legend below, see `style.layout`."""
    changes = {
        "height": 60 + 380 * panels + 12 * classes,
        "legend.orientation": "h",
        "legend.yref": "container",
        "legend.y": 0,
        "legend.yanchor": "bottom",
    }
    for number, name in enumerate(("", "2")[:panels]):
        top, bottom = 1 - number / panels, 1 - (number + (0.92 if panels > 1 else 1)) / panels
        changes |= {f"xaxis{name}.domain": [0, 1], f"yaxis{name}.domain": [bottom, top]}
        if panels > 1:
            changes |= {f"annotations[{number}].x": 0.5, f"annotations[{number}].y": top}
    return changes


figure(
    "tsne",
    help="t-SNE of 20 classes' projections, of one run or of two embedded together",
    interactive=interactive,
    most=2,
    options=("classes", "seed"),
    page=Page(
        70,
        "t-SNE",
        "Projections of up to 20 classes on a plane, student beside teacher, embedded together. Distances between "
        "groups, and their sizes, mean little. A seeded draw of the images, as many of each class.",
        "each",
        beside="teacher",
        few=True,
    ),
)(draw)
