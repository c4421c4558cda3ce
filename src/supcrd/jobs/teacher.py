"""Prepares a teacher: loads it, matches its classes with the data's, and measures it before the student trains."""

import hashlib
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from supcrd.base import device
from supcrd.base.device import Place
from supcrd.base.files import fingerprint, user_path
from supcrd.data import ImageSet
from supcrd.data.classes import match, pick_outputs, read_names
from supcrd.errors import CheckpointError, RecipeError, RunError
from supcrd.jobs import student as stages
from supcrd.jobs.classifier import fit_missing, with_classes
from supcrd.jobs.measure import measure
from supcrd.jobs.network import statistics
from supcrd.jobs.student import Report, Trained
from supcrd.jobs.taught import Teacher, Tried
from supcrd.jobs.trial import judge, own_accuracy, trial
from supcrd.models import Model
from supcrd.models.card import MISSING
from supcrd.models.outside import load_timm
from supcrd.models.weights import Card, load_model, save_model, weights_file
from supcrd.recipe.settings import Imported, ModelSettings, Recipe, TeacherSettings, TrainSettings
from supcrd.recipe.teachers import needs_teacher
from supcrd.runs.environment import environment
from supcrd.runs.folder import RunFolder
from supcrd.runs.opening import locked
from supcrd.training.task import Normalised

logger = logging.getLogger("supcrd")


def check_there(recipe: Recipe) -> None:
    """Refuse teachers of which there are no files, before anything is read or built.

    Raises:
        SupcrdError: as a teacher that is not there.
    """
    for settings in recipe.all_teachers.values():
        if settings.run is not None:
            RunFolder.open(settings.run)
        elif settings.checkpoint is not None and needs_teacher(recipe, settings):
            weights_file(user_path(settings.checkpoint, "teacher.checkpoint"))


def ready(
    recipe: Recipe,
    settings: TeacherSettings,
    images: ImageSet,
    out: Path,
    *,
    trained: Path | None = None,
    wait: bool = True,
    report: Report | None = None,
) -> Teacher:
    """The teacher that a recipe names, after its trial, with one output per class of the data.

    Args:
        recipe: the student's.
        settings: of one of its teachers.
        images: the student's data.
        out: the folder of run folders, where weights from elsewhere get one.
        trained: the run folder of `teacher.recipe`, already trained; None for other teachers.
        wait: whether to wait for another process that imports the same weights.
        report: called with the progress.

    Raises:
        SupcrdError: it cannot be loaded, lacks classes of the data, has another number of channels, or fails its trial.
    """
    place = device.choose(recipe.train.device, recipe.train.precision)
    tried = None
    if trained is not None:
        folder = trained
    elif settings.run is not None:
        folder = _finished_run(recipe, settings.run, images, out)
    else:
        folder, tried = _imported(recipe, settings, images, out, place, wait, report)
    model, card = load_model(folder)
    if card.mean is None or card.std is None:
        raise CheckpointError(f"{folder}: the teacher's card has no normalisation")
    imported = trained is None and settings.run is None
    order = fitted(model, card, images, folder, None if imported else settings)
    if model.image_size != images.image_size:
        logger.info("the teacher %s sees the student's views resized from %d to %d px", folder, images.image_size,
                    model.image_size)  # fmt: skip
    subject = Normalised(model, card.mean, card.std)
    if tried is None:
        tried = trial(subject, images, place)
        judge(tried, None if imported else own_accuracy(folder, card, images), folder, settings.check)
    model.cpu()  # the trial was on the device; a training moves there only what it runs
    return Teacher(subject, folder, fingerprint(RunFolder(folder).weights), order, tried, card.projection_trained)


def _finished_run(recipe: Recipe, run: str, images: ImageSet, out: Path) -> Path:
    """The folder of `teacher.run`."""
    folder = RunFolder.open(run)
    if folder == RunFolder(out / recipe.name):
        raise RecipeError(f"teacher.run {run} is the folder of the run itself; give it another name=...")
    if not folder.finished:
        raise RunError(f"teacher.run {run} is not finished; run `supcrd train` on it first")
    _note_other_data(folder, images)
    return folder.path


def _note_other_data(run: RunFolder, images: ImageSet) -> None:
    if run.evaluation.get("data_fingerprint") != images.fingerprint:
        logger.warning("the teacher %s was trained on other data or another validation split", run.path)


