"""Run folders -> what a report tells of: configurations by data set, and runs that are still under way."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supcrd.analysis.configurations import checked, configurations
from supcrd.errors import RunError
from supcrd.recipe.settings import Recipe
from supcrd.report.searches import searches
from supcrd.runs.catalogue import Unread, find
from supcrd.runs.folder import RunFolder


@dataclass(frozen=True)
class DataSet:
    """Finished runs on the same images, divided in the same way."""

    title: str
    configurations: dict[str, list[RunFolder]]
    """label -> runs that differ in their seed alone, by seed; teachers last"""
    teachers: frozenset[str]
    """labels of those that taught others of the report"""
    notes: tuple[str, ...]

    @property
    def runs(self) -> list[RunFolder]:
        """All of them."""
        return [run for group in self.configurations.values() for run in group]


@dataclass(frozen=True)
class Unfinished:
    """A run that is under way, or was interrupted."""

    run: RunFolder
    recipe: Recipe
    history: list[dict[str, Any]]
    """rows of metrics.jsonl, by epoch"""


@dataclass(frozen=True)
class Material:
    """All that a report tells of."""

    sets: tuple[DataSet, ...]
    unfinished: tuple[Unfinished, ...]
    notes: tuple[str, ...]
    searches: tuple[str, ...] = ()
    """what is said of the searches that the runs come of"""


def collect(folders: Sequence[str | Path]) -> Material:
    """Read run folders, with the teachers of these where they are there.

    Args:
        folders: run folders, or folders of run folders: of these, what this version cannot read is left out.

    Raises:
        RunError: a folder that is no run and holds none; one run twice; none that can be read.
        SupcrdError: a damaged run that was given by name.
    """
    runs: list[RunFolder] = []
    unfinished: list[Unfinished] = []
    unread = Unread()
    asked_for = find(folders)
    for run, named in asked_for.items():
        with unread.noting(run, asked=named):
            if run.finished:
                runs.append(checked(run))
            else:
                unfinished.append(Unfinished(run, run.recipe, run.progress))
    searched, unreadable = searches(asked_for)
    notes = unread.notes() + unreadable
    asked = set(runs)
    for run in runs:  # grows, for a teacher may have one too
        teacher = run.teacher
        if teacher is None or teacher in asked:
            continue
        asked.add(teacher)
        try:
            runs.append(checked(teacher))
        except RunError as error:
            notes.append(f"the teacher of {run.recipe.name} is left out: {error}")
    if not runs and not unfinished:
        raise RunError(next(iter(unread.reasons.values()), "no run is given"))
    return Material(_sets(runs), tuple(unfinished), tuple(notes), tuple(searched))


def _sets(runs: Sequence[RunFolder]) -> tuple[DataSet, ...]:
    by_data: dict[tuple[str, str], list[RunFolder]] = {}
    for run in runs:
        by_data.setdefault((run.evaluation["data_fingerprint"], run.evaluation["split"]), []).append(run)
    teaching = {run.teacher for run in runs}
    titles: list[str] = []
    sets = []
    for group in by_data.values():
        labelled, notes = configurations(group)
        teachers = frozenset(label for label, seeds in labelled.items() if any(run in teaching for run in seeds))
        ordered = {label: labelled[label] for label in sorted(labelled, key=lambda label: label in teachers)}
        title = _title(group[0])
        again = titles.count(title)
        titles.append(title)
        sets.append(DataSet(f"{title} ({again + 1})" if again else title, ordered, teachers, tuple(notes)))
    return tuple(sets)


def _title(run: RunFolder) -> str:
    """The data set of a run, as people know it: of a path its last part."""
    source = str(run.evaluation.get("source") or run.recipe.data.source)
    kind, colon, path = source.partition(":")
    name = Path(path).name if colon else kind
    images = run.evaluation.get("n")
    count = f", {images:,} images" if isinstance(images, int) else ""
    return f"{name}, {run.evaluation['split']} split{count}"
