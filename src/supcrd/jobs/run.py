"""One whole run: teacher, student, projection head, classifier, evaluation; finished stages are skipped."""

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supcrd import recipe as recipes
from supcrd.base import device
from supcrd.base.files import fingerprint, user_path
from supcrd.data import ImageSet
from supcrd.data.unlabelled import with_unlabelled
from supcrd.errors import CheckpointError, RecipeError
from supcrd.evaluation.measures import deployed
from supcrd.jobs import student as stages
from supcrd.jobs import teacher as teachers
from supcrd.jobs.beforehand import check_run
from supcrd.jobs.classifier import settle
from supcrd.jobs.images import load_images
from supcrd.jobs.measure import measure
from supcrd.jobs.objective import make_objective, tables
from supcrd.jobs.shared import share, source_of
from supcrd.jobs.shown import show
from supcrd.jobs.start import check_start, start_file
from supcrd.jobs.student import Report
from supcrd.jobs.taught import TEACHER, Teacher
from supcrd.models.normalised import Normalised
from supcrd.recipe import plugins
from supcrd.recipe.settings import Imported, Recipe
from supcrd.runs.folder import START, RunFolder
from supcrd.runs.opening import REMEDY, as_begun, check_origins, check_same, locked, open_run
from supcrd.tracking import tracker
from supcrd.tracking.tracker import tracked
from supcrd.training.objective.build import settings_of
from supcrd.training.processes import started

logger = logging.getLogger("supcrd")


@dataclass(frozen=True)
class Result:
    """The result of a run."""

    folder: Path
    teacher: Path | None  # the teacher's run folder
    evaluation: dict[str, Any]
    status: str  # "trained", "resumed" or "already finished"


def run(
    recipe: Recipe,
    out: str | Path = "runs",
    *,
    force: bool = False,
    report: Report | None = None,
    images: ImageSet | None = None,
    wait: bool = True,
) -> Result:
    """Train and measure what a recipe describes; resumes an unfinished run.

    Args:
        recipe: from `supcrd.recipe.load`.
        out: the folder of run folders; a teacher that has to be trained first gets its own run folder in it.
        force: start the run over (not its teacher's).
        report: called with the progress.
        images: the data, if the caller has already loaded them.
        wait: if another process is training the same teacher, wait for it; False raises RunError.

    Returns:
        The run folder and its evaluation. A finished run is not changed.

    Raises:
        SupcrdError: anything that a user can cause; nothing is written if it is detected before training.
    """
    if isinstance(recipe.method, Imported):
        raise RecipeError("method.name = 'imported' stands for weights from elsewhere; there is nothing to train")
    return _run(recipe, user_path(out, "--out"), force=force, report=report, images=images, wait=wait)


def _run(
    recipe: Recipe,
    out: Path,
    *,
    wait: bool,
    force: bool = False,
    report: Report | None = None,
    images: ImageSet | None = None,
    prefix: str = "",
) -> Result:
    """See `run`; `prefix`: before a key of this recipe on the command line, "teacher.override." for a teacher's."""
    place = device.choose(recipe.train.device, recipe.train.precision)
    if place.device.type == "cpu":
        device.keep_freed_memory()
    recipe = recipe if force else as_begun(out / recipe.name, recipe)
    _plugins(recipe)  # another recipe of this process may have loaded others with the same names
    done = None if force else _finished(recipe, out, images, prefix)
    if done is not None:
        return done
    settings_of(tables(recipe))  # an unknown term or key is refused before the data are read
    teachers.check_there(recipe)
    begins_with = check_start(recipe, out)
    images = with_unlabelled(images or load_data(recipe), recipe.data)
    share(source_of(recipe, images), images)
    if force or not RunFolder(out / recipe.name).checkpoint.exists():  # a run under way only warns
        tracker.check(recipe)
    student = check_run(recipe, images, place)
    taught = prepare_teachers(recipe, images, out, wait=wait, report=report, prefix=prefix)
    _note_sizes(recipe, student, taught)
    _note_rises(recipe)
    ours = _plugins(recipe)  # again: a teacher's recipe has its own
    share(source_of(recipe, images), images)
    objective = make_objective(recipe, student, images, taught)
    origins = {"data": images.fingerprint, "teacher": None}
    origins |= {name: teacher.weights for name, teacher in taught.items()} | ours
    if begins_with is not None:
        origins[START] = fingerprint(begins_with)
    if images.unlabelled is not None:
        origins["set of unlabelled images"] = images.unlabelled.fingerprint
    with locked(out / recipe.name, wait=wait and prefix != ""):  # two students may ask for one teacher
        done = None if force else _finished(recipe, out, images, prefix)
        if done is not None:
            return done  # another process finished it in the meantime
        this = open_run(out, recipe, force=force, origins=origins, remedy=_remedy(prefix), processes=started()[1])
        status = "resumed" if this.checkpoint.exists() else "trained"
        with tracked(this) as tracking:
            trained = stages.train(this, student, images, objective, taught, place, report, tracking)
            trained = settle(this, student, trained, images, place, report)
            logger.info("%s: evaluating", recipe.name)
            evaluation = measure(this, student, trained, images, taught, place, report, tracking)
            tracking.model()
            show(tracking)
    first = taught.get(TEACHER)
    return Result(this.path, first.folder if first else None, evaluation, status)