def _imported(
    recipe: Recipe,
    settings: TeacherSettings,
    images: ImageSet,
    out: Path,
    place: Place,
    wait: bool,
    report: Report | None,
) -> tuple[Path, Tried | None]:
    """Import weights from elsewhere into a run folder, once for all students: fit a head, measure them like any run.

    Returns:
        The folder, and the result of the trial, which comes before anything is written; None if the folder is there
        already.
    """
    model, card, stem, key = from_outside(settings, images)
    order = fitted(model, card, images, stem, settings)
    mean, std = statistics(recipe, images)
    own = card.evaluation
    card = replace(
        card,
        mean=card.mean or mean,
        std=card.std or std,
        num_classes=model.num_classes,
        class_names=images.class_names,
        evaluation=None,
    )
    about = settings.model_dump_json(include={"head", "arch", "timm"})
    views = recipe.first_views
    identity: tuple[Any, ...] = (about, views.identity_json(), images.fingerprint, card.mean, card.std, key)
    if settings.state_dict is not None:
        identity = (*identity, settings.state_dict)
    if order != tuple(range(len(order))):
        identity = (*identity, order)
    if settings.timm is not None and card.classifier == MISSING:
        identity = (*identity, MISSING)  # versions before had a random classifier in the folder without this
    folder = _folder(out, stem, identity, model)
    if RunFolder(folder).finished:
        return folder, None
    assert card.mean is not None
    assert card.std is not None
    subject = Normalised(model, card.mean, card.std)
    final = None
    if card.classifier == MISSING:
        card, final = fit_missing(subject, card, images, settings.checkpoint or stem, place, report)
    # before anything is written, and compared with what the weights' own card says
    tried = trial(subject, images, place)
    judge(tried, own.get("accuracy") if own else None, stem, settings.check)
    with locked(folder, wait=wait):
        if RunFolder(folder).finished:
            return folder, None  # another process imported it in the meantime
        if RunFolder(folder).weights.is_file():
            model, card = load_model(folder)  # by supcrd 0.1, or interrupted before it was measured
            subject = Normalised(model, subject.mean, subject.std)
        elif not card.projection_trained and settings.head.epochs > 0:
            # one head for all seeds of all students, independent of which runs first
            stages.fit_head(subject, images, views, settings.head, place, report, seed=0, folder=folder)
            card = replace(card, projection_trained=True)
        save_model(folder, model, card)
        this = RunFolder(folder, _recipe_of(recipe, settings, model, folder.name, key))
        this.head.unlink(missing_ok=True)
        this.write_recipe(environment() | {"origins": {"data": images.fingerprint}})
        measure(this, subject, Trained(card, [], {}, final=final), images, {}, place, report)
    return folder, tried


def _folder(out: Path, stem: str, identity: tuple[Any, ...], model: Model) -> Path:
    """The run folder of imported weights; a new one if 0.1 read the same weights as another network."""

    def of(*about: Any) -> Path:
        return out / f"teacher-{stem}-{hashlib.blake2b(repr(about).encode(), digest_size=5).hexdigest()}"

    folder, wanted = of(*identity), (model.stem, model.image_size)
    if RunFolder(folder).weights.is_file():
        existing = load_model(folder)[0]
        if (existing.stem, existing.image_size) != wanted:
            return of(*identity, *wanted)
    return folder


def from_outside(settings: TeacherSettings, images: ImageSet) -> tuple[Model, Card, str, str]:
    """The network of `teacher.checkpoint` or `teacher.timm`, its card, a name, and the fingerprint of the file."""
    if settings.checkpoint is not None:
        path = user_path(settings.checkpoint, "teacher.checkpoint")
        if RunFolder(path).finished:
            _note_other_data(RunFolder(path), images)
        model, card = load_model(
            path,
            arch=settings.arch,
            mean=settings.mean,
            std=settings.std,
            image_size=settings.image_size,
            default_size=images.image_size,
            state_dict=settings.state_dict,
            headless=True,
        )
        if card.classifier == MISSING:
            if settings.classes is not None:
                raise RecipeError(f"teacher.classes names outputs, but {path} is an encoder without a classifier")
            card = with_classes(model, card, images)
        return model, card, path.stem, fingerprint(RunFolder(path).weights if path.is_dir() else path)[:10]
    if settings.mean is not None and len(settings.mean) != images.channels:
        raise RecipeError(f"teacher.mean has {len(settings.mean)} channels, the images have {images.channels}")
    names = None if settings.classes is None else read_names(settings.classes, "teacher.classes")
    try:
        model, card = load_timm(
            str(settings.timm),
            num_classes=images.num_classes if names is None else len(names),
            in_channels=images.channels,
            image_size=settings.image_size,
            mean=settings.mean,
            std=settings.std,
        )
    except CheckpointError as error:
        raise CheckpointError(f"teacher.timm: {error}") from None
    if card.classifier == MISSING:
        if names is not None:
            outputs = model.pretrained_classes or "no usable"
            raise RecipeError(f"teacher.classes has {len(names)} names, timm:{settings.timm} {outputs} outputs")
        card = with_classes(model, card, images)
    return model, card, str(settings.timm).rsplit("/", 1)[-1], ""


def _recipe_of(recipe: Recipe, settings: TeacherSettings, model: Model, name: str, key: str) -> Recipe:
    """The recipe in the folder of imported weights: no training, the student's data."""
    return Recipe(
        name=name,
        data=recipe.data.labelled,
        model=ModelSettings(arch=model.arch, projector=tuple(model.config()["projector"])),
        method=Imported(name="imported", weights=str(settings.checkpoint or settings.timm), fingerprint=key),
        augment=recipe.first_views,
        train=TrainSettings(epochs=0),
        head=settings.head,
        probe=recipe.probe,
        classifier="trained",
    )


def fitted(
    model: Model, card: Card, images: ImageSet, name: object, settings: TeacherSettings | None
) -> tuple[int, ...]:
    """Reduce the teacher to one output per class of the data, in their order; refuse one that does not fit.

    Returns:
        The indices of these outputs among the teacher's.
    """
    if model.in_channels != images.channels:
        raise CheckpointError(
            f"the teacher {name} takes {model.in_channels}-channel images; those of {images.source} have "
            f"{images.channels} channels"
            + ("; data.channels = 3 reads grey ones as RGB" if model.in_channels == 3 else "")
        )
    known = card.class_names
    if settings is not None and settings.classes is not None:
        known = read_names(settings.classes, "teacher.classes")
        if len(known) != model.num_classes:
            raise RecipeError(f"teacher.classes has {len(known)} names, the teacher {name} {model.num_classes} outputs")
    order = match(known, model.num_classes, images, model=f"the teacher {name}", key="teacher.classes")
    if len(order) < model.num_classes:
        logger.info("the teacher %s: %d of its %d outputs are used, those of the classes that the data have", name,
                    len(order), model.num_classes)  # fmt: skip
    pick_outputs(model, order)
    return order
