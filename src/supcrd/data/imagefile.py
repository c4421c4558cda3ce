"""One encoded image -> uint8 pixels, by Pillow; docs/data.md has the rule for each of its modes."""

import contextlib
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from supcrd.data.cut import Cut, boxed, centre, reduction, shortest
from supcrd.data.levels import Extent, Levels, bounds, find
from supcrd.data.upright import SIDEWAYS, orientation, upright
from supcrd.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

File = Path | IO[bytes]


# registered with Pillow, but no pictures, without a decoder, or decoded by starting another program (EPS)
NO_PICTURES = {"BUFR", "EPS", "FITS", "GRIB", "HDF5", "IPTC", "MPEG", "PDF", "WMF"}
FILMS = {"DCX", "FLI"}
"""Many pictures in a file by their nature; which of them would be the one that its class names?"""
LARGE = 2**26
"""Pixels: a JPEG of more is decoded at a half, a quarter or an eighth of its size, as far as 4 times the size that is
wanted stays, and an image that would have more once its shorter side is resized is cropped first."""
ALONE = 2**24
"""Pixels: of images with more only one is decoded at a time, or sixteen threads would take sixteen times the memory."""
_one_at_a_time = threading.Lock()


@cache
def suffixes() -> frozenset[str]:
    """The endings of picture files that Pillow reads, in lower case and with their dot.

    Example:
        >>> {".png", ".tif", ".jfif", ".pgm"} <= suffixes(), ".pdf" in suffixes()
        (True, False)
    """
    from PIL import Image

    Image.init()
    return frozenset(end for end, kind in Image.registered_extensions().items() if kind in formats())


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read, regardless of a file's ending."""
    from PIL import Image

    Image.init()
    return tuple(kind for kind in Image.OPEN if kind not in NO_PICTURES | FILMS)


class Form(NamedTuple):
    """What an image's header says."""

    grey: bool  # single-channel
    size: tuple[int, int]  # (width, height) as stored, before its orientation
    deep: bool  # 16- or 32-bit integers, or floats
    narrowed: bool  # 16 bits a colour, of which Pillow gives the upper 8


def form(file: File, name: str) -> Form:
    """What the header alone says.

    Raises:
        DataError: no readable image; it says `name`.
    """
    with _open(file, name) as image:
        deep = _is_deep(image)
        narrowed = not deep and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
        return Form(image.mode in ("1", "L") or deep, image.size, deep, narrowed)


def header(file: File, name: str) -> tuple[str, tuple[int, int]]:
    """Pillow's mode, and (width, height) as stored.

    Raises:
        DataError: no readable image; it says `name`.
    """
    with _open(file, name) as image:
        return image.mode, image.size


def upright_size(file: File, name: str) -> tuple[int, int]:
    """(width, height) after the orientation; the image is decoded.

    Raises:
        DataError: no readable image.
    """
    with _decoded(file, name) as image:
        return upright(image).size


def extent(file: File, name: str) -> Extent:
    """Smallest and largest value of a deep image.

    Raises:
        DataError: no readable image; values that are not finite.
    """
    with _decoded(file, name) as image:
        return _extent(image, name)


def pixels(
    file: File, name: str, *, channels: int, size: int, levels: Levels | None = None, draft: bool = False
) -> NDArray[np.uint8]:
    """Decode one image, turn it upright, bring its shorter side to `size` and crop the centre.

    Args:
        file: what Pillow reads.
        name: of the image, for messages.
        channels: 1 for grey, 3 for RGB; the image is converted.
        size: pixels.
        levels: black and white of deep images; if not given, those of the image by itself.
        draft: a JPEG may be decoded at a half, a quarter or an eighth of its size, if `size` pixels remain.

    Returns:
        (size, size, channels) uint8.

    Raises:
        DataError: no readable image; values that are not finite, or without levels that can be inferred.
    """
    (image,) = cut_out(file, name, (None,), 0, channels=channels, size=size, levels=levels, draft=draft)
    return image


def cut_out(
    file: File,
    name: str,
    cuts: tuple[Cut, ...],
    place: int,
    *,
    channels: int,
    size: int,
    levels: Levels | None = None,
    draft: bool = False,
) -> list[NDArray[np.uint8]]:
    """Several parts of an image, which is decoded once; `place` is that of the image in its set, the rest as `pixels`.

    Raises:
        DataError: as `pixels`.
    """
    with _open(file, name) as image, _one_if_large(image):
        try:
            full, reduced = _reduced(image, cuts, place, margin=size if draft else 4 * size, always=draft)
            image.load()
            converted = _converted(upright(image), channels, levels, name)
            full = full if reduced > 1 else converted.size
            parts = [
                centre(converted, size, full, reduced=reduced, largest=LARGE)
                if cut is None
                else boxed(converted, size, cut.box(place, *full), reduced=reduced)
                for cut in cuts
            ]
        except DataError:
            raise
        except Exception as error:
            raise _unreadable(name, error) from error
        return [np.array(part, dtype=np.uint8).reshape(size, size, channels) for part in parts]


