"""What there is to do for a list of recipes: jobs, teachers' before those that need them, and how long they take."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from supcrd import recipe as recipes
from supcrd.base.files import user_path
from supcrd.errors import RecipeError, RunError, SupcrdError
from supcrd.recipe.settings import Imported, Recipe, TeacherSettings
from supcrd.runs.catalogue import runs_in
from supcrd.runs.folder import RunFolder


@dataclass(frozen=True)
class Outcome:
    """What became of a run."""

    name: str
    status: str
    """finished before, trained, resumed, failed or interrupted; of a search also paused or pruned"""
    reason: str | None = None
    """why it failed or was interrupted, in one line"""
    seconds: float = 0.0
    """of this call"""
    evaluation: dict[str, Any] | None = None
    """the run's evaluation.json, where it is finished"""

    @property
    def good(self) -> bool:
        """Whether the run is finished."""
        return self.status not in ("failed", "interrupted", "paused")


@dataclass(eq=False)
class Job:
    """A run to do, or a teacher's weights to import; it changes while `run_all` works."""

    name: str
    recipe: Recipe
    imports: bool = False
    """whether it brings the recipe's published teacher into a folder, for the first run that needs it"""
    wanted: bool = False
    """whether it was asked for, and not only by a student"""
    needs: list["Job"] = field(default_factory=list)
    until: int | None = None
    """the epoch after which it pauses, for a search to decide whether it goes on; None: its end"""
    started: float | None = None
    """time.monotonic() of when a worker took it"""
    stopping: bool = False
    """Ctrl-C has come, its checkpoint has not yet"""
    outcome: Outcome | None = None


def plan(wanted: Sequence[Recipe], out: Path, known: dict[str, Job] | None = None) -> list[Job]:
    """The jobs that runs make, teachers' first; what is finished needs no teacher, nor what only could compare with it.

    Args:
        wanted: the recipes.
        out: the folder of run folders.
        known: the jobs of earlier calls, which share teachers with these, and to which these are added.

    Returns:
        The jobs that were not known.

    Raises:
        RecipeError: two different recipes would share a folder.
    """
    # run folder, or what an imported teacher depends on -> job
    jobs: dict[str, Job] = {} if known is None else known
    before = set(jobs)

    def add(recipe: Recipe) -> Job:
        there = jobs.get(recipe.name)
        if there is not None:
            changed = recipes.differences(there.recipe, recipe)
            if changed:
                changes = "; ".join(f"{key} is {a!r} in one, {b!r} in the other" for key, (a, b) in changed.items())
                raise RecipeError(f"two runs would share the folder {recipe.name}: {changes}; give one another name")
            return there
        job = Job(recipe.name, recipe)
        if not is_finished(recipe, out):
            teachers = [teacher_of(recipe, settings) for settings in recipe.all_teachers.values()]
            job.needs = [teacher for teacher in teachers if teacher is not None]
        return jobs.setdefault(recipe.name, job)

    def teacher_of(recipe: Recipe, settings: TeacherSettings) -> Job | None:
        if not recipes.needs_teacher(recipe, settings) or settings.run is not None:
            return None
        to_train = recipes.teacher_recipe(recipe, settings)
        if to_train is not None:
            return add(to_train)
        # what the folder of an imported teacher depends on; two of these may still mean one folder (see `_work`)
        about = (
            settings.model_dump_json(exclude={"joint", "joint_lr_scale", "cache", "compare", "check"}),
            recipe.first_views.identity_json(),
            recipe.data.model_dump_json(exclude={"folder", "workers"}),
        )
        name = Path(str(settings.checkpoint or settings.timm)).stem
        return jobs.setdefault(repr(about), Job(f"import of {name}", recipe, imports=True))

    for recipe in wanted:
        add(recipe).wanted = True
    folders = {(out / job.name).resolve(): job for job in jobs.values() if not job.imports}
    added = [job for name, job in jobs.items() if name not in before]
    for job in added:
        for settings in () if is_finished(job.recipe, out) else job.recipe.all_teachers.values():
            if settings.run is not None:  # it may be one of these very runs
                teacher = folders.get(user_path(settings.run).resolve())
                job.needs += [teacher] if teacher is not None and teacher is not job else []
    return added


def is_finished(recipe: Recipe, out: Path) -> bool:
    """Whether the run's folder has what is written last."""
    return RunFolder(out / recipe.name).finished


class Progress(NamedTuple):
    """How far the training of a run is, by its metrics.jsonl."""

    epochs: int
    row: dict[str, Any]
    """of the last epoch; empty before it"""


def progress(folder: Path) -> Progress:
    """How far the run of a folder is."""
    rows = RunFolder(folder).progress
    return Progress(len(rows), rows[-1] if rows else {})


class Cost(NamedTuple):
    """Seconds that runs of a kind took."""

    epoch: float
    evaluation: float


def kind(recipe: Recipe) -> tuple[object, ...]:
    """What the time of an epoch depends on, by and large."""
    data = recipe.data
    teacher = recipe.method.reads_teacher
    return data.source, data.limit, data.image_size, recipe.model.arch, recipe.view_count, teacher


def costs(out: Path) -> dict[tuple[object, ...], Cost]:
    """What each kind of run took, as a mean over those finished runs of a folder that can be read."""
    by_kind: dict[tuple[object, ...], list[Cost]] = {}
    for run in runs_in(out):
        with contextlib.suppress(SupcrdError, KeyError, TypeError, ValueError):
            if not run.finished or isinstance(run.recipe.method, Imported):
                continue  # weights from elsewhere have no epochs
            seconds = run.evaluation["train_seconds"], run.evaluation["evaluation_seconds"]
            epochs = run.evaluation.get("epochs", run.recipe.train.epochs)  # less if it was stopped early
            cost = Cost(seconds[0] / epochs, float(seconds[1]))
            by_kind.setdefault(kind(run.recipe), []).append(cost)
    return {
        key: Cost(sum(c.epoch for c in those) / len(those), sum(c.evaluation for c in those) / len(those))
        for key, those in by_kind.items()
    }


def estimate(job: Job, out: Path, known: dict[tuple[object, ...], Cost]) -> float | None:
    """Seconds that a job still takes at the speed of finished runs of its kind; None where there is none.

    The time of an import of weights is unknown.
    """
    if job.imports:
        return None
    if is_finished(job.recipe, out):
        return 0.0
    cost = known.get(kind(job.recipe))
    left = None if cost is None else seconds_left(job.recipe, out, cost.epoch)
    return None if cost is None or left is None else left + cost.evaluation


def seconds_left(recipe: Recipe, out: Path, epoch: float | None) -> float | None:
    """Seconds of training that a run has before it, an epoch taking `epoch`; None where that is not known.

    With `train.minutes` they are these minutes until the run has begun.
    """
    epochs = epochs_of(recipe, out)
    if epochs == 0:
        return 60 * recipe.train.minutes if recipe.train.minutes is not None else 0.0
    return None if epoch is None else epoch * max(epochs - progress(out / recipe.name).epochs, 0)


def epochs_of(recipe: Recipe, out: Path) -> int:
    """How many epochs a run has; 0 with `train.minutes` until it has begun, and for weights from elsewhere."""
    with contextlib.suppress(RunError):
        return RunFolder(out / recipe.name).timed(recipe).train.epochs
    return recipe.train.epochs