def _finished(recipe: Recipe, out: Path, images: ImageSet | None, prefix: str) -> Result | None:
    """The result of a finished run; None for an unfinished one. The folder is only read: it may be write-protected.

    Raises:
        RunError: the run is of another recipe, other data or another teacher.
    """
    finished = RunFolder(out / recipe.name)
    if not finished.finished:
        return None
    check_same(finished.recipe, recipe, finished.path, _remedy(prefix))
    origins: dict[str, str | None] = {"data": images.fingerprint} if images is not None else {}
    origins |= _plugins(recipe)
    taught = finished.teacher
    if taught is not None and taught.weights.is_file():
        to_train = recipes.teacher_recipe(recipe)
        if to_train is not None:
            check_same(
                taught.recipe, as_begun(taught.path, to_train), taught.path, _remedy(f"{prefix}{TEACHER}.override.")
            )
        origins["teacher"] = fingerprint(taught.weights)
    with contextlib.suppress(CheckpointError):  # a finished run does not need the file any more
        begins_with = start_file(recipe)
        origins |= {START: fingerprint(begins_with)} if begins_with is not None else {}
    check_origins(finished, origins, _remedy(prefix))
    return Result(finished.path, taught.path if taught else None, finished.evaluation, "already finished")


def _remedy(prefix: str) -> str:
    """What a user can do if the folder of a run or of a teacher holds another run; `prefix` as for `_run`.

    `--force` alone starts only the student over, so that the teacher's folder would refuse it again.
    """
    if not prefix:
        return REMEDY
    return f"this is the teacher's folder: remove it and give --force, or give another {prefix}name=..."


def _plugins(recipe: Recipe) -> dict[str, str | None]:
    """Load a run's plug-ins: name -> fingerprint."""
    return {f"plug-in {Path(name).name}": digest for name, digest in plugins.load(recipe.plugins, Path())}


def load_data(recipe: Recipe) -> ImageSet:
    """The images of a recipe's data source."""
    return load_images(recipe.data)


def prepare_teachers(
    recipe: Recipe,
    images: ImageSet,
    out: Path,
    *,
    wait: bool = True,
    report: Report | None = None,
    prefix: str = "",
) -> dict[str, Teacher]:
    """The teachers that a run needs, trained or imported into their own run folders if needed, and measured.

    Args:
        recipe, out, wait, report: as for `run`.
        images: the student's data.
        prefix: before a key of this recipe on the command line: empty, or "teacher.override." for a teacher's.

    Raises:
        SupcrdError: a teacher cannot be trained or loaded, does not fit the data, or fails its trial.
    """
    ready = {}
    for name, settings in recipe.all_teachers.items():
        if recipes.needs_teacher(recipe, settings):
            to_train = recipes.teacher_recipe(recipe, settings)
            trained = None
            if to_train is not None:
                key = name if name == TEACHER else f"teachers.{name}"
                trained = _run(
                    to_train, out, wait=wait, report=report, images=images, prefix=f"{prefix}{key}.override."
                ).folder
            ready[name] = teachers.ready(recipe, settings, images, out, trained=trained, wait=wait, report=report)
    return ready


def _note_sizes(recipe: Recipe, student: Normalised, taught: Mapping[str, Teacher]) -> None:
    """Warn of a student that is larger than its teacher: nothing forbids it, but few want it."""
    ours = deployed(student.model)
    for name, teacher in taught.items():
        theirs = deployed(teacher.whole().model)
        if ours > theirs:
            logger.warning(
                "%s: the student (%s, %s parameters) is larger than its teacher %s (%s)",
                *(recipe.name, recipe.model.arch, f"{ours:,}", name, f"{theirs:,}"),
            )


def _note_rises(recipe: Recipe) -> None:
    """Warn of a term whose weight still rises when training ends, as a published one of 240 epochs does in 10."""
    epochs = recipe.train.epochs  # 0: not yet timed
    for name, (_, settings) in settings_of(tables(recipe)).items():
        if 0 < epochs < settings.rise_epochs:
            logger.warning(
                "%s: the weight of %s rises for %g epochs and training has %d, so it only reaches %.3g of %g",
                *(recipe.name, name, settings.rise_epochs, epochs),
                *(settings.weight * epochs / settings.rise_epochs, settings.weight),
            )
