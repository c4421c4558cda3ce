"""Alignment against uniformity of all runs, coloured by accuracy: tight classes, evenly spread, and what it gave."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from supcrd.errors import RunError
from supcrd.figures.points import Points
from supcrd.figures.registry import Page, figure
from supcrd.figures.several import by_configuration, clipped, colors_of
from supcrd.figures.style import FONT, LIGHT, WIDTH, Theme, dress, escaped, headline, layout, new_figure
from supcrd.runs.folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as PlotlyFigure

Doubles = NDArray[np.float64]
AXES = ("uniformity (lower: more even)", "alignment (lower: classes tighter)")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "triangle-down", "hexagon", "bowtie")


class Spot(NamedTuple):
    """A configuration: n runs that differ only in their seed."""

    label: str
    names: list[str]  # (n,)
    uniformity: Doubles  # (n,)
    alignment: Doubles  # (n,)
    accuracy: Doubles  # (n,) 0..1
    color: str  # of the method

    @property
    def centre(self) -> tuple[float, float, float]:
        """Means of uniformity, alignment and accuracy."""
        return float(self.uniformity.mean()), float(self.alignment.mean()), float(self.accuracy.mean())


def spots(points: Sequence[Points]) -> tuple[list[Spot], list[str]]:
    """The numbers of `evaluation.json`, by configuration; and the names of runs that lack one.

    A run has no alignment where no class has two images, and no uniformity with one image.

    Raises:
        RunError: no run has both numbers; a value that is not a number; runs of different images; one run twice.
    """
    configurations, without = [], []
    colors = dict(zip([run.folder for run in points], colors_of(points), strict=True))
    for label, runs in by_configuration(points).items():
        rows = [(run.name, [_number(run, key) for key in ("uniformity", "alignment", "accuracy")]) for run in runs]
        whole = [(name, row) for name, row in rows if None not in row]
        without += [name for name, row in rows if None in row]
        if whole:
            uniformity, alignment, accuracy = np.array([row for _, row in whole], dtype=np.float64).T
            named = [name for name, _ in whole]
            configurations.append(Spot(label, named, uniformity, alignment, accuracy, colors[runs[0].folder]))
    if not configurations:
        raise RunError(f"{', '.join(without)}: evaluation.json has no alignment or no uniformity to draw")
    return configurations, without


def _number(run: Points, key: str) -> float | None:
    value = run.evaluation.get(key)
    # NaN and infinity are refused too
    if value is not None and (
        isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf")
    ):
        raise RunError(f"{RunFolder(run.folder).evaluation_file}: {key} = {value!r} is no finite number")
    return value


def draw(points: Sequence[Points], *, theme: Theme = LIGHT) -> "Figure":
    """Alignment against uniformity with matplotlib: numbers name the configurations in the legend.

    Raises:
        RunError: as `spots`.
    """
    import matplotlib
    from matplotlib.colors import Normalize

    configurations, without = spots(points)
    figure = new_figure(theme, height=max(105, 20 + 3.6 * len(configurations)))
    axes, key = figure.subplots(1, 2, width_ratios=(1.55, 1))
    dress(axes, theme, x=AXES[0], y=AXES[1])
    low, high = _range(configurations)
    norm, colors = Normalize(low, high), matplotlib.colormaps[theme.heat]
    centres = np.array([spot.centre for spot in configurations])
    for spot, (x, y, accuracy) in zip(configurations, centres, strict=True):
        if len(spot.names) > 1:
            for u, a in zip(spot.uniformity, spot.alignment, strict=True):
                axes.plot([x, u], [y, a], color=theme.muted, linewidth=0.5, zorder=1)
            axes.scatter(
                spot.uniformity,
                spot.alignment,
                s=9,
                c=100 * spot.accuracy,
                cmap=colors,
                norm=norm,
                edgecolors=spot.color,
                linewidths=0.5,
                zorder=2,
            )
        axes.scatter(
            [x], [y], s=45, color=[colors(norm(100 * accuracy))], edgecolors=spot.color, linewidths=1.4, zorder=3
        )
    axes.margins(0.1)
    span = np.array([axes.get_xlim(), axes.get_ylim()])
    size = np.array([0.5 * WIDTH, figure.get_figheight() * 25.4 - 25])  # mm, about what the axes get
    places = size * (centres[:, :2] - span[:, 0]) / (span[:, 1] - span[:, 0])
    for number, (spot, offset) in enumerate(zip(configurations, beside_points(places), strict=True), 1):
        axes.annotate(
            str(number),
            spot.centre[:2],
            xytext=offset * 72 / 25.4,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=FONT - 1,
            color=theme.ink,
        )
    key.axis("off")
    for number, spot in enumerate(configurations, 1):
        text = f"{number}  {clipped(spot.label, 32)}  {_percent(spot)}"
        down = 1 - number / (len(configurations) + 1) if len(configurations) > 20 else 1 - 0.045 * number
        key.text(
            0, down, text, fontsize=FONT - 1, color=theme.ink, va="center", transform=key.transAxes, parse_math=False
        )
    mappable = matplotlib.cm.ScalarMappable(norm, colors)
    bar = figure.colorbar(mappable, ax=axes, location="bottom", fraction=0.05, aspect=40)
    bar.set_label("accuracy (%)", color=theme.ink, fontsize=FONT)
    bar.ax.tick_params(colors=theme.muted, labelcolor=theme.ink, labelsize=FONT - 1, width=0.6, length=2.5)
    bar.outline.set_visible(False)
    headline(figure, theme, _title(points), _note(configurations, without))
    return figure


def interactive(points: Sequence[Points], *, theme: Theme = LIGHT) -> Any:
    """The same with Plotly (a `plotly.graph_objects.Figure`): hovering names the run and its numbers.

    Raises:
        RunError: as `spots`.
    """
    import plotly.graph_objects as go

    configurations, without = spots(points)
    low, high = _range(configurations)
    figure = go.Figure()
    for number, spot in enumerate(configurations):
        _add(figure, spot, SYMBOLS[number % len(SYMBOLS)], theme)
    figure.update_layout(
        layout(
            theme,
            title={"text": escaped(_title(points))},
            meta={"note": _note(configurations, without), "narrow": {"height": 500 + 24 * len(configurations)}},
            xaxis={"title": {"text": AXES[0]}},
            yaxis={"title": {"text": AXES[1]}},
            coloraxis={
                "colorscale": theme.heat,
                "cmin": low,
                "cmax": high,
                "colorbar": {
                    "title": {"text": "accuracy (%)"},
                    "orientation": "h",
                    "y": 1,
                    "yanchor": "bottom",
                    "thickness": 12,
                },
            },
            legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "tracegroupgap": 0},
            height=520 + 12 * len(configurations),
        )
    )
    return figure


def _add(figure: "PlotlyFigure", spot: Spot, symbol: str, theme: Theme) -> None:
    """A configuration's runs as small marks, joined to their mean."""
    x, y, accuracy = spot.centre
    if len(spot.names) > 1:
        figure.add_scatter(
            x=[value for u in spot.uniformity for value in (x, u, None)],
            y=[value for a in spot.alignment for value in (y, a, None)],
            mode="lines",
            line={"color": theme.muted, "width": 1},
            hoverinfo="skip",
            legendgroup=spot.label,
            showlegend=False,
        )
    marks = [(spot.names, spot.uniformity, spot.alignment, spot.accuracy)]
    if len(spot.names) > 1:
        mean = f"mean of {len(spot.names)} seeds"
        marks.append(([mean], np.array([x]), np.array([y]), np.array([accuracy])))
    for place, (names, uniformity, alignment, shares) in enumerate(marks):
        last = place == len(marks) - 1
        figure.add_scatter(
            x=uniformity,
            y=alignment,
            mode="markers",
            name=escaped(f"{spot.label} {_percent(spot)}"),
            text=[escaped(name) for name in names],
            marker={
                "size": 14 if last else 7,
                "symbol": symbol,  # inside, the colour is the accuracy's
                "color": 100 * shares,
                "coloraxis": "coloraxis",
                "line": {"color": spot.color, "width": 3 if last else 1.5},
            },
            legendgroup=spot.label,
            showlegend=last,
            hovertemplate="%{text}<br>uniformity %{x:.4f}<br>alignment %{y:.4f}<br>accuracy %{marker.color:.2f} %"
            f"<extra>{escaped(spot.label)}</extra>",
        )


