"""`folder:PATH`: image files in one folder a class, and reading a single image file."""

import logging
import os
from array import array
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from supcrd.data import decoded
from supcrd.data.encoded import AS_IT_IS, Reading, contents
from supcrd.data.imagefile import extent, form, pixels
from supcrd.data.images import Contents
from supcrd.data.levels import Levels, find
from supcrd.data.listed import AS_THEY_ARE, Dividing, Image, Listed, read_listed
from supcrd.data.listing import NAMES, counted, entries_of, split_in, split_of
from supcrd.data.pictures import is_picture, pictures
from supcrd.data.sources import METADATA, Request
from supcrd.data.stream import Names
from supcrd.errors import DataError

logger = logging.getLogger("supcrd")


def read(
    path: Path,
    *,
    reading: Reading = AS_IT_IS,
    require_train: bool = True,
    dividing: Dividing = AS_THEY_ARE,
) -> Contents:
    """Read PATH/train/CLASS/*.png and, where they are there, PATH/val (or PATH/validation) and PATH/test; or, where
    there are no splits, PATH/CLASS/*.png.

    Splits have their usual names (`listing.NAMES`), in any case. Classes are the sub-folders of train in sorted order
    (of the other splits, where train is missing), images the files in and below them with a suffix that Pillow reads
    (`imagefile.suffixes`), in torchvision's order; hidden files and others are counted in a line. If every file is
    single-channel the set is grey, else RGB; docs/data.md says how pixels are read.

    Args:
        path: the folder.
        reading: image_size, pixels: resize each image's shorter side to it (bilinear, antialiased) and crop the centre;
            without it all images must be squares of one size. stream: leave the files where they are and decode them
            when they are asked for; needs image_size. workers: threads that decode; as many as the machine has cores,
            at most 16, if not given. levels: (black, white) of deep images. damaged: "refuse", or "skip" to leave out
            what cannot be read.
        require_train: False allows a folder with only val or test.
        dividing: tables of splits and groups.

    Raises:
        DataError: neither a train folder nor class folders; an empty class folder; a class that train lacks; unreadable
            images (`encoded.contents`); sizes that differ; tables that do not fit (`listed.read_listed`). Each names
            the folder or file.

    Cost: streamed, 32 bytes an image and the letters of CLASS/FILE; with tables about 500 bytes an image.
    """
    if not path.is_dir():
        what = "is a file; folder: takes a folder, so unpack it" if path.is_file() else "no such folder"
        raise DataError(f"{path}: {what} (looked for from {Path.cwd()})")
    skipped: list[str] = []
    folders, others = _folders(path, skipped)
    undivided = _undivided(folders, others)
    if undivided and (named := [name for name in others if split_in(name)]):  # training_set, seg_test
        raise DataError(
            f"{path}: {named[0]} looks like a split; call it {split_in(named[0])}, or if it is a class, put all of "
            f"them into {path}/train"
        )
    if undivided:  # what is hidden here is counted with the classes
        skipped = [f"folder of images taken for a class ({folder.name})" for folder in folders.values()]
        folders = {"train": path}
    elif not folders or (require_train and "train" not in folders):
        raise DataError(
            f"{path}: no train folder; images are expected as {path}/train/CLASS/*.png, or without splits as "
            f"{path}/CLASS/*.png{_hint(path)}"
        )
    else:
        skipped += [f"folder that is no split ({name})" for name in others]
    names, files, notes = _listed(folders, skipped)
    if dividing.split_file is None and dividing.groups is None:
        return contents(names, files, reading, notes)._replace(undivided=undivided)
    images = [
        Image(os.path.relpath(held.name(row), path), held.sizes[row], names[label], None if undivided else split)
        for split, (held, labels) in files.items()
        for row, label in enumerate(labels.tolist())
    ]
    return read_listed(Listed(path, images, notes), dividing, reading, require_train=require_train)


def read_unlabelled(path: Path, *, reading: Reading, require_train: bool) -> Contents:
    """All images in and below a folder, or of its train folder if it has one, as one class.

    Raises:
        DataError: no such folder, or none with an image; as `encoded.contents`.
    """
    if not path.is_dir():
        what = "is a file; folder: takes a folder, so unpack it" if path.is_file() else "no such folder"
        raise DataError(f"{path}: {what} (looked for from {Path.cwd()})")
    folders, _ = _folders(path, [])
    held = FolderFiles(folders.get("train", path))
    count, skipped = held.add(".")
    if not count:
        raise DataError(f"{held.folder}: holds no image (.png, .jpg, .tif and what else Pillow reads)")
    others = [f"images of the split {name}" for name in folders if name != "train" and "train" in folders]
    notes = [f"left out: {', '.join(([counted(skipped)] if skipped else []) + others)}"] if skipped or others else []
    return contents(("any",), {"train": (held, torch.zeros(count, dtype=torch.int64))}, reading, notes)


def _listed(
    folders: dict[str, Path], skipped: list[str]
) -> tuple[list[str], dict[str, tuple["FolderFiles", Tensor]], list[str]]:
    """Names of the classes, the files and labels of each split, and what is to be said of them."""
    classes = {split: _classes(folder, skipped) for split, folder in folders.items()}
    names = classes["train"] if "train" in classes else sorted(set().union(*classes.values()))
    label = {name: index for index, name in enumerate(names)}
    files: dict[str, tuple[FolderFiles, Tensor]] = {}
    empty: list[str] = []
    for split, folder in folders.items():
        unknown = [name for name in classes[split] if name not in label]
        if unknown:
            raise DataError(f"{folder / unknown[0]}: class {unknown[0]!r} is not in {folders['train']}")
        held, labels = FolderFiles(folder), array("q")
        for name in classes[split]:
            count, more = held.add(name)
            labels.extend([label[name]] * count)
            skipped += more
            if count == 0:
                what = "without an image (.png, .jpg, .tif and what else Pillow reads)"
                if split == "train":
                    raise DataError(f"{folder / name}: class folder {what}")
                empty.append(str(folder / name))
        files[split] = held, torch.from_numpy(np.array(labels, dtype=np.int64))
    notes = [f"left out: {counted(skipped)}"] if skipped else []
    if empty:
        notes.append(f"class folders without an image: {', '.join(empty[:3])}" + (", ..." if len(empty) > 3 else ""))
    return names, files, notes


