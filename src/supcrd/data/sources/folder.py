"""`folder:PATH`: image files in one folder a class, and reading a single image file."""

import logging
import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from supcrd.data.encoded import AS_IT_IS, Reading, contents
from supcrd.data.imagefile import extent, form, pixels, suffixes
from supcrd.data.images import Contents
from supcrd.data.levels import Levels, find
from supcrd.data.stream import Names
from supcrd.errors import DataError

logger = logging.getLogger("supcrd")

SPLITS = {"train": ("train",), "validation": ("val", "validation"), "test": ("test",)}


def read(
    path: Path,
    *,
    reading: Reading = AS_IT_IS,
    require_train: bool = True,
) -> Contents:
    """Read PATH/train/CLASS/*.png and, where they are there, PATH/val (or PATH/validation) and PATH/test.

    Classes are the sub-folders of train in sorted order (of the other splits, where train is missing), images the files
    with a suffix that Pillow reads (`imagefile.suffixes`), in either case, in sorted order; hidden and other files are
    ignored. If every file is single-channel the set is grey, else RGB; docs/data.md says how pixels are read.

    Args:
        path: the folder.
        reading: image_size, pixels: resize each image's shorter side to it (bilinear, antialiased) and crop the centre;
            without it all images must be squares of one size. stream: leave the files where they are and decode them
            when they are asked for; needs image_size. workers: threads that decode; as many as the machine has cores,
            at most 16, if not given. levels: (black, white) of deep images. damaged: "refuse", or "skip" to leave out
            what cannot be read.
        require_train: False allows a folder with only val or test.

    Raises:
        DataError: no train folder; an empty class folder; a class that train lacks; unreadable images (`encoded.
            contents`); sizes that differ. Each names the folder or file.

    Cost: streamed, 32 bytes an image and the letters of CLASS/FILE.
    """
    if not path.is_dir():
        raise DataError(f"{path}: no such folder (looked for from {Path.cwd()})")
    folders = {split: found for split, names in SPLITS.items() if (found := _one_of(path, names))}
    if not folders or (require_train and "train" not in folders):
        raise DataError(f"{path}: no train folder; images are expected as {path}/train/CLASS/*.png")
    classes = {split: _classes(folder) for split, folder in folders.items()}
    names = classes["train"] if "train" in classes else sorted(set().union(*classes.values()))
    label = {name: index for index, name in enumerate(names)}
    files: dict[str, tuple[FolderFiles, Tensor]] = {}
    for split, folder in folders.items():
        unknown = [name for name in classes[split] if name not in label]
        if unknown:
            raise DataError(f"{folder / unknown[0]}: class {unknown[0]!r} is not in {folders['train']}")
        held, labels = FolderFiles(folder), array("q")
        for name in classes[split]:
            labels.extend([label[name]] * held.add(name))
        files[split] = held, torch.from_numpy(np.array(labels, dtype=np.int64))
    return contents(names, files, reading)


class FolderFiles:
    """The image files of the class folders that were added, kept compactly, in sorted order; see `stream.Files`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.names, self.sizes = folder, Names(), array("q")

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str) -> int:
        """Add the images of a class folder; how many there are."""
        files = _image_files(self.folder / name)
        for file, size in files:
            self.names.append(os.fsencode(f"{name}/{file}"))
            self.sizes.append(size)
        return len(files)

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
        levels: (black, white) of deep images, as of `ImageSet`; if not given they are told from the image, in the log
            where they are not those of full 16 bits, 0..1 or 0..255.

    Returns:
        (image_size, image_size, channels) uint8.

    Raises:
        DataError: the file is missing or no readable image, or its levels cannot be told.
        ValueError: channels is neither 1 nor 3, or image_size < 1.
    """
    return read_images([path], channels=channels, image_size=image_size, levels=levels)[0]


def read_images(
    paths: Sequence[Path], *, channels: int, image_size: int, levels: tuple[float, ...] | None = None
) -> list[Tensor]:
    """Read image files; see `read_image`. Levels that are not given are told from all of them together."""
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, not {channels}")
    if image_size < 1:
        raise ValueError(f"image_size must be 1 or more, not {image_size}")
    scale = None if levels is None else Levels(levels[0], levels[1])
    if scale is None:
        deep = [extent(path, str(path)) for path in paths if form(path, str(path)).deep]
        if deep:
            pair, line = find(deep, deep)
            scale = Levels(*pair)
            if line:
                logger.warning("%s", line)
    return [
        torch.from_numpy(pixels(path, str(path), channels=channels, size=image_size, levels=scale)) for path in paths
    ]


def _one_of(path: Path, names: Sequence[str]) -> Path | None:
    found = [path / name for name in names if (path / name).is_dir()]
    if len(found) > 1:
        raise DataError(f"{path}: holds both {' and '.join(names)}; keep one of them")
    return found[0] if found else None


def _classes(folder: Path) -> list[str]:
    with _listing(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir())
    if not names:
        raise DataError(f"{folder}: holds no class folders; images are expected as {folder}/CLASS/*.png")
    return names


@contextmanager
def _listing(folder: Path) -> Iterator[Iterator["os.DirEntry[str]"]]:
    """What is not hidden in a folder."""
    try:
        with os.scandir(folder) as entries:
            yield (entry for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error


def _image_files(folder: Path) -> list[tuple[str, int]]:
    """(name, size in bytes) of each, sorted by name."""
    with _listing(folder) as entries:
        images = (entry for entry in entries if os.path.splitext(entry.name)[1].lower() in suffixes())
        files = sorted((entry.name, entry.stat().st_size) for entry in images if entry.is_file())
    if not files:
        raise DataError(f"{folder}: class folder without an image (.png, .jpg, .tif and what else Pillow reads)")
    return files
