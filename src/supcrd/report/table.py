"""What the table of runs says, as plain values."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from supcrd.analysis.configurations import clear_bests, number
from supcrd.analysis.statistics import Summary, summary
from supcrd.evaluation import health
from supcrd.evaluation.measure import Measure
from supcrd.evaluation.measures import UNEVEN, UNSAVED, known_of
from supcrd.figures.style.methods import method_of
from supcrd.report.collect import DataSet
from supcrd.runs.folder import RunFolder


class Cell(NamedTuple):
    """A number, or what stands for it."""

    value: float | None  # what it is sorted by
    text: str
    spread: str | None = None  # of the seeds
    best: bool = False
    shared: bool = False  # seconds of a machine that others trained on beside it


@dataclass(frozen=True)
class Line:
    """A configuration, and its runs beneath it where there are several."""

    label: str
    about: str
    method: str  # what its colour goes by
    n: int
    teacher: bool
    baseline: bool
    cells: tuple[Cell, ...]
    warnings: tuple[str, ...]  # each kind once
    runs: tuple[tuple[str, tuple[Cell, ...]], ...]


def columns(data: DataSet) -> list[Measure]:
    """The columns of which any run has a number; those that repeat the accuracy only where they can differ from it."""
    known = known_of(run.evaluation for run in data.runs).values()
    shown = [
        column for column in known if column.column and any(number(run, column.key) is not None for run in data.runs)
    ]
    differing = {"balanced_accuracy": _uneven(data)} | {key: _beside(data, key) for key in UNSAVED}
    return [column for column in shown if differing.get(column.key, True)]


def _beside(data: DataSet, key: str) -> bool:
    """Whether a run saved another classifier than the one that this accuracy is of."""
    return any(number(run, key) not in (None, number(run, "accuracy")) for run in data.runs)


def _uneven(data: DataSet) -> bool:
    for run in data.runs:
        counts = run.evaluation.get("class_counts")
        there = [n for n in counts if isinstance(n, int) and n > 0] if isinstance(counts, list) else []
        if there and max(there) >= UNEVEN * min(there):
            return True
    return False


def lines(data: DataSet, baseline: str | None = None, shared: Collection[RunFolder] = ()) -> list[Line]:
    """A line a configuration: means, with the standard deviation over seeds where there are several.

    The best of a column is one of the configurations that teach none of the others, if there are such: what students
    are compared for; and only where it can be told from all of these (`statistics.clear_best`), never of one seed. A
    mean is taken where all runs of the configuration have the number.

    Args:
        data: the runs.
        baseline: label of the configuration that is marked as such.
        shared: runs whose seconds are marked.
    """
    shown = columns(data)
    students = {label: group for label, group in data.configurations.items() if label not in data.teachers}
    best = clear_bests(students or data.configurations, shown)
    rows = []
    for label, group in data.configurations.items():
        alone = len(group) == 1
        own = {key for key, winner in best.items() if winner == label}
        rows.append(
            Line(
                label=group[0].recipe.name if alone else label,
                about=_about(group),
                method=method_of(group[0].recipe),
                n=len(group),
                teacher=label in data.teachers,
                baseline=label == baseline,
                cells=_cells(group, shown, shared, own),
                warnings=tuple(health.merged([health.told(run.evaluation) for run in group])),
                runs=() if alone else tuple((run.recipe.name, _cells([run], shown, shared)) for run in group),
            )
        )
    return rows


def _cells(
    group: Sequence[RunFolder],
    shown: Sequence[Measure],
    shared: Collection[RunFolder],
    best: Collection[str] = (),
) -> tuple[Cell, ...]:
    """A cell for each column: the mean of some runs; `best` are the keys of the columns that they are best in."""
    beside = any(run in shared for run in group)
    return tuple(
        _cell(column, _summary(group, column.key), column.key in best, beside and column.key == "train_seconds")
        for column in shown
    )


def _about(group: Sequence[RunFolder]) -> str:
    """Method, network, and which classifier they have where all of them have one that was fitted afterwards."""
    recipe, classifiers = group[0].recipe, [run.evaluation.get("classifier") for run in group]
    refitted = all(isinstance(known, dict) and known.get("saved") == "refit" for known in classifiers)
    return " · ".join([recipe.method.name, recipe.model.arch, *["refitted classifier"] * refitted])


def _summary(group: Sequence[RunFolder], key: str) -> Summary | None:
    values = [value for value in (number(run, key) for run in group) if value is not None]
    return summary(values) if len(values) == len(group) else None


def _cell(column: Measure, value: Summary | None, best: bool, shared: bool) -> Cell:
    if value is None or value.mean is None:
        return Cell(None, "–")
    spread = None if value.std is None else f"± {column.show(value.std)}"
    return Cell(value.mean, column.show(value.mean).replace("-", "−"), spread, best, shared)
