"""The figures of a report as HTML: Plotly where hovering helps, else a drawing; a note where nothing can be drawn."""

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from html import unescape
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from supcrd.configurations import Measured
from supcrd.errors import SupcrdError
from supcrd.plots.kinds import KINDS
from supcrd.plots.points import Points, read_points
from supcrd.plots.style import DARK, LIGHT, svg_text
from supcrd.plots.subjects import named_classes, some_images
from supcrd.report.html import Html, element, join
from supcrd.report.material import DataSet
from supcrd.workers import LocalExecutor

COLORS = ("background", "ink", "muted", "grid", "accent", "second")  # of a theme, as variables of the page
TSNE_CLASSES, TSNE_ROWS = 20, 990  # of all runs of a figure together: below a thousand it takes seconds
WORTH_WORKERS, MOST_WORKERS = 24, 2  # figures; processes, of half a gigabyte each
NOT_PLAIN = ("width", "template", "title")  # of a layout: the page has the room, the templates and the words


@dataclass(frozen=True)
class Shown:
    """What a report shows of a kind of figure."""

    title: str
    caption: str
    of: str  # all: one of all runs; first: of the first of each configuration; each, student: one of each (student)


SHOWN = {
    "spread": Shown(
        "Alignment against uniformity",
        "Where each configuration's projections lie between tight classes (low alignment) and an even spread over the "
        "sphere (low uniformity), coloured by accuracy.",
        "all",
    ),
    "curves": Shown(
        "Training",
        "Loss, accuracy and learning rate by epoch. Runs of one colour differ only in their seed. Training accuracy is "
        "of augmented images, while learning.",
        "all",
    ),
    "classes": Shown(
        "Accuracy of each class",
        "Share of each class's images that is classified rightly, and its change against the baseline or the teacher.",
        "each",
    ),
    "reliability": Shown(
        "Reliability",
        "Accuracy of the images by the confidence of the prediction. On the diagonal a network is right as often as it "
        "says; below it is too sure.",
        "first",
    ),
    "similarity": Shown(
        "Which classes lie near which",
        "Cosines of class centroids, for the student and for its teacher. The rank correlation over all pairs of "
        "classes says how far the student keeps the teacher's order of what is similar.",
        "student",
    ),
    "neighbours": Shown(
        "Nearest neighbours",
        "A few test images, and what lies nearest to them in the student's space and in its teacher's.",
        "student",
    ),
    "tsne": Shown(
        "t-SNE",
        "Projections of up to 20 classes on a plane, student beside teacher, embedded together. Distances between "
        "groups, and their sizes, mean little. A seeded draw of the images, as many of each class.",
        "each",
    ),
    "hypersphere": Shown(
        "Hypersphere",
        "Projections reduced to three dimensions and normalised. Drag to turn, scroll to come nearer, click a class to "
        "hide it, double click to see it alone.",
        "each",
    ),
    "alignment": Shown(
        "Alignment and uniformity",
        "Squared distances of pairs of one class, and where the projections, reduced to two dimensions, lie on the "
        "circle.",
        "each",
    ),
}

Notify = Callable[[str], None]


class Task(NamedTuple):
    """A figure to be made."""

    name: str  # of KINDS
    called: str  # what people choose it by; empty for one of all runs
    folders: tuple[Path, ...]  # of the runs that it shows
    anchor: str  # unique on the page


def tasks(data: DataSet, key: str, *, baseline: str | None = None) -> list[Task]:
    """The figures of a data set, by kind.

    Args:
        data: the runs.
        key: what the anchors begin with.
        baseline: label of the configuration that classes are compared with.
    """
    found = []
    for name, shown in SHOWN.items():
        if name not in KINDS:
            continue
        anchor = f"{key}-{name}"
        if shown.of == "all":
            found.append(Task(name, "", tuple(run.folder for run in data.runs), anchor))
            continue
        if shown.of == "first":
            found.append(Task(name, "", tuple(group[0].folder for group in data.configurations.values()), anchor))
            continue
        for place, (label, group) in enumerate(data.configurations.items()):
            beside = _beside(name, group[0], label, data, baseline)
            if shown.of == "student" and beside is None:
                continue
            folders = tuple(run.folder for run in (group[0], beside) if run is not None)
            called = label if len(group) > 1 else group[0].recipe.name
            found.append(Task(name, called, folders, f"{anchor}-{place}"))
    return found


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
                made[task.anchor] = _note(f"{task.folders[0]}: {task.name} could not be drawn ({error})")
            _tell(notify, place, len(wanted), task)
    return made


def sections(wanted: Sequence[Task], made: Mapping[str, Html], data: DataSet) -> list[tuple[str, str, Html]]:
    """Figures by kind: a section's anchor, its title and what is in it."""
    several = any(len(group) > 1 for group in data.configurations.values())
    found = []
    for name, group in groupby(wanted, lambda task: task.name):
        shown, pictures = SHOWN[name], [(task.called, made[task.anchor], task.anchor) for task in group]
        once = " Of runs that differ only in their seed the first is shown." if several and shown.of != "all" else ""
        anchor = pictures[0][2] if shown.of in ("all", "first") else pictures[0][2].rpartition("-")[0]
        inside = join(element("p", shown.caption + once), _choice(anchor, [picture[:2] for picture in pictures]))
        found.append((f"{anchor}-section", shown.title, inside))
    return found


