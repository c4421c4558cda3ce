"""Which part of a picture becomes an image: its centre, or a box that is drawn before it is decoded."""

import math
import random
from typing import TYPE_CHECKING, NamedTuple

from supcrd.base.seeding import seed_for

if TYPE_CHECKING:
    from PIL import Image

ATTEMPTS = 10  # to draw a box that fits, as in torchvision
REDUCTIONS = (8, 4, 2)
"""By which libjpeg, through Pillow, decodes a JPEG smaller: it leaves out the high frequencies of each block."""


class Box(NamedTuple):
    """A part of a picture, in its pixels."""

    left: int
    top: int
    width: int
    height: int


class Crops(NamedTuple):
    """The boxes of one view of one epoch, drawn from whole pictures: `augment.crop = "whole"`.

    Attributes:
        scale: area, as a share of the picture's: the range.
        ratio: width over height: the range.
        seed, epoch, view: what boxes are a function of, with the image's place in the set and the picture's size.
    """

    scale: tuple[float, float]
    ratio: tuple[float, float]
    seed: int
    epoch: int
    view: int

    def box(self, place: int, width: int, height: int) -> Box:
        """The box of the image at `place` of the set, whose picture has these sides.

        Source: RandomResizedCrop of torchvision.transforms.v2, which draws in the same way.

        Example:
            >>> crops = Crops((0.25, 0.25), (1.0, 1.0), seed=0, epoch=0, view=0)
            >>> crops.box(7, 100, 100)[2:], crops.box(7, 100, 100) == crops.box(7, 100, 100)
            ((50, 50), True)
        """
        # of its own for every image: nothing is drawn for, or kept of, images that are not read
        draw = random.Random(seed_for("views.whole", self.seed, self.epoch, self.view, place)).random
        down, right = draw(), draw()
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(ATTEMPTS):
            area = width * height * (self.scale[0] + draw() * (self.scale[1] - self.scale[0]))
            quotient = math.exp(low + draw() * (high - low))
            wide, tall = round(math.sqrt(area * quotient)), round(math.sqrt(area / quotient))
            if 0 < wide <= width and 0 < tall <= height:
                return Box(int(right * (width - wide + 1)), int(down * (height - tall + 1)), wide, tall)
        nearest = min(max(width / height, self.ratio[0]), self.ratio[1])
        wide = max(1, min(width, round(height * nearest)))
        tall = max(1, min(height, round(width / nearest)))
        return Box((width - wide) // 2, (height - tall) // 2, wide, tall)


Cut = Crops | None
"""None: the centre, once the shorter side has been resized."""


def shortest(cuts: tuple[Cut, ...], place: int, width: int, height: int) -> int:
    """The shortest side of what shall be cut out of a picture, in its pixels.

    Example:
        >>> shortest((None,), 0, 500, 375)
        375
    """
    boxes = [Box(0, 0, width, height) if cut is None else cut.box(place, width, height) for cut in cuts]
    return min(min(box.width, box.height) for box in boxes)


def reduction(side: int, size: int) -> int:
    """By how much a JPEG may be decoded smaller so that a side of it keeps `size` pixels or more: 1, 2, 4 or 8.

    Example:
        >>> [reduction(side, 224) for side in (375, 448, 1000, 5000)]
        [1, 2, 4, 8]
    """
    return next((factor for factor in REDUCTIONS if side >= factor * size), 1)


def centre(image: "Image.Image", size: int, full: tuple[int, int], *, reduced: int, largest: int) -> "Image.Image":
    """Shorter side to `size`, then the centre: torchvision's Resize and CenterCrop, to the pixel where nothing is
    reduced.

    Args:
        image: as it was decoded.
        size: pixels.
        full: (width, height) of the picture.
        reduced: by how much `image` is smaller than that.
        largest: pixels that the resized image may have; one that would have more is cropped first.
    """
    from PIL import Image

    if image.size == (size, size):
        return image
    shorter = min(full)
    width, height = int(size * full[0] / shorter), int(size * full[1] / shorter)
    left, top = round((width - size) / 2), round((height - size) / 2)
    if width * height > largest:  # a strip: the centre alone is resized, with the same numbers to rounding
        across, down = full[0] / reduced / width, full[1] / reduced / height
        box = (left * across, top * down, (left + size) * across, (top + size) * down)
        return image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    whole = None if reduced == 1 else (0, 0, full[0] / reduced, full[1] / reduced)
    image = image.resize((width, height), Image.Resampling.BILINEAR, box=whole)
    return image.crop((left, top, left + size, top + size))


def boxed(image: "Image.Image", size: int, box: Box, *, reduced: int) -> "Image.Image":
    """A box of a picture, resized: torchvision's `resized_crop`, to the pixel where nothing is reduced."""
    from PIL import Image

    sides = (box.left, box.top, box.left + box.width, box.top + box.height)
    if reduced == 1:
        return image.crop(sides).resize((size, size), Image.Resampling.BILINEAR)
    left, top, right, bottom = (side / reduced for side in sides)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, right, bottom))
