"""A whole job: teacher, projection head, student, probe, evaluation; each stage skipped where its folder has it."""

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from supcrd import data, device
from supcrd import recipe as recipes
from supcrd.checkpoints import Card, load_model, load_state, save_model
from supcrd.data import ImageSet, Split, channel_statistics
from supcrd.data.loader import ViewBatches
from supcrd.device import Place
from supcrd.errors import CheckpointError, RecipeError, RunError, SupcrdError
from supcrd.evaluation import evaluate, outputs, save_outputs
from supcrd.files import write_json
from supcrd.methods import build_method
from supcrd.metrics import top_k_accuracy
from supcrd.models import Model
from supcrd.runs import Run, load_run, open_run
from supcrd.seeding import seed_for
from supcrd.settings import HeadSettings, Recipe
from supcrd.tasks import Distillation, HeadFit, Normalised
from supcrd.training import Progress, fit

logger = logging.getLogger("supcrd")

Report = Callable[[str, str, Progress], None]
"""Told (run name, stage, progress); stages are train, head and probe."""


@dataclass(frozen=True)
class Result:
    """What a job gave."""

    folder: Path
    teacher: Path | None  # the teacher's run folder
    evaluation: dict[str, Any]
    status: str  # "trained", "resumed" or "already finished"


@dataclass(frozen=True)
class Teacher:
    """A teacher ready to teach."""

    subject: Normalised
    folder: Path


def run(
    recipe: Recipe,
    out: str | Path = "runs",
    *,
    force: bool = False,
    report: Report | None = None,
    images: ImageSet | None = None,
) -> Result:
    """Do what a recipe says, from where an earlier call left off.

    Args:
        recipe: from `supcrd.recipe.load`.
        out: the folder of run folders; a teacher that has to be trained first gets its own there.
        force: start the run over (not its teacher's).
        report: told of progress.
        images: the data, where the caller has loaded them already.

    Returns:
        The run folder and its evaluation. A finished run is not touched.

    Raises:
        SupcrdError: whatever a user can cause; nothing is written where it can be known beforehand.
    """
    out = Path(out).expanduser()
    place = device.choose(recipe.train.device, recipe.train.precision)
    if not force and (out / recipe.name / "evaluation.json").is_file():
        finished = open_run(out, recipe)
        evaluation = finished.evaluation()
        taught = evaluation.get("teacher")
        return Result(finished.folder, Path(taught) if taught else None, evaluation, "already finished")
    images = images or load_data(recipe)
    train = _training_split(recipe, images)
    student = _new_student(recipe, images)  # before any work: an impossible network is found here
    teacher = prepare_teacher(recipe, images, out, report=report)
    if teacher is not None:
        _check_teacher(recipe, student.model, teacher.subject.model)

    this = open_run(out, recipe, force=force)
    status = "resumed" if this.checkpoint.exists() else "trained"
    card = _train(this, student, train, images, teacher, place, report)
    logger.info("%s: evaluating", recipe.name)
    evaluation = _evaluate(this, student, card, images, teacher, place, report)
    return Result(this.folder, teacher.folder if teacher else None, evaluation, status)


def load_data(recipe: Recipe) -> ImageSet:
    """The images that a recipe names."""
    d = recipe.data
    return data.load(
        d.source,
        folder=d.folder,
        validation=d.validation,
        split_seed=d.split_seed,
        image_size=d.image_size,
        limit=d.limit,
    )


def prepare_teacher(recipe: Recipe, images: ImageSet, out: Path, *, report: Report | None = None) -> Teacher | None:
    """The teacher that a recipe names, trained or imported into a run folder of its own first where need be.

    Raises:
        SupcrdError: it cannot be had, or is of other classes or channels than the data.
    """
    settings = recipe.teacher
    if settings is None:
        return None
    to_train = recipes.teacher_recipe(recipe)
    if to_train is not None:
        folder = run(to_train, out, report=report, images=images).folder
    elif settings.run is not None:
        held = load_run(settings.run)
        if not held.finished:
            raise RunError(f"teacher.run {settings.run} is not finished; run `supcrd train` on it first")
        folder = held.folder
    else:
        folder = _import_teacher(recipe, images, out, report)
    model, card = load_model(folder)
    if card.mean is None or card.std is None:
        raise CheckpointError(f"{folder}: the teacher's card has no normalisation")
    _check_subject(model, images, folder)
    if recipe.method.contrastive and recipe.method.reads_teacher and not card.projection_trained:
        raise RecipeError(
            f"the teacher {folder} has no trained projection head, which {recipe.method.name} reads; "
            "train it with head.epochs=10"
        )
    return Teacher(Normalised(model, card.mean, card.std), folder)


