"""A whole job: teacher, projection head, student, probe, evaluation; each stage skipped where its folder has it."""

import hashlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from supcrd import data, device, stages
from supcrd import recipe as recipes
from supcrd.checkpoints import WEIGHTS, Card, load_model, save_model
from supcrd.data import ImageSet
from supcrd.errors import CheckpointError, RecipeError, RunError, SupcrdError
from supcrd.measuring import measure
from supcrd.models import Model
from supcrd.outside import load_timm
from supcrd.runs import check_origins, check_same, load_run, locked, open_run
from supcrd.settings import Recipe, Taught
from supcrd.stages import Report, Teacher
from supcrd.tasks import Normalised

logger = logging.getLogger("supcrd")


@dataclass(frozen=True)
class Result:
    """What a job gave."""

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
    if place.device.type == "cpu":
        device.keep_freed_memory()
    if not force and (out / recipe.name / "evaluation.json").is_file():
        finished = load_run(out / recipe.name)  # only read: the folder may well be write-protected by now
        check_same(finished.recipe, recipe, finished.folder)
        evaluation = finished.evaluation()
        origins: dict[str, str | None] = {"data": images.fingerprint} if images is not None else {}
        taught = out / evaluation["teacher"] if evaluation.get("teacher") else None
        if taught is not None and (taught / WEIGHTS).is_file():
            to_train = recipes.teacher_recipe(recipe)
            if to_train is not None:
                check_same(load_run(taught).recipe, to_train, taught)
            origins["teacher"] = fingerprint(taught / WEIGHTS)
        check_origins(finished.folder, origins)
        return Result(finished.folder, taught, evaluation, "already finished")
    images = images or load_data(recipe)
    _check_training_split(recipe, images)
    student = stages.new_student(recipe, images)  # before any work: an impossible network is found here
    teacher = prepare_teacher(recipe, images, out, report=report)
    if teacher is not None:
        _check_teacher(recipe, student.model, teacher.subject.model)

    origins = {"data": images.fingerprint, "teacher": teacher.weights if teacher else None}
    with locked(out / recipe.name):
        this = open_run(out, recipe, force=force, origins=origins)
        status = "resumed" if this.checkpoint.exists() else "trained"
        trained = stages.train(this, student, images, teacher, place, report)
        logger.info("%s: evaluating", recipe.name)
        evaluation = measure(this, student, trained, images, teacher, place, report)
    return Result(this.folder, teacher.folder if teacher else None, evaluation, status)


