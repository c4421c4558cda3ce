"""Data sources: `load` turns the name of one into an `ImageSet`."""

import contextlib
import difflib
import logging
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from supcrd.base.files import user_path
from supcrd.base.wording import show
from supcrd.data.divide import Shares, divide
from supcrd.data.encoded import Reading
from supcrd.data.images import Contents, ImageSet, Split, channel_statistics, fingerprint
from supcrd.data.joining import rgb
from supcrd.data.listed import Dividing
from supcrd.data.sized import all_sized
from supcrd.data.sources import Request
from supcrd.data.split import balanced, subset
from supcrd.errors import DataError, PluginError, SupcrdError
from supcrd.recipe.paths import is_table
from supcrd.recipe.settings import SOURCES, DataSettings
from supcrd.registry import Registry, reason

logger = logging.getLogger("supcrd")

__all__ = ["load", "ImageSet", "Split", "channel_statistics"]

FILES = ("folder", "csv", "shards", "parquet", "hf")  # sources of encoded image files, which can be streamed
OF_FILES = ", ".join(f"{name}:" for name in FILES)
GROUP_IS = {
    "npz": "an array such as train_patient", "shards": "a field of the samples' .json", "parquet": "a column",
    "hf": "a column",
}  # fmt: skip
"""What `data.groups` names in sources without files with names."""
COLUMNS_OF_SPLITS = {"split_file", "file_column", "split_column"}
"""Keys of `[data]` that `keyed.assigned` reads."""


