"""The colour of each method: the same in every figure, and in the reports of other runs."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from supcrd.figures.style.palette import SHADES, TEN
from supcrd.recipe.settings import Recipe

# What is most often shown beside one another has Petroff's ten colours (`palette`), plain training the grey one. Then
# his shades but for the greys, and six more: each the colour farthest (OKLab) from all before it under the
# simulations of Machado 2009.
FIRST = {
    "cross_entropy": TEN[8], "kd": TEN[0], "dkd": TEN[9], "supcon": TEN[4], "crd": TEN[1], "lw_supcrd": TEN[2],
    "hybrid": TEN[6], "joint": TEN[5], "crd_nce": TEN[7], "imported": TEN[3],
}  # fmt: skip
OTHERS = ("fitnet", "at", "sp", "cc", "vid", "rkd", "pkt", "nst", "review", "dist", "mlkd", "simkd", "rrd", "ls")
OF_OTHERS = (*(shade for at, shade in enumerate(SHADES) if at not in (3, 8)),
             "#6cb4fc", "#a818fc", "#900c60", "#546ccc", "#5400e4", "#602424")  # fmt: skip
COLORS = FIRST | dict(zip(OTHERS, OF_OTHERS, strict=True))
"""Method -> its colour, #rrggbb."""
DASHES = ((0, "solid"), ((5, 2), "dash"), ((1, 1.6), "dot"), ((5, 2, 1, 2), "dashdot"), ((9, 2), "longdash"),
          ((9, 2, 1, 2), "longdashdot"))  # fmt: skip
"""Matplotlib's (on and off, in line widths; 0: no gap) and Plotly's."""


class Stroke(NamedTuple):
    """How a line of a configuration is drawn."""

    color: str  # #rrggbb
    dash: int  # place in DASHES


def method_of(recipe: Recipe) -> str:
    """What a run's colour goes by: its method; of an objective of one's own its terms, in any order.

    Example:
        >>> from supcrd.recipe import load
        >>> method_of(load("digits-crd"))
        'crd'
    """
    if not recipe.objective:
        return recipe.method.name
    return " + ".join(sorted({str(table.get("term", name)) for name, table in recipe.objective.items()}))


def method_colors(methods: Iterable[str]) -> dict[str, str]:
    """A colour for each method, no two alike as long as there are colours.

    A method of `COLORS` always has its own. Another (an objective of one's own) has one of these by the hash of its
    name, or the next that none of the methods beside it has: the same wherever it meets the same methods.

    Args:
        methods: all that are shown together, in any order.

    Example:
        >>> method_colors(["kd", "crd"])
        {'crd': '#ffa90e', 'kd': '#3f90da'}
        >>> len(set(method_colors(["kd", "crd + kd", "my_term", "mine"]).values()))
        4
    """
    names, every = sorted(set(methods)), list(COLORS.values())
    colors = {name: COLORS[name] for name in names if name in COLORS}
    for name in names:
        if name not in colors:
            start = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest()) % len(every)
            turned = every[start:] + every[:start]
            colors[name] = next((color for color in turned if color not in colors.values()), turned[0])
    return {name: colors[name] for name in names}


def strokes(colors: Sequence[str]) -> list[Stroke]:
    """A stroke for each configuration, no two alike: those of one colour have other dashes, then other shades.

    Args:
        colors: of the configurations' methods.

    Example:
        >>> strokes(["#3f90da", "#ffa90e", "#3f90da"])
        [Stroke(color='#3f90da', dash=0), Stroke(color='#ffa90e', dash=0), Stroke(color='#3f90da', dash=1)]
    """
    before: Counter[str] = Counter()
    chosen = []
    for color in colors:
        shade, dash = divmod(before[color], len(DASHES))
        before[color] += 1
        chosen.append(Stroke(_shaded(color, shade), dash))
    return chosen


def _shaded(color: str, shade: int) -> str:
    """A colour mixed with white and black in turn, farther each time: 0 is the colour itself."""
    share = 1 - 0.72 ** -(-shade // 2)
    end = 255 if shade % 2 else 0
    parts = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round(part + share * (end - part)):02x}" for part in parts)
