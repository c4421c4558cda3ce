"""What the tables say, as plain values: the runs, how their recipes differ, their differences to a baseline."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from supcrd import recipe as recipes
from supcrd.analysis.statistics import ROUNDING, Summary, summary
from supcrd.base.wording import show
from supcrd.evaluation import health
from supcrd.recipe.keys import flatten
from supcrd.report.collect import DataSet
from supcrd.runs.folder import RunFolder


class Column(NamedTuple):
    """A number of `evaluation.json` as the table shows it."""

    key: str
    title: str
    scale: float
    digits: int
    better: int  # 1: higher, -1: lower, 0: neither
    told: str  # what it is, in a sentence


UNEVEN = 2.0  # balanced accuracy has a column from so many images of the largest class to one of the smallest on

COLUMNS = (
    Column("accuracy", "Accuracy %", 100, 2, 1, "Share of the images classified rightly by the last epoch's model."),
    Column(
        "balanced_accuracy",
        "Balanced %",
        100,
        2,
        1,
        "Mean of the accuracies of the classes, to which each counts the same: shown where the largest class has at "
        f"least {UNEVEN:g} times the images of the smallest.",
    ),
    Column(
        "accuracy_at_best",
        "At best epoch %",
        100,
        2,
        1,
        "The same with the weights of the epoch that was best on the validation split; missing where no images were "
        "held out.",
    ),
    Column("probe_accuracy", "Probe %", 100, 2, 1, "A linear classifier trained anew on the frozen features."),
    Column("knn_accuracy", "kNN %", 100, 2, 1, "The vote of the 20 nearest training images in feature space."),
    Column(
        "alignment",
        "Alignment",
        1,
        3,
        -1,
        "Mean squared distance of two projections of one class, on the unit sphere: 0 to 4. Lower is tighter.",
    ),
    Column(
        "uniformity",
        "Uniformity",
        1,
        3,
        -1,
        "Logarithm of the mean of exp(-2 d²) over all pairs of projections: -4 to 0 in practice. Lower is more even.",
    ),
    Column(
        "separation_ratio",
        "Separation",
        1,
        2,
        1,
        "Mean cosine distance between class centroids, over the mean cosine distance within a class.",
    ),
    Column("ece", "ECE %", 100, 2, -1, "Expected calibration error: how far confidence is from accuracy, in 15 bins."),
    Column(
        "teacher_agreement",
        "Agreement %",
        100,
        2,
        1,
        "Share of the images to which the run and its teacher give the same class.",
    ),
    Column("parameters", "Parameters", 1, 0, 0, "Of encoder and classifier, without the projection head."),
    Column("train_seconds", "Seconds", 1, 1, 0, "Of training, on whatever machine that was."),
)


class Cell(NamedTuple):
    """A number, or what stands for it."""

    value: float | None  # what it is sorted by
    text: str
    spread: str | None = None  # of the seeds
    best: bool = False


@dataclass(frozen=True)
class Line:
    """A configuration, and its runs beneath it where there are several."""

    label: str
    about: str
    n: int
    teacher: bool
    baseline: bool
    cells: tuple[Cell, ...]
    warnings: tuple[str, ...]  # each kind once
    runs: tuple[tuple[str, tuple[Cell, ...]], ...]


def columns(data: DataSet) -> list[Column]:
    """The columns of which any run has a number; balanced accuracy only where it can be expected to differ."""
    shown = [column for column in COLUMNS if any(number(run, column.key) is not None for run in data.runs)]
    return [column for column in shown if column.key != "balanced_accuracy" or _uneven(data)]


def _uneven(data: DataSet) -> bool:
    for run in data.runs:
        counts = run.evaluation.get("class_counts")
        there = [n for n in counts if isinstance(n, int) and n > 0] if isinstance(counts, list) else []
        if there and max(there) >= UNEVEN * min(there):
            return True
    return False


def lines(data: DataSet, baseline: str | None = None) -> list[Line]:
    """A line a configuration: means, with the standard deviation over seeds where there are several.

    The best of a column is that of the configurations that teach none of the others, if there are such: what students
    are compared for. A mean is taken where all runs of the configuration have the number.
    """
    shown = columns(data)
    means = {label: [_summary(group, column.key) for column in shown] for label, group in data.configurations.items()}
    contest = [label for label in means if label not in data.teachers] or list(means)
    best = [_best([means[label][at] for label in contest], column) for at, column in enumerate(shown)]
    found = []
    for label, group in data.configurations.items():
        cells = tuple(
            _cell(column, told, label in contest and len(contest) > 1 and _is(told, top))
            for column, told, top in zip(shown, means[label], best, strict=True)
        )
        alone = len(group) == 1
        found.append(
            Line(
                label=group[0].recipe.name if alone else label,
                about=f"{group[0].recipe.method.name} · {group[0].recipe.model.arch}",
                n=len(group),
                teacher=label in data.teachers,
                baseline=label == baseline,
                cells=cells,
                warnings=tuple(health.merged([health.told(run.evaluation) for run in group])),
                runs=()
                if alone
                else tuple(
                    (run.recipe.name, tuple(_cell(column, _summary([run], column.key)) for column in shown))
                    for run in group
                ),
            )
        )
    return found


def number(run: RunFolder, key: str) -> float | None:
    """A finite number of the run's evaluation, else None."""
    value = run.evaluation.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def differing_keys(data: DataSet) -> tuple[list[str], dict[str, list[str]]]:
    """How the recipes of configurations differ, seeds and places apart.

    Returns:
        Configurations, and for each key that differs what it is in each of them ("–" where it is not set). Of more
        than two configurations those that only teach are left out: that a teacher is another network is no news.
    """
    labels = [label for label in data.configurations if label not in data.teachers]
    if len(labels) < 2:
        labels = list(data.configurations)
    recipe = {label: data.configurations[label][0].recipe for label in labels}
    keys: dict[str, None] = {}
    for label in labels[1:]:
        keys |= dict.fromkeys(recipes.differences(recipe[labels[0]], recipe[label]))
    keys.pop("seed", None)
    tables = {label: dict(flatten(recipes.to_table(recipe[label]))) for label in labels}
    order = [key for table in tables.values() for key in table if key in keys]  # as recipes have them
    return labels, {
        key: [show(tables[label][key], 60).strip("'") if key in tables[label] else "–" for label in labels]
        for key in dict.fromkeys(order)
    }


def _summary(group: Sequence[RunFolder], key: str) -> Summary | None:
    values = [value for value in (number(run, key) for run in group) if value is not None]
    return summary(values) if len(values) == len(group) else None


def _best(told: Sequence[Summary | None], column: Column) -> float | None:
    means = [each.mean for each in told if each is not None and each.mean is not None]
    return None if not means or not column.better else column.better * max(column.better * mean for mean in means)


def _is(told: Summary | None, top: float | None) -> bool:
    if told is None or told.mean is None or top is None:
        return False
    return abs(told.mean - top) <= ROUNDING * max(abs(top), 1)


def _cell(column: Column, told: Summary | None, best: bool = False) -> Cell:
    if told is None or told.mean is None:
        return Cell(None, "–")
    text = f"{column.scale * told.mean:,.{column.digits}f}".replace("-", "−")
    spread = None if told.std is None else f"± {column.scale * told.std:,.{column.digits}f}"
    return Cell(told.mean, text, spread, best)
