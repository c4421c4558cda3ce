"""`data.unlabelled = "folder:more"`: further training images, whose labels are not known, or not read."""

import logging
from dataclasses import replace
from pathlib import Path

import torch

from supcrd.base.files import user_path
from supcrd.data import FILES, check_stream, read_source
from supcrd.data.digests import digests
from supcrd.data.encoded import TRIED, Reading
from supcrd.data.images import Contents, ImageSet, Split, Unlabelled, fingerprint
from supcrd.data.joining import joined, rgb
from supcrd.data.listed import AS_THEY_ARE, Dividing
from supcrd.data.stream import Images, StreamedImages
from supcrd.errors import DataError
from supcrd.recipe.settings import DataSettings

logger = logging.getLogger("supcrd")


def with_unlabelled(images: ImageSet, settings: DataSettings) -> ImageSet:
    """A data set with the images that `data.unlabelled` names behind those of train, or without any if it names none.

    Of a source with splits its train images are taken, of others all; a folder may have its images in any folders
    below, or none. Labels are not read. Grey images become RGB where the set is RGB. Images equal to one of the set's
    validation or test split are left out with a warning: of equal pixels, or, where images are streamed, files of equal
    bytes, which are looked for among at most `encoded.TRIED` images.

    Args:
        images: as `supcrd.data.load` gives them.
        settings: the `[data]` table. `limit`, `image_size`, `stream`, `levels`, `damaged`, `workers` and, for tables,
            `file_column` hold for both sources.

    Raises:
        DataError: the source cannot be read, or is empty; its images have another size, or are RGB and those of the set
            are grey.

    Cost: a copy of the images of both in memory; streamed, none.

    Example:
        >>> from supcrd.data import load
        >>> more = with_unlabelled(load("digits", limit=100), DataSettings(source="digits", unlabelled="digits"))
        >>> len(more.train), len(more.shown), more.shown.labels[-1].item()
        (100, 1438, -1)
    """
    source = settings.without_labels
    if source is None or images.train is None:
        return replace(images, unlabelled=None)
    if images.unlabelled is not None and images.unlabelled.source == source:
        return images
    try:
        further = read_further(source, settings, images.levels)
    except DataError as error:
        raise DataError(f"data.unlabelled = {source}: {error}") from None
    _check(source, further, images)
    pixels = _unseen(source, rgb(further.images) if images.channels == 3 else further.images, images)
    count, own = len(pixels), images.train
    together = joined(own.images, pixels)
    digest = fingerprint([Split(pixels, torch.full((count,), -1))], ())
    whole = Split(together, torch.cat([own.labels, torch.full((count,), -1)]))
    if isinstance(together, torch.Tensor):  # one copy in memory serves both
        own = Split(together[: len(own)], own.labels, own.groups)
    share = len(own) / len(whole)
    logger.info(
        "%s: %s training images with a label, %s without one from %s: %.0f%% of every batch have one",
        *(images.source, f"{len(own):,}", f"{count:,}", source, 100 * share),
    )
    return replace(images, train=own, unlabelled=Unlabelled(source, whole, digest))


def read_further(source: str, settings: DataSettings, levels: tuple[float, float] | None = None) -> Split:
    """The images that a source gives as further training images, and labels that say nothing.

    Args:
        source: of any kind.
        settings: as for `with_unlabelled`.
        levels: of the set that they are added to, where settings have none.

    Raises:
        DataError: the source cannot be read, or is empty.
    """
    kind = source.partition(":")[0]
    if settings.stream:
        check_stream(source, settings.image_size)
    reading = Reading(
        settings.image_size, settings.stream, settings.workers, settings.levels or levels, settings.damaged,
        settings.draft and kind in FILES,
    )  # fmt: skip
    columns = Dividing(file_column=settings.file_column) if kind == "csv" else AS_THEY_ARE
    place = user_path(Path(settings.folder), "data.folder", error=DataError)
    contents: Contents = read_source(source, place, reading, "use", True, columns)
    for line in contents.notes:
        logger.warning("data.unlabelled = %s: %s", source, line)
    further = contents.train
    if further is None or len(further) == 0:
        raise DataError("it holds no training image; one or more are right")
    if contents.validation is not None or contents.test is not None:
        logger.warning("data.unlabelled = %s: its train images are used, not those of its other splits", source)
    if settings.limit is not None and len(further) > settings.limit:
        pixels, rows = further.images, torch.arange(settings.limit)
        few = pixels[rows] if isinstance(pixels, torch.Tensor) else pixels.subset(rows)
        return Split(few, further.labels[rows])
    return further


def _unseen(source: str, pixels: Images, images: ImageSet) -> Images:
    """The images without those that the set is measured on.

    Raises:
        DataError: none is left.
    """
    measured = [split.images for split in (images.validation, images.test) if split is not None]
    if isinstance(pixels, StreamedImages) and sum(map(len, [pixels, *measured])) > TRIED:
        return pixels
    known = {one for part in measured for one in digests(part)}
    new = torch.tensor([one not in known for one in digests(pixels)])
    left_out = int((~new).sum())
    if left_out == len(new):
        raise DataError(
            f"data.unlabelled = {source}: all its images are in the validation or test split of {images.source}"
        )
    if left_out:
        logger.warning(
            "data.unlabelled = %s: %s images are equal to one of validation or test, and are left out",
            *(source, f"{left_out:,}"),
        )
        pixels = pixels[new] if isinstance(pixels, torch.Tensor) else pixels.subset(new.nonzero().flatten())
    return pixels


def _check(source: str, further: Split, images: ImageSet) -> None:
    """Refuse images that cannot stand in one batch with those of the set."""
    assert images.train is not None
    size, channels = further.images.shape[1], further.images.shape[3]
    if size != images.image_size:
        raise DataError(
            f"data.unlabelled = {source}: its images are {size} px, those of {images.source} {images.image_size} px; "
            f"data.image_size = {images.image_size} resizes them"
        )
    if channels > images.channels:
        raise DataError(
            f"data.unlabelled = {source}: its images are RGB, those of {images.source} grey; data.channels = 3 reads "
            "grey ones as RGB"
        )
    if isinstance(further.images, torch.Tensor) != isinstance(images.train.images, torch.Tensor):
        raise DataError(
            f"data.unlabelled = {source}: its images are in memory and those of {images.source} streamed, or the other "
            "way round; sources of image files are right for both"
        )
