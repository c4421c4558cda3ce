"""A picture of some images of each class."""

from collections.abc import Sequence

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


def draw(split: Split, well: NDArray[np.bool_], class_names: Sequence[str]) -> Image.Image:
    """A row of up to 10 images for each of the first 20 classes, always the same ones; small images are enlarged.

    Args:
        split: the images.
        well: (N,) those that can be read.
        class_names: C names, written above the rows.

    Example:
        >>> from supcrd.data import load
        >>> digits = load("digits")
        >>> draw(digits.test, np.ones(359, bool), digits.class_names).size
        (500, 640)
    """
    size = split.images.shape[1]
    enlarged = size * max(1, 48 // size)
    shown = list(enumerate(class_names))[:CLASSES]
    place, height = enlarged + GAP, enlarged + GAP + TEXT
    grid = Image.new("RGB", (IMAGES * place, len(shown) * height), "white")
    pen = ImageDraw.Draw(grid)
    labels = split.labels.cpu().numpy()
    for line, (label, name) in enumerate(shown):
        rows = np.flatnonzero((labels == label) & well)
        chosen = rows[np.sort(permutation(len(rows), "samples", label)[:IMAGES].numpy())] if len(rows) else rows
        pen.text((GAP, line * height), f"{printable(name)[:60]} ({len(rows):,})", fill="black")
        if len(chosen) == 0:
            continue
        images = split.images[torch.from_numpy(chosen)].numpy()
        for at, values in enumerate(images):
            image = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
            image = image.resize((enlarged, enlarged), Image.Resampling.NEAREST)
            grid.paste(image.convert("RGB"), (at * place, line * height + TEXT))
    return grid
