"""One encoded image -> uint8 pixels, by Pillow."""

from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from supcrd.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

File = Path | IO[bytes]


def form(file: File, name: str) -> tuple[bool, tuple[int, int]]:
    """(whether the image is single-channel, (width, height)), from the header alone.

    Raises:
        DataError: no readable image; it says `name`.
    """
    with _open(file, name) as image:
        return image.mode in ("1", "L") or _is_deep(image), image.size


def pixels(file: File, name: str, *, channels: int, size: int) -> NDArray[np.uint8]:
    """Decode one image, bring its shorter side to `size` and crop the centre.

    Args:
        file: what Pillow reads.
        name: of the image, for messages.
        channels: 1 for grey, 3 for RGB; the image is converted.
        size: pixels.

    Returns:
        (size, size, channels) uint8.

    Raises:
        DataError: no readable image.
    """
    with _open(file, name) as image:
        try:
            converted = _resized(_converted(image, channels), size)
        except Exception as error:
            raise _unreadable(name, error) from error
        return np.array(converted, dtype=np.uint8).reshape(size, size, channels)


def _open(file: File, name: str) -> "Image.Image":
    """Open without decoding."""
    from PIL import Image

    # Pillow raises many kinds of exception on damaged files, in `_open` as in `pixels`; all mean the same to the user.
    try:
        return Image.open(file)
    except Exception as error:
        raise _unreadable(name, error) from error


def _unreadable(name: str, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{name}: no such image file")
    return DataError(f"{name}: not a readable image ({type(error).__name__}), damaged or truncated")


def _is_deep(image: "Image.Image") -> bool:
    """16-bit grey, which older versions of Pillow open as 32-bit `I`."""
    return image.mode.startswith("I")


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
