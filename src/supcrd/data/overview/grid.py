"""A picture of some images of each class."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from supcrd.base.seeding import permutation
from supcrd.base.wording import printable
from supcrd.data.images import Split

CLASSES, IMAGES = 20, 10  # rows and columns at most
TEXT = 14  # pixels above a row
GAP = 2  # pixels between images


class Strip(NamedTuple):
    """Images of a class."""

    name: str
    images: int  # of it
    picture: Image.Image | None  # up to 10 of them side by side, RGBA, nothing between them; None of none


def strips(split: Split, well: NDArray[np.bool_], class_names: Sequence[str]) -> list[Strip]:
    """Up to 10 images of each of the first 20 classes, always the same ones; small images are enlarged.

    Args:
        split: the images.
        well: (N,) those that can be read.
        class_names: C names.

    Example:
        >>> from supcrd.data import load
        >>> digits = load("digits")
        >>> first = strips(digits.test, np.ones(359, bool), digits.class_names)[0]
        >>> first.name, first.images, first.picture.size
        ('0', 36, (498, 48))
    """
    size = split.images.shape[1]
    enlarged = size * max(1, 48 // size)
    place = enlarged + GAP
    labels = split.labels.cpu().numpy()
    lines = []
    for label, name in enumerate(class_names[:CLASSES]):
        rows = np.flatnonzero((labels == label) & well)
        chosen = rows[np.sort(permutation(len(rows), "samples", label)[:IMAGES].numpy())] if len(rows) else rows
        if len(chosen) == 0:
            lines.append(Strip(printable(name), 0, None))
            continue
        picture = Image.new("RGBA", (len(chosen) * place - GAP, enlarged))
        for at, values in enumerate(split.images[torch.from_numpy(chosen)].numpy()):
            image = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
            image = image.resize((enlarged, enlarged), Image.Resampling.NEAREST)
            picture.paste(image.convert("RGB"), (at * place, 0))
        lines.append(Strip(printable(name), len(rows), picture))
    return lines


def draw(split: Split, well: NDArray[np.bool_], class_names: Sequence[str]) -> Image.Image:
    """The strips, one below the other, with the classes' names; arguments as of `strips`.

    Example:
        >>> from supcrd.data import load
        >>> digits = load("digits")
        >>> draw(digits.test, np.ones(359, bool), digits.class_names).size
        (500, 640)
    """
    shown = strips(split, well, class_names)
    size = split.images.shape[1]
    place = size * max(1, 48 // size) + GAP
    height = place + TEXT
    grid = Image.new("RGB", (IMAGES * place, len(shown) * height), "white")
    pen = ImageDraw.Draw(grid)
    for line, (name, count, picture) in enumerate(shown):
        pen.text((GAP, line * height), f"{name[:60]} ({count:,})", fill="black")
        if picture is not None:
            grid.paste(picture, (0, line * height + TEXT), picture)
    return grid