def _import_teacher(recipe: Recipe, images: ImageSet, out: Path, report: Report | None) -> Path:
    """Bring published weights into a folder of our own, with a trained projection head: done once for all students."""
    settings = recipe.teacher
    assert settings is not None
    if settings.checkpoint is not None:
        model, card = load_model(settings.checkpoint, arch=settings.arch, mean=settings.mean, std=settings.std)
        stem, identity = Path(settings.checkpoint).stem, Path(settings.checkpoint)
        key = hashlib.blake2b(_weights_file(identity).read_bytes(), digest_size=5).hexdigest()
    else:
        try:
            model = Model(
                images.num_classes,
                f"timm:{settings.timm}",
                in_channels=images.channels,
                image_size=images.image_size,
                pretrained=True,
            )
        except ValueError as error:
            raise CheckpointError(f"teacher.timm: {error}") from None
        card = _card(model, mean=settings.mean, std=settings.std, projection_trained=False)
        stem, key = str(settings.timm).rsplit("/", 1)[-1], ""
    _check_subject(model, images, stem)
    mean, std = _statistics(recipe, images)
    card = replace(card, mean=card.mean or mean, std=card.std or std, class_names=images.class_names)
    told = (settings.head.model_dump_json(), images.fingerprint, card.mean, card.std, key, settings.timm)
    tag = hashlib.blake2b(repr(told).encode(), digest_size=5).hexdigest()
    folder = out / f"teacher-{stem}-{tag}"
    if (folder / "model.safetensors").is_file():
        return folder
    if not card.projection_trained and settings.head.epochs > 0:
        assert card.mean is not None
        assert card.std is not None
        subject = Normalised(model, card.mean, card.std)
        place = device.choose(recipe.train.device, recipe.train.precision)
        _fit_head(subject, images, recipe, settings.head, place, report, name=folder.name)
        card = replace(card, projection_trained=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_model(folder, model, card)
    except OSError as error:
        raise RunError(f"folder {folder} cannot be written: {error.strerror}") from None
    return folder


def _check_subject(model: Model, images: ImageSet, name: object) -> None:
    if (model.num_classes, model.in_channels) != (images.num_classes, images.channels):
        raise CheckpointError(
            f"the teacher {name} knows {model.num_classes} classes of {model.in_channels}-channel images; "
            f"the data have {images.num_classes} of {images.channels}"
        )


def _card(model: Model, **values: Any) -> Card:
    config = model.config()
    return Card(**(config | {"projector": tuple(config["projector"])}), **values)


def _weights_file(path: Path) -> Path:
    return path / "model.safetensors" if path.is_dir() else path


def _training_split(recipe: Recipe, images: ImageSet) -> Split:
    if images.train is None:
        raise SupcrdError(f"{images.source} has no training images")
    needed = 2 if recipe.method.contrastive else 1
    if len(images.train) < needed:
        raise SupcrdError(f"{images.source} has {len(images.train)} training images; {needed} or more are needed")
    return images.train


def _statistics(recipe: Recipe, images: ImageSet) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if recipe.data.mean is None or recipe.data.std is None:
        assert images.train is not None
        return channel_statistics(images.train.images)
    if len(recipe.data.mean) != images.channels:
        raise RecipeError(
            f"data.mean has {len(recipe.data.mean)} channels, the images of {images.source} have {images.channels}"
        )
    return recipe.data.mean, recipe.data.std


def _new_student(recipe: Recipe, images: ImageSet) -> Normalised:
    torch.manual_seed(seed_for("weights", recipe.seed))
    mean, std = _statistics(recipe, images)
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


def _check_teacher(recipe: Recipe, student: Model, teacher: Model) -> None:
    compared = recipe.method.reads_teacher and recipe.method.contrastive
    if compared and student.projection_dim != teacher.projection_dim:
        raise RecipeError(
            f"model.projector ends in {student.projection_dim} dimensions, the teacher's in {teacher.projection_dim}; "
            "they are compared and must be equal"
        )


def _train(
    this: Run,
    student: Normalised,
    train: Split,
    images: ImageSet,
    teacher: Teacher | None,
    place: Place,
    report: Report | None,
) -> Card:
    """Train the student and, where its method does not, its projection head; save the model and its card."""
    recipe = this.recipe
    settings = recipe.teacher
    task = Distillation(
        student,
        build_method(recipe.method),
        contrastive=recipe.method.contrastive,
        # a method that reads no teacher does not pay for its forward passes
        teacher=teacher.subject if teacher is not None and recipe.method.reads_teacher else None,
        joint=settings.joint if settings else False,
        joint_lr_scale=settings.joint_lr_scale if settings else 1.0,
    )
    place.put(task)
    if teacher is not None:
        place.put(teacher.subject.model)
    seed = seed_for("run", recipe.seed)
    batches = ViewBatches(train, recipe.augment, batch_size=recipe.train.batch_size, seed=seed, device=place.device)
    if this.checkpoint.exists():  # a kill may have come between the two files: the checkpoint is right
        this.write_metrics(load_state(this.checkpoint)["history"])
    rows: list[dict[str, Any]] = load_state(this.checkpoint)["history"] if this.checkpoint.exists() else []

    def on_epoch(row: dict[str, Any]) -> None:
        if images.validation is not None:
            row["validation_accuracy"] = _accuracy(student, images.validation, place)
        rows.append(row)
        this.write_metrics(rows)

    logger.info("%s: training on %s", recipe.name, place)
    fit(
        task,
        batches,
        recipe.train,
        seed=seed,
        place=place,
        state_file=this.checkpoint,
        on_epoch=on_epoch,
        report=(lambda progress: report(recipe.name, "train", progress)) if report else None,
    )
    trained = recipe.method.contrastive
    if not trained and recipe.head.epochs > 0:
        _fit_head(student, images, recipe, recipe.head, place, report, name=recipe.name)
        trained = True
    card = _card(
        student.model,
        class_names=images.class_names,
        mean=student.mean,
        std=student.std,
        projection_trained=trained,
        recipe=recipes.to_table(recipe),
    )
    save_model(this.folder, student.model, card)
    return card


def _fit_head(
    subject: Normalised,
    images: ImageSet,
    recipe: Recipe,
    settings: HeadSettings,
    place: Place,
    report: Report | None,
    *,
    name: str,
) -> None:
    assert images.train is not None
    seed = seed_for("head", recipe.seed)
    torch.manual_seed(seed)
    place.put(subject.model)
    task = place.put(HeadFit(subject, temperature=settings.temperature))
    task.projector.requires_grad_(True)
    view = recipe.augment.model_copy(update={"views": 1})
    batches = ViewBatches(images.train, view, batch_size=settings.batch_size, seed=seed, device=place.device)
    told = (lambda progress: report(name, "head", progress)) if report else None
    fit(task, batches, settings, seed=seed, place=place, report=told)


def _accuracy(subject: Normalised, split: Split, place: Place) -> float | None:
    training = subject.model.training
    result = top_k_accuracy(outputs(subject, split.images, place).logits, split.labels)
    subject.model.train(training)
    return result


def _evaluate(
    this: Run,
    student: Normalised,
    card: Card,
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
    teacher_logits = outputs(teacher.subject, split.images, place).logits if teacher is not None else None
    started = time.perf_counter()
    numbers = evaluate(
        student,
        split,
        place,
        train=images.train,
        teacher_logits=teacher_logits,
        probe=recipe.probe,
        seed=seed_for("probe", recipe.seed),
        report=(lambda progress: report(recipe.name, "probe", progress)) if report else None,
    )
    rows = load_state(this.checkpoint)["history"]
    evaluation = {
        "name": recipe.name,
        "method": recipe.method.name,
        "arch": recipe.model.arch,
        "seed": recipe.seed,
        "source": images.source,
        "split": name,
        **numbers.values,
        "projection_trained": card.projection_trained,
        "validation_accuracy": rows[-1].get("validation_accuracy"),
        "train_seconds": round(sum(row["seconds"] for row in rows), 2),
        "evaluation_seconds": round(time.perf_counter() - started, 2),
        "place": str(place),
        "data_fingerprint": images.fingerprint,
        "teacher": str(teacher.folder) if teacher is not None else None,
    }
    save_outputs(this.folder / "outputs.npz", split.labels, numbers.outputs)
    write_json(this.folder / "evaluation.json", evaluation)
    return evaluation
