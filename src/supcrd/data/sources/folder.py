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

from supcrd.data import decoded
from supcrd.data.encoded import AS_IT_IS, Reading, contents
from supcrd.data.imagefile import extent, form, pixels, suffixes
from supcrd.data.images import Contents
from supcrd.data.levels import Levels, find
from supcrd.data.listing import NAMES, counted, split_of, walk
from supcrd.data.sources import Request
from supcrd.data.stream import Names
from supcrd.errors import DataError

logger = logging.getLogger("supcrd")


def read(
    path: Path,
    *,
    reading: Reading = AS_IT_IS,
    require_train: bool = True,
) -> Contents:
    """Read PATH/train/CLASS/*.png and, where they are there, PATH/val (or PATH/validation) and PATH/test.

    Splits have their usual names (`listing.NAMES`), in any case. Classes are the sub-folders of train in sorted order
    (of the other splits, where train is missing), images the files in and below them with a suffix that Pillow reads
    (`imagefile.suffixes`), in torchvision's order; hidden files are ignored, others counted in a line. If every file is
    single-channel the set is grey, else RGB; docs/data.md says how pixels are read.

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
    folders, others = _folders(path)
    if not folders or (require_train and "train" not in folders):
        raise DataError(f"{path}: no train folder; images are expected as {path}/train/CLASS/*.png")
    listed = {split: _classes(folder) for split, folder in folders.items()}
    classes = {split: names for split, (names, _) in listed.items()}
    beside = sum(count for _, count in listed.values())
    names = classes["train"] if "train" in classes else sorted(set().union(*classes.values()))
    label = {name: index for index, name in enumerate(names)}
    files: dict[str, tuple[FolderFiles, Tensor]] = {}
    skipped = ["image beside the class folders"] * beside + [f"folder that is no split ({name})" for name in others]
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
    return contents(names, files, reading, notes)


class FolderFiles:
    """The image files of the class folders that were added, kept compactly, in sorted order; see `stream.Files`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.names, self.sizes = folder, Names(), array("q")

    def __len__(self) -> int:
        return len(self.names)

    def add(self, name: str) -> tuple[int, list[str]]:
        """Add the images of a class folder; how many there are, and why other files are left out."""
        files, skipped = _pictures(self.folder / name)
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


def image_files(paths: Sequence[Path]) -> list[Path]:
    """The paths, with the picture files below each folder in its place, sorted.

    Raises:
        DataError: a folder without a picture.
    """
    pictures: list[Path] = []
    for path in paths:
        if not path.is_dir():
            pictures.append(path)
            continue
        files, skipped = _pictures(path)
        if not files:
            raise DataError(f"{path}: a folder without an image (.png, .jpg, .tif and what else Pillow reads)")
        if skipped:
            logger.warning("%s: left out, no images that can be read: %s", path, counted(skipped))
        pictures += sorted(path / name for name, _ in files)
    return pictures


def _folders(path: Path) -> tuple[dict[str, Path], list[str]]:
    """Split -> its folder, and the folders that are of no split."""
    with _listing(path) as entries:
        there = sorted(entry.name for entry in entries if entry.is_dir())
    folders: dict[str, Path] = {}
    for split, names in NAMES.items():
        matching = sorted((name for name in there if split_of(name) == split), key=lambda n: names.index(n.lower()))
        if len(matching) > 1:
            raise DataError(f"{path}: holds both {' and '.join(matching)}; keep one of them")
        if matching:
            folders[split] = path / matching[0]
    return folders, [name for name in there if split_of(name) is None]


def _classes(folder: Path) -> tuple[list[str], int]:
    """Names of the class folders, and how many pictures are beside them."""
    with _listing(folder) as entries:
        listed = list(entries)
    names = sorted(entry.name for entry in listed if entry.is_dir())
    if not names:
        raise DataError(f"{folder}: holds no class folders; images are expected as {folder}/CLASS/*.png")
    return names, sum(entry.is_file() and _ending(entry.name) in suffixes() for entry in listed)


@contextmanager
def _listing(folder: Path) -> Iterator[Iterator["os.DirEntry[str]"]]:
    """What is not hidden in a folder."""
    try:
        with os.scandir(folder) as entries:
            yield (entry for entry in entries if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _pictures(folder: Path) -> tuple[list[tuple[str, int]], list[str]]:
    """(name from the folder on, bytes) of each picture in torchvision's order, and why other files are left out."""
    files, skipped = [], []
    for name, entry in walk(folder):
        if entry.is_file():
            if _ending(name) in suffixes():
                files.append((name, entry.stat().st_size))
            else:
                skipped.append(f"{_ending(name) or 'without an ending'}")
        elif not entry.is_dir():
            skipped.append("broken link" if entry.is_symlink() else "special file")
    files.sort(key=lambda file: os.path.split(file[0]))
    return files, skipped


def source(request: Request) -> Contents:
    """`folder:PATH`."""
    return decoded.images(read, request.kind, request.path, request.reading, require_train=request.require_train)
