"""Recipes: TOML and KEY=VALUE overrides in, a validated `Recipe` out. Every mistake is found here, before any work.

`load` is here; what else is public comes from `files`, `tables`, `teachers` and `identity`.
"""

from collections.abc import Sequence
from pathlib import Path

from supcrd.recipe.files import RESOLVED, VERSION, builtin_names, builtin_text, read, toml
from supcrd.recipe.identity import PLACE_KEYS, SHORT_TABLES, UNNAMED, differences, run_name
from supcrd.recipe.overrides import overridden
from supcrd.recipe.settings import Recipe
from supcrd.recipe.tables import BEFORE, check_networks, parse, to_table, to_toml, validate, with_plugins
from supcrd.recipe.teachers import chain_of, needs_teacher, resolved, teacher_recipe, unresolved

__all__ = [
    "BEFORE", "PLACE_KEYS", "RESOLVED", "SHORT_TABLES", "UNNAMED", "VERSION", "builtin_names", "builtin_text",
    "differences", "load", "needs_teacher", "parse", "read", "run_name", "teacher_recipe", "to_table", "to_toml",
    "toml",
]  # fmt: skip


def load(recipe: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, apply overrides and validate it, its teacher's recipe included.

    Args:
        recipe: the name of a built-in recipe, or the path of a TOML file (which has a slash or ends in .toml).
        overrides: "key.of.recipe=value", the value as TOML writes it, else a string; several numbers may be written as
            0.5,0.4,0.3. `method.name=...` keeps those keys of the old method that mean the same in the new one; a
            weight of a term is its own (0.9 of kd, 1000 of at). They may give what the recipe lacks.

    Returns:
        The recipe; its name is the file's, with what the overrides changed, unless they give a `name`.

    Raises:
        RecipeError: a file that is missing or no TOML; an unknown key (the nearest valid one is named); a wrong type or
            an impossible value.

    Example:
        >>> load("digits-lw-supcrd", ["method.beta=5"]).name
        'digits-lw-supcrd_beta=5'
    """
    before = read(recipe)
    table = with_plugins(overridden(unresolved(before, overrides), overrides), recipe)
    result = validate(table, f"recipe {recipe}")
    if not any(override.partition("=")[0].strip() == "name" for override in overrides):
        result = result.model_copy(update={"name": run_name(before, result)})
    # all keys are checked before the first network: timm, which knows the names of its own, brings torch
    taught = [teacher for settings in result.all_teachers.values() for teacher in chain_of(result, settings)]
    check_networks([(f"recipe {recipe}", result), *taught])
    return resolved(result)
