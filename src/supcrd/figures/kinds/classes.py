"""Accuracy of each class, and its change against a baseline."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from supcrd.errors import RunError
from supcrd.figures.by_class import Change, Doubles, PerClass, arranged, class_accuracy, class_change
from supcrd.figures.points import Points
from supcrd.figures.registry import Page, figure
from supcrd.figures.several import by_configuration, colors_of
from supcrd.figures.style import FONT, LIGHT, Theme, dress, escaped, headline, layout, new_figure
from supcrd.figures.style.palette import GROUP
from supcrd.figures.subjects import shown, split_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as PlotlyFigure

# Standard errors. Over the images alone another seed moves classes further: on CIFAR-100 (a small network, 26 %), 17 to
# 27 of 100 changed by more between two seeds of one recipe, so that a single pair of runs says little of a method.
SIGNIFICANT = 2.0
HOVER = ", its standard error under the pointer"


class Side(NamedTuple):
    """A configuration: a run, or several that differ only in their seed."""

    label: str
    runs: list[Points]
    own: PerClass  # mean over the seeds
    color: str  # of the method

    @property
    def called(self) -> str:
        """Its label, with the number of seeds."""
        return f"{self.label} (mean of {len(self.runs)} seeds)" if len(self.runs) > 1 else self.label


def draw(points: Sequence[Points], *, theme: Theme = LIGHT) -> "Figure":
    """Accuracy of each class of a run, or beside that of a second run, the baseline, with matplotlib.

    Args:
        points: runs of one configuration or of two. Of those that differ only in their seed the mean is shown; the
            configuration of the first is compared with the other, the baseline.
        theme: colours.

    Raises:
        RunError: more than two configurations, one run twice, or runs of different images.
    """
    side, before, change = _read(points)
    run, own = side.runs[0], side.own
    groups = arranged(run.class_names, own.accuracy, change.difference if change else None)
    reach = _reach(side, before, [number for group in groups for number in group.classes])
    lines: list[str | int] = []  # a superclass's name, or a class
    for group in groups:
        lines += ([group.name] if group.name else []) + list(group.classes)
    columns = 1 if len(lines) <= 25 else 2 if len(lines) <= 50 else 3
    down = -(-len(lines) // columns)
    if groups[0].name:  # no superclass is torn apart
        down = -(-down // (GROUP + 1)) * (GROUP + 1)
    figure = new_figure(theme, height=32 + 3.3 * down)
    for column in range(columns):
        axes = figure.add_subplot(1, columns, column + 1)
        dress(axes, theme, x="accuracy (%)")
        _column(axes, theme, lines[column * down : (column + 1) * down], side, before, change, reach)
        axes.set_ylim(down - 0.4, -0.6)
    headline(figure, theme, _title(side, before), _note(side, before, shown=sum(len(g.classes) for g in groups)))
    return figure


def _reach(side: Side, before: Side | None, classes: Sequence[int]) -> tuple[float, float]:
    """The range of the axis, percent: bars begin at 0; points have the tens that they lie between."""
    if before is None:
        return 0.0, 100.0
    shares = 100 * np.concatenate([one.own.accuracy[list(classes)] for one in (side, before)])
    high = max(10.0 * math.ceil(np.nanmax(shares) / 10 - 1e-9), 10.0)
    return min(10.0 * math.floor(np.nanmin(shares) / 10 + 1e-9), high - 10), high


def _column(
    axes: "Axes",
    theme: Theme,
    lines: Sequence[str | int],
    side: Side,
    before: Side | None,
    change: Change | None,
    reach: tuple[float, float],
) -> None:
    size, (low, high), own = FONT - 2, reach, side.own
    part = (high - low) / 100
    patch = {"facecolor": theme.background, "edgecolor": "none", "pad": 0.4}  # over the dotted line
    for place, line in enumerate(lines):
        if isinstance(line, str):
            axes.text(
                low, place + 0.1, line, fontsize=size, fontweight="bold", color=theme.ink, va="center", bbox=patch
            )
        elif own.images[line] == 0:
            axes.text(low + part, place, "no image", fontsize=size, color=theme.muted, va="center", style="italic")
    named = [(place, line) for place, line in enumerate(lines) if not isinstance(line, str)]
    rows = np.array([place for place, line in named if own.images[line]])
    classes = np.array([line for _, line in named if own.images[line]], dtype=int)
    here = 100 * own.accuracy[classes]
    strong = np.zeros(len(classes), dtype=bool)
    if before is not None and change is not None:
        there, strong = 100 * before.own.accuracy[classes], _strong(change)[classes]
        for which, color, width in ((~strong, theme.muted, 1), (strong, theme.ink, 2)):
            axes.hlines(rows[which], there[which], here[which], color=color, linewidth=width, zorder=2)
        axes.plot(there, rows, "o", markersize=3.4, color=theme.background, markeredgecolor=before.color)
        axes.plot(here, rows, "o", markersize=3.4, color=side.color)
        texts = _points(change.difference[classes])
    else:
        axes.barh(rows, here, height=0.55, color=side.color)
        texts = [f"{number:.0f}" for number in here]
    for row, text, bold in zip(rows, texts, strong, strict=True):
        look = ("bold", theme.ink) if bold else ("normal", theme.muted if before else theme.ink)
        axes.text(
            high + 12 * part, row, text, fontsize=size, fontweight=look[0], color=look[1], ha="right", va="center"
        )
    axes.set_xlim(low - 2 * part, high + 13 * part)
    axes.set_xticks(np.arange(low, high + 1, 25 if high - low == 100 else 20 if high - low > 50 else 10))
    labels = [shown(side.runs[0].class_names[line]) for _, line in named]
    axes.set_yticks([place for place, _ in named], labels, fontsize=size, parse_math=False)
    axes.tick_params(axis="y", length=0, pad=1)
    axes.grid(visible=False, axis="y")
    axes.axvline(100 * own.overall, color=side.color, linewidth=0.7, linestyle=":", zorder=0)


def _strong(change: Change) -> NDArray[np.bool_]:
    """(C,) whether a change is unlikely to be chance over these images; False where its error is not known."""
    strong: NDArray[np.bool_] = np.abs(change.difference) > SIGNIFICANT * change.error
    return strong


def _points(differences: Doubles) -> list[str]:
    """Changes in points, as numbers that have no -0."""
    return [f"{round(100 * number):+d}" for number in differences]


def interactive(points: Sequence[Points], *, theme: Theme = LIGHT) -> Any:
    """The same with Plotly (a `plotly.graph_objects.Figure`): hovering shows images, accuracies and the change's error.

    Raises:
        RunError: as `draw`.
    """
    import plotly.graph_objects as go

    side, before, change = _read(points)
    run, own = side.runs[0], side.own
    groups = arranged(run.class_names, own.accuracy, change.difference if change else None)
    places = [number for group in groups for number in group.classes]
    hovers = [_hover(side, before, change, number, group.name) for group in groups for number in group.classes]
    hover = {"text": hovers, "hovertemplate": "%{text}<extra></extra>"}
    low, high = reach = _reach(side, before, places)
    rows, part = list(range(len(places))), (high - low) / 100
    figure = go.Figure()
    if before is None or change is None:
        bars = {"orientation": "h", "marker": {"color": side.color}, "textposition": "none"}
        figure.add_bar(x=100 * own.accuracy[places], y=rows, name=escaped(side.label), **bars, **hover)
    else:
        _add_points(figure, theme, side, before, change, places, hover, reach)
    overall = {"type": "line", "x0": 100 * own.overall, "x1": 100 * own.overall, "yref": "paper", "y0": 0, "y1": 1}
    names = [escaped(shown(run.class_names[number])) for number in places]
    y_axis = {"tickvals": rows, "ticktext": names, "range": [len(rows) - 0.4, -0.6], "automargin": True}
    height = 140 + 16 * len(rows)
    note = _note(side, before, shown=len(places), hovers=True)
    figure.update_layout(
        layout(
            theme,
            title={"text": escaped(_title(side, before))},
            meta={"note": note, "narrow": {"height": height + 30, "margin.t": 90}},
            height=height,
            xaxis={"title": {"text": "accuracy (%)"}, "range": [low - 2 * part, high + (13 if before else 1) * part]},
            yaxis=y_axis | {"tickfont": {"size": 11}},
            legend={"orientation": "h", "y": 1, "yanchor": "bottom"},
            shapes=[overall | {"layer": "below", "line": {"color": side.color, "width": 1.5, "dash": "dot"}}],
        )
    )
    return figure


def _hover(side: Side, before: Side | None, change: Change | None, number: int, group: str) -> str:
    """What is said of a class under the pointer."""
    own, name = side.own, escaped(shown(side.runs[0].class_names[number]))
    text = f"<b>{name}</b>{f' ({group})' if group else ''}<br>{own.images[number]:,} images"
    if own.images[number]:
        text += f"<br>accuracy {100 * own.accuracy[number]:.1f} %"
    if before is not None and change is not None and own.images[number]:
        text += f"<br>baseline {100 * before.own.accuracy[number]:.1f} %"
        text += f"<br>change {100 * change.difference[number]:+.1f}"
        text += f" ± {100 * change.error[number]:.1f}" if own.images[number] > 1 else ""
    return text


def _add_points(
    figure: "PlotlyFigure",
    theme: Theme,
    side: Side,
    before: Side,
    change: Change,
    places: Sequence[int],
    hover: dict[str, Any],
    reach: tuple[float, float],
) -> None:
    """Lines from the baseline's points to the run's, both points, and the changes as numbers at the right end."""
    rows = np.arange(len(places))
    there, here = (100 * one.own.accuracy[list(places)] for one in (before, side))
    strong = _strong(change)[list(places)]
    for which, color, width in ((~strong, theme.muted, 1.5), (strong, theme.ink, 3.5)):
        figure.add_scatter(
            x=[end for a, b in zip(there[which], here[which], strict=True) for end in (a, b, None)],
            y=[end for row in rows[which].tolist() for end in (row, row, None)],
            mode="lines",
            line={"color": color, "width": width},
            hoverinfo="skip",
            showlegend=False,
        )
    open_marker = {"symbol": "circle-open", "size": 9, "color": before.color, "line": {"width": 2}}
    figure.add_scatter(x=there, y=rows, mode="markers", marker=open_marker, name=escaped(before.label), **hover)
    own_marker = {"size": 9, "color": side.color}
    figure.add_scatter(x=here, y=rows, mode="markers", marker=own_marker, name=escaped(side.label), **hover)
    known = np.isfinite(here)
    numbers = _points(change.difference[list(places)][known])
    figure.add_scatter(
        x=np.full(int(known.sum()), reach[1] + 0.12 * (reach[1] - reach[0])),
        y=rows[known],
        mode="text",
        text=[f"<b>{text}</b>" if bold else text for text, bold in zip(numbers, strong[known], strict=True)],
        textposition="middle left",
        textfont={"color": theme.ink, "size": 11},
        hoverinfo="skip",
        showlegend=False,
    )


def _read(points: Sequence[Points]) -> tuple[Side, Side | None, Change | None]:
    configurations = by_configuration(points)
    if len(configurations) > 2:
        raise RunError(
            f"accuracy by class is of a run, and a baseline if wanted, or of several seeds of each; got "
            f"{len(configurations)} configurations: {', '.join(configurations)}"
        )
    sides = []
    colors = dict(zip([run.folder for run in points], colors_of(points), strict=True))
    for label, runs in configurations.items():
        by_run = [class_accuracy(run.logits, run.labels) for run in runs]
        mean = np.mean([accuracies.accuracy for accuracies in by_run], axis=0)
        sides.append(Side(label, runs, PerClass(by_run[0].images, mean), colors[runs[0].folder]))
    if len(sides) == 1:
        return sides[0], None, None
    own, before = ([run.logits for run in side.runs] for side in sides)
    return sides[0], sides[1], class_change(own, before, points[0].labels)


def _title(side: Side, before: Side | None) -> str:
    return f"Accuracy by class, {side.called}{f' against {before.called}' if before else ''}"


def _note(side: Side, before: Side | None, *, shown: int, hovers: bool = False) -> str:
    run, own = side.runs[0], side.own
    some = own.images[own.images > 0]
    images = f"{some.min():,}" if some.min() == some.max() else f"{some.min():,} to {some.max():,}"
    note = f"{split_of(run)} split, n = {len(run.labels):,}, {images} images a class; "
    note += f"dotted: the accuracy of all, {100 * own.overall:.1f} %. "
    if before is not None:
        note += f"Filled: the run; hollow: the baseline; number: the change in points{HOVER if hovers else ''}. "
        note += f"Bold: more than {SIGNIFICANT:g} standard errors over these images"
        seeds = sorted((len(side.runs), len(before.runs)))
        if seeds[0] > 1:
            note += f" and over the seeds ({len(side.runs)} and {len(before.runs)}); by chance one class in twenty. "
        elif seeds[1] > 1:
            note += f" and over {seeds[1]} seeds; another seed of the lone run can do that to many classes. "
        else:
            note += "; another seed alone can do that to many classes, so compare several. "
    if shown < len(own.images):
        by = "accuracy" if before is None else "change"
        note += f"{shown} of {len(own.images):,} classes, those of highest and lowest {by}."
    return note


figure(
    "classes",
    help="accuracy of each class of a run, and its change against a second one, the baseline; means over seeds",
    interactive=interactive,
    most=None,
    page=Page(
        30,
        "Accuracy of each class",
        "Share of each class's images that is classified rightly, and its change against the baseline or the teacher. "
        "Of runs that differ only in their seed the mean.",
        "each",
        seeds=True,
        beside="baseline",
    ),
)(draw)