def fingerprint(path: Path) -> str:
    """BLAKE2b of a file, 32 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


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
        stream=d.stream,
        workers=d.workers,
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
        if held.folder.resolve() == (out / recipe.name).resolve():
            raise RecipeError(f"teacher.run {settings.run} is the folder of the run itself; give it another name=...")
        if not held.finished:
            raise RunError(f"teacher.run {settings.run} is not finished; run `supcrd train` on it first")
        folder = held.folder
        if held.evaluation().get("data_fingerprint") != images.fingerprint:
            logger.warning("the teacher %s was trained on other data or another validation split", folder)
    else:
        folder = _import_teacher(recipe, images, out, report)
    model, card = load_model(folder)
    if card.mean is None or card.std is None:
        raise CheckpointError(f"{folder}: the teacher's card has no normalisation")
    _check_subject(model, card, images, folder)
    if model.image_size != images.image_size:
        logger.info(
            "the teacher %s sees the student's views resized from %d to %d px",
            folder,
            images.image_size,
            model.image_size,
        )
    if recipe.method.contrastive and recipe.method.reads_teacher and not card.projection_trained:
        raise RecipeError(
            f"the teacher {folder} has no trained projection head, which {recipe.method.name} reads; "
            "train it with head.epochs=10"
        )
    return Teacher(Normalised(model, card.mean, card.std), folder, fingerprint(folder / WEIGHTS))


def _import_teacher(recipe: Recipe, images: ImageSet, out: Path, report: Report | None) -> Path:
    """Bring published weights into a folder of our own, with a trained projection head: done once for all students."""
    settings = recipe.teacher
    assert settings is not None
    if settings.checkpoint is not None:
        path = Path(settings.checkpoint).expanduser()
        model, card = load_model(
            path,
            arch=settings.arch,
            mean=settings.mean,
            std=settings.std,
            image_size=settings.image_size,
            default_size=images.image_size,
        )
        stem, key = path.stem, fingerprint(path / WEIGHTS if path.is_dir() else path)[:10]
    else:
        if settings.mean is not None and len(settings.mean) != images.channels:
            raise RecipeError(f"teacher.mean has {len(settings.mean)} channels, the images have {images.channels}")
        try:
            model, card = load_timm(
                str(settings.timm),
                num_classes=images.num_classes,
                in_channels=images.channels,
                image_size=settings.image_size,
                mean=settings.mean,
                std=settings.std,
            )
        except CheckpointError as error:
            raise CheckpointError(f"teacher.timm: {error}") from None
        stem, key = str(settings.timm).rsplit("/", 1)[-1], ""
    _check_subject(model, card, images, stem)
    mean, std = stages.statistics(recipe, images)
    card = replace(card, mean=card.mean or mean, std=card.std or std, class_names=images.class_names)
    about = settings.model_dump_json(include={"head", "arch", "timm"})
    told = (about, recipe.augment.model_dump_json(), images.fingerprint, card.mean, card.std, key)
    folder = _teacher_folder(out, stem, told)
    if (folder / WEIGHTS).is_file():
        held, wanted = load_model(folder)[0], (model.stem, model.image_size)
        if (held.stem, held.image_size) == wanted:
            return folder
        folder = _teacher_folder(out, stem, (*told, *wanted))  # 0.1 took the same weights for another network
        if (folder / WEIGHTS).is_file():
            return folder
    with locked(folder):
        if not card.projection_trained and settings.head.epochs > 0:
            assert card.mean is not None
            assert card.std is not None
            subject = Normalised(model, card.mean, card.std)
            place = device.choose(recipe.train.device, recipe.train.precision)
            # one head for all seeds of all students, whichever comes first
            stages.fit_head(subject, images, recipe.augment, settings.head, place, report, seed=0, folder=folder)
            card = replace(card, projection_trained=True)
        save_model(folder, model, card)
        (folder / "head.pt").unlink(missing_ok=True)
    return folder


def _teacher_folder(out: Path, name: str, told: tuple[object, ...]) -> Path:
    return out / f"teacher-{name}-{hashlib.blake2b(repr(told).encode(), digest_size=5).hexdigest()}"


def _check_subject(model: Model, card: Card, images: ImageSet, name: object) -> None:
    if (model.num_classes, model.in_channels) != (images.num_classes, images.channels):
        raise CheckpointError(
            f"the teacher {name} knows {model.num_classes} classes of {model.in_channels}-channel images; "
            f"the data have {images.num_classes} of {images.channels}"
        )
    known = card.class_names
    if known and known != images.class_names and sorted(known) == sorted(images.class_names):
        raise CheckpointError(f"the teacher {name} has the classes of {images.source} in another order")


def _check_training_split(recipe: Recipe, images: ImageSet) -> None:
    if images.train is None:
        raise SupcrdError(f"{images.source} has no training images")
    needed = 2 if recipe.method.contrastive else 1
    if len(images.train) < needed:
        raise SupcrdError(f"{images.source} has {len(images.train)} training images; {needed} or more are needed")
    drawn = recipe.method.bank if isinstance(recipe.method, Taught) else 0
    if drawn > len(images.train):
        raise RecipeError(
            f"method.bank = {drawn}: {images.source} has {len(images.train)} training images, and a bank a row for "
            "each; at most so many are right"
        )


def _check_teacher(recipe: Recipe, student: Model, teacher: Model) -> None:
    compared = recipe.method.reads_teacher and recipe.method.contrastive
    if compared and student.projection_dim != teacher.projection_dim:
        raise RecipeError(
            f"model.projector ends in {student.projection_dim} dimensions, the teacher's in {teacher.projection_dim}; "
            "they are compared and must be equal"
        )
