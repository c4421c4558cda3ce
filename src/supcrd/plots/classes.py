"""Accuracy of each class, and its change against a baseline."""

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from supcrd.errors import RunError
from supcrd.plots.palette import GROUP
from supcrd.plots.points import Floats, Integers, Points
from supcrd.plots.several import check_same_data
from supcrd.plots.style import FONT, LIGHT, Theme, dress, headline, layout, new_figure
from supcrd.plots.subjects import shown, split_of
from supcrd.plots.superclasses import order

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Doubles = NDArray[np.float64]
MOST = 120  # classes that a page has room for
# Standard errors over the images. Another seed alone moves classes further: on CIFAR-100 (a small network, 26 %), 17 to
# 27 of 100 changed by more between two seeds of one recipe, so that a single pair of runs says little of a method.
SIGNIFICANT = 2.0


class PerClass(NamedTuple):
    """Of each class."""

    images: Integers  # (C,) images
    accuracy: Doubles  # (C,) share classified rightly, 0..1; NaN without images


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


def class_change(logits: Floats, baseline: Floats, labels: Integers) -> Change:
    """Difference of `class_accuracy` to a baseline on the same images, with its standard error.

    Each image gives +1, 0 or -1, and a class's change is their mean: what both get right or wrong adds no noise. It is
    the error of having drawn these images, not of the seeds of training.

    Args:
        logits, baseline: (N, C) of the same images.
        labels: (N,) in 0..C-1.

    Example:
        >>> told = class_change(np.array([[1.0, 0], [1, 0], [0, 1]]), np.array([[1.0, 0], [0, 1], [0, 1]]),
        ...                     np.array([0, 0, 1]))
        >>> told.difference, told.error
        (array([0.5, 0. ]), array([0.5, nan]))
    """
    classes = logits.shape[1]
    step = (logits.argmax(axis=1) == labels).astype(np.float64) - (baseline.argmax(axis=1) == labels)
    count = np.bincount(labels, minlength=classes)
    some, several = np.where(count > 0, count, np.nan), np.where(count > 1, count - 1, np.nan)
    mean = np.bincount(labels, weights=step, minlength=classes) / some
    square = np.bincount(labels, weights=step**2, minlength=classes)
    variance = np.maximum(square - some * mean**2, 0) / several
    return Change(mean, np.sqrt(variance / some))


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
            Group(name, sorted(map(int, block), key=lambda each: -level[each]))
            for name, block in zip(named.groups, blocks, strict=True)
        ]
        return sorted(groups, key=lambda group: -float(level[group.classes].mean()))
    kept = list(range(len(class_names)))
    if len(kept) > MOST:
        by = np.nan_to_num(level if change is None else change, nan=0.0)
        ranked = np.argsort(-by, kind="stable").tolist()
        kept = ranked[: MOST // 2] + ranked[-MOST // 2 :]
    return [Group("", sorted(kept, key=lambda each: -level[each]))]


def draw(points: Sequence[Points], *, theme: Theme = LIGHT) -> "Figure":
    """Accuracy of each class of a run, or beside that of a second run, the baseline, with matplotlib.

    Raises:
        RunError: more than two runs, or runs of different images.
    """
    run, baseline, own, change = _read(points)
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
    headline(figure, theme, _title(points), _note(run, own, change, shown=sum(len(g.classes) for g in groups)))
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
        said = [f"{100 * each:+.0f}" for each in difference]
    else:
        axes.barh(rows, here, height=0.55, color=theme.accent)
        said = [f"{each:.0f}" for each in here]
    for row, text, bold in zip(rows, said, strong, strict=True):
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
    """The same with Plotly (a `plotly.graph_objects.Figure`): hovering tells images, accuracies and the change's error.

    Raises:
        RunError: as `draw`.
    """
    import plotly.graph_objects as go

    run, baseline, own, change = _read(points)
    groups = arranged(run.class_names, own.accuracy, change.difference if change else None)
    places = [number for group in groups for number in group.classes]
    told = []
    for group in groups:
        for number in group.classes:
            name = html.escape(shown(run.class_names[number]))
            text = f"<b>{name}</b>{f' ({group.name})' if group.name else ''}<br>{own.images[number]:,} images"
            if own.images[number]:
                text += f"<br>accuracy {100 * own.accuracy[number]:.1f} %"
            if baseline is not None and change is not None and own.images[number]:
                text += f"<br>baseline {100 * baseline.accuracy[number]:.1f} %"
                text += f"<br>change {100 * change.difference[number]:+.1f}"
                text += f" ± {100 * change.error[number]:.1f}" if own.images[number] > 1 else ""
            told.append(text)
    rows = list(range(len(places)))
    here = 100 * own.accuracy[places]
    hover = {"text": told, "hovertemplate": "%{text}<extra></extra>"}
    figure = go.Figure()
    if baseline is None:
        figure.add_bar(x=here, y=rows, orientation="h", marker={"color": theme.accent}, name=run.name, **hover)
    else:
        before = 100 * baseline.accuracy[places]
        figure.add_scatter(
            x=[each for a, b in zip(before, here, strict=True) for each in (a, b, None)],
            y=[each for row in rows for each in (row, row, None)],
            mode="lines",
            line={"color": theme.muted, "width": 2},
            hoverinfo="skip",
            showlegend=False,
        )
        open_marker = {"symbol": "circle-open", "size": 9, "color": theme.second, "line": {"width": 2}}
        figure.add_scatter(x=before, y=rows, mode="markers", marker=open_marker, name=points[1].name, **hover)
        own_marker = {"size": 9, "color": theme.accent}
        figure.add_scatter(x=here, y=rows, mode="markers", marker=own_marker, name=run.name, **hover)
    names = [html.escape(shown(run.class_names[number])) for number in places]
    y_axis = {"tickvals": rows, "ticktext": names, "range": [len(rows) - 0.4, -0.6], "automargin": True}
    figure.update_layout(
        layout(
            theme,
            title={"text": _title(points)},
            meta={"note": _note(run, own, change, shown=len(places))},  # see `style.NOTE_SCRIPT`
            height=140 + 16 * len(rows),
            xaxis={"title": {"text": "accuracy (%)"}, "range": [-1, 101]},
            yaxis=y_axis | {"tickfont": {"size": 11}},
            legend={"orientation": "h", "y": 1, "yanchor": "bottom"},
        )
    )
    return figure


def _read(points: Sequence[Points]) -> tuple[Points, PerClass | None, PerClass, Change | None]:
    if not 1 <= len(points) <= 2:
        raise RunError(f"accuracy by class is of a run, and a baseline if wanted, got {len(points)} runs")
    check_same_data(points)
    run = points[0]
    own = class_accuracy(run.logits, run.labels)
    if len(points) == 1:
        return run, None, own, None
    baseline = class_accuracy(points[1].logits, run.labels)
    return run, baseline, own, class_change(run.logits, points[1].logits, run.labels)


def _overall(own: PerClass) -> float:
    """The accuracy of all images, 0..1."""
    return float(np.nansum(own.images * own.accuracy) / own.images.sum())


def _title(points: Sequence[Points]) -> str:
    return f"Accuracy by class, {' against '.join(run.name for run in points)}"


def _note(run: Points, own: PerClass, change: Change | None, *, shown: int) -> str:
    some = own.images[own.images > 0]
    images = f"{some.min():,}" if some.min() == some.max() else f"{some.min():,} to {some.max():,}"
    note = f"{split_of(run)} split, n = {len(run.labels):,}, {images} images a class; "
    note += f"dotted: the accuracy of all, {100 * _overall(own):.1f} %. "
    if change is not None:
        note += "Filled: the run; hollow: the baseline; number: the change in points. "
        note += f"Bold: more than {SIGNIFICANT:g} standard errors over these images; another seed alone can do that to "
        note += "many classes, so compare several. "
    if shown < len(own.images):
        by = "accuracy" if change is None else "change"
        note += f"{shown} of {len(own.images):,} classes, those of highest and lowest {by}."
    return note