def load(
    source: str,
    *,
    folder: str | Path = "data",
    validation: float = 0.1,
    split_seed: int = 0,
    image_size: int | None = None,
    channels: int | None = None,
    limit: int | None = None,
    require_train: bool = True,
    stream: bool = False,
    workers: int | None = None,
    levels: tuple[float, float] | None = None,
    damaged: str = "refuse",
    unlabelled: str = "refuse",
    test: float | None = None,
    whole_test: bool = False,
    split_file: str | None = None,
    groups: str | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    draft: bool = False,
) -> ImageSet:
    """Read a data set, whole into memory or to be decoded batch by batch.

    Where the source gives no validation split, one is taken out of train: of every class round(validation * n) of its n
    images, but at least one unless validation is 0, and at least one stays in train. It depends on nothing but the
    labels, the share and `split_seed`. Where it gives no test split, one is taken out before in the same way, if it
    gives no split at all or `test` asks for it. With groups both are drawn by `grouped.grouped`.

    Args:
        source: `digits`, `cifar10`, `cifar100`, `npz:PATH`, `folder:PATH`, `csv:PATH`, `shards:PATH`, `parquet:PATH`,
            `hf:NAME`, or one of a plug-in.
        folder: where CIFAR archives are looked for, and downloaded to.
        validation: share of train, in [0, 1); 0 for no validation split. Unused where the source has one.
        split_seed: >= 0, draws the splits.
        image_size: pixels: resize the shorter side to it and crop the centre, of image files and arrays alike. For what
            a plug-in streams it can only confirm the size that the images have.
        channels: 3 for grey images as RGB, with the grey value in every channel.
        limit: use at most this many images of each split, evenly over the classes: to try a recipe out.
        require_train: False accepts a source that has only a validation or a test split.
        stream: for image files that do not fit memory: images stay on disk until they are asked for.
            Needs image_size, since the images are not all read beforehand.
        workers: threads that decode image files; as many as the machine has cores, at most 16, if not given.
        levels: (black, white) of the deep images (16- or 32-bit integers, floats) of image files; inferred from
            the train split if not given (`levels.find`).
        damaged: `refuse` image files that cannot be read, or `skip` them.
        unlabelled: `refuse` images of `npz:`, `csv:`, `parquet:` or `hf:` without a label (-1, empty or null), or
            `skip` them.
        test: share of train for the test split, in [0, 1); 0 for none; None for 0.2 of a source without any split and
            none of others.
        whole_test: a source without any split is a test split as a whole, and nothing is drawn.
        split_file, groups, file_column, label_column, split_column: as the keys of `[data]`.
        draft: JPEGs of image files may be decoded at a half, a quarter or an eighth of their size, if the shorter side
            keeps image_size pixels: quicker, and pixels differ by about a level in the mean.

    Returns:
        Images as contiguous uint8 (N, H, H, channels), or `stream.StreamedImages` that give the same; labels as int64
        (N,) in 0..C-1.

    Raises:
        DataError: an unknown source or a value outside its range; data that are missing, damaged or not as they should
            be; fewer than two classes; a class without a train image.

    What took long to decode is kept on disk and mapped into memory the next time (`decoded.kept`), with equal results.

    Cost: at most about twice the memory of the set while loading; streamed, see `folder.read` and `shards.read`.

    Example:
        >>> data = load("digits")
        >>> data.num_classes, data.channels, data.image_size, len(data.train), len(data.validation), len(data.test)
        (10, 1, 8, 1295, 143, 359)
    """
    if not 0 <= validation < 1:
        raise DataError(f"validation = {validation} is not a share of train; 0 <= validation < 1 is right")
    if split_seed < 0:
        raise DataError(f"split_seed = {split_seed} is negative; an integer of 0 or more is right")
    if test is not None and not 0 <= test < 1:
        raise DataError(f"test = {test} is not a share of train; 0 <= test < 1 is right")
    for name, value in (("image_size", image_size), ("limit", limit), ("workers", workers)):
        if value is not None and value < 1:
            raise DataError(f"{name} = {value} is not positive; 1 or more is right")
    if channels not in (None, 3):
        raise DataError(f"channels = {channels}: 3, or none for those of the images, is right")
    if stream:
        check_stream(source, image_size)

    of_files = source.partition(":")[0] in FILES or READERS.find(source.partition(":")[0]) is not None
    for name, given in (("levels", levels is not None), ("draft = true", draft)):
        if given and not of_files:
            raise DataError(f"data.{name}: {source} is no source of image files ({OF_FILES})")
    reading = Reading(image_size, stream, workers, levels, damaged, draft)
    dividing = Dividing(split_file, groups, file_column, label_column, split_column)
    _check_dividing(source, dividing)
    place = user_path(folder, "data.folder", error=DataError)
    contents = read_source(source, place, reading, unlabelled, require_train, dividing)
    for line in contents.notes:
        logger.warning("%s: %s", source, line)
    names = contents.class_names
    if contents.train is not None and not (whole_test and contents.undivided):
        _check_classes(source, contents.train, names)
    train, held_out, tested = divide(source, contents, Shares(validation, test, split_seed, whole_test))
    if limit is not None and limit < len(names):
        raise DataError(f"limit = {limit} is below the {len(names)} classes of {source}; {len(names)} or more is right")
    train, held_out, tested = (_thin(split, limit) for split in (train, held_out, tested))
    if channels == 3:
        train, held_out, tested = (
            split and replace(split, images=rgb(split.images)) for split in (train, held_out, tested)
        )
    digest = fingerprint((train, held_out, tested), names)
    result = ImageSet(source, train, held_out, tested, names, digest, contents.levels)
    if image_size not in (None, result.image_size):
        raise DataError(
            f"{source}: image_size = {image_size}, but its images are {result.image_size} px, and are streamed by a "
            "plug-in, which has to resize them itself"
        )
    return result


def read_source(
    source: str, folder: Path, reading: Reading, unlabelled: str, require_train: bool, dividing: Dividing
) -> Contents:
    """What a source holds, as `sources.Request` asks for it.

    Raises:
        DataError: an unknown source; as the source.
    """
    kind, _, rest = source.partition(":")
    for name, file in SOURCES.items():
        known, _, needs = name.partition(":")
        if kind == known and bool(rest) == bool(needs):
            request = Request(kind, rest, folder, reading, unlabelled, require_train, dividing)
            contents: Contents = import_module(f"supcrd.data.sources.{file}").source(request)
            return contents
    own = READERS.find(kind)
    if own is not None:
        further = reading._asdict() | dividing._asdict()
        unlabelled = "skip" if unlabelled == "use" else unlabelled  # its labels are read, and not used
        return _of_plugin(own, kind, source, folder=folder, unlabelled=unlabelled, **further)
    nearest = difflib.get_close_matches(kind.lower(), [known.partition(":")[0] for known in SOURCES], n=1, cutoff=0.5)
    hint = "".join(f"did you mean {known}? " for known in SOURCES if known.partition(":")[0] in nearest)
    with contextlib.suppress(OSError, ValueError):  # of what cannot be a path
        hint = f"did you mean folder:{source}? " if source and Path(source).is_dir() else hint
    raise DataError(f"unknown data source {source!r}: {hint}valid are {', '.join(SOURCES)}")


