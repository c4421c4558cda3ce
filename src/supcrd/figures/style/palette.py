"""Colours and markers that keep classes apart, for the colour-blind too."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from supcrd.figures.superclasses import order

# M. Petroff 2021, arXiv:2107.02270: ten colours chosen for people with any kind of colour blindness. Those for eleven
# to twenty are the same ten, lighter or darker, by a search for the largest least distance (OKLab) under the
# simulations of Machado 2009, for the ten and for all twenty.
TEN = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
SHADES = ("#295e8e", "#a66e09", "#d46d5a", "#b9c4c3", "#ae76d0", "#be9082", "#ad4a00", "#665f3e", "#a3a5ad", "#5f8e90")
GROUP = 5  # classes of one hue where there are more than twenty
LIGHTNESS = (0.5, 0.57, 0.64, 0.71, 0.78)  # in OKLab: each is seen on white and on the dark theme
HUE_STEP = 7  # of twenty hues: neighbours in the legend are a third of the circle apart

MARKERS = ("o", "^", "s", "D", "X")  # matplotlib's; the first two alone up to twenty classes
SYMBOLS = {"o": "circle", "^": "triangle-up", "s": "square", "D": "diamond", "X": "x"}  # Plotly's
SOLIDS = {"o": "circle", "^": "diamond", "s": "square", "D": "cross", "X": "x"}  # those it has in three dimensions


class Look(NamedTuple):
    """How a class is drawn."""

    color: str  # #rrggbb
    marker: str  # one of MARKERS


def palette(count: int) -> tuple[Look, ...]:
    """Colours and markers that keep `count` classes apart, for the colour-blind too.

    Up to ten classes: Petroff's ten colours, which differ in lightness as much as in hue. Up to twenty: the same in a
    second shade and with a second marker, so that no two of one marker are alike. More colours cannot be distinguished:
    classes stand in groups of five (CIFAR-100's superclasses); the hue says the group, the shade and the marker
    together say which of the five, and groups that follow one another have hues far apart. Legends name, and so does
    hovering.

    Args:
        count: C >= 0.

    Returns:
        (C,) Look, all different up to 100 classes; from the 21st group on hues come again.

    Example:
        >>> palette(2)
        (Look(color='#3f90da', marker='o'), Look(color='#ffa90e', marker='o'))
        >>> len(set(palette(100)))
        100
    """
    if count <= 20:
        return tuple(Look(color, "o") for color in TEN[:count]) + tuple(
            Look(color, "^") for color in SHADES[: max(count - 10, 0)]
        )
    return tuple(Look(_shade(number // GROUP, number % GROUP), MARKERS[number % GROUP]) for number in range(count))


def _shade(group: int, member: int) -> str:
    """One of twenty hues in one of five lightnesses of OKLab (B. Ottosson 2020), colourful as far as sRGB goes."""
    hue, lightness = 2 * math.pi * (group * HUE_STEP % 20) / 20, LIGHTNESS[member]
    for chroma in (0.16, 0.14, 0.12, 0.1, 0.08, 0.06):
        a, b = chroma * math.cos(hue), chroma * math.sin(hue)
        long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
        middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
        short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
        linear = (
            4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
        )
        if all(0 <= part <= 1 for part in linear):
            break
    return "#" + "".join(f"{round(255 * _gamma(min(max(part, 0), 1))):02x}" for part in linear)


def _gamma(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def looks(class_names: Sequence[str]) -> tuple[Look, ...]:
    """The look of each class, (C,): `palette` dealt in the order that classes are shown in (`superclasses.order`).

    Example:
        >>> looks(("cat", "dog"))[1].color
        '#ffa90e'
    """
    looks = dict(zip(order(class_names).classes, palette(len(class_names)), strict=True))
    return tuple(looks[number] for number in range(len(class_names)))
