"""The table [search] of a sweep file: which keys are searched, how, and for how long."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from supcrd.base.wording import choices, show
from supcrd.errors import RecipeError
from supcrd.recipe.settings import Recipe
from supcrd.recipe.types import Count, Natural, Seed, Settings
from supcrd.sweep.tables import read_table

LARGEST = 1e300
"""Of a number of a range."""

DIGITS = 4
"""Significant digits of a number that is drawn: it stands in the names of run folders."""
BOUNDS = ("low", "high", "log", "step")


class SearchSettings(Settings):
    """How a search goes; it chooses by the validation accuracy, and never looks at the test split.

    Example:
        >>> SearchSettings(trials=20, space={"train.lr": {"low": 1e-4, "high": 1e-2, "log": True}}).sampler
        'tpe'
    """

    trials: Annotated[int, Field(ge=1, le=10_000)]
    """runs in all, pruned and failed ones too; more of them may be asked for later"""
    space: dict[str, Any]
    """key of a recipe = what it may be: a list of values, or { low = 1e-4, high = 1e-2, log = true }, of whole numbers
    if both ends are; step is the distance between two values"""
    sampler: Literal["tpe", "random"] = "tpe"
    """how values are drawn: by tree-structured Parzen estimators of good and bad trials, or at random"""
    startup: Natural = 10
    """trials at random before tpe has enough to go by"""
    pruner: Literal["halving", "none"] = "halving"
    """whether trials end early: by successive halving, at the epochs min_epochs, min_epochs * factor, ... a trial goes
    on if its validation accuracy is among the best 1 / factor of those that came so far"""
    min_epochs: Count = 1
    """epochs before the first decision of halving"""
    factor: Annotated[int, Field(ge=2, le=100)] = 3
    """share that goes on: one in so many"""
    seed: Seed = 0
    """of the values that are drawn; with one run at a time the search is a function of it"""


class Range(NamedTuple):
    """Numbers between two ends, both of which may come."""

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None


Space = dict[str, Range | list[Any]]
"""Dotted key -> what it may be."""


class Search(NamedTuple):
    """A search that a sweep file asks for."""

    name: str
    """of its folder, without what all searches have"""
    settings: SearchSettings
    space: Space
    make: Callable[[Mapping[str, Any]], Recipe]
    """the recipe of a point: dotted key -> value"""

    def corners(self) -> Iterator[dict[str, Any]]:
        """Points that have every value of a list, and both ends of every range, at least once."""
        ends = {key: list(one[:2]) if isinstance(one, Range) else one for key, one in self.space.items()}
        for number in range(max(map(len, ends.values()))):
            yield {key: values[min(number, len(values) - 1)] for key, values in ends.items()}


def read_search(table: Any) -> tuple[SearchSettings, Space]:
    """The settings and the space of [search].

    Args:
        table: as the file has it.

    Raises:
        RecipeError: an unknown key, a value that cannot be; a range without an inside.

    Example:
        >>> read_search({"trials": 2, "space": {"train.lr": [0.1, 0.2], "method": {"beta": {"low": 1, "high": 9}}}})[1]
        {'train.lr': [0.1, 0.2], 'method.beta': Range(low=1, high=9, log=False, step=None)}
    """
    settings = read_table(SearchSettings, "search", table)
    space = dict(_ranges(settings.space))
    if not space:
        raise RecipeError("search.space has no keys; what is to be searched?")
    return settings, space


def _ranges(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Range | list[Any]]]:
    for name, value in table.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and "low" not in value and "high" not in value:
            yield from _ranges(value, f"{key}.")
        elif isinstance(value, Mapping):
            yield key, _range(f"search.space.{key}", value)
        elif isinstance(value, list) and len(value) > 1:
            twice = next((one for number, one in enumerate(value) if one in value[:number]), None)
            if twice is not None:
                raise RecipeError(f"search.space.{key} = {show(value)}: {show(twice)} is there twice")
            yield key, value
        else:
            raise RecipeError(f"search.space.{key} = {show(value)}: a list of two values or more is right, or "
                              "{ low = 0.001, high = 0.1, log = true }; what all runs share goes into set")  # fmt: skip


def _range(where: str, table: Mapping[str, Any]) -> Range:
    for key in table:
        if key not in BOUNDS:
            raise RecipeError(f"unknown key {where}.{key} = {show(table[key])}{choices(key, BOUNDS)}")
    for key in ("low", "high", "step"):
        value = table.get(key)
        if key not in table and key != "step":
            raise RecipeError(f"key {where}.{key} is missing")
        if key in table and (type(value) not in (int, float) or not abs(value or 0) <= LARGEST):
            raise RecipeError(f"{where}.{key} = {show(value)} is no number")
    low, high, log, step = table["low"], table["high"], table.get("log", False), table.get("step")
    if type(log) is not bool:
        raise RecipeError(f"{where}.log = {show(log)}: true or false is right")
    if not low < high:
        raise RecipeError(f"{where}: low = {low} is not below high = {high}")
    if log and low <= 0:
        raise RecipeError(f"{where}: low = {low} with log = true; a number above 0 is right")
    if step is not None and (log or not 0 < step <= high - low):
        raise RecipeError(f"{where}.step = {step}: " + ("not with log = true" if log else "0 to high - low is right"))
    if type(low) is int and type(high) is int and type(step) is float:
        raise RecipeError(f"{where}.step = {step}: a whole number is right, as low and high are")
    return Range(low, high, log, step)


def rounded(value: float, one: Range) -> float:
    """A number of few digits near one that was drawn, within its range.

    Example:
        >>> rounded(0.00123456, Range(1e-4, 1e-2)), rounded(0.1, Range(0.100004, 1.0))
        (0.001235, 0.100004)
    """
    return min(max(float(f"{value:.{DIGITS}g}"), one.low), one.high)
