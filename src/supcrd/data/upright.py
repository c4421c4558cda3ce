"""How a picture was held."""

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

ORIENTATION = 0x0112  # tag of EXIF and TIFF
SIDEWAYS = (5, 6, 7, 8)
"""Its values that exchange width and height."""


def orientation(image: "Image.Image") -> int | None:
    """What the tag of EXIF or TIFF says, 1 to 8; None without one.

    Example:
        >>> from PIL import Image
        >>> orientation(Image.new("L", (2, 3))) is None
        True
    """
    # Only the tag is read: tables damaged elsewhere are no reason to refuse an image.
    with contextlib.suppress(Exception):
        return image.getexif().get(ORIENTATION)
    return None


def upright(image: "Image.Image") -> "Image.Image":
    """As the camera was held: what `PIL.ImageOps.exif_transpose` gives, but for EXIF that it fails on."""
    from PIL.Image import Transpose

    # After loading, since Pillow turns some formats by itself then, and PNG may have the tag at its end.
    methods = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    method = methods.get(orientation(image) or 1)  # 1 is upright
    return image if method is None else image.transpose(method)
