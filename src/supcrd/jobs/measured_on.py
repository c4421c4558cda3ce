"""The data that a model from a file is measured on."""

import contextlib
import logging
from pathlib import Path

from supcrd.base.files import user_path
from supcrd.data import FILES, ImageSet, Split
from supcrd.data.classes import match, numbered, read_names
from supcrd.errors import CheckpointError, DataError, RunError
from supcrd.jobs.images import load_images
from supcrd.models.card import MISSING, Card
from supcrd.recipe.settings import DataSettings
from supcrd.runs.folder import RunFolder

COLUMNS = ("file_column", "label_column", "split_column")
SPLITS = ("test", "validation", "train")

logger = logging.getLogger("supcrd")


def check_split(split: str) -> None:
    """Refuse the name of a split that is none."""
    if split not in SPLITS:
        raise DataError(f"--split {split!r} is unknown; test, validation or train is right")


def in_order(card: Card, images: ImageSet, path: Path, source: str | None, classes: str | None) -> ImageSet:
    """The images with their classes in the order of the model's outputs, matched by name.

    Raises:
        DataError: they do not match.
    """
    known = card.class_names if classes is None else names(classes, card, path)
    order = match(known, card.num_classes, images, model=f"the model {path}", key="--classes FILE")
    _check_unchanged(path, images, source)
    return numbered(images, order, known or tuple(map(str, range(card.num_classes))))


def chosen(images: ImageSet, split: str) -> Split:
    """A split that is there.

    Raises:
        DataError: it is not.
    """
    split_of_name = {"test": images.test, "validation": images.validation, "train": images.train}[split]
    if split_of_name is None or len(split_of_name) == 0:
        present = [name for name in SPLITS if getattr(images, name) is not None]
        raise DataError(f"{images.source} has no {split} split; it has {', '.join(present)}")
    return split_of_name


def load(card: Card, source: str | None, data_folder: str, split: str, *, sized: bool = False) -> ImageSet:
    """The data, with the splits of the run that trained the model; with a validation split for an encoder whose
    classifier has to be fitted first. Image files, and with `sized` arrays too, get the size of the model's images.
    """
    table = dict((card.recipe or {}).get("data", {}))
    if source is None and "source" not in table:
        raise DataError("--data is needed: the model does not say on which data it was trained")
    if source is not None and not _same_source(source, table.get("source")):
        # in data other than the run's, all of train serves as neighbours, unless the validation split is needed
        divided = split == "validation" or card.classifier == MISSING
        columns = [key for key in COLUMNS if key in table and source.startswith("csv:")]  # as those of the run's table
        table = {key: table[key] for key in columns} | {"source": source} | ({} if divided else {"validation": 0.0})
        if card.in_channels == 3:  # grey images are read as RGB, as `predict` reads them
            table["channels"] = 3
        of_files = source.partition(":")[0] in FILES
        if of_files or sized:
            table["image_size"] = card.image_size
        if of_files:
            table["levels"] = card.levels
        # images without splits are all measured on, unless some of them have to be trained on
        whole = split == "test" and not divided
        images = load_images(DataSettings(**table), data_folder, require_train=False, whole_test=whole)
        if whole and images.train is None and images.test is not None:
            logger.warning("%s: all of its %d images are measured on; a set that the model was trained on has to be "
                           "given as in its recipe, or not at all", source, len(images.test))  # fmt: skip
        return images
    return load_images(DataSettings(**table), data_folder, require_train=False)


def as_they_are(
    card: Card, path: Path, source: str | None, data_folder: str, split: str, classes: str | None = None
) -> ImageSet:
    """The data in the order of the model's classes, for a file that takes images of one size.

    Raises:
        DataError: they cannot be loaded, or do not fit the model.
        CheckpointError: the card's recipe is damaged, or of another version.
    """
    try:
        images = load(card, source, data_folder, split, sized=True)
    except (TypeError, ValueError) as error:  # of a table that is none, or has other keys
        raise CheckpointError(f"{path}: its recipe is not of this version ({str(error).splitlines()[0]})") from None
    check_fit(card, images, path, resizes=False)
    return in_order(card, images, path, source, classes)


def _check_unchanged(path: Path, images: ImageSet, source: str | None) -> None:
    """Warn if a run's own data are no longer those that it was trained and measured on."""
    with contextlib.suppress(RunError):
        before = RunFolder(path).evaluation.get("data_fingerprint") if source is None else None
        if before not in (None, images.fingerprint):
            logger.warning("%s has changed since %s was trained: other images, or other splits", images.source,
                           path)  # fmt: skip


def names(classes: str, card: Card, path: Path) -> tuple[str, ...]:
    """The names of a model's outputs from a file."""
    names = read_names(classes, "--classes")
    if len(names) != card.num_classes:
        raise DataError(f"--classes {classes} has {len(names)} names, the model {path} has {card.num_classes} outputs")
    return names


def _same_source(one: str, other: str | None) -> bool:
    """Whether two sources are the same files; a path can be written in several ways.

    A new validation split would have images that the model was trained on, and so an accuracy that is too high.
    """
    kinds, paths = zip(*((text or "").partition(":")[::2] for text in (one, other)), strict=True)
    return kinds[0] == kinds[1] and user_path(paths[0]).resolve() == user_path(paths[1]).resolve()


def check_fit(card: Card, images: ImageSet, path: Path, *, resizes: bool) -> None:
    """Refuse images of other channels, or of another size unless they are resized."""
    if images.channels != card.in_channels:
        raise DataError(
            f"{images.source} has {images.channels}-channel images, the model {path} takes {card.in_channels}"
        )
    if images.image_size != card.image_size:
        sizes = f"{images.source} has {images.image_size} px images, the model {path} takes {card.image_size} px"
        if not resizes:
            raise DataError(f"{sizes}; --image-size {card.image_size} resizes them")
        logger.info("%s: they are resized", sizes)
