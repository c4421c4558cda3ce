"""Which classes lie near which, for the teacher and for the student: has it kept the teacher's semantics?"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from supcrd.errors import RunError
from supcrd.figures.points import Floats, Integers, Points
from supcrd.figures.registry import Page, figure
from supcrd.figures.several import beside, clipped
from supcrd.figures.style import FONT, LIGHT, Theme, dress, escaped, headline, layout, new_figure
from supcrd.figures.style.palette import GROUP
from supcrd.figures.subjects import caveat, shown, split_of
from supcrd.figures.superclasses import Order, order

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Doubles = NDArray[np.float64]
NAMED = 40  # classes whose names fit along a map
MOST = 2000
"""Classes of which a map is drawn: the memory grows with their square."""


def class_similarity(unit: Floats, labels: Integers, classes: int) -> Doubles:
    """Cosines of the classes' centroids, which are the normalised means of their points.

    Args:
        unit: (N, P) points on the unit sphere.
        labels: (N,) in 0..classes-1.
        classes: C.

    Returns:
        (C, C), -1..1; NaN in the row and column of a class without images, or whose points cancel.

    Example:
        >>> class_similarity(np.array([[1.0, 0], [0, 1]]), np.array([0, 1]), 2)
        array([[1., 0.], [0., 1.]])
    """
    sums = np.zeros((classes, unit.shape[1]))
    np.add.at(sums, labels, unit)
    norm = np.linalg.norm(sums, axis=1, keepdims=True)
    centroids = sums / np.where(norm > 0, norm, np.nan)
    return np.clip(centroids @ centroids.T, -1, 1)


def rank_correlation(one: Doubles, other: Doubles) -> float | None:
    """Spearman's rank correlation of two similarities (C, C) over the pairs of different classes that both have.

    Returns:
        -1..1; None for fewer than three pairs (two always agree or disagree wholly), and where all pairs of one are
        equally similar.

    Source: Spearman 1904; ties have their mean rank.

    Example:
        >>> near = np.array([[1, 0.9, 0.1], [0.9, 1, 0.3], [0.1, 0.3, 1]])
        >>> round(rank_correlation(near, near**3), 6)
        1.0
    """
    above = np.triu_indices(len(one), k=1)
    a, b = one[above], other[above]
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both], b[both]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


class Maps(NamedTuple):
    """Two runs' similarities, classes in the order that they are shown in."""

    runs: tuple[Points, Points]
    order: Order
    similarities: tuple[Doubles, Doubles]  # (C, C) each
    limits: tuple[float, float]  # of the similarities of different classes
    correlation: float | None  # `rank_correlation`
    pairs: int  # that it is over


def maps(points: Sequence[Points]) -> Maps:
    """What is drawn: a run beside its teacher, or beside a second run.

    Raises:
        RunError: one run that has no teacher's folder; fewer than two classes with images, or more than MOST; runs of
            different images.
    """
    runs = beside(points, what="class similarity")
    classes = len(runs[0].class_names)
    if classes > MOST:
        raise RunError(
            f"{runs[0].folder}: class similarity compares all pairs of classes; of {classes:,} no map can be read, at "
            f"most {MOST:,} are right"
        )
    shown_in = order(runs[0].class_names)
    places = np.array(shown_in.classes)
    one, other = (class_similarity(run.unit, run.labels, len(places))[np.ix_(places, places)] for run in runs)
    above = np.triu_indices(len(places), k=1)
    both = np.isfinite(one[above]) & np.isfinite(other[above])
    if not both.any():
        raise RunError(f"{runs[0].folder}: class similarity needs two classes with images, labels have one")
    values = np.concatenate([one[above][both], other[above][both]])
    limits = float(values.min()), float(values.max())
    return Maps(runs, shown_in, (one, other), limits, rank_correlation(one, other), int(both.sum()))


def draw(points: Sequence[Points], *, theme: Theme = LIGHT) -> "Figure":
    """Heat maps of a run and of its teacher (or of a second run) side by side, with matplotlib.

    Raises:
        RunError: as `maps`.
    """
    import matplotlib
    from matplotlib.colors import Normalize

    content = maps(points)
    count = len(content.order.classes)
    figure = new_figure(theme, height=100 if content.order.groups else 112)
    pair = figure.subplots(1, 2)
    colors = matplotlib.colormaps[theme.heat].with_extremes(bad=theme.grid, over=theme.background)
    ticks, names = _ticks(content)
    size = min(FONT - 1.5, 0.75 * 72 / 25.4 * 62 / len(ticks))
    for axes, run, values, role in zip(pair, content.runs, content.similarities, _roles(points), strict=True):
        dress(axes, theme, title=f"{role}{clipped(run.name, 34)}", grid=False)
        image = axes.imshow(
            _diagonal(values, 2.0), cmap=colors, norm=Normalize(*content.limits), interpolation="nearest"
        )
        for edge in range(GROUP, count if content.order.groups else 0, GROUP):
            axes.axhline(edge - 0.5, color=theme.background, linewidth=0.3)
            axes.axvline(edge - 0.5, color=theme.background, linewidth=0.3)
        # the map is symmetric: long names once are enough
        axes.set_xticks(ticks, [] if content.order.groups else names, rotation=90, fontsize=size, parse_math=False)
        axes.set_yticks(ticks, names if axes is pair[0] else [], fontsize=size, parse_math=False)
        axes.tick_params(length=0, pad=1.5)
        for spine in axes.spines.values():
            spine.set_visible(False)
    bar = figure.colorbar(image, ax=list(pair), location="bottom", fraction=0.04, aspect=60)
    bar.set_label("cosine of class centroids", color=theme.ink, fontsize=FONT)
    bar.ax.tick_params(colors=theme.muted, labelcolor=theme.ink, labelsize=FONT - 1, width=0.6, length=2.5)
    bar.outline.set_visible(False)
    headline(figure, theme, _title(content), _note(content))
    return figure


