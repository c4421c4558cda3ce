"""Training curves: loss and its terms, accuracy, learning rate, alignment and uniformity by epoch."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from supcrd.errors import RunError
from supcrd.figures.points import Points
from supcrd.figures.registry import Page, figure
from supcrd.figures.several import by_configuration, clipped, colors_of
from supcrd.figures.style import FONT, LIGHT, Theme, dress, escaped, headline, layout, new_figure
from supcrd.figures.style.methods import DASHES, Stroke, strokes
from supcrd.figures.style.palette import TEN
from supcrd.runs.folder import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOLD = {"epoch", "loss", "train_accuracy", "lr", "seconds", "images_per_second", "stopped_early"}
"""Keys of a row that are no term."""
PANELS = {  # key of a row: title, what its axis says
    "train_accuracy": ("Accuracy, training", "%, while learning"),
    "validation_accuracy": ("Accuracy, validation", "%"),
    "validation_accuracy_ema": ("Accuracy of the average, validation", "%"),
    "lr": ("Learning rate", "at the epoch's end"),
    "validation_alignment": ("Alignment, validation", "lower: classes tighter"),
    "validation_uniformity": ("Uniformity, validation", "lower: more even"),
}
ACROSS = 3  # diagrams beside one another


class Line(NamedTuple):
    """One curve."""

    run: str
    group: int  # lines of one group have one stroke
    label: str  # of the group
    epochs: list[int]
    values: list[float]  # NaN where an epoch has no such number


class Panel(NamedTuple):
    """One diagram."""

    title: str
    axis: str
    lines: list[Line]


def panels(points: Sequence[Points]) -> list[Panel]:
    """What there is to draw, empty diagrams left out.

    Of one run, loss and terms share a diagram and so do both accuracies: groups are quantities. Of more runs each
    quantity has its own, and groups are configurations (runs that differ only in their seed).

    Args:
        points: one run or more, of one data set. Runs without history (imported weights) have no line.

    Returns:
        Accuracies in percent, the rest in the unit of `metrics.jsonl`.

    Raises:
        RunError: no run has history; a value that is not a number; runs of different images.
    """
    configurations = by_configuration(points)
    trained = [run for run in points if run.history]
    if not trained:
        names = ", ".join(run.name for run in points)
        raise RunError(
            f"{names}: metrics.jsonl has no epoch (weights that were imported have none): no training curves"
        )
    rows = [row for run in trained for row in run.history]
    present = [key for key in PANELS if any(row.get(key) is not None for row in rows)]
    terms = list(dict.fromkeys(key for row in rows for key in row if _is_term(key)))
    if len(points) == 1:
        run = points[0]
        accuracies = [key for key in present if "_accuracy" in key]
        drawn = [("Loss", "nats, mean of the epoch", ["loss", *terms]), ("Accuracy", "%", accuracies)]
        drawn += [(*PANELS[key], [key]) for key in present if key not in accuracies]
        drawn = [panel for panel in drawn if panel[2]]
        groups = {key: group for group, key in enumerate(key for *_, keys in drawn for key in keys)}
        return [
            Panel(title, axis, [_line(run, key, groups[key], _words(key)) for key in keys])
            for title, axis, keys in drawn
        ]
    drawn = [("Loss", "nats, mean of the epoch", ["loss"])]
    drawn += [(f"Loss, term {term}", "nats, as weighted", [term]) for term in terms]
    drawn += [(*PANELS[key], [key]) for key in present]
    members = [
        (group, f"{label} ({len(runs)} seeds)" if len(runs) > 1 else label, run)
        for group, (label, runs) in enumerate(configurations.items())
        for run in runs
    ]
    return [
        Panel(
            title,
            axis,
            [
                _line(run, key, group, label)
                for key in keys
                for group, label, run in members
                if any(row.get(key) is not None for row in run.history)
            ],
        )
        for title, axis, keys in drawn
    ]


def looks(points: Sequence[Points]) -> list[Stroke]:
    """How each group of `panels` is drawn: of one run ten colours for its quantities, else each configuration in the
    colour of its method, with dashes where several have the same."""
    if len(points) == 1:
        return [Stroke(color, dash) for dash in range(len(DASHES)) for color in TEN]
    return strokes(colors_of([runs[0] for runs in by_configuration(points).values()]))


def draw(points: Sequence[Points], *, theme: Theme = LIGHT) -> "Figure":
    """The curves of one run or more, with matplotlib.

    Raises:
        RunError: as `panels`.
    """
    from matplotlib.ticker import MaxNLocator

    drawn, looked = panels(points), looks(points)
    down = -(-len(drawn) // ACROSS)
    labels = {line.group: line.label for panel in drawn for line in panel.lines}
    alone = len(points) == 1
    entries = 0 if alone else -(-len(labels) // ACROSS)
    figure = new_figure(theme, height=16 + 46 * down + 4 * entries)
    handles = {}
    for place, panel in enumerate(drawn):
        axes = figure.add_subplot(down, ACROSS, place + 1)
        dress(axes, theme, title=panel.title, x="epoch" if place >= len(drawn) - ACROSS else "", y=panel.axis)
        for line in panel.lines:
            color, dash = looked[line.group]
            marker = "o" if len(line.epochs) <= 20 else ""  # a line through one epoch cannot be seen
            (handles[line.group],) = axes.plot(
                line.epochs, line.values, color=color, linestyle=(0, DASHES[dash][0] or None), linewidth=1,
                marker=marker, markersize=2, label=clipped(line.label, 34),
            )  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))  # no half epochs
        axes.yaxis.set_major_formatter("{x:g}")
        if len(panel.lines) > 1 and alone:
            axes.legend(fontsize=FONT - 1, labelcolor=theme.ink, frameon=False)
    headline(figure, theme, _title(points), _note(points))
    if not alone:
        named = [handles[group] for group in sorted(handles)]
        legend = figure.legend(
            handles=named,
            loc="outside lower left",
            ncols=ACROSS,
            fontsize=FONT - 1,
            labelcolor=theme.ink,
            frameon=False,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure


def interactive(points: Sequence[Points], *, theme: Theme = LIGHT) -> Any:
    """The same with Plotly, (a `plotly.graph_objects.Figure`): hovering names run, epoch and value.

    Raises:
        RunError: as `panels`.
    """
    from plotly.subplots import make_subplots

    drawn, looked = panels(points), looks(points)
    down = -(-len(drawn) // 2)
    figure = make_subplots(
        down,
        2,
        subplot_titles=[escaped(panel.title) for panel in drawn],
        vertical_spacing=0.3 / down,
        horizontal_spacing=0.1,
    )
    shown = set()
    short = max(epoch for panel in drawn for line in panel.lines for epoch in line.epochs) <= 10  # no half epochs
    for place, panel in enumerate(drawn):
        where = {"row": place // 2 + 1, "col": place % 2 + 1}
        for line in panel.lines:
            color, dash = looked[line.group]
            figure.add_scatter(
                x=line.epochs,
                y=line.values,
                name=escaped(line.label),
                mode="lines+markers" if len(line.epochs) <= 20 else "lines",
                line={"color": color, "dash": DASHES[dash][1], "width": 1.8},
                marker={"size": 4},
                legendgroup=line.label,
                showlegend=line.group not in shown,
                hovertemplate=f"{escaped(line.run)}<br>epoch %{{x}}: %{{y:.4g}}<extra>{escaped(line.label)}</extra>",
                **where,
            )
            shown.add(line.group)
        figure.update_xaxes(title_text="epoch", tickformat="d", dtick=1 if short else None, **where)
        figure.update_yaxes(title_text=panel.axis, **where)
    height = 120 + 300 * down + 6 * len(shown)
    title = {"text": escaped(_title(points))}
    meta = {"note": _note(points), "narrow": _narrow(len(drawn), len(shown))}
    below = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"}  # a narrow screen has no room beside
    figure.update_layout(layout(theme, title=title, meta=meta, height=height, legend=below))
    return figure


def _narrow(count: int, names: int) -> dict[str, Any]:
    """The diagrams one above the other, see `style.layout`."""
    changes: dict[str, Any] = {"height": 120 + 250 * count + 20 * names}
    for place in range(count):
        number = "" if place == 0 else place + 1
        top, bottom = 1 - place / count, 1 - (place + 0.68) / count
        changes |= {f"xaxis{number}.domain": [0, 1], f"yaxis{number}.domain": [bottom, top]}
        changes |= {f"annotations[{place}].x": 0.5, f"annotations[{place}].y": top}
    return changes


def _title(points: Sequence[Points]) -> str:
    return f"Training curves of {points[0].name if len(points) == 1 else f'{len(points)} runs'}"


def _note(points: Sequence[Points]) -> str:
    without = [run.name for run in points if not run.history]
    blind = [run.name for run in points if run.history and all(not _validated(row) for row in run.history)]
    notes = [f"No training here (imported weights): {', '.join(without)}."] if without else []
    notes += [f"Without a validation split: {', '.join(blind)}."] if blind else []
    return " ".join(notes)


def _validated(row: dict[str, Any]) -> bool:
    return row.get("validation_accuracy") is not None


def _words(key: str) -> str:
    words = {
        "train_accuracy": "training",
        "validation_accuracy": "validation",
        "validation_accuracy_ema": "validation, moving average",
        "lr": "learning rate",
    }
    return words.get(key, key)


def _is_term(key: str) -> bool:
    return key not in TOLD and not key.startswith("validation_")


def _line(run: Points, key: str, group: int, label: str) -> Line:
    scale = 100 if "_accuracy" in key else 1
    values = []
    for row in run.history:
        value = row.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise RunError(f"{RunFolder(run.folder).metrics}: {key} = {value!r} of epoch {row['epoch']} is no number")
        values.append(math.nan if value is None else scale * float(value))
    return Line(run.name, group, label, [row["epoch"] for row in run.history], values)


figure(
    "curves",
    help="loss and its terms, accuracy, learning rate, alignment and uniformity by epoch",
    interactive=interactive,
    most=None,
    page=Page(
        20,
        "Training",
        "Loss, accuracy and learning rate by epoch. A colour is a method; configurations of one method have other "
        "dashes, and lines that look alike differ in their seed only. Training accuracy is of augmented images, while "
        "learning.",
        "all",
    ),
)(draw)
