"""Which figures a report has, and of which runs."""

from collections.abc import Mapping
from typing import NamedTuple

from supcrd.figures.registry import FIGURES, Page, find_kind
from supcrd.figures.style.methods import method_of
from supcrd.report.collect import DataSet
from supcrd.runs.folder import RunFolder


def pages() -> dict[str, Page]:
    """The built-in figures that a report has, in the order of the page."""
    known = {name: find_kind(name) for name in FIGURES}
    shown = {
        name: kind.page
        for name, kind in known.items()
        if kind.page is not None and kind.draw.__module__.startswith(f"{FIGURES.builtin}.")  # workers read no plug-ins
    }
    return dict(sorted(shown.items(), key=lambda item: item[1].order))


class Task(NamedTuple):
    """A figure to draw."""

    name: str  # of a kind
    called: str  # what people choose it by; empty for one of all runs
    runs: tuple[RunFolder, ...]  # that it shows
    anchor: str  # unique on the page
    own: int = 1  # of the runs, those before what they are shown beside
    colors: tuple[str, ...] = ()  # of the runs' methods on the page; the figure's own choice if there are none


def tasks(
    data: DataSet, key: str, *, baseline: str | None = None, colors: Mapping[str, str] | None = None
) -> list[Task]:
    """The figures of a data set, by kind.

    Args:
        data: the runs.
        key: what the anchors begin with.
        baseline: label of the configuration that classes are compared with.
        colors: of all methods on the page.
    """
    figures = []
    for name, shown in pages().items():
        anchor = f"{key}-{name}"
        if shown.of == "all":
            figures.append(Task(name, "", tuple(data.runs), anchor))
            continue
        if shown.of == "first":
            figures.append(Task(name, "", tuple(group[0] for group in data.configurations.values()), anchor))
            continue
        for place, (label, group) in enumerate(data.configurations.items()):
            beside = _beside(shown, group[0], label, data, baseline)
            if shown.of == "student" and not beside:
                continue
            both = (group, beside) if shown.seeds else (group[:1], beside[:1])
            runs = tuple(run for side in both for run in side)
            called = label if len(group) > 1 else group[0].recipe.name
            figures.append(Task(name, called, runs, f"{anchor}-{place}", len(both[0])))
    if colors is None:
        return figures
    return [task._replace(colors=tuple(colors[method_of(run.recipe)] for run in task.runs)) for task in figures]


def _beside(shown: Page, run: RunFolder, label: str, data: DataSet, baseline: str | None) -> list[RunFolder]:
    """The runs that a figure shows a run beside: the baseline's, or else its teacher; [] for none."""
    if not shown.beside:
        return []
    if shown.beside == "baseline" and baseline is not None and baseline in data.configurations:
        return data.configurations[baseline] if label != baseline else []
    return [other for other in data.runs if other == run.teacher]
