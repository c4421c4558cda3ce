"""The stages of one run: a new student, its training, its projection head."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from supcrd import recipe as recipes
from supcrd.base.device import Place
from supcrd.base.seeding import forked, seed_for
from supcrd.data import ImageSet, channel_statistics
from supcrd.data.loader import ViewBatches
from supcrd.errors import RecipeError, RunError, SupcrdError
from supcrd.evaluation import health
from supcrd.evaluation.evaluate import glance
from supcrd.models import Model
from supcrd.models.weights import Card, save_model
from supcrd.recipe.settings import AugmentSettings, HeadSettings, Recipe, TeacherSettings
from supcrd.runs import tensorboard
from supcrd.runs.folder import Run, load_run
from supcrd.training import cache
from supcrd.training.fit import Progress, fit
from supcrd.training.objective.build import Needs, Objective
from supcrd.training.task import Distillation, HeadFit, Normalised
from supcrd.training.teacher import Teaching

logger = logging.getLogger("supcrd")

Report = Callable[[str, str, Progress], None]
"""Told (run name, stage, progress); stages are cache, train, head and probe."""


class Tried(NamedTuple):
    """How a teacher did on images of its student."""

    accuracy: float
    split: str  # validation, or train where there is none
    n: int
    chance: float  # the accuracy of always giving the most frequent class


@dataclass(frozen=True)
class Teacher:
    """A teacher ready to teach: its outputs are the classes of the student's data, in their order."""

    subject: Normalised
    folder: Path
    weights: str  # fingerprint
    order: tuple[int, ...]  # which outputs of the model in the folder these are
    tried: Tried
    projection_trained: bool = True


class Trained(NamedTuple):
    """What a training gives."""

    card: Card
    history: list[dict[str, Any]]  # the metrics of all epochs
    best: dict[str, Any]  # see `Distillation.best`


