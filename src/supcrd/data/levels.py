"""What is black and what is white in deep images: 16- and 32-bit integers, and floats."""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from supcrd.errors import DataError

logger = logging.getLogger("supcrd")

FULL = 65535  # white of 16-bit images
STATE = "data.levels=[low, high] states what is black and white"


class Extent(NamedTuple):
    """The values of a deep image."""

    name: str
    kind: str  # "int16", "int32" or "float"
    low: float
    high: float


class Levels:
    """Black and white of a set's deep images.

    Args:
        low, high: the values that become 0 and 255; values outside are clipped.
        stated: by a person, who means values outside to be clipped; otherwise they are reported once.
        log: report them in the log, not only in `beyond`.

    Example:
        >>> Levels(0, 4095).scaled(np.array([[0, 819, 4095]]), "x.png").tolist()
        [[0, 51, 255]]
    """

    def __init__(self, low: float, high: float, *, stated: bool = False, log: bool = True) -> None:
        self.low, self.high, self.stated, self.log = float(low), float(high), stated, log
        self.beyond = ""

    @property
    def pair(self) -> tuple[float, float]:
        """(low, high)."""
        return self.low, self.high

    def scaled(self, values: NDArray[Any], name: str) -> NDArray[np.uint8]:
        """Values -> the nearest of 0..255.

        Raises:
            DataError: NaN or infinity.
        """
        exact = values.astype(np.float64)
        low, high = bounds(exact, name)
        if not self.stated and not self.beyond and (low < self.low or high > self.high):
            self.beyond = (
                f"{name} has values {low:g} to {high:g}, beyond the levels {self.low:g} to {self.high:g}; what lies "
                f"beyond is clipped (other images are not named); {STATE}"
            )
            if self.log:
                logger.warning("%s", self.beyond)
        unit = (self.high - self.low) / 255  # 257 of full 16 bits, exactly
        scaled: NDArray[np.uint8] = np.rint(((exact - self.low) / unit).clip(0, 255)).astype(np.uint8)
        return scaled


def bounds(values: NDArray[Any], name: str) -> tuple[float, float]:
    """(smallest, largest).

    Raises:
        DataError: NaN or infinity.
    """
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(f"{name}: holds values that are not finite (NaN or infinity)")
    return low, high


def find(
    every: Sequence[Extent], train: Sequence[Extent], *, doubtful: bool = False
) -> tuple[tuple[float, float], str]:
    """The levels of a set of deep images.

    * Integers: 0..65535; where the largest value of train is below a quarter of that, 0..(next power of two - 1), so
      0..4095 of 12 bits and 0..16383 of 14; 32-bit ones whose largest is at most 255: 0..255.
    * Floats: 0..1 where all values lie in it, else 0..255; refused where the largest is below a quarter of 255.

    Args:
        every: of all splits; not empty.
        train: of the train split, or of all where it has none.
        doubtful: accept floats whose largest value is low: a single image may be dark.

    Returns:
        ((low, high), a line for the user, empty if there is nothing to report).

    Raises:
        DataError: negative values, values beyond 65535 (floats: 255), integers and floats that do not have one scale.

    Example:
        >>> extents = [Extent("a.png", "int16", 0, 4000)]
        >>> find(extents, extents)[0]
        (0.0, 4095.0)
    """
    for image in every:
        if image.low < 0:
            raise DataError(
                f"{image.name}: has values {image.low:g} to {image.high:g}, negative ones among them; {STATE}"
            )
    floats, integers = [x for x in every if x.kind == "float"], [x for x in every if x.kind != "float"]
    chosen = []
    if floats:
        largest = max(floats, key=lambda image: image.high)
        if largest.high > 255:
            raise DataError(
                f"{largest.name}: has floats {largest.low:g} to {largest.high:g}; 0 to 1 or 0 to 255 is right, or "
                f"{STATE}"
            )
        white = 1.0 if largest.high <= 1 else 255.0
        if 0 < largest.high < white / 4 and not doubtful:
            raise DataError(
                f"{largest.name}: has floats {largest.low:g} to {largest.high:g}, the largest of the set, and would be "
                f"nearly black on 0 to {white:g}; {STATE}"
            )
        chosen.append((0.0, white))
    line = ""
    if integers:
        largest = max(integers, key=lambda image: image.high)
        if largest.high > FULL:
            raise DataError(
                f"{largest.name}: has 32-bit values {largest.low:g} to {largest.high:g}; 0 to 255 or 0 to 65535 is "
                f"right, or {STATE}"
            )
        # a set whose train images are all 8-bit has no deep one to learn it from
        known = [image for image in train if image.kind != "float"] or integers
        full, line = _white(known)
        chosen.append((0.0, float(full)))
    if len(set(chosen)) > 1:
        raise DataError(
            f"{floats[0].name} has floats of 0 to {chosen[0][1]:g}, {integers[0].name} integers of 0 to "
            f"{chosen[1][1]:g}: one scale is right, or {STATE}"
        )
    return chosen[0], line


def _white(images: Sequence[Extent]) -> tuple[int, str]:
    """White of integer images, and a line where it is not that of 16 bits."""
    largest = int(max(image.high for image in images))
    if largest <= 255 and all(image.kind == "int32" for image in images):
        return 255, ""
    if not 0 < largest < (FULL + 1) / 4:
        return FULL, ""
    white = (1 << largest.bit_length()) - 1
    return white, f"deep images hold at most {largest}: 0 is read as black, {white} as white; {STATE}"
