"""What was published of a method on a pair, each figure with its source and protocol."""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from supcrd.benchmark.pairs import Pair
from supcrd.figures.superclasses import SUPERCLASSES

FILE = "published.json"
TEACHER = "teacher"
"""In place of a method: the figure of the pair's teacher."""


@dataclass(frozen=True)
class Figure:
    """A published test accuracy on CIFAR-100."""

    accuracy: float
    """0..1"""
    std: float | None
    source: str
    """key of `sources`"""
    epoch: str
    """the test epoch that is reported: last, best or not stated"""
    view_epochs: int | None
    """epochs x views an image; None where no configuration of it was seen"""


def figures(pair: Pair, method: str) -> list[Figure]:
    """What was published of a method on a pair, each figure once: not where another source quotes it.

    Args:
        method: name of a method, cross_entropy for the undistilled student, or `TEACHER`.

    Example:
        >>> [(one.accuracy, one.epoch, one.source) for one in figures(Pair("resnet56", "resnet20"), "kd")]
        [(0.7066, 'last', 'repdistiller')]
    """
    own = [row for row in _table()["figures"] if "quotes" not in row]
    chosen = [row for row in own if (row["pair"], row["method"]) == (pair.key, method)]
    return [
        Figure(
            accuracy=row["accuracy"],
            std=row.get("std"),
            source=row["source"],
            epoch=sources()[row["source"]]["epoch"],
            view_epochs=row.get("view_epochs", sources()[row["source"]]["view_epochs"]),
        )
        for row in chosen
    ]


def printed(pair: Pair, source: str) -> dict[str, tuple[float, bool]]:
    """What a source's table prints of a pair: method -> accuracy, 0..1, and whether it is quoted from another source.

    Example:
        >>> printed(Pair("resnet56", "resnet20"), "mdistiller")
        {'dkd': (0.7197, False), 'kd': (0.7066, True)}
    """
    rows = [row for row in _table()["figures"] if (row["pair"], row["source"]) == (pair.key, source)]
    return {row["method"]: (row["accuracy"], "quotes" in row) for row in rows}


def settings(pair: Pair, method: str) -> dict[str, float]:
    """Keys of `[method]` that the published runs of a pair had otherwise than by default.

    Example:
        >>> settings(Pair("resnet56", "resnet20"), "dkd"), settings(Pair("resnet56", "resnet20"), "kd")
        ({'beta': 2.0}, {})
    """
    rows = [row for row in _table()["settings"] if row["method"] == method and pair.key in row["pairs"]]
    return {row["key"]: row["value"] for row in rows}


def sources() -> dict[str, dict[str, Any]]:
    """Key -> title, url and commit where there are, epoch, view_epochs and protocol, in words.

    Example:
        >>> sources()["repdistiller"]["epoch"]
        'last'
    """
    table: dict[str, dict[str, Any]] = _table()["sources"]
    return table


def comparable(class_names: Sequence[str]) -> bool:
    """Whether a data set has the classes that the published figures are of, those of CIFAR-100.

    Example:
        >>> comparable([name for group in SUPERCLASSES.values() for name in group]), comparable(["cat", "dog"])
        (True, False)
    """
    return set(class_names) == {name for group in SUPERCLASSES.values() for name in group}


@functools.cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads((files("supcrd") / "benchmark" / FILE).read_text(encoding="utf-8"))
    return table