def statistics(recipe: Recipe, images: ImageSet) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Channel mean and std: the recipe's, or those of its training images.

    Raises:
        RecipeError: given for another number of channels.
    """
    if recipe.data.mean is None or recipe.data.std is None:
        assert images.train is not None
        return channel_statistics(images.train.images)
    if len(recipe.data.mean) != images.channels:
        raise RecipeError(
            f"data.mean has {len(recipe.data.mean)} channels, the images of {images.source} have {images.channels}"
        )
    return recipe.data.mean, recipe.data.std


def new_student(recipe: Recipe, images: ImageSet) -> Normalised:
    """The network of a recipe, its weights drawn by the recipe's seed.

    Raises:
        RecipeError: the architecture cannot take these images, or a package that the recipe asks for is not there.
    """
    if recipe.train.tensorboard:
        tensorboard.check()  # here, since a pipeline makes the network before any work
    # a student of the architecture and seed of its teacher must not begin as that began
    role = generation(recipe)
    seed = seed_for("weights", recipe.seed, role) if role else seed_for("weights", recipe.seed)
    mean, std = statistics(recipe, images)
    with forked() as reseed:
        reseed(seed)
        try:
            model = Model(
                images.num_classes,
                recipe.model.arch,
                in_channels=images.channels,
                image_size=images.image_size,
                projector=recipe.model.projector,
                pretrained=recipe.model.pretrained,
                stem=recipe.model.stem,
            )
        except ValueError as error:
            raise RecipeError(f"model.arch: {error}") from None
    return Normalised(model, mean, std)


def generation(recipe: Recipe) -> int:
    """How many teachers stand above a run, its teacher's teacher counting too; weights from elsewhere have none.

    Example:
        >>> generation(recipes.load("digits-teacher")), generation(recipes.load("digits-kd"))
        (0, 1)
    """

    def above(settings: TeacherSettings) -> int:
        if settings.run is not None:
            return generation(load_run(settings.run).recipe)
        to_train = recipes.teacher_recipe(recipe, settings)
        return generation(to_train) if to_train is not None else 0

    return max((1 + above(settings) for settings in recipe.all_teachers.values()), default=0)


def _kept(
    this: Run, images: ImageSet, teachers: Mapping[str, Teacher], needs: Needs, place: Place, report: Report | None
) -> dict[str, cache.FeatureCache]:
    """The caches of those teachers that keep their features, filled.

    Raises:
        RecipeError: teachers that would show the student different views; a map is read, which no cache keeps.
    """
    recipe = this.recipe
    assert images.train is not None
    read = {name: recipe.all_teachers[name] for name in teachers if name in needs.teachers}
    lengths = {settings.cache for settings in read.values()}
    if lengths <= {0}:
        return {}
    if len(lengths) > 1:
        told = ", ".join(f"{name} {settings.cache}" for name, settings in read.items())
        raise RecipeError(f"cache differs between teachers ({told}): it decides the views, which all of them share")
    for name in read:
        mapped = [part for part in needs.teachers[name] if part.startswith("maps/")]
        if mapped:
            raise RecipeError(
                f"cache = {lengths.pop()}: features are kept, and no maps ({mapped[0]} of teacher {name})"
            )
    return {
        name: cache.prepare(
            teachers[name].folder,
            teachers[name].weights,
            teachers[name].subject,
            images.train,
            images.fingerprint,
            recipe.augment,
            min(settings.cache, recipe.train.epochs),
            place,
            report=(lambda progress: report(recipe.name, "cache", progress)) if report else None,
        )
        for name, settings in read.items()
    }


def train(
    this: Run,
    student: Normalised,
    images: ImageSet,
    objective: Objective,
    teachers: Mapping[str, Teacher],
    place: Place,
    report: Report | None,
) -> Trained:
    """Train the student and, where no term does, its projection head; save the model with its card."""
    recipe, needs = this.recipe, objective.needs
    assert images.train is not None
    for name in needs.teachers:  # a teacher that no term reads does not pay for its forward passes
        place.put(teachers[name].subject.model)
    kept = _kept(this, images, teachers, needs, place, report)
    settings = recipe.all_teachers
    taught = {
        name: Teaching(teacher.subject, settings[name].joint, settings[name].joint_lr_scale)
        for name, teacher in teachers.items()
    }
    task = place.put(Distillation(student, objective, taught, bfloat16=place.bfloat16))
    if recipe.train.compile != "off":
        task.compile_encoders(recipe.train.compile)
    history = _fit(this, task, student, images, kept, place, report)
    trained = needs.trains_projector
    if not trained and recipe.head.epochs > 0:
        fit_head(student, images, recipe.augment, recipe.head, place, report, seed=recipe.seed, folder=this.folder)
        trained = True
    card = describe(
        student.model,
        class_names=images.class_names,
        mean=student.mean,
        std=student.std,
        projection_trained=trained,
        recipe=recipes.to_table(recipe),
        levels=images.levels,
    )
    save_model(this.folder, student.model, card)
    (this.folder / "head.pt").unlink(missing_ok=True)  # its work is in the model now
    return Trained(card, history, task.best)


def _fit(
    this: Run,
    task: Distillation,
    student: Normalised,
    images: ImageSet,
    kept: Mapping[str, cache.FeatureCache],
    place: Place,
    report: Report | None,
) -> list[dict[str, Any]]:
    """Optimise, looking at the validation split after each epoch; the metrics of all epochs, which are kept too."""
    recipe = this.recipe
    assert images.train is not None
    seed = seed_for("run", recipe.seed)
    batches = ViewBatches(
        images.train,
        recipe.augment,
        batch_size=recipe.train.batch_size,
        seed=seed,
        device=place.device,
        taught=kept,
    )

    def keep(rows: list[dict[str, Any]]) -> None:
        this.write_metrics(rows)
        if recipe.train.tensorboard:
            tensorboard.mirror(this.folder, rows)

    def on_epoch(row: dict[str, Any], earlier: list[dict[str, Any]]) -> None:
        if images.validation is not None:
            # the projection head is untrained as yet where no term reads it
            seen = glance(student, images.validation, place, sphere=task.objective.needs.trains_projector)
            row |= {f"validation_{name}": value for name, value in seen.items()}
            task.remember(row["epoch"], row["validation_accuracy"])
        keep([*earlier, row])

    absent = health.lacking(held_out(images), images.class_names)
    if absent is not None:
        logger.warning("%s: %s", recipe.name, absent)
    logger.info("%s: training on %s", recipe.name, place)
    try:
        history = fit(
            task,
            batches,
            recipe.train,
            seed=seed,
            place=place,
            state_file=this.checkpoint,
            on_epoch=on_epoch,
            report=(lambda progress: report(recipe.name, "train", progress)) if report else None,
        )
    except RunError as error:
        raise RunError(f"{this.folder}: {error}") from None
    except SupcrdError:
        raise
    except Exception as error:
        if recipe.train.compile == "off" or not type(error).__module__.startswith("torch._"):
            raise
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise RunError(f"train.compile = {recipe.train.compile!r} failed here ({reason}); off is right") from error
    keep(history)  # a kill may have come between the two files: the checkpoint is right
    return history


def held_out(images: ImageSet) -> list[int] | None:
    """Validation images of each class; None without a validation split."""
    if images.validation is None:
        return None
    counts: list[int] = torch.bincount(images.validation.labels, minlength=images.num_classes).tolist()
    return counts


def fit_head(
    subject: Normalised,
    images: ImageSet,
    augment: AugmentSettings,
    settings: HeadSettings,
    place: Place,
    report: Report | None,
    *,
    seed: int,
    folder: Path,
) -> None:
    """Train a model's projection head on its frozen encoder, by `HeadFit`."""
    assert images.train is not None
    seed = seed_for("head", seed)
    place.put(subject.model)
    with forked() as reseed:
        reseed(seed)
        task = place.put(HeadFit(subject, temperature=settings.temperature))
    task.projector.requires_grad_(True)
    view = augment.model_copy(update={"views": 1})
    batches = ViewBatches(images.train, view, batch_size=settings.batch_size, seed=seed, device=place.device)
    told = (lambda progress: report(folder.name, "head", progress)) if report else None
    fit(task, batches, settings, seed=seed, place=place, state_file=folder / "head.pt", report=told)


def describe(model: Model, **values: Any) -> Card:
    """The card of a model; `values` are those fields of `Card` that the model itself does not know."""
    config = model.config()
    return Card(**(config | {"projector": tuple(config["projector"])}), **values)
