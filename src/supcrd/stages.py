"""The stages of one run: a new student, its training, its projection head."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from supcrd import cache, tensorboard
from supcrd import recipe as recipes
from supcrd.bank import Bank
from supcrd.checkpoints import Card, save_model
from supcrd.data import ImageSet, Split, channel_statistics
from supcrd.data.loader import ViewBatches
from supcrd.device import Place
from supcrd.errors import RecipeError, RunError
from supcrd.evaluation import glance
from supcrd.methods import build_method
from supcrd.models import Model
from supcrd.runs import Run
from supcrd.seeding import seed_for
from supcrd.settings import AugmentSettings, HeadSettings, Recipe, Taught
from supcrd.tasks import Distillation, HeadFit, Normalised
from supcrd.training import Progress, fit

logger = logging.getLogger("supcrd")

Report = Callable[[str, str, Progress], None]
"""Told (run name, stage, progress); stages are cache, train, head and probe."""


@dataclass(frozen=True)
class Teacher:
    """A teacher ready to teach."""

    subject: Normalised
    folder: Path
    weights: str  # fingerprint


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
    torch.manual_seed(seed_for("weights", recipe.seed))
    mean, std = statistics(recipe, images)
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


def train(
    this: Run,
    student: Normalised,
    images: ImageSet,
    teacher: Teacher | None,
    place: Place,
    report: Report | None,
) -> Trained:
    """Train the student and, where its method does not, its projection head; save the model with its card."""
    recipe = this.recipe
    settings = recipe.teacher
    assert images.train is not None
    taught = None
    if teacher is not None and settings is not None and recipe.method.reads_teacher:
        place.put(teacher.subject.model)
        if settings.cache:
            taught = cache.prepare(
                teacher.folder,
                teacher.weights,
                teacher.subject,
                images.train,
                images.fingerprint,
                recipe.augment,
                min(settings.cache, recipe.train.epochs),
                place,
                report=(lambda progress: report(recipe.name, "cache", progress)) if report else None,
            )
    task = Distillation(
        student,
        build_method(recipe.method, new_bank(recipe, images.train, teacher)),
        contrastive=recipe.method.contrastive,
        reads_logits=isinstance(recipe.method, Taught) and recipe.method.kd_weight > 0,
        # a method that reads no teacher does not pay for its forward passes
        teacher=teacher.subject if teacher is not None and recipe.method.reads_teacher else None,
        joint=settings.joint if settings else False,
        joint_lr_scale=settings.joint_lr_scale if settings else 1.0,
        bfloat16=place.bfloat16,
    )
    place.put(task)
    if recipe.train.compile != "off":
        task.compile_encoders(recipe.train.compile)
    seed = seed_for("run", recipe.seed)
    batches = ViewBatches(
        images.train,
        recipe.augment,
        batch_size=recipe.train.batch_size,
        seed=seed,
        device=place.device,
        taught=taught,
    )

    def keep(rows: list[dict[str, Any]]) -> None:
        this.write_metrics(rows)
        if recipe.train.tensorboard:
            tensorboard.mirror(this.folder, rows)

    def on_epoch(row: dict[str, Any], earlier: list[dict[str, Any]]) -> None:
        if images.validation is not None:
            # without a contrast the projection head is untrained as yet
            seen = glance(student, images.validation, place, sphere=recipe.method.contrastive)
            row |= {f"validation_{name}": value for name, value in seen.items()}
            task.remember(row["epoch"], row["validation_accuracy"])
        keep([*earlier, row])

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
    except Exception as error:
        if recipe.train.compile == "off" or not type(error).__module__.startswith("torch._"):
            raise
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise RunError(f"train.compile = {recipe.train.compile!r} failed here ({reason}); off is right") from error
    keep(history)  # a kill may have come between the two files: the checkpoint is right
    trained = recipe.method.contrastive
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
    )
    save_model(this.folder, student.model, card)
    (this.folder / "head.pt").unlink(missing_ok=True)  # its work is in the model now
    return Trained(card, history, task.best)


def new_bank(recipe: Recipe, split: Split, teacher: Teacher | None) -> Bank | None:
    """The memory bank that a method asks for, empty."""
    method = recipe.method
    if not isinstance(method, Taught) or method.bank == 0:
        return None
    assert teacher is not None
    width = teacher.subject.model.projection_dim
    return Bank(split.labels, width, size=method.bank, momentum=method.bank_momentum, seed=recipe.seed)


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
    torch.manual_seed(seed)
    place.put(subject.model)
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
