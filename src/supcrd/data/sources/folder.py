"""`folder:PATH`: image files in one folder a class, and reading a single image file."""

import os
from array import array
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from supcrd.data.imagefile import form, pixels
from supcrd.data.images import Contents, Split
from supcrd.data.stream import Files, Names, StreamedImages, decoding_pool, sample
from supcrd.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
SPLITS = {"train": ("train",), "validation": ("val", "validation"), "test": ("test",)}


def read(
    path: Path,
    *,
    image_size: int | None = None,
    require_train: bool = True,
    stream: bool = False,
    workers: int | None = None,
) -> Contents:
    """Read PATH/train/CLASS/*.png and, where they are there, PATH/val (or PATH/validation) and PATH/test.

    Classes are the sub-folders of train in sorted order (of the other splits, where train is missing), images the files
    with a suffix in SUFFIXES, in either case, in sorted order; hidden and other files are ignored. If every file is
    single-channel the set is grey (16-bit levels are scaled to 8), else RGB; an alpha channel is dropped, of an
    animation the first frame is read, and EXIF orientation is not applied.

    Args:
        path: the folder.
        image_size: pixels; resize each image's shorter side to it (bilinear, antialiased) and crop the centre. None:
            all images must be squares of one size.
        require_train: False allows a folder with only val or test.
        stream: leave the files where they are and decode them when they are asked for; needs image_size. The folder is
            listed, of the files only the headers of a sample are read.
        workers: threads that decode; as many as the machine has cores, at most 16, if not given.

    Raises:
        DataError: no train folder; an empty class folder; a class that train lacks; an unreadable image (of a streamed
            set it is found when it is asked for); sizes that differ. Each names the folder or file.

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
    return contents(names, files, image_size=image_size, stream=stream, workers=workers)


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


def contents(
    class_names: Sequence[str],
    files: Mapping[str, tuple[Files, Tensor]],
    *,
    image_size: int | None,
    stream: bool,
    workers: int | None,
) -> Contents:
    """The splits (name -> encoded images and their labels) of a set, decoded or streamed.

    The set is grey if every image is single-channel. Of a streamed one only the headers of `stream.sample` are read to
    tell; should a set that they tell to be grey hold an image in colour, its luma is taken.

    Raises:
        DataError: an unreadable image; sizes that differ without image_size.
    """
    pool = decoding_pool(workers)
    every = [held for held, _ in files.values()]
    starts = [0, *accumulate(map(len, every))]

    def form_of(place: int) -> tuple[str, bool, tuple[int, int]]:
        split = bisect(starts, place) - 1
        held, row = every[split], place - starts[split]
        return (held.name(row), *form(held.open(row), held.name(row)))

    chosen = sample(starts[-1]).tolist() if stream else range(starts[-1])
    forms = list(pool.map(form_of, chosen))
    first_name, _, first = forms[0]
    for name, _, (width, height) in forms:
        if image_size is None and (width != height or (width, height) != first):
            raise DataError(
                f"{name}: {width} x {height} px, but all images must be squares of one size "
                f"({Path(first_name).name} is {first[0]} x {first[1]}); data.image_size=N resizes and crops them"
            )
    channels, size = 1 if all(grey for _, grey, _ in forms) else 3, image_size or first[0]
    splits = {}
    for split, (held, labels) in files.items():
        images = StreamedImages(held, pool, channels=channels, size=size)
        splits[split] = Split(images if stream else images[:], labels)
    if not stream:
        pool.shutdown()
    return Contents(tuple(class_names), **splits)


def read_image(path: Path, *, channels: int, image_size: int) -> Tensor:
    """Read one image file as the images of a `folder:` source are read.

    Args:
        path: the file.
        channels: 1 for grey, 3 for RGB; the image is converted.
        image_size: pixels; an image of another size is resized by its shorter side and its centre cropped.

    Returns:
        (image_size, image_size, channels) uint8.

    Raises:
        DataError: the file is missing or no readable image.
        ValueError: channels is neither 1 nor 3, or image_size < 1.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, not {channels}")
    if image_size < 1:
        raise ValueError(f"image_size must be 1 or more, not {image_size}")
    return torch.from_numpy(pixels(path, str(path), channels=channels, size=image_size))


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
        images = (entry for entry in entries if os.path.splitext(entry.name)[1].lower() in SUFFIXES)
        files = sorted((entry.name, entry.stat().st_size) for entry in images if entry.is_file())
    if not files:
        raise DataError(f"{folder}: class folder without an image ({', '.join(SUFFIXES)})")
    return files
