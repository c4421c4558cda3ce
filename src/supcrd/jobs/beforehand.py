"""What would stop a run, found out before anything is trained: by the run itself, and by a command that plans many."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from supcrd import recipe as recipes
from supcrd.base import device
from supcrd.base.device import Place
from supcrd.data import ImageSet
from supcrd.data.order import grouped_by_class
from supcrd.data.sources.rowgroups import read_often
from supcrd.data.unlabelled import with_unlabelled
from supcrd.errors import RecipeError, SupcrdError
from supcrd.jobs import teacher as teachers
from supcrd.jobs.classifier import check_classifier
from supcrd.jobs.network import new_student, note_memory, statistics
from supcrd.jobs.objective import check_objective, make_objective
from supcrd.jobs.taught import Teacher, Tried
from supcrd.jobs.trial import judge, trial
from supcrd.models.card import MISSING
from supcrd.models.normalised import Normalised
from supcrd.recipe import plugins
from supcrd.recipe.settings import Recipe, Taught, TeacherSettings

logger = logging.getLogger("supcrd")

UNTRIED = Tried(0.0, "", 0, 0.0)


def check_run(recipe: Recipe, images: ImageSet, place: Place) -> Normalised:
    """Refuse what cannot work with any teacher.

    Args:
        recipe: of a run.
        images: its data.
        place: where it computes.

    Returns:
        Its network, before training.

    Raises:
        SupcrdError: data, network, objective, classifier or memory do not suffice.
    """
    _check_training_split(recipe, images)
    check_classifier(recipe, images)
    student = new_student(recipe, images)  # before any work: an impossible network is refused here
    check_objective(recipe, student, images)
    assert images.train is not None
    note_memory(recipe, student, place, len(images.train))
    return student


def rehearse(recipe: Recipe, images: ImageSet, taught: Mapping[str, Teacher]) -> Normalised:
    """Do what a run does up to its first step, without writing anything. What it warns of is left to the run.

    Args:
        recipe: of the run.
        images: its data.
        taught: `stand_ins`, those that the run does not need among them.

    Returns:
        Its network, before training.

    Raises:
        SupcrdError: as the run, which would be stopped.
    """
    with quiet():
        plugins.load(recipe.plugins, Path())
        images = with_unlabelled(images, recipe.data)
        student = check_run(recipe, images, device.choose(recipe.train.device, recipe.train.precision))
        needed = {name: taught[name] for name, settings in recipe.all_teachers.items()
                  if recipes.needs_teacher(recipe, settings)}  # fmt: skip
        make_objective(recipe, student, images, needed)
    return student


def stand_ins(recipe: Recipe, images: ImageSet, out: Path) -> dict[str, Teacher]:
    """The teachers that a run needs: after their trial, or, where they are trained first, as untrained networks.

    Args:
        recipe, images: of the run.
        out: the folder of run folders, in which nothing is written.

    Raises:
        SupcrdError: one cannot be loaded, does not fit the data or fails its trial; or its own training would be
            stopped.
    """
    teachers.check_there(recipe)
    return {
        name: _stand_in(recipe, settings, images, out)
        for name, settings in recipe.all_teachers.items()
        if recipes.needs_teacher(recipe, settings)
    }


def _stand_in(recipe: Recipe, settings: TeacherSettings, images: ImageSet, out: Path) -> Teacher:
    to_train = recipes.teacher_recipe(recipe, settings)
    if to_train is not None:
        subject = rehearse(to_train, images, stand_ins(to_train, images, out))
        return Teacher(subject, Path(to_train.name), "", (), UNTRIED)  # whether its head is trained: check_objective
    if settings.run is not None:
        return teachers.ready(recipe, settings, images, out)
    model, card, name, _ = teachers.from_outside(settings, images)
    order = teachers.fitted(model, card, images, name, settings)
    mean, std = statistics(recipe, images)
    subject = Normalised(model, card.mean or mean, card.std or std)
    tried = UNTRIED
    if card.classifier != MISSING:  # else one is fitted when it is brought in, and tried then
        tried = trial(subject, images, device.choose(recipe.train.device, recipe.train.precision))
        judge(tried, card.evaluation.get("accuracy") if card.evaluation else None, name, settings.check)
    model.cpu()
    return Teacher(subject, Path(name), "", order, tried, card.projection_trained or settings.head.epochs > 0)


@contextmanager
def quiet() -> Iterator[None]:
    """Warnings and notes are not logged: the runs say the same."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _check_training_split(recipe: Recipe, images: ImageSet) -> None:
    if images.train is None:
        raise SupcrdError(f"{images.source} has no training images")
    if recipe.train.patience > 0 and images.validation is None:
        raise RecipeError(
            f"train.patience = {recipe.train.patience}: {images.source} has no validation split to stop by; "
            "data.validation = 0.1 draws one, and train.patience = 0 trains all epochs"
        )
    for table, group in recipe.view_groups.items():
        if group.crop == "padded" and group.crop_padding > images.image_size:
            key = f"views.{table}" if recipe.views else table
            raise RecipeError(
                f"{key}.crop_padding = {group.crop_padding}: the images of {images.source} have {images.image_size} "
                f"px; at most {images.image_size} is right"
            )
    if recipe.data.block and grouped_by_class(images.train.labels):
        logger.warning(
            "data.block = %d: images of a class stand together in %s, so that a batch has few classes; write shards in "
            "random order, or data.block=0",
            *(recipe.data.block, images.source),
        )
    slow = read_often(images.train.images, recipe.data.block)
    if slow is not None:
        logger.warning("%s: %s", images.source, slow)
    needed = 2 if recipe.method.contrastive else 1
    if len(images.train) < needed:
        raise SupcrdError(f"{images.source} has {len(images.train)} training images; {needed} or more are needed")
    drawn = recipe.method.bank if isinstance(recipe.method, Taught) else 0
    if drawn > len(images.train):
        raise RecipeError(
            f"method.bank = {drawn}: {images.source} has {len(images.train)} training images, and a bank has one row "
            f"per image; at most {len(images.train)} is right"
        )
