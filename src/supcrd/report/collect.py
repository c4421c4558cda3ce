"""Run folders -> what a report tells of: configurations by data set, and runs that are still under way."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supcrd.analysis.configurations import Measured, Unread, configurations, gather
from supcrd.errors import RunError
from supcrd.recipe.settings import Recipe
from supcrd.runs.folder import load_run


@dataclass(frozen=True)
class DataSet:
    """Finished runs on the same images, divided in the same way."""

    title: str
    configurations: dict[str, list[Measured]]
    """label -> runs that differ in their seed alone, by seed; teachers last"""
    teachers: frozenset[str]
    """labels of those that taught others of the report"""
    notes: tuple[str, ...]

    @property
    def runs(self) -> list[Measured]:
        """All of them."""
        return [run for group in self.configurations.values() for run in group]


@dataclass(frozen=True)
class Unfinished:
    """A run that goes on, or was cut."""

    folder: Path
    recipe: Recipe
    history: list[dict[str, Any]]
    """rows of metrics.jsonl, by epoch"""


@dataclass(frozen=True)
class Material:
    """All that a report tells of."""

    sets: tuple[DataSet, ...]
    unfinished: tuple[Unfinished, ...]
    notes: tuple[str, ...]


def collect(folders: Sequence[str | Path]) -> Material:
    """Read run folders, with the teachers of these where they are there.

    Args:
        folders: run folders, or folders of run folders: of these, what this version cannot read is left out.

    Raises:
        RunError: a folder that is no run and holds none; one run twice; none that can be read.
        SupcrdError: a damaged run that was given by name.
    """
    runs: list[Measured] = []
    unfinished: dict[Path, Unfinished] = {}
    unread = Unread()
    for folder, named in runs_in(folders).items():
        with unread.noting(folder, asked=named):
            if (folder / "evaluation.json").is_file():
                runs += gather([folder])[0]
            else:
                unfinished[folder] = Unfinished(folder, load_run(folder).recipe, history(folder))
    notes = unread.notes()
    asked = {run.folder.resolve() for run in runs}
    for run in runs:  # grows, for a teacher may have one too
        teacher = run.teacher
        if teacher is None or teacher in asked:
            continue
        asked.add(teacher)
        try:
            runs += gather([run.folder.parent / str(run.evaluation["teacher"])])[0]
        except RunError as error:
            notes.append(f"the teacher of {run.recipe.name} is left out: {error}")
    if not runs and not unfinished:
        raise RunError(next(iter(unread.reasons.values()), "no run is given"))
    return Material(_sets(runs), tuple(unfinished.values()), tuple(notes))


def runs_in(folders: Sequence[str | Path]) -> dict[Path, bool]:
    """Run folders among the folders given, and in those that are none themselves; whether each was given by name.

    Raises:
        RunError: a folder that is no run and holds none.
    """
    found: dict[Path, tuple[Path, bool]] = {}
    for folder in (Path(folder).expanduser() for folder in folders):
        named = (folder / "recipe.toml").is_file()
        inside = [folder] if named else sorted(path.parent for path in folder.glob("*/recipe.toml"))
        if not inside:
            there = "is no run folder (it has no recipe.toml) and holds none" if folder.exists() else "is not there"
            raise RunError(f"{folder} {there}")
        for path in inside:
            first, before = found.get(path.resolve(), (path, False))
            found[path.resolve()] = first, named or before
    return dict(found.values())


def history(folder: Path) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl as far as they can be read: none yet, or a file that is being written, is no mistake."""
    rows: list[dict[str, Any]] = []
    with contextlib.suppress(OSError, ValueError):
        for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("epoch"), int):
                rows.append(row)
    return rows


def _sets(runs: Sequence[Measured]) -> tuple[DataSet, ...]:
    by_data: dict[tuple[str, str], list[Measured]] = {}
    for run in runs:
        by_data.setdefault((run.evaluation["data_fingerprint"], run.evaluation["split"]), []).append(run)
    teaching = {run.teacher for run in runs}
    titles: list[str] = []
    sets = []
    for group in by_data.values():
        labelled, notes = configurations(group)
        teachers = frozenset(
            label for label, seeds in labelled.items() if any(run.folder.resolve() in teaching for run in seeds)
        )
        ordered = {label: labelled[label] for label in sorted(labelled, key=lambda label: label in teachers)}
        title = _title(group[0])
        again = titles.count(title)
        titles.append(title)
        sets.append(DataSet(f"{title} ({again + 1})" if again else title, ordered, teachers, tuple(notes)))
    return tuple(sets)


def _title(run: Measured) -> str:
    """The data set of a run, as people know it: of a path its last part."""
    source = str(run.evaluation.get("source") or run.recipe.data.source)
    kind, colon, path = source.partition(":")
    name = Path(path).name if colon else kind
    images = run.evaluation.get("n")
    count = f", {images:,} images" if isinstance(images, int) else ""
    return f"{name}, {run.evaluation['split']} split{count}"
