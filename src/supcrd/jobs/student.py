"""The stages of one run: the student's training, its projection head."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from supcrd import recipe as recipes
from supcrd.base.device import Place
from supcrd.base.seeding import forked, seed_for
from supcrd.data import ImageSet, Split
from supcrd.data.loader import ViewBatches
from supcrd.errors import RecipeError, RunError, SupcrdError
from supcrd.evaluation import health
from supcrd.evaluation.evaluate import glance
from supcrd.evaluation.final import Final
from supcrd.jobs.budget import in_epochs
from supcrd.jobs.chosen import Saved, choose_weights, ends_early
from supcrd.jobs.ready import Ready, prepare
from supcrd.jobs.shared import invite
from supcrd.jobs.taught import Teacher
from supcrd.models import Model
from supcrd.models.weights import Card, save_model
from supcrd.recipe.settings import AugmentSettings, HeadSettings
from supcrd.runs.folder import RunFolder
from supcrd.tracking.tracker import Tracking
from supcrd.training import cache
from supcrd.training.fit import Progress, fit
from supcrd.training.objective.build import Needs, Objective
from supcrd.training.task import Distillation, HeadFit, Normalised

logger = logging.getLogger("supcrd")

Report = Callable[[str, str, Progress], None]
"""Called with (run name, stage, progress); stages are cache, train, head, classifier and probe."""


class Trained(NamedTuple):
    """The result of a training."""

    card: Card
    history: list[dict[str, Any]]  # the metrics of all epochs
    best: dict[str, Any]  # see `Distillation.best`
    saved: Saved | None = None  # which weights the model has; None for those from elsewhere
    final: Final | None = None  # which classifier it has; likewise


def _caches(
    this: RunFolder,
    images: ImageSet,
    teachers: Mapping[str, Teacher],
    needs: Needs,
    place: Place,
    report: Report | None,
) -> dict[str, cache.FeatureCache]:
    """The filled caches of those teachers whose features are cached.

    Raises:
        RecipeError: the caches of two teachers differ in length, and so in views.
    """
    recipe = this.recipe
    assert images.train is not None
    read = {name: recipe.all_teachers[name] for name in teachers if name in needs.teachers}
    lengths = {settings.cache for settings in read.values()}
    if lengths <= {0}:
        return {}
    if len(lengths) > 1:
        shown = ", ".join(f"{name} {settings.cache}" for name, settings in read.items())
        raise RecipeError(f"cache differs between teachers ({shown}): it decides the views, which all of them share")
    return {
        name: cache.prepare(
            teachers[name].folder,
            teachers[name].weights,
            teachers[name].whole(),
            images.shown,
            images.shown_fingerprint,
            recipe.view_groups,
            min(settings.cache, this.timed(recipe).train.epochs or settings.cache),  # 0: not yet timed
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
    tracking: Tracking,
) -> Trained:
    """Train the student, and its projection head if no term trains it; save the model with its card."""
    recipe, needs = this.recipe, objective.needs
    assert images.train is not None
    caches = _caches(this, images, teachers, needs, place, report)
    invite(recipe, this.path, images, teachers, caches)
    ready = prepare(recipe, student, images, objective, teachers, caches, place)
    history, task = _fit(this, ready, student, images, place, report, tracking), ready.task
    saved = choose_weights(task, recipe.train, history, recipe.name)
    trained = needs.trains_projector
    if not trained and recipe.head.epochs > 0:
        fit_head(student, images, recipe.first_views, recipe.head, place, report, seed=recipe.seed, folder=this.path)
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
    this.head.unlink(missing_ok=True)  # the state of a fit that is now in the model
    return Trained(card, history, task.best, saved)


def _fit(
    this: RunFolder,
    ready: Ready,
    student: Normalised,
    images: ImageSet,
    place: Place,
    report: Report | None,
    tracking: Tracking,
) -> list[dict[str, Any]]:
    """Train, with a validation after every epoch; write and return the metrics of all epochs."""
    recipe, task, rows = this.recipe, ready.task, list[dict[str, Any]]()

    def on_epoch(row: dict[str, Any], earlier: list[dict[str, Any]]) -> None:
        if images.validation is not None:
            row |= _validated(task, student, images.validation, place, row["epoch"])
        if ends_early([*earlier, row], recipe.train):
            row["stopped_early"] = True
            logger.info(
                "%s: stopped after epoch %d of %d: train.patience = %d",
                recipe.name, row["epoch"], recipe.train.epochs, recipe.train.patience,
            )  # fmt: skip
        rows[:] = [*earlier, row]
        this.write_metrics(rows)

    def on_progress(progress: Progress) -> None:
        if progress.row is not None:  # its checkpoint is written: no tracker gets an epoch that is trained again
            tracking.epochs(rows)
        if report is not None:
            report(recipe.name, "train", progress)

    absent = health.lacking(held_out(images), images.class_names)
    if absent is not None:
        logger.warning("%s: %s", recipe.name, absent)
    logger.info("%s: training on %s", recipe.name, place)
    try:
        recipe = in_epochs(this, ready, student, images, place)
        history = ready.fit(recipe, place, this, on_epoch=on_epoch, report=on_progress)
    except RunError as error:
        raise RunError(f"{this.path}: {error}") from None
    except SupcrdError:
        raise
    except Exception as error:
        if recipe.train.compile == "off" or not type(error).__module__.startswith("torch._"):
            raise
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise RunError(f"train.compile = {recipe.train.compile!r} failed here ({reason}); off is right") from error
    this.write_metrics(history)  # a kill between metrics and checkpoint leaves them different: the checkpoint is right
    tracking.epochs(history)
    return history


def _validated(task: Distillation, student: Normalised, split: Split, place: Place, epoch: int) -> dict[str, Any]:
    """What validation says after an epoch, of the student's weights and of their moving average; the best are kept."""
    # a projection head that no term reads is not yet trained
    values = glance(student, split, place, sphere=task.objective.needs.trains_projector)
    row: dict[str, Any] = {f"validation_{name}": value for name, value in values.items()}
    task.remember(epoch, row["validation_accuracy"])
    if task.average is not None:
        with task.average.in_place():
            row["validation_accuracy_ema"] = glance(student, split, place)["accuracy"]
            task.remember(epoch, row["validation_accuracy_ema"], ema=True)
    return row


def held_out(images: ImageSet) -> list[int] | None:
    """Number of validation images per class; None without a validation split."""
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
    view = augment.unmixed.model_copy(update={"views": 1})
    batches = ViewBatches(images.train, view, batch_size=settings.batch_size, seed=seed, device=place.device)
    on_progress = (lambda progress: report(folder.name, "head", progress)) if report else None
    fit(task, batches, settings, seed=seed, place=place, state_file=RunFolder(folder).head, report=on_progress)


def describe(model: Model, **values: Any) -> Card:
    """The card of a model; `values` are the fields of `Card` that the model itself does not have."""
    config = model.config()
    return Card(**(config | {"projector": tuple(config["projector"])}), **values)
