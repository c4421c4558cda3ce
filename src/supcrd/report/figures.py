"""The figures of a report as HTML: Plotly where hovering helps, else a drawing; a note where nothing can be drawn."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, as_completed
from dataclasses import replace
from functools import lru_cache
from itertools import groupby

from supcrd.base.workers import LocalExecutor
from supcrd.errors import SupcrdError
from supcrd.figures.draw import KINDS
from supcrd.figures.points import Points, points_of
from supcrd.figures.style import LIGHT, svg_text
from supcrd.figures.subjects import named_classes, some_images
from supcrd.report.collect import DataSet
from supcrd.report.embed import drawing, plot
from supcrd.report.html import Html, element, join
from supcrd.report.shown import SHOWN, Task
from supcrd.runs.folder import RunFolder

TSNE_CLASSES, TSNE_ROWS = 20, 990  # of all runs of a figure together: below a thousand it takes seconds
WORTH_WORKERS, MOST_WORKERS = 24, 2  # figures; processes, of half a gigabyte each


Notify = Callable[[str], None]


def make(wanted: Sequence[Task], *, notify: Notify | None = None) -> dict[str, Html]:
    """All figures by their anchors; many of them are shared among processes, which cost seconds to start.

    Args:
        wanted: what to make.
        notify: told how far it is.
    """
    _points.cache_clear()  # folders may have changed since
    workers = min(os.cpu_count() or 1, MOST_WORKERS) if len(wanted) >= WORTH_WORKERS else 1
    if workers == 1:
        found = {}
        for place, task in enumerate(wanted, 1):
            found[task.anchor] = figure(task)
            _tell(notify, place, len(wanted), task)
        return found
    with LocalExecutor(workers, threads=1) as pool:
        going = {pool.submit(figure, task): task for task in wanted}
        made: dict[str, Html] = {}
        for place, future in enumerate(as_completed(going), 1):
            task = going[future]
            try:
                made[task.anchor] = Html(future.result())
            except BrokenExecutor as error:  # killed, for want of memory most likely
                made[task.anchor] = _note(f"{task.runs[0].path}: {task.name} could not be drawn ({error})")
            _tell(notify, place, len(wanted), task)
    return made


def sections(wanted: Sequence[Task], made: Mapping[str, Html], data: DataSet) -> list[tuple[str, str, Html]]:
    """Figures by kind: a section's anchor, its title and what is in it."""
    several = any(len(group) > 1 for group in data.configurations.values())
    found = []
    for name, group in groupby(wanted, lambda task: task.name):
        shown, pictures = SHOWN[name], [(task.called, made[task.anchor], task.anchor) for task in group]
        first = several and shown.of != "all" and not shown.seeds
        once = " Of runs that differ only in their seed the first is shown." if first else ""
        anchor = pictures[0][2] if shown.of in ("all", "first") else pictures[0][2].rpartition("-")[0]
        inside = join(element("p", shown.caption + once), _choice(anchor, [picture[:2] for picture in pictures]))
        found.append((f"{anchor}-section", shown.title, inside))
    return found


def _tell(notify: Notify | None, done: int, of: int, task: Task) -> None:
    if notify and (done % 10 == 0 or done == of):
        notify(f"{done} of {of} figures")


@lru_cache(maxsize=64)
def _points(run: RunFolder) -> Points | str:
    """The points of a run, or why there are none."""
    try:
        return points_of(run)
    except SupcrdError as error:
        return str(error)


def figure(task: Task) -> Html:
    """One figure with its downloads, and a note for each run that cannot be in it."""
    told = [_points(run) for run in task.runs]
    points = [each for each in told if isinstance(each, Points)]
    notes = [_note(each) for each in told if isinstance(each, str)]
    alone = task.called and not any(isinstance(each, Points) for each in told[: task.own])
    # what it is beside alone would be another run's figure
    return join(_figure(task, points) if points and not alone else None, *notes)


def _figure(task: Task, points: Sequence[Points]) -> Html:
    kind, name, anchor = KINDS[task.name], task.name, task.anchor
    whose = task.called if task.own > 1 else points[0].name
    saved = f"{name}_{whose if task.called else 'runs'}"
    try:
        if name == "tsne":
            points = fewer(points)
        if kind.interactive is not None:
            drawn, words = plot(kind.interactive(points, theme=LIGHT), anchor, kind.script, legend=not task.called)
        else:
            made = kind.draw(points, theme=LIGHT)
            drawn, words = drawing(svg_text(made, anchor), made.get_suptitle() or name), None
    except SupcrdError as error:
        return _note(str(error))
    except Exception as error:  # a figure that fails must not take the report with it
        return _note(f"{points[0].folder}: {name} could not be drawn ({type(error).__name__}: {error})")
    hidden = element("span", f" of {saved}", class_="hidden-words")
    tools = [element("button", form.upper(), hidden, data_save=form, type="button") for form in ("png", "svg")]
    caption = element("figcaption", words) if words else None
    return element("figure", drawn, caption, element("div", *tools, class_="tools"), data_name=saved)


def fewer(points: Sequence[Points]) -> list[Points]:
    """The same runs with so many images only, drawn by a seed, as many of each class, that t-SNE takes seconds."""
    first = points[0]
    rows = some_images(first.labels, named_classes(first, (), most=TSNE_CLASSES), most=TSNE_ROWS // len(points), seed=0)
    return [
        replace(run, labels=run.labels[rows], logits=run.logits[rows], projections=run.projections[rows], pictures=None)
        for run in points
        if len(run.labels) == len(first.labels)
    ]


def _choice(anchor: str, pictures: Sequence[tuple[str, Html]]) -> Html:
    """One figure, or one at a time of several."""
    if len(pictures) == 1:
        return join(element("h3", pictures[0][0]) if pictures[0][0] else None, pictures[0][1])
    options = [element("option", called) for called, _ in pictures]
    select = element("select", *options, id=f"pick-{anchor}")
    picked = element("div", element("label", "Run", for_=f"pick-{anchor}"), select, class_="pick")
    return join(picked, *(element("div", html, class_="choice") for _, html in pictures))


def _note(text: str) -> Html:
    return element("p", text, class_="note")