def _reduced(
    image: "Image.Image", cuts: tuple[Cut, ...], place: int, *, margin: int, always: bool
) -> tuple[tuple[int, int], int]:
    """Have a JPEG decoded smaller, if `margin` pixels of what is cut out of it remain: its size, and by how much."""
    stored = full = image.size
    if image.format not in ("JPEG", "MPO") or not (always or full[0] * full[1] > LARGE):
        return full, 1
    if orientation(image) in SIDEWAYS:
        full = full[1], full[0]
    factor = reduction(shortest(cuts, place, *full), margin)
    if factor > 1:
        image.draft(image.mode, (stored[0] // factor, stored[1] // factor))
    return full, factor if image.size != stored else 1


@contextlib.contextmanager
def _open(file: File, name: str) -> "Iterator[Image.Image]":
    """Open without decoding."""
    from PIL import Image

    # Pillow raises many kinds of exception on damaged files, here as in decoding; all mean the same to the user.
    handle: IO[bytes] | None = None
    try:
        # never by its path: Pillow maps such TIFFs into memory, and reads rotated ones wrongly
        handle = file.open("rb") if isinstance(file, Path) else file
        image = Image.open(handle, formats=formats())
    except Exception as error:
        raise _unreadable(name, error, handle) from error
    try:
        with image:
            yield image
    finally:
        if isinstance(file, Path):
            handle.close()


@contextlib.contextmanager
def _decoded(file: File, name: str) -> "Iterator[Image.Image]":
    """Open and decode."""
    with _open(file, name) as image, _one_if_large(image):
        try:
            image.load()
        except Exception as error:
            raise _unreadable(name, error) from error
        yield image


def _one_if_large(image: "Image.Image") -> contextlib.AbstractContextManager[object]:
    return _one_at_a_time if image.width * image.height > ALONE else contextlib.nullcontext()


def _unreadable(name: str, error: Exception, handle: IO[bytes] | None = None) -> DataError:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, FileNotFoundError):
        return DataError(f"{name}: no such image file")
    if isinstance(error, MemoryError):
        return DataError(f"{name}: no memory for its pixels; scale it down")
    if isinstance(error, UnidentifiedImageError) and handle is not None and (kind := _refused(handle)):
        return DataError(f"{name}: not a readable image: {kind}; docs/data.md lists the formats that are read")
    if isinstance(error, Image.DecompressionBombError):
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return DataError(f"{name}: too large, Pillow reads at most {limit:,} pixels; scale it down")
    return DataError(f"{name}: not a readable image ({type(error).__name__}), damaged or truncated")


def _refused(handle: IO[bytes]) -> str | None:
    """What a file is that is of a format that is not read; None for no format at all."""
    from PIL import Image

    with contextlib.suppress(Exception):
        if handle.seek(0, 2) == 0:
            return "an empty file"
        handle.seek(0)
        return f"a file of {Image.open(handle, formats=sorted(NO_PICTURES | FILMS)).format}"
    return None


def _is_deep(image: "Image.Image") -> bool:
    """16-bit grey (which some versions and formats of Pillow give as 32-bit `I`), 32-bit grey, float grey."""
    return image.mode.startswith("I") or image.mode == "F"


def _extent(image: "Image.Image", name: str) -> Extent:
    kind = {"F": "float", "I": "int32"}.get(image.mode, "int16")
    return Extent(name, kind, *bounds(np.asarray(image), name))


def _converted(image: "Image.Image", channels: int, levels: Levels | None, name: str) -> "Image.Image":
    from PIL import Image

    if _is_deep(image):
        if levels is None:
            one = [_extent(image, name)]
            levels = Levels(*find(one, one, doubtful=True)[0])
        values, transparent = np.asarray(image), image.info.get("transparency")
        # Pillow's own conversion to 8 bits clips instead of scaling
        scaled = levels.scaled(values, name)
        if isinstance(transparent, int):
            scaled[values == transparent] = 255  # on white
        image = Image.fromarray(scaled)
    elif "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        image = _on_white(image)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)  # which would copy it


def _on_white(image: "Image.Image") -> "Image.Image":
    """Transparent pixels over white; an image without any as it is."""
    from PIL import Image

    if image.mode == "La":
        image = image.convert("LA")
    with_alpha = image.convert("RGBA")
    lowest, _ = with_alpha.getchannel("A").getextrema()
    if lowest == 255:
        # Pillow warns on the direct way from a palette, with the same pixels
        return with_alpha if image.mode == "P" else image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, with_alpha).convert("RGB")
