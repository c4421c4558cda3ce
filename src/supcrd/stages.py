"""The stages of one run: a new student, its training, its projection head, its evaluation."""

import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from supcrd import cache
from supcrd import recipe as recipes
from supcrd.checkpoints import Card, save_model
from supcrd.data import ImageSet, Split, channel_statistics
from supcrd.data.loader import ViewBatches
from supcrd.device import Place
from supcrd.errors import RecipeError, RunError
from supcrd.evaluation import evaluate, outputs, save_outputs
from supcrd.files import write_json
from supcrd.methods import build_method
from supcrd.metrics import top_k_accuracy
from supcrd.models import Model
from supcrd.runs import Run, load_run
from supcrd.seeding import seed_for
from supcrd.settings import AugmentSettings, HeadSettings, Recipe
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
        RecipeError: the architecture cannot take these images.
    """
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
) -> tuple[Card, list[dict[str, Any]]]:
    """Train the student and, where its method does not, its projection head; save the model with its card.

    Returns:
        The card, and the metrics of all epochs.
    """
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
        build_method(recipe.method),
        contrastive=recipe.method.contrastive,
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

    def on_epoch(row: dict[str, Any], earlier: list[dict[str, Any]]) -> None:
        if images.validation is not None:
            row["validation_accuracy"] = _accuracy(student, images.validation, place)
        this.write_metrics([*earlier, row])

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
    this.write_metrics(history)  # a kill may have come between the two files: the checkpoint is right
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
    return card, history


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


def _accuracy(subject: Normalised, split: Split, place: Place) -> float | None:
    training = subject.model.training
    result = top_k_accuracy(outputs(subject, split.images, place).logits, split.labels)
    subject.model.train(training)
    return result


def measure(
    this: Run,
    student: Normalised,
    card: Card,
    history: list[dict[str, Any]],
    images: ImageSet,
    teacher: Teacher | None,
    place: Place,
    report: Report | None,
) -> dict[str, Any]:
    """Measure on the test split, or on validation or train where there is none, and say which."""
    recipe = this.recipe
    name, split = next(
        (name, split)
        for name, split in (("test", images.test), ("validation", images.validation), ("train", images.train))
        if split is not None
    )
    teacher_logits = _teacher_logits(teacher, split, name, images, place) if teacher is not None else None
    started = time.perf_counter()
    numbers = evaluate(
        student,
        split,
        place,
        train=None if name == "train" else images.train,  # an image is its own nearest neighbour
        teacher_logits=teacher_logits,
        probe=recipe.probe,
        seed=seed_for("probe", recipe.seed),
        report=(lambda progress: report(recipe.name, "probe", progress)) if report else None,
    )
    evaluation = {
        "name": recipe.name,
        "method": recipe.method.name,
        "arch": recipe.model.arch,
        "seed": recipe.seed,
        "source": images.source,
        "split": name,
        **numbers.values,
        "projection_trained": card.projection_trained,
        "validation_accuracy": history[-1].get("validation_accuracy"),
        "train_seconds": round(sum(row["seconds"] for row in history), 2),
        "evaluation_seconds": round(time.perf_counter() - started, 2),
        "place": str(place),
        "data_fingerprint": images.fingerprint,
        # from the folder of run folders, so that this may be moved
        "teacher": os.path.relpath(teacher.folder, this.folder.parent) if teacher is not None else None,
    }
    save_outputs(this.folder / "outputs.npz", split.labels, numbers.outputs)
    write_json(this.folder / "evaluation.json", evaluation)
    return evaluation


def _teacher_logits(teacher: Teacher, split: Split, name: str, images: ImageSet, place: Place) -> Tensor:
    """The teacher's logits of a split: those of its own evaluation where that was of the same images."""
    with contextlib.suppress(OSError, ValueError, KeyError, RunError):
        own = load_run(teacher.folder).evaluation()
        if (own["split"], own["data_fingerprint"]) == (name, images.fingerprint):
            with np.load(teacher.folder / "outputs.npz") as kept:
                logits = torch.from_numpy(kept["logits"])
            if logits.shape == (len(split), images.num_classes):
                return logits
    return outputs(teacher.subject, split.images, place).logits


def describe(model: Model, **values: Any) -> Card:
    """The card of a model; `values` are those fields of `Card` that the model itself does not know."""
    config = model.config()
    return Card(**(config | {"projector": tuple(config["projector"])}), **values)
