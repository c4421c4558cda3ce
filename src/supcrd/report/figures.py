"""The figures of a report as HTML: Plotly where hovering helps, else a drawing; a note where nothing can be drawn."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, as_completed
from dataclasses import replace
from functools import lru_cache
from itertools import groupby, zip_longest
from typing import TYPE_CHECKING

from supcrd.base.workers import LocalExecutor
from supcrd.errors import SupcrdError
from supcrd.figures.points import Points, points_of
from supcrd.figures.registry import find_kind
from supcrd.figures.style import LIGHT, svg_text
from supcrd.figures.subjects import named_classes, some_images
from supcrd.report.collect import DataSet
from supcrd.report.embed import Picture, drawing, plot
from supcrd.report.page import Section
from supcrd.report.render import html
from supcrd.report.shown import Task, pages
from supcrd.runs.folder import RunFolder

if TYPE_CHECKING:
    from markupsafe import Markup

TSNE_CLASSES, TSNE_ROWS = 20, 990  # of all runs of a figure together: below a thousand it takes seconds
WORTH_WORKERS, MOST_WORKERS = 24, 2  # figures; processes, of half a gigabyte each

Notify = Callable[[str], None]


def make(wanted: Sequence[Task], *, notify: Notify | None = None) -> dict[str, "Markup"]:
    """All figures by their anchors; many of them are shared among processes, which cost seconds to start.

    Args:
        wanted: what to draw.
        notify: called with a line of progress.
    """
    _points.cache_clear()  # folders may have changed since
    figures: dict[str, Markup] = {}

    def add(task: Task, figure: "Markup") -> None:
        figures[task.anchor] = figure
        if notify and (len(figures) % 10 == 0 or len(figures) == len(wanted)):
            notify(f"{len(figures)} of {len(wanted)} figures")

    workers = min(os.cpu_count() or 1, MOST_WORKERS) if len(wanted) >= WORTH_WORKERS else 1
    if workers == 1:
        for task in wanted:
            add(task, figure(task))
        return figures
    with LocalExecutor(workers, threads=1) as pool:
        tasks = {pool.submit(figure, task): task for task in wanted}
        for future in as_completed(tasks):
            task = tasks[future]
            try:
                add(task, future.result())
            except BrokenExecutor as error:  # killed, most likely for lack of memory
                add(task, _notes(f"{task.runs[0].path}: {task.name} could not be drawn ({error})"))
    return figures


def sections(wanted: Sequence[Task], figures: Mapping[str, "Markup"], data: DataSet) -> list[Section]:
    """A section for each kind of figure.

    Args:
        wanted: the figures, by kind.
        figures: of `make`.
        data: their data set.
    """
    several = any(len(group) > 1 for group in data.configurations.values())
    result, known = [], pages()
    for name, group in groupby(wanted, lambda task: task.name):
        shown, tasks = known[name], list(group)
        first = several and shown.of != "all" and not shown.seeds
        caption = shown.caption + (" Of runs that differ only in their seed the first is shown." if first else "")
        anchor = tasks[0].anchor if shown.of in ("all", "first") else tasks[0].anchor.rpartition("-")[0]
        drawn = [{"run": task.called, "html": figures[task.anchor]} for task in tasks]
        inside = html("figures", caption=caption, anchor=anchor, figures=drawn)
        result.append(Section(f"{anchor}-section", shown.title, inside))
    return result


@lru_cache(maxsize=64)
def _points(run: RunFolder) -> Points | str:
    """The points of a run, or the reason why they cannot be read."""
    try:
        return points_of(run)
    except SupcrdError as error:
        return str(error)


def _colored(run: Points | str, color: str) -> Points | str:
    return replace(run, color=color) if isinstance(run, Points) else run


def figure(task: Task) -> "Markup":
    """One figure with its downloads, and a note for each run that cannot be in it."""
    results = [_colored(_points(run), color) for run, color in zip_longest(task.runs, task.colors, fillvalue="")]
    points = [result for result in results if isinstance(result, Points)]
    notes = [result for result in results if isinstance(result, str)]
    if not points or (task.called and not any(isinstance(result, Points) for result in results[: task.own])):
        return _notes(*notes)  # the runs that it is beside would be another run's figure
    whose = task.called if task.own > 1 else points[0].name
    try:
        picture = _picture(task, points)
    except SupcrdError as error:
        return _notes(str(error), *notes)
    except Exception as error:  # a figure that fails must not take the report with it
        reason = f"{type(error).__name__}: {error}"
        return _notes(f"{points[0].folder}: {task.name} could not be drawn ({reason})", *notes)
    file = f"{task.name}_{whose if task.called else 'runs'}"
    return html("figure", picture=picture._asdict() | {"file": file}, notes=notes)


def _picture(task: Task, points: Sequence[Points]) -> Picture:
    kind = find_kind(task.name)
    if kind.page is not None and kind.page.few:
        points = fewer(points)
    if kind.interactive is not None:
        return plot(kind.interactive(points, theme=LIGHT), task.anchor, kind.script, legend=not task.called)
    drawn = kind.draw(points, theme=LIGHT)
    return Picture(drawing(svg_text(drawn, task.anchor), drawn.get_suptitle() or task.name))


def fewer(points: Sequence[Points]) -> list[Points]:
    """The same runs with fewer images, so that t-SNE takes seconds: a seeded draw, the same number of each class."""
    first = points[0]
    rows = some_images(first.labels, named_classes(first, (), most=TSNE_CLASSES), most=TSNE_ROWS // len(points), seed=0)
    return [
        replace(run, labels=run.labels[rows], logits=run.logits[rows], projections=run.projections[rows], pictures=None)
        for run in points
        if len(run.labels) == len(first.labels)
    ]


def _notes(*notes: str) -> "Markup":
    return html("notes", notes=notes)