def beside_points(places: Doubles, *, away: float = 3.2) -> Doubles:
    """Where to write beside each point, so that no name lies on a point or on another's name.

    Args:
        places: (n, 2) of the points, mm.
        away: from the point, mm.

    Returns:
        (n, 2) offsets, mm: of sixteen directions the one farthest from all points and from the names before.

    Example:
        >>> beside_points(np.array([[0.0, 0.0], [3.0, 0.0]]))[0].round(1)  # away from the other
        array([-3.2,  0. ])
    """
    angles = np.arange(16) * np.pi / 8
    ways = away * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    offsets = np.zeros_like(places)
    occupied = [places[k] for k in range(len(places))]
    for number, place in enumerate(places):
        others = np.array([point for k, point in enumerate(occupied) if k != number]).reshape(-1, 2)
        gaps = np.linalg.norm(place + ways[:, None] - others, axis=2).min(axis=1, initial=np.inf)
        offsets[number] = ways[int(np.round(gaps, 6).argmax())]
        occupied.append(place + offsets[number])
    return offsets


def _percent(spot: Spot) -> str:
    spread = f" ± {100 * spot.accuracy.std(ddof=1):.1f}" if len(spot.names) > 1 else ""
    return f"{100 * spot.accuracy.mean():.1f}{spread} %" + (f" (n = {len(spot.names)})" if spread else "")


def _range(configurations: Sequence[Spot]) -> tuple[float, float]:
    """Of accuracy in percent; never empty."""
    accuracies = 100 * np.concatenate([spot.accuracy for spot in configurations])
    low, high = float(accuracies.min()), float(accuracies.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _note(configurations: Sequence[Spot], without: Sequence[str]) -> str:
    note = "Filled by accuracy; the rim is in the colour of the method. "
    if any(len(spot.names) > 1 for spot in configurations):
        note = "Small dots are runs, joined to the mean of those that differ only in their seed; "
        note += "± is the sample standard deviation. "
    return note + (f"Without alignment or uniformity, left out: {', '.join(without)}." if without else "")


def _title(points: Sequence[Points]) -> str:
    run = points[0]
    which = run.name if len(points) == 1 else f"{len(points)} runs"
    return (
        f"Alignment against uniformity of {which}, {run.evaluation.get('split')} split, n = {len(run.labels):,} images"
    )


figure(
    "spread",
    help="alignment against uniformity of all runs, coloured by accuracy",
    interactive=interactive,
    most=None,
    page=Page(
        10,
        "Alignment against uniformity",
        "Where each configuration's projections lie between tight classes (low alignment) and an even spread over the "
        "sphere (low uniformity), coloured by accuracy; the rim has the colour of the method.",
        "all",
    ),
)(draw)
