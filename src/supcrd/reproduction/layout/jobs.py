"""Runs as they are to be exported: their published names and their training logs, read and checked."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from supcrd.analysis.configurations import checked, gather
from supcrd.errors import RunError
from supcrd.figures.points import points_of
from supcrd.models.weights import load_model
from supcrd.reproduction.layout.names import Name, published_name, teacher_name
from supcrd.runs.folder import RunFolder

CONTRASTIVE = ("supcon", "crd", "lw_supcrd")
"""Terms that are a contrastive loss; the others are the online classifier's, and kd."""


@dataclass(frozen=True)
class Job:
    """A run to be exported, or weights from outside that taught one: these have neither a run nor a log."""

    folder: Path
    name: Name
    run: RunFolder | None
    log: dict[str, list[Any]] | None

    @property
    def teaches(self) -> bool:
        """Whether it is exported as a teacher."""
        return self.name.file.startswith("teacher_")


def read_jobs(folders: Sequence[str | Path]) -> tuple[list[Job], list[str]]:
    """The runs and their teachers under their published names, all files but the weights checked; and notes."""
    runs, notes = gather(folders)
    notes = [note for note in notes if not note.startswith("teachers of others")]  # they are exported
    teachers = list(dict.fromkeys(run.teacher for run in runs if run.teacher is not None))
    jobs: list[Job] = []
    for teacher in [teacher for teacher in teachers if teacher not in runs]:
        if teacher.finished:
            runs.append(checked(teacher))
        elif teacher.weights.is_file():
            source = next(run for run in runs if run.teacher == teacher).recipe.data.source
            jobs.append(Job(teacher.path, teacher_name(load_model(teacher.path)[1].arch, source), None, None))
            notes.append(f"{teacher.path} are weights from outside: they have neither a training log nor an accuracy")
        else:
            notes.append(f"the teacher {teacher.path} is not there: it is not exported")
    for run in runs:
        if run.measured_others():
            raise RunError(
                f"{run.path}: its weights are not those that its evaluation is of; evaluate or train it again"
            )
        name = published_name(run.recipe, teaches=run in teachers)
        if not name.published:
            notes.append(f"{run.path} has no published name ({run.recipe.method.name}): it goes by its own")
        if run.evaluation["split"] != "test":
            notes.append(f"{run.path}: the data have no test split; its accuracy is of {run.evaluation['split']}")
        if run.recipe.data.limit is not None:
            notes.append(f"{run.path}: its accuracy is of data.limit = {run.recipe.data.limit} images a split")
        if run.recipe.method.name == "imported":
            notes.append(f"{run.path} are weights from outside: they have no training log")
            jobs.append(Job(run.path, name, run, None))
            continue
        jobs.append(Job(run.path, name, run, _log(run)))
    owners: dict[str, Path] = {}
    for job in jobs:
        other = owners.setdefault(job.name.file, job.folder)
        if other != job.folder:
            raise RunError(f"{other} and {job.folder} have one published name, {job.name.file}; give one of them")
    # some published names are those of an experiment alone: where several runs have one, they go by that of their file
    plots, logs = Counter(job.name.plot for job in jobs), Counter(job.name.log for job in jobs)
    for number, job in enumerate(jobs):
        name, file = job.name, job.name.file
        name = name._replace(plot=file, title=file) if plots[name.plot] > 1 else name
        jobs[number] = replace(job, name=name._replace(log=file) if logs[name.log] > 1 else name)
    return jobs, notes


def _log(run: RunFolder) -> dict[str, list[Any]]:
    """The training log, from metrics.jsonl."""
    rows, where = points_of(run).history, run.metrics
    if not rows:
        raise RunError(f"{where} has no epoch")
    if run.recipe.method.contrastive:
        terms = [[row[term] for term in CONTRASTIVE if term in row] for row in rows]
        losses = {"contrastive_loss": [math.fsum(_numbers(where, values)) for values in terms]}
    else:
        losses = {"train_loss": _numbers(where, [row.get("loss") for row in rows])}
    log = {"epochs": [row["epoch"] for row in rows], **losses}
    log["train_acc"] = [percent(x) for x in _numbers(where, [row.get("train_accuracy") for row in rows])]
    held_out = [row.get("validation_accuracy") for row in rows]
    if None not in held_out:
        log["validation_acc"] = [percent(x) for x in _numbers(where, held_out)]
    return log


def _numbers(where: Path, values: Sequence[Any]) -> list[float]:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise RunError(f"{where} is damaged: {value!r} in place of a loss or an accuracy")
    if not values:
        raise RunError(f"{where} is damaged: an epoch without its loss")
    return list(values)


def percent(fraction: float) -> float:
    """An accuracy as the reference's files have it.

    Example:
        >>> percent(0.7335)  # not 73.35000000000001
        73.35
    """
    return round(100 * fraction, 6)
