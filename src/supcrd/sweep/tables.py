"""Tables of a sweep file that are no recipe's: read into settings, a mistake in one line."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from supcrd.base.wording import choices, show
from supcrd.errors import RecipeError
from supcrd.recipe.types import Settings

S = TypeVar("S", bound=Settings)


def read_table(kind: type[S], name: str, table: Any) -> S:
    """The settings that a table of a sweep file gives.

    Args:
        kind: of settings.
        name: of the table, for messages.
        table: as the file has it.

    Raises:
        RecipeError: no table; an unknown key, a wrong type, an impossible value.

    Example:
        >>> from supcrd.sweep.cluster import Cluster
        >>> read_table(Cluster, "cluster", {"gpus": -1})
        Traceback (most recent call last):
        supcrd.errors.RecipeError: cluster.gpus = -1: input should be greater than or equal to 0
    """
    if not isinstance(table, Mapping):
        raise RecipeError(f"{name} = {show(table)} is no table; it begins with [{name}]")
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        problems = error.errors(include_url=False)
    problem = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    where = ".".join([name, *(str(part) for part in problem["loc"])])
    if problem["type"] == "extra_forbidden":
        key = str(problem["loc"][-1])
        raise RecipeError(f"unknown key {where} = {show(problem['input'])}{choices(key, sorted(kind.model_fields))}")
    if problem["type"] == "missing":
        raise RecipeError(f"key {where} is missing")
    if problem["type"] == "value_error":
        raise RecipeError(f"{where}: {problem['ctx']['error']}")
    raise RecipeError(f"{where} = {show(problem['input'])}: {problem['msg'].lower()}")