Reader = Callable[[str, DataSettings], ImageSet]
READERS: Registry[Reader] = Registry("source", "supcrd.sources")
"""Sources of plug-ins: name -> `read(rest, settings)`."""


def source(name: str) -> Callable[[Reader], Reader]:
    """Register a function that reads a data set, so that `data.source = "NAME:REST"` means it.

    The function is given REST and the `[data]` table and gives an `ImageSet`; where that has no validation split, one
    is drawn from train as for every source.

    Raises:
        PluginError: the name is taken.

    Example:
        >>> @source("example-of-a-source")
        ... def read(rest, settings):
        ...     raise NotImplementedError
        >>> READERS.get("example-of-a-source") is read
        True
    """

    def register(read: Reader) -> Reader:
        if name in {known.partition(":")[0] for known in SOURCES}:
            raise PluginError(f"source {name!r} is supcrd's own; give it another name")
        return READERS.add(name, read)

    return register


def _of_plugin(read: Reader, kind: str, source: str, **settings: Any) -> Contents:
    """What a source of the user's own reads.

    Raises:
        PluginError: it fails, or gives no `ImageSet`.
    """
    try:
        table = DataSettings(source=source, **settings | {"folder": str(settings["folder"])})
        images = read(source.partition(":")[2], table)
    except SupcrdError:
        raise
    except Exception as error:
        raise PluginError(f"source {kind!r} fails on {source!r}: {reason(error)}") from error
    if not isinstance(images, ImageSet):
        raise PluginError(f"source {kind!r} gives {type(images).__name__} for {source!r}; an ImageSet is right")
    contents = Contents(images.class_names, images.train, images.validation, images.test, images.levels)
    return all_sized(contents, Reading(table.image_size, workers=table.workers))


def check_stream(source: str, image_size: int | None) -> None:
    """Refuse to stream a source that cannot be, or without a size."""
    kind = source.partition(":")[0]
    if kind not in FILES and any(known.partition(":")[0] == kind for known in SOURCES):
        raise DataError(f"data.stream = true: {source} is no source of image files ({OF_FILES})")
    if kind in FILES and image_size is None:
        raise DataError("data.stream = true needs data.image_size=N: not all images are looked at beforehand")


def _check_dividing(source: str, dividing: Dividing) -> None:
    """Refuse keys about tables for a source that they cannot be about."""
    kind, given = source.partition(":")[0], {key: value for key, value in dividing._asdict().items() if value}
    if kind == "csv" or not given or READERS.find(kind) is not None:
        return
    key, value = next(iter(given.items()))
    if kind in GROUP_IS and given.keys() <= {"groups"} | (COLUMNS_OF_SPLITS if dividing.split_file else set()):
        if is_table(dividing.groups or ""):
            raise DataError(
                f"data.groups = {show(dividing.groups)}: {source} has no files with names; the name of "
                f"{GROUP_IS[kind]} is right"
            )
        return
    if kind != "folder":
        raise DataError(f"data.{key} = {show(value)}: {source} has no files with names; folder: or csv: is right")
    if dividing.groups is not None and not is_table(dividing.groups):
        raise DataError(
            f"data.groups = {show(dividing.groups)}: {source} has no columns; a .csv, .tsv or .jsonl file of files and "
            "groups is right"
        )
    used = {"split_file", "groups"} | ({"file_column"} if dividing.tables else set())
    for key in given.keys() - used - ({"split_column"} if dividing.split_file else set()):
        raise DataError(f"data.{key} = {show(given[key])}: {source} has no columns; csv:FILE is a source with columns")


def _check_classes(source: str, train: Split, names: tuple[str, ...]) -> None:
    if len(names) < 2:
        inner = Path(source.removeprefix("folder:"), *names)  # a zip's folder around the classes
        meant = source.startswith("folder:") and sum(entry.is_dir() for entry in inner.glob("*")) > 1
        hint = f"; did you mean folder:{inner}?" if meant else ""
        raise DataError(f"{source}: only one class ({', '.join(names)}); at least two are needed{hint}")
    counts = train.labels.bincount(minlength=len(names))
    for name, count in zip(names, counts.tolist(), strict=True):
        if count == 0:
            raise DataError(f"{source}: class {name!r} has no train image; give it at least one, or drop it")


def _thin(split: Split | None, limit: int | None) -> Split | None:
    if split is None or limit is None or len(split) <= limit:
        return split
    return subset(split, balanced(split.labels, limit=limit))
