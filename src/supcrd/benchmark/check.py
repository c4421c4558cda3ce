"""Whether a benchmark can run, found out before any training: its data, its teachers, every method on its pair."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supcrd import recipe as recipes
from supcrd.base import device
from supcrd.base.seeding import seed_for
from supcrd.benchmark.pairs import Pair
from supcrd.benchmark.plan import Plan
from supcrd.benchmark.protocol import KD
from supcrd.data import ImageSet, Split
from supcrd.data.loader import ViewBatches
from supcrd.errors import RecipeError, SupcrdError
from supcrd.jobs.beforehand import rehearse, stand_ins
from supcrd.jobs.images import load_images
from supcrd.jobs.network import new_student
from supcrd.jobs.objective import make_objective
from supcrd.jobs.taught import Teacher
from supcrd.recipe.settings import Recipe
from supcrd.runs.folder import RunFolder
from supcrd.runs.opening import as_begun, check_same
from supcrd.training.budget import time_epoch
from supcrd.training.task import Distillation

logger = logging.getLogger("supcrd")

LIMIT = 10.0  # seconds of timing a teacher's steps
REMEDY = "give another --out"


@dataclass(frozen=True)
class Checked:
    """What can run."""

    plan: Plan
    """without what cannot"""
    left_out: dict[Pair, dict[str, str]]
    """by pair, method -> why it cannot run there"""
    estimates: dict[str, float]
    """by the name of a teacher that is trained first, about how many seconds that takes, without validation"""
    images: dict[str, Any]
    """source, class_names, and the number of images of each split, None where there is none"""


def check(planned: Plan, out: Path, asked: Collection[str] = ()) -> Checked:
    """Try everything that can be tried without training.

    Args:
        planned: of `plan.plan`.
        out: the folder of run folders.
        asked: methods that must be able to run; others are left out where they cannot.

    Raises:
        RecipeError: a method that was asked for cannot run on a pair (those that can are named).
        RunError: the folder has runs of another benchmark.
        SupcrdError: a device is not there; the data or a teacher cannot be loaded, or do not fit one another; there is
            no test split.
    """
    for train in {recipe.train.device: recipe.train for recipe in planned.recipes}.values():
        device.choose(train.device, train.precision)
    images = load_images(planned.recipes[0].data)
    if images.test is None or images.train is None:
        lacking = "test" if images.test is None else "training"
        raise SupcrdError(
            f"--data {images.source} has no {lacking} images; a benchmark trains, and reports a test split"
        )
    planned = planned.changed(lambda recipe: _within(recipe, len(images.train or ())))
    for recipe in planned.recipes:
        run = RunFolder(out / recipe.name)
        if run.exists:
            check_same(run.recipe, as_begun(run.path, recipe), run.path, REMEDY)
    left_out, estimates = {}, {}
    for pair, groups in planned.groups.items():
        untried = {name: group for name, group in groups.items() if not _finished(group, out)}
        if not untried:
            continue
        taught = stand_ins(groups[KD][0], images, out)
        reasons = {name: reason for name, group in untried.items() if (reason := _reason(group[0], images, taught))}
        wrong = [name for name in reasons if name in asked or groups[name][0].method.name in (KD, "cross_entropy")]
        if wrong:
            rest = ", ".join(name for name in groups if name not in reasons) or "none"
            raise RecipeError(f"{pair.key}: {wrong[0]} cannot run: {reasons[wrong[0]]}; these can: {rest}")
        left_out[pair] = reasons
        teacher = recipes.teacher_recipe(groups[KD][0])
        if teacher is not None and (run := RunFolder(out / teacher.name)).exists:
            check_same(run.recipe, as_begun(run.path, teacher), run.path, REMEDY)
        if teacher is not None and teacher.name not in estimates and not RunFolder(out / teacher.name).finished:
            estimates[teacher.name] = seconds_of(teacher, images, done=len(RunFolder(out / teacher.name).progress))
    sizes = {name: None if split is None else len(split) for name, split in _splits(images).items()}
    about = {"source": images.source, "class_names": list(images.class_names), **sizes}
    return Checked(planned.without(left_out), {pair: why for pair, why in left_out.items() if why}, estimates, about)


def _splits(images: ImageSet) -> dict[str, Split | None]:
    return {"train": images.train, "validation": images.validation, "test": images.test}


def _finished(group: Sequence[Recipe], out: Path) -> bool:
    return all(RunFolder(out / recipe.name).finished for recipe in group)


def _within(recipe: Recipe, images: int) -> Recipe:
    """The recipe with no more drawn negatives than there are training images, if it has the published number, which is
    of all 50,000; another one is refused like any setting."""
    drawn = getattr(recipe.method, "negatives", 0)
    if drawn <= images or drawn != type(recipe.method).model_fields["negatives"].default:
        return recipe
    logger.warning(
        "%s: method.negatives = %d, not %d: as many as there are training images", recipe.name, images, drawn
    )
    return recipe.model_copy(update={"method": recipe.method.model_copy(update={"negatives": images})})


def _reason(recipe: Recipe, images: ImageSet, taught: Mapping[str, Teacher]) -> str | None:
    """Why a configuration cannot run with these teachers; None where nothing speaks against it."""
    try:
        rehearse(recipe, images, taught)
    except SupcrdError as error:
        return str(error)
    return None


def seconds_of(recipe: Recipe, images: ImageSet, *, done: int = 0) -> float:
    """About how long the training of a run takes here, without validation, by the time of some of its steps.

    Args:
        recipe: of a run that needs no teacher.
        images: its data.
        done: epochs that it has behind it.
    """
    assert images.train is not None
    place = device.choose(recipe.train.device, recipe.train.precision)
    student = new_student(recipe, images)
    task = place.put(
        Distillation(
            student, make_objective(recipe, student, images, {}), bfloat16=place.bfloat16, ema=recipe.train.ema
        )
    )
    seed = seed_for("budget", recipe.seed)
    batches = ViewBatches(
        images.train, recipe.view_groups, batch_size=recipe.train.batch_size, seed=seed, device=place.device
    )
    epoch = time_epoch(task, batches, recipe.train, place, seed=seed, limit=LIMIT)
    return epoch.seconds * max(recipe.train.epochs - done, 0)


def told(left_out: Mapping[Pair, Mapping[str, str]]) -> list[str]:
    """A line for each method that a pair cannot have.

    Example:
        >>> told({Pair("a", "b"): {"at": "no maps"}})
        ['a:b: at is left out: no maps']
    """
    return [f"{pair.key}: {name} is left out: {why}" for pair, ways in left_out.items() for name, why in ways.items()]