def interactive(points: Sequence[Points], *, theme: Theme = LIGHT) -> Any:
    """The same with Plotly (a `plotly.graph_objects.Figure`): hovering names both classes and both cosines.

    Raises:
        RunError: as `maps`.
    """
    from plotly.subplots import make_subplots

    content = maps(points)
    names = [escaped(shown(content.runs[0].class_names[number])) for number in content.order.classes]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for name, number in zip(names, content.order.classes, strict=True)]
    titles = [escaped(f"{role}{clipped(run.name, 30)}") for role, run in zip(_roles(points), content.runs, strict=True)]
    figure = make_subplots(1, 2, subplot_titles=titles, horizontal_spacing=0.03)
    for place, values in enumerate(content.similarities):
        other = content.similarities[1 - place]
        figure.add_heatmap(
            z=np.round(_diagonal(values, np.nan), 4),
            x=names,
            y=names,
            customdata=np.round(other, 4),
            coloraxis="coloraxis",
            name=titles[place],
            hovertemplate=f"%{{y}} – %{{x}}<br>{titles[place]}: %{{z:.3f}}"
            f"<br>{titles[1 - place]}: %{{customdata:.3f}}<extra></extra>",
            row=1,
            col=place + 1,
        )
    ticks, labels = _ticks(content)
    labels = [escaped(label) for label in labels]
    at: dict[str, Any] = {
        "tickvals": [names[int(tick)] for tick in ticks],
        "ticktext": labels,
        "tickfont": {"size": 10},
    }
    at["showgrid"] = False  # it would be seen on the blank diagonal
    # the map is symmetric: long names once are enough
    figure.update_xaxes(at | {"tickangle": 90, "constrain": "domain", "showticklabels": not content.order.groups})
    figure.update_yaxes(at | {"autorange": "reversed", "automargin": True})
    figure.update_yaxes(scaleanchor="x", constrain="domain", row=1, col=1)
    figure.update_yaxes(scaleanchor="x2", constrain="domain", showticklabels=False, row=1, col=2)
    low, high = content.limits
    bar = {"title": {"text": "cosine"}, "thickness": 12, "orientation": "h", "y": 0, "yref": "container"}
    figure.update_layout(
        layout(
            theme,
            title={"text": _title(content)},
            meta={"note": _note(content), "narrow": _narrow(max(map(len, labels)))},
            height=620,
            coloraxis={"colorscale": theme.heat, "cmin": low, "cmax": high, "colorbar": bar | {"yanchor": "bottom"}},
        )
    )
    return figure


def _diagonal(similarity: Doubles, value: float) -> Doubles:
    """The same with a value where a class meets itself, which says nothing: it stays blank."""
    filled = similarity.copy()
    np.fill_diagonal(filled, value)
    return filled


def _narrow(letters: int) -> dict[str, Any]:
    """One map above the other, see `style.layout`, and names between them: beside them they would take half the width.

    Args:
        letters: of the longest name.
    """
    title, side, room = 30, 350, 24 + 5 * letters  # pixels
    whole = 2 * side + room + title
    return {
        "height": whole + 120,
        "margin.l": 10,
        "margin.r": 10,
        "xaxis.domain": [0, 1],
        "xaxis2.domain": [0, 1],
        "yaxis.domain": [1 - side / whole, 1],
        "yaxis2.domain": [0, side / whole],
        "yaxis.constraintoward": "bottom",  # to the names
        "xaxis.showticklabels": True,
        "xaxis2.showticklabels": False,
        "yaxis.showticklabels": False,
        "annotations[0].x": 0.5,
        "annotations[1].x": 0.5,
        "annotations[1].y": side / whole,
    }


def _ticks(content: Maps) -> tuple[list[float], list[str]]:
    """Where names stand, and which: of superclasses, of all classes, or of some."""
    count = len(content.order.classes)
    if content.order.groups:
        return [GROUP * place + GROUP // 2 for place in range(len(content.order.groups))], list(content.order.groups)
    places = list(range(0, count, -(-count // NAMED)))
    return [*places], [shown(content.runs[0].class_names[content.order.classes[place]]) for place in places]


def _roles(points: Sequence[Points]) -> tuple[str, str]:
    return ("student: ", "teacher: ") if len(points) == 1 else ("", "")


def _title(content: Maps) -> str:
    if content.correlation is None:
        return "Class similarity (rank correlation: none)"
    return f"Class similarity: rank correlation {content.correlation:.2f}"


def _note(content: Maps) -> str:
    run = content.runs[0]
    centroids = "Centroids: normalised means of a class's normalised projections"
    note = f"{centroids}; {split_of(run)} split, n = {len(run.labels):,}. "
    if content.correlation is None:
        note += "No rank correlation: it needs three pairs of classes that are not all equally similar. "
    else:
        note += (
            f"Spearman's rank correlation over {content.pairs:,} pairs of classes: 1 where both order all pairs alike. "
        )
    if content.order.groups:
        note += "Rows and columns: superclasses of five classes, these in alphabetical order. "
    elif len(content.order.classes) > NAMED:
        note += "Some of the classes are named. "
    return note + caveat(content.runs).strip()


figure(
    "similarity",
    help="which classes lie near which, for a run and for its teacher or a second run",
    interactive=interactive,
    most=2,
    page=Page(
        50,
        "Which classes lie near which",
        "Cosines of class centroids, for the student and for its teacher. The rank correlation over all pairs of "
        "classes says how far the student keeps the teacher's order of what is similar.",
        "student",
        beside="teacher",
    ),
)(draw)
