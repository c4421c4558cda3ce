"""Weights of one's own that a student starts from: `model.checkpoint`."""

import logging
from pathlib import Path
from typing import NamedTuple

from supcrd.base.files import user_path
from supcrd.base.wording import show
from supcrd.data import ImageSet
from supcrd.data.classes import match, pick_outputs
from supcrd.errors import CheckpointError, RecipeError
from supcrd.models import Model
from supcrd.models.card import MISSING
from supcrd.models.weights import Card, load_model, weights_file
from supcrd.recipe.settings import Recipe
from supcrd.runs.folder import RunFolder

logger = logging.getLogger("supcrd")

KEY = "model.checkpoint"


class Start(NamedTuple):
    """Weights that a student starts from."""

    path: Path
    """as the recipe names it: a run folder or a file"""
    model: Model
    card: Card

    def give(self, student: Model, images: ImageSet) -> None:
        """Put the weights into a student of the same architecture; one line of the log says which it takes.

        The projection head is taken if it is trained and has the student's widths, the classifier if it is of the same
        classes; the student keeps its own of what is not taken.

        Raises:
            CheckpointError: shapes differ, since the weights are of images of another size.
        """
        ours, theirs = student.encoder.state_dict(), self.model.encoder.state_dict()
        differing = [key for key in ours if key not in theirs or ours[key].shape != theirs[key].shape]
        if differing:
            raise CheckpointError(
                f"{KEY} {self.path}: it is of images of {self.model.image_size} px, those of {images.source} have "
                f"{images.image_size} px, and its weights ({differing[0]}) depend on it; "
                f"data.image_size = {self.model.image_size} is right"
            )
        student.encoder.load_state_dict(theirs)
        parts = ["encoder"]
        if self.card.projection_trained and self.model.config()["projector"] == student.config()["projector"]:
            student.projector.load_state_dict(self.model.projector.state_dict())
            parts.append("projection head")
        lacking = self._lacks(images)
        if not lacking:
            order = match(self._names(images), images.num_classes, images, model=self.path, key="data.classes")
            student.classifier.load_state_dict(pick_outputs(self.model, order).classifier.state_dict())
            parts.append("classifier")
        logger.info("%s %s: the student starts from its %s%s", KEY, self.path, " and ".join(parts),
                    f"; its classifier starts anew: {lacking}" if lacking else "")  # fmt: skip

    def _names(self, images: ImageSet) -> tuple[str, ...] | None:
        """Names of its classes; None where they are not known, or only the numbers that stand for labels."""
        names = self.card.class_names
        if names is None or set(names) == set(images.class_names):
            return names
        return None if names == tuple(map(str, range(len(names)))) else names

    def _lacks(self, images: ImageSet) -> str:
        """Why its classifier is not of the classes of the data; "" if it is."""
        if self.card.classifier == MISSING:
            return "the file has none"
        if self.card.num_classes != images.num_classes:
            return f"the file's has {self.card.num_classes} classes, the data have {images.num_classes}"
        known = self._names(images)
        strange = [name for name in images.class_names if known is not None and name not in known]
        return f"the file's does not know {show(strange[0])}" if strange and images.named else ""


def start_file(recipe: Recipe) -> Path | None:
    """The file of weights that a student starts from; None where its recipe names none.

    Raises:
        CheckpointError: it is not there.
    """
    if recipe.model.checkpoint is None:
        return None
    try:
        return weights_file(_path(recipe.model.checkpoint))
    except CheckpointError as error:
        raise CheckpointError(f"{KEY}: {error}") from None


def check_start(recipe: Recipe, out: Path) -> Path | None:
    """As `start_file`, before anything is read or built.

    Args:
        recipe: the student's.
        out: the folder of run folders.

    Raises:
        CheckpointError: it is not there.
        RecipeError: it is of the run itself, which would overwrite it.
    """
    file = start_file(recipe)
    if file is not None and file.resolve() == RunFolder(out / recipe.name).weights.resolve():
        raise RecipeError(f"{KEY} {recipe.model.checkpoint} is of the run itself; give it another name=...")
    return file


def read_start(recipe: Recipe, images: ImageSet) -> Start | None:
    """The weights that a student starts from; None where its recipe names none.

    Raises:
        SupcrdError: they cannot be read, or are of another architecture, stem or number of channels.
    """
    settings = recipe.model
    if settings.checkpoint is None:
        return None
    path = _path(settings.checkpoint)
    try:
        model, card = load_model(
            path,
            arch=settings.arch,
            default_size=images.image_size,
            state_dict=settings.state_dict,
            headless=True,
        )
    except CheckpointError as error:
        raise CheckpointError(f"{KEY}: {error}") from error
    if model.in_channels != images.channels:
        hint = "; data.channels = 3 reads grey ones as RGB" if model.in_channels == 3 else ""
        raise CheckpointError(
            f"{KEY} {path}: it takes {model.in_channels}-channel images; those of {images.source} have "
            f"{images.channels} channels{hint}"
        )
    if settings.stem not in (None, model.stem):
        raise RecipeError(f"model.stem = {settings.stem!r}: the network of {KEY} {path} has the stem {model.stem!r}")
    return Start(path, model, card)


def _path(text: str) -> Path:
    return user_path(text, KEY)
