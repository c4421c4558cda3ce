"""`folder:PATH`: image files in one folder a class, and reading a single image file."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supcrd.data.images import Contents, Split
from supcrd.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif")
SPLITS = {"train": ("train",), "validation": ("val", "validation"), "test": ("test",)}

Labelled = list[tuple[Path, int]]  # (file, label), in the order of the images


def read(path: Path, *, image_size: int | None = None, require_train: bool = True) -> Contents:
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

    Raises:
        DataError: no train folder; an empty class folder; a class that train lacks; an unreadable image; sizes that
            differ. Each names the folder or file.
    """
    if not path.is_dir():
        raise DataError(f"{path}: no such folder (looked for from {Path.cwd()})")
    folders = {split: found for split, names in SPLITS.items() if (found := _one_of(path, names))}
    if not folders or (require_train and "train" not in folders):
        raise DataError(f"{path}: no train folder; images are expected as {path}/train/CLASS/*.png")
    classes = {split: _classes(folder) for split, folder in folders.items()}
    names = classes["train"] if "train" in classes else sorted(set().union(*classes.values()))
    label = {name: index for index, name in enumerate(names)}
    files: dict[str, Labelled] = {}
    for split, folder in folders.items():
        unknown = [name for name in classes[split] if name not in label]
        if unknown:
            raise DataError(f"{folder / unknown[0]}: class {unknown[0]!r} is not in {folders['train']}")
        files[split] = [(file, label[name]) for name in classes[split] for file in _image_files(folder / name)]

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        every = [file for labelled in files.values() for file, _ in labelled]
        channels, size = _common_form(every, list(pool.map(_form, every)), image_size)
        splits = {split: _decode_all(labelled, channels, size, pool) for split, labelled in files.items()}
    return Contents(tuple(names), **splits)


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
    return torch.from_numpy(_pixels(path, channels, image_size))


def _one_of(path: Path, names: Sequence[str]) -> Path | None:
    found = [path / name for name in names if (path / name).is_dir()]
    if len(found) > 1:
        raise DataError(f"{path}: holds both {' and '.join(names)}; keep one of them")
    return found[0] if found else None


def _classes(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in _entries(folder) if entry.is_dir())
    if not names:
        raise DataError(f"{folder}: holds no class folders; images are expected as {folder}/CLASS/*.png")
    return names


def _entries(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error


def _image_files(folder: Path) -> list[Path]:
    files = sorted(entry for entry in _entries(folder) if entry.suffix.lower() in SUFFIXES and entry.is_file())
    if not files:
        raise DataError(f"{folder}: class folder without an image ({', '.join(SUFFIXES)})")
    return files


def _open(path: Path) -> "Image.Image":
    """Open without decoding."""
    from PIL import Image

    # Pillow raises many kinds of exception on damaged files, in `_open` as in `_pixels`; all mean the same to the user.
    try:
        return Image.open(path)
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such image file")
    return DataError(f"{path}: not a readable image ({type(error).__name__}), damaged or truncated")


def _form(path: Path) -> tuple[bool, tuple[int, int]]:
    """(whether the image is single-channel, (width, height)), from the header alone."""
    with _open(path) as image:
        return image.mode in ("1", "L") or _is_deep(image), image.size


def _is_deep(image: "Image.Image") -> bool:
    """16-bit grey, which older versions of Pillow open as 32-bit `I`."""
    return image.mode.startswith("I")


def _common_form(
    files: Sequence[Path], forms: Sequence[tuple[bool, tuple[int, int]]], image_size: int | None
) -> tuple[int, int]:
    """(channels, pixels) of the whole set."""
    first = forms[0][1]
    for file, (_, (width, height)) in zip(files, forms, strict=True):
        if image_size is None and (width != height or (width, height) != first):
            raise DataError(
                f"{file}: {width} x {height} px, but all images must be squares of one size "
                f"({files[0].name} is {first[0]} x {first[1]}); data.image_size=N resizes and crops them"
            )
    return 1 if all(grey for grey, _ in forms) else 3, image_size or first[0]


def _decode_all(labelled: Labelled, channels: int, size: int, pool: ThreadPoolExecutor) -> Split:
    images = torch.empty(len(labelled), size, size, channels, dtype=torch.uint8)
    pixels = images.numpy()

    def decode(index: int) -> None:
        pixels[index] = _pixels(labelled[index][0], channels, size)

    for _ in pool.map(decode, range(len(labelled))):
        pass  # the first failure, in the order of the files, is raised here
    return Split(images, torch.tensor([label for _, label in labelled]))


def _pixels(path: Path, channels: int, size: int) -> NDArray[np.uint8]:
    """Decode one file into (size, size, channels) uint8."""
    with _open(path) as image:
        try:
            converted = _resized(_converted(image, channels), size)
        except Exception as error:
            raise _unreadable(path, error) from error
        return np.array(converted, dtype=np.uint8).reshape(size, size, channels)


def _converted(image: "Image.Image", channels: int) -> "Image.Image":
    from PIL import Image

    if _is_deep(image):
        # Pillow's own conversion to 8 bits clips instead of scaling: 65535 / 255 = 257.
        levels: NDArray[Any] = np.asarray(image).astype(np.float64).clip(0, 65535)
        image = Image.fromarray(np.rint(levels / 257).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns on the direct way, with the same pixels
    return image.convert("L" if channels == 1 else "RGB")


def _resized(image: "Image.Image", size: int) -> "Image.Image":
    """Shorter side to `size`, then the centre: torchvision's Resize and CenterCrop, to the pixel."""
    from PIL import Image

    width, height = image.size
    if (width, height) == (size, size):
        return image
    shorter = min(width, height)
    width, height = int(size * width / shorter), int(size * height / shorter)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))