def _tell(notify: Notify | None, done: int, of: int, task: Task) -> None:
    if notify and (done % 10 == 0 or done == of):
        notify(f"{done} of {of} figures")


def _beside(name: str, run: Measured, label: str, data: DataSet, baseline: str | None) -> Measured | None:
    """The run that a figure shows a run beside: the baseline, or else its teacher."""
    if name not in ("classes", "similarity", "neighbours", "tsne"):
        return None
    if name == "classes" and baseline is not None and baseline in data.configurations:
        return data.configurations[baseline][0] if label != baseline else None
    return next((other for other in data.runs if other.folder.resolve() == run.teacher), None)


@lru_cache(maxsize=64)
def _points(folder: Path) -> Points | str:
    """The points of a run, or why there are none."""
    try:
        return read_points(folder)
    except SupcrdError as error:
        return str(error)


def figure(task: Task) -> Html:
    """One figure with its downloads, and a note for each run that cannot be in it."""
    told = [_points(folder) for folder in task.folders]
    points = [each for each in told if isinstance(each, Points)]
    if task.called and isinstance(told[0], str):  # what it is beside alone would be another run's figure
        return _note(told[0])
    notes = [_note(each) for each in told if isinstance(each, str)]
    return join(_figure(task, points) if points else None, *notes)


def _figure(task: Task, points: Sequence[Points]) -> Html:
    kind, name, anchor = KINDS[task.name], task.name, task.anchor
    saved = f"{name}_{points[0].name if task.called else 'runs'}"
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
    whose = element("span", f" of {saved}", class_="hidden-words")
    tools = [element("button", form.upper(), whose, data_save=form, type="button") for form in ("png", "svg")]
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


def drawing(svg: str, label: str) -> Html:
    """A matplotlib drawing in the page's colours, which are those of the theme that is chosen."""
    for color in COLORS:
        svg = svg.replace(getattr(LIGHT, color), f"var(--{color})")
    opening = Html(element("svg", class_="drawn", role="img", aria_label=label).removesuffix("></svg>"))
    return element("div", Html(svg.replace("<svg", opening, 1)), class_="drawing", tabindex="0")


def plot(made: Any, anchor: str, script: str = "", *, legend: bool = False) -> tuple[Html, Html | None]:
    """A Plotly figure as compact JSON beside its place, which the page's script draws; and its title as words.

    Args:
        made: plotly.graph_objects.Figure.
        anchor: unique on the page.
        script: JavaScript that goes with it, in which `{plot_id}` is its place.
        legend: put it above, since it has the names of runs.
    """
    told = made.to_dict()
    layout = told["layout"]
    title = layout.get("title") or {}
    height = int(layout.get("height") or 500)
    held = {
        "data": [slim(trace) for trace in told["data"]],
        "layout": {key: slim(value) for key, value in layout.items() if key not in NOT_PLAIN},
        "title": title,
        "script": script.replace("{plot_id}", f"plot-{anchor}") or None,
    }
    text = json.dumps(held, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    place = element(
        "div",
        class_="plot" if script else "plot stiff",
        id=f"plot-{anchor}",
        style=f"min-height: {height}px",
        data_figure=f"data-{anchor}",
        data_legend="above" if legend else None,
        role="group",
        aria_label=plain(title.get("text", "")),
    )
    words = [plain(part) for part in (title.get("text"), (layout.get("meta") or {}).get("note")) if part]
    caption = join(element("b", words[0]), *(f". {part}" for part in words[1:])) if words else None
    return join(
        element("div", place, class_="drawing"),
        element("script", Html(text), type="application/json", id=f"data-{anchor}"),
    ), caption


def plain(text: str) -> str:
    """Plotly's words without its line breaks and entities."""
    return unescape(text.replace("<br>", " "))


def slim(value: Any) -> Any:
    """The same with doubles as floats, which a screen cannot tell, and no NaN, which JSON has not."""
    if isinstance(value, Mapping):
        if value.get("dtype") == "f8" and "bdata" in value:
            single = np.frombuffer(base64.b64decode(value["bdata"]), np.float64).astype(np.float32)
            return {**value, "dtype": "f4", "bdata": base64.b64encode(single.tobytes()).decode()}
        return {key: slim(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [slim(inner) for inner in value]
    if isinstance(value, np.ndarray | np.generic):
        return slim(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.7g}") if np.isfinite(value) else None
    return value


def themes() -> Mapping[str, Mapping[str, str]]:
    """Colours of the page's variables in both themes."""
    return {theme.name: {color: getattr(theme, color) for color in COLORS} for theme in (LIGHT, DARK)}


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