class FolderFiles:
    """The image files of the class folders that were added, kept compactly, in sorted order; see `stream.Files`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.names, self.sizes = folder, Names(), array("q")

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str) -> tuple[int, list[str]]:
        """Add the images of a class folder; how many there are, and why other files are left out."""
        files, skipped = pictures(self.folder / name)
        for file, size in files:
            self.names.append(os.fsencode(f"{name}/{file}"))
            self.sizes.append(size)
        return len(files), skipped

    def open(self, row: int) -> Path:
        """The path of the file."""
        return self.folder / os.fsdecode(self.names[row])

    def name(self, row: int) -> str:
        """The same as text."""
        return str(self.open(row))

    def identity(self, row: int) -> bytes:
        """CLASS/FILE and the size."""
        return b"%b\0%d\0" % (self.names[row], self.sizes[row])


def read_image(path: Path, *, channels: int, image_size: int, levels: tuple[float, ...] | None = None) -> Tensor:
    """Read one image file as the images of a `folder:` source are read.

    Args:
        path: the file.
        channels: 1 for grey, 3 for RGB; the image is converted.
        image_size: pixels; an image of another size is resized by its shorter side and its centre cropped.
        levels: (black, white) of deep images, as of `ImageSet`; if not given they are inferred from the image, in the
            log where they are not those of full 16 bits, 0..1 or 0..255.

    Returns:
        (image_size, image_size, channels) uint8.

    Raises:
        DataError: the file is missing or no readable image, or its levels cannot be inferred.
        ValueError: channels is neither 1 nor 3, or image_size < 1.
    """
    return read_images([path], channels=channels, image_size=image_size, levels=levels)[0]


def read_images(
    paths: Sequence[Path], *, channels: int, image_size: int, levels: tuple[float, ...] | None = None
) -> list[Tensor]:
    """Read image files; see `read_image`. Levels that are not given are inferred from all of them together."""
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, not {channels}")
    if image_size < 1:
        raise ValueError(f"image_size must be 1 or more, not {image_size}")
    pair = levels if levels is not None else common_levels(paths)
    scale = None if pair is None else Levels(pair[0], pair[1])
    return [
        torch.from_numpy(pixels(path, str(path), channels=channels, size=image_size, levels=scale)) for path in paths
    ]


def common_levels(paths: Sequence[Path]) -> tuple[float, float] | None:
    """(black, white) of all deep images of the files together, in the log where they are not the usual; None without.

    Raises:
        DataError: a file is missing or no readable image, or the levels cannot be inferred.
    """
    deep = [extent(path, str(path)) for path in paths if form(path, str(path)).deep]
    if not deep:
        return None
    pair, line = find(deep, deep)
    if line:
        logger.warning("%s", line)
    return pair


def _folders(path: Path, skipped: list[str]) -> tuple[dict[str, Path], list[str]]:
    """Split -> its folder, and the folders that are of no split."""
    there = [entry.name for entry in entries_of(path, skipped) if entry.is_dir()]
    folders: dict[str, Path] = {}
    for split, names in NAMES.items():
        matching = sorted((name for name in there if split_of(name) == split), key=lambda n: names.index(n.lower()))
        if len(matching) > 1:
            raise DataError(f"{path}: holds both {' and '.join(matching)}; keep one of them")
        if matching:
            folders[split] = path / matching[0]
    return folders, [name for name in there if split_of(name) is None]


def _undivided(folders: dict[str, Path], others: list[str]) -> bool:
    """Whether the folders are classes: none is called as a split, or one that is a class (trains) with its images."""
    return (
        bool(others)
        and len(folders) <= 1
        and all(
            not any(entry.is_dir() for entry in entries_of(folder)) and any(map(is_picture, entries_of(folder)))
            for folder in folders.values()
        )
    )


def _hint(path: Path) -> str:
    tables = [name for name in METADATA if (path / name).is_file()]
    return f"; csv:{path / tables[0]} reads the images that it lists" if tables else ""


def _classes(folder: Path, skipped: list[str]) -> list[str]:
    """Names of the class folders; pictures beside them are counted."""
    entries = entries_of(folder, skipped)
    names = [entry.name for entry in entries if entry.is_dir()]
    if not names:
        raise DataError(f"{folder}: holds no class folders; images are expected as {folder}/CLASS/*.png{_hint(folder)}")
    skipped += ["image beside the class folders"] * sum(map(is_picture, entries))
    return names


def source(request: Request) -> Contents:
    """`folder:PATH`."""
    dividing = request.dividing
    if request.unlabelled == "use":
        place = (request.kind, request.path, request.reading)
        return decoded.images(read_unlabelled, *place, require_train=False, further=(request.unlabelled,))
    return decoded.images(
        partial(read, dividing=dividing),
        *(request.kind, request.path, request.reading),
        require_train=request.require_train,
        beside=dividing.tables,
        further=dividing if dividing.tables else (),
    )
