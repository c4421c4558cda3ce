"""Runs beside one another: of the same images, with their teacher, or by configuration."""

from collections.abc import Sequence

import numpy as np

from supcrd.analysis.configurations import configurations
from supcrd.errors import RunError
from supcrd.figures.points import Points, read_points
from supcrd.figures.style.methods import method_colors, method_of
from supcrd.runs.folder import RunFolder


def check_same_data(points: Sequence[Points]) -> None:
    """Refuse runs that were not measured on the same images.

    Raises:
        RunError: two runs whose data set, split, labels or classes differ; names both.
    """
    if not points:
        raise RunError("no run is given; give one run folder or more")
    first = points[0]
    for other in points[1:]:
        for key in ("split", "data_fingerprint"):
            a, b = first.evaluation.get(key), other.evaluation.get(key)
            if a != b:
                sources = first.evaluation.get("source"), other.evaluation.get("source")
                what = (key, a, b) if sources[0] == sources[1] or key == "split" else ("source", *sources)
                raise RunError(
                    f"{first.folder} and {other.folder} are not of the same images ({what[0]} {what[1]} and {what[2]});"
                    " one figure needs runs of one data set, divided in one way"
                )
        if first.class_names != other.class_names or not np.array_equal(first.labels, other.labels):
            raise RunError(
                f"{first.folder} and {other.folder} have other labels in outputs.npz ({len(first.labels):,} and "
                f"{len(other.labels):,} images); one figure needs runs of one data set"
            )


def beside(points: Sequence[Points], *, what: str) -> tuple[Points, Points]:
    """A run and what it is compared with: the second one given, or else its teacher.

    Args:
        points: one run or two.
        what: the figure, for the message.

    Raises:
        RunError: one run without a teacher's folder beside it; more than two; runs of different images.
    """
    if not 1 <= len(points) <= 2:
        raise RunError(f"{what} takes a run, and another instead of its teacher if wanted, got {len(points)} runs")
    run = points[0]
    if len(points) == 2:
        other = points[1]
    elif run.teacher is not None:
        other = read_points(run.teacher)
    else:
        named = run.evaluation.get("teacher")
        why = f"its teacher's folder {run.folder.parent / named} is not there" if named else "it has no teacher"
        raise RunError(f"{run.folder}: {what} shows it beside its teacher, and {why}; give a second run")
    check_same_data([run, other])
    return run, other


def by_configuration(points: Sequence[Points]) -> dict[str, list[Points]]:
    """Runs that differ only in their seed, together: label -> runs by seed, in the order given.

    The label is what their names have in common without the seed, or a lone run's name.

    Raises:
        RunError: runs of different images, or one run twice.
    """
    check_same_data(points)
    runs = [RunFolder(run.folder, run.recipe) for run in points]
    groups, _ = configurations(runs)
    by_folder = dict(zip(runs, points, strict=True))
    labelled: dict[str, list[Points]] = {}
    for label, group in groups.items():
        shown = [by_folder[run] for run in group]
        alone = len(shown) == 1 and shown[0].name not in (*labelled, *groups)
        labelled[shown[0].name if alone else label] = shown
    return labelled


def colors_of(points: Sequence[Points]) -> list[str]:
    """The colour of each run's method: the page's, or else that among these runs."""
    methods = [method_of(run.recipe) for run in points]
    chosen = method_colors(methods)
    return [run.color or chosen[method] for run, method in zip(points, methods, strict=True)]


def clipped(text: str, letters: int) -> str:
    """A name that is too long, without its middle: runs differ at their ends.

    Example:
        >>> clipped("digits-lw-supcrd-seed0", 11)
        'digit…seed0'
    """
    if len(text) <= letters:
        return text
    return f"{text[: letters // 2]}…{text[-(letters - 1 - letters // 2) :]}"
