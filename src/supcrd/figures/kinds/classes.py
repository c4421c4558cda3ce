"""Accuracy of each class, and its change against a baseline."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from supcrd.errors import RunError
from supcrd.figures.by_class import Change, Doubles, PerClass, class_accuracy, class_change
from supcrd.figures.points import Points
from supcrd.figures.registry import Page, figure
from supcrd.figures.several import by_configuration
from supcrd.figures.style import FONT, LIGHT, Theme, dress, escaped, headline, layout, new_figure
from supcrd.figures.style.palette import GROUP
from supcrd.figures.subjects import shown, split_of
from supcrd.figures.superclasses import order

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 120  # classes that a page has room for
# Standard errors. Over the images alone another seed moves classes further: on CIFAR-100 (a small network, 26 %), 17 to
# 27 of 100 changed by more between two seeds of one recipe, so that a single pair of runs says little of a method.
SIGNIFICANT = 2.0


class Side(NamedTuple):
    """A configuration: a run, or several that differ only in their seed."""

    label: str
    runs: list[Points]
    own: PerClass  # mean over the seeds

    @property
    def called(self) -> str:
        """Its label, with the number of seeds."""
        return f"{self.label} (mean of {len(self.runs)} seeds)" if len(self.runs) > 1 else self.label


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
    run, own, baseline = side.runs[0], side.own, before.own if before else None
    groups = arranged(run.class_names, own.accuracy, change.difference if change else None)
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
        _column(axes, theme, lines[column * down : (column + 1) * down], run, own, baseline, change)
        axes.set_ylim(down - 0.4, -0.6)
    headline(figure, theme, _title(side, before), _note(side, before, shown=sum(len(g.classes) for g in groups)))
    return figure


def _column(
    axes: "Axes",
    theme: Theme,
    lines: Sequence[str | int],
    run: Points,
    own: PerClass,
    baseline: PerClass | None,
    change: Change | None,
) -> None:
    size = FONT - 2
    patch = {"facecolor": theme.background, "edgecolor": "none", "pad": 0.4}  # over the dotted line
    for place, line in enumerate(lines):
        if isinstance(line, str):
            axes.text(0, place + 0.1, line, fontsize=size, fontweight="bold", color=theme.ink, va="center", bbox=patch)
        elif own.images[line] == 0:
            axes.text(1, place, "no image", fontsize=size, color=theme.muted, va="center", style="italic")
    named = [(place, line) for place, line in enumerate(lines) if not isinstance(line, str)]
    rows = np.array([place for place, line in named if own.images[line]])
    classes = np.array([line for _, line in named if own.images[line]], dtype=int)
    here = 100 * own.accuracy[classes]
    strong = np.zeros(len(classes), dtype=bool)
    if baseline is not None and change is not None:
        before, difference = 100 * baseline.accuracy[classes], change.difference[classes]
        strong = np.abs(difference) > SIGNIFICANT * change.error[classes]
        for which, color, width in ((~strong, theme.muted, 1), (strong, theme.ink, 2)):
            axes.hlines(rows[which], before[which], here[which], color=color, linewidth=width, zorder=2)
        axes.plot(before, rows, "o", markersize=3.4, color=theme.background, markeredgecolor=theme.second)
        axes.plot(here, rows, "o", markersize=3.4, color=theme.accent)
        texts = [f"{round(100 * number):+d}" for number in difference]  # no -0
    else:
        axes.barh(rows, here, height=0.55, color=theme.accent)
        texts = [f"{number:.0f}" for number in here]
    for row, text, bold in zip(rows, texts, strong, strict=True):
        look = ("bold", theme.ink) if bold else ("normal", theme.muted if baseline else theme.ink)
        axes.text(112, row, text, fontsize=size, fontweight=look[0], color=look[1], ha="right", va="center")
    axes.set_xlim(-2, 113)
    axes.set_xticks([0, 25, 50, 75, 100])
    labels = [shown(run.class_names[line]) for _, line in named]
    axes.set_yticks([place for place, _ in named], labels, fontsize=size, parse_math=False)
    axes.tick_params(axis="y", length=0, pad=1)
    axes.grid(visible=False, axis="y")
    axes.axvline(100 * _overall(own), color=theme.accent, linewidth=0.7, linestyle=":", zorder=0)


def interactive(points: Sequence[Points], *, theme: Theme = LIGHT) -> Any:
    """The same with Plotly (a `plotly.graph_objects.Figure`): hovering shows images, accuracies and the change's error.

    Raises:
        RunError: as `draw`.
    """
    import plotly.graph_objects as go

    side, before, change = _read(points)
    run, own, baseline = side.runs[0], side.own, before.own if before else None
    groups = arranged(run.class_names, own.accuracy, change.difference if change else None)
    places = [number for group in groups for number in group.classes]
    hovers = []
    for group in groups:
        for number in group.classes:
            name = escaped(shown(run.class_names[number]))
            text = f"<b>{name}</b>{f' ({group.name})' if group.name else ''}<br>{own.images[number]:,} images"
            if own.images[number]:
                text += f"<br>accuracy {100 * own.accuracy[number]:.1f} %"
            if baseline is not None and change is not None and own.images[number]:
                text += f"<br>baseline {100 * baseline.accuracy[number]:.1f} %"
                text += f"<br>change {100 * change.difference[number]:+.1f}"
                text += f" ± {100 * change.error[number]:.1f}" if own.images[number] > 1 else ""
            hovers.append(text)
    rows = list(range(len(places)))
    here = 100 * own.accuracy[places]
    hover = {"text": hovers, "hovertemplate": "%{text}<extra></extra>"}
    figure = go.Figure()
    start = 0.0  # bars begin at 0, points do not have to
    if before is None or baseline is None:
        bars = {"orientation": "h", "marker": {"color": theme.accent}, "textposition": "none"}
        figure.add_bar(x=here, y=rows, name=escaped(side.label), **bars, **hover)
    else:
        there = 100 * baseline.accuracy[places]
        start = min(90.0, 10 * float(np.nanmin([here, there]) // 10))
        figure.add_scatter(
            x=[end for a, b in zip(there, here, strict=True) for end in (a, b, None)],
            y=[end for row in rows for end in (row, row, None)],
            mode="lines",
            line={"color": theme.muted, "width": 2},
            hoverinfo="skip",
            showlegend=False,
        )
        open_marker = {"symbol": "circle-open", "size": 9, "color": theme.second, "line": {"width": 2}}
        figure.add_scatter(x=there, y=rows, mode="markers", marker=open_marker, name=escaped(before.label), **hover)
        own_marker = {"size": 9, "color": theme.accent}
        figure.add_scatter(x=here, y=rows, mode="markers", marker=own_marker, name=escaped(side.label), **hover)
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
            xaxis={"title": {"text": "accuracy (%)"}, "range": [start - 1, 101]},
            yaxis=y_axis | {"tickfont": {"size": 11}},
            legend={"orientation": "h", "y": 1, "yanchor": "bottom"},
        )
    )
    return figure


def _read(points: Sequence[Points]) -> tuple[Side, Side | None, Change | None]:
    configurations = by_configuration(points)
    if len(configurations) > 2:
        raise RunError(
            f"accuracy by class is of a run, and a baseline if wanted, or of several seeds of each; got "
            f"{len(configurations)} configurations: {', '.join(configurations)}"
        )
    sides = []
    for label, runs in configurations.items():
        by_run = [class_accuracy(run.logits, run.labels) for run in runs]
        mean = np.mean([accuracies.accuracy for accuracies in by_run], axis=0)
        sides.append(Side(label, runs, PerClass(by_run[0].images, mean)))
    if len(sides) == 1:
        return sides[0], None, None
    own, before = ([run.logits for run in side.runs] for side in sides)
    return sides[0], sides[1], class_change(own, before, points[0].labels)


def _overall(own: PerClass) -> float:
    """The accuracy of all images, 0..1."""
    return float(np.nansum(own.images * own.accuracy) / own.images.sum())


def _title(side: Side, before: Side | None) -> str:
    return f"Accuracy by class, {side.called}{f' against {before.called}' if before else ''}"


def _note(side: Side, before: Side | None, *, shown: int, hovers: bool = False) -> str:
    run, own = side.runs[0], side.own
    some = own.images[own.images > 0]
    images = f"{some.min():,}" if some.min() == some.max() else f"{some.min():,} to {some.max():,}"
    note = f"{split_of(run)} split, n = {len(run.labels):,}, {images} images a class; "
    note += f"{'accuracy' if hovers else 'dotted: the accuracy'} of all: {100 * _overall(own):.1f} %. "
    if before is not None:
        note += "Filled: the run; hollow: the baseline; "
        if hovers:
            note += "hover: the change in points ± its standard error; "
            note += f"beyond {SIGNIFICANT:g} of these it is unlikely to be chance over these images"
        else:
            note += f"number: the change in points. Bold: more than {SIGNIFICANT:g} standard errors over these images"
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
