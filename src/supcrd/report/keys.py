"""How the recipes of a report differ: what matters, and what is folded away."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supcrd import recipe as recipes
from supcrd.base.wording import show
from supcrd.recipe.keys import flatten
from supcrd.recipe.meanings import is_default
from supcrd.report.collect import DataSet

NOT_SET = "–"


@dataclass(frozen=True)
class Keys:
    """The keys of configurations' recipes, seeds and places apart; values as text, in the configurations' order."""

    labels: tuple[str, ...]
    differing: dict[str, list[str]]
    """key -> its values; NOT_SET where it is not set"""
    little: dict[str, list[str]]
    """likewise, where they are the defaults of the methods and networks that have the key"""
    alike: dict[str, str]
    """key -> the value that all have, which is not its default"""
    defaults: dict[str, str]
    """key -> its default, which all have"""


def compared_keys(data: DataSet) -> Keys:
    """Sort the keys of the configurations' recipes by how much they say.

    Of more than two configurations those that only teach are left out: a teacher is another network anyway. What the
    recipes of teachers were resolved to is left out too.
    """
    labels = [label for label in data.configurations if label not in data.teachers]
    if len(labels) < 2:
        labels = list(data.configurations)
    chosen = [data.configurations[label][0].recipe for label in labels]
    differ: dict[str, None] = {}
    for recipe in chosen[1:]:
        differ |= dict.fromkeys(recipes.differences(chosen[0], recipe))
    tables = [dict(flatten(recipes.to_table(recipe))) for recipe in chosen]
    pairs = list(zip(chosen, tables, strict=True))
    result = Keys(tuple(labels), {}, {}, {}, {})
    for key in dict.fromkeys(key for table in tables for key in table):  # as recipes have them
        if key in ("seed", "name", *recipes.PLACE_KEYS) or ".resolved." in key:
            continue
        values = [_shown(table, key) for table in tables]
        plain = all(key not in table or is_default(recipe, key, table[key]) for recipe, table in pairs)
        if key in differ:
            (result.little if plain else result.differing)[key] = values
        else:
            (result.defaults if plain else result.alike)[key] = values[0]
    return result


def _shown(table: Mapping[str, Any], key: str) -> str:
    return show(table[key], 60).strip("'") if key in table else NOT_SET
