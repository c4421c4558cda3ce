"""The stages of one run: the student's training, its projection head."""

import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from supcrd import recipe as recipes
from supcrd.base.device import Place
from supcrd.base.seeding import forked, seed_for
from supcrd.data import ImageSet
from supcrd.data.loader import ViewBatches
from supcrd.errors import RecipeError, RunError, SupcrdError
from supcrd.evaluation import health
from supcrd.evaluation.evaluate import glance
from supcrd.jobs.taught import Teacher
from supcrd.models import Model
from supcrd.models.weights import Card, save_model
from supcrd.recipe.settings import AugmentSettings, HeadSettings, Recipe
from supcrd.runs import tensorboard
from supcrd.runs.folder import RunFolder
from supcrd.training import cache
from supcrd.training.fit import Progress, fit
from supcrd.training.objective.build import Needs, Objective
from supcrd.training.task import Distillation, HeadFit, Normalised
from supcrd.training.teacher import Teaching

logger = logging.getLogger("supcrd")

Report = Callable[[str, str, Progress], None]
"""Told (run name, stage, progress); stages are cache, train, head and probe."""


class Trained(NamedTuple):
    """What a training gives."""

    card: Card
    history: list[dict[str, Any]]  # the metrics of all epochs
    best: dict[str, Any]  # see `Distillation.best`


def _kept(
    this: RunFolder,
    images: ImageSet,
    teachers: Mapping[str, Teacher],
    needs: Needs,
    place: Place,
    report: Report | None,
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
            teachers[name].whole(),
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
    this: RunFolder,
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
    kept = _kept(this, images, teachers, needs, place, report)
    # copies of what is run; the device never sees the whole teachers, and while the student learns nothing holds them
    task = place.put(Distillation(student, objective, _teaching(recipe, teachers, kept), bfloat16=place.bfloat16))
    for teacher in teachers.values():
        teacher.let_go()
    if recipe.train.compile != "off":
        task.compile_encoders(recipe.train.compile)
    history = _fit(this, task, student, images, kept, place, report)
    trained = needs.trains_projector
    if not trained and recipe.head.epochs > 0:
        fit_head(student, images, recipe.augment, recipe.head, place, report, seed=recipe.seed, folder=this.path)
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
    save_model(this.path, student.model, card)
    this.head.unlink(missing_ok=True)  # its work is in the model now
    return Trained(card, history, task.best)


def _teaching(recipe: Recipe, teachers: Mapping[str, Teacher], kept: Collection[str]) -> dict[str, Teaching]:
    settings = recipe.all_teachers
    return {
        name: Teaching(teacher.whole(), settings[name].joint, settings[name].joint_lr_scale, cached=name in kept)
        for name, teacher in teachers.items()
    }


def _fit(
    this: RunFolder,
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
            tensorboard.mirror(this, rows)

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
        raise RunError(f"{this.path}: {error}") from None
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
    fit(task, batches, settings, seed=seed, place=place, state_file=RunFolder(folder).head, report=told)


def describe(model: Model, **values: Any) -> Card:
    """The card of a model; `values` are those fields of `Card` that the model itself does not know."""
    config = model.config()
    return Card(**(config | {"projector": tuple(config["projector"])}), **values)
