"""A recipe from its table, validated, and back: as nested dicts or TOML text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from supcrd.errors import RecipeError
from supcrd.models.names import check_name, timm_index
from supcrd.recipe import plugins
from supcrd.recipe.explain import explain
from supcrd.recipe.files import VERSION, folder_of, toml
from supcrd.recipe.settings import Recipe

BEFORE: dict[str, Any] = {"classifier": "trained"}
"""Keys of `Recipe` newer than 0.1 whose default is not what runs did before: what a whole recipe without it means."""


def to_table(recipe: Recipe) -> dict[str, Any]:
    """The recipe as nested dicts of TOML's types, keys that are not set left out."""
    table: dict[str, Any] = recipe.model_dump(mode="json", exclude_none=True)
    if recipe.train.minutes is not None:
        del table["train"]["epochs"]  # what came of the minutes stands in the run folder: see `RunFolder.timed`
    return table


def to_toml(recipe: Recipe) -> str:
    """The whole recipe, defaults included, as TOML text that `load` reads back."""
    return tomli_w.dumps({"version": VERSION} | to_table(recipe))


def parse(text: str, where: str, *, check_archs: bool = True) -> Recipe:
    """Validate the TOML text of a whole recipe (as `to_toml` writes it); what an older supcrd wrote means what it did.

    Without `check_archs` its networks are taken as known, which does without torch, and its plug-ins are not run.
    """
    recipe = validate(_as_then(toml(text, where)), f"recipe {where}")
    if check_archs:
        plugins.load(recipe.plugins, Path())
        check_networks([(f"recipe {where}", recipe)])
    return recipe


def _as_then(table: dict[str, Any]) -> dict[str, Any]:
    """A whole recipe's table with the keys of `BEFORE`, in its teachers' recipes too; as it is, if it has them."""
    if BEFORE.keys() <= table.keys():
        return table
    changed = BEFORE | table
    if isinstance(table.get("teacher"), dict):
        changed["teacher"] = _with_resolved(table["teacher"])
    if isinstance(table.get("teachers"), dict):
        changed["teachers"] = {name: _with_resolved(settings) for name, settings in table["teachers"].items()}
    return changed


def _with_resolved(settings: Any) -> Any:
    inside = settings.get("resolved") if isinstance(settings, dict) else None
    return settings | {"resolved": _as_then(inside)} if isinstance(inside, dict) and inside else settings


def validate(table: dict[str, Any], where: str) -> Recipe:
    """The recipe that a table describes; `where` names it in messages. Networks are not looked up here.

    Raises:
        RecipeError: an unknown key, a wrong type or an impossible value.
    """
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        raise RecipeError(f"{where}: {explain(error, table)}") from None


def with_plugins(table: dict[str, Any], recipe: str | Path) -> dict[str, Any]:
    """The table, its plug-ins read and named by absolute paths: what they register may be named in it."""
    names = table.get("plugins")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return table  # nothing there, or validation says what is wrong
    return table | {"plugins": [plugin.name for plugin in plugins.load(names, folder_of(recipe))]}


def check_networks(chain: Sequence[tuple[str, Recipe]]) -> None:
    """Refuse what is no architecture; names of timm's that only itself knows, for which torch has to be loaded, last.

    Args:
        chain: what each recipe is called in a message, and the recipe.
    """
    named = [(where, "model.arch", recipe.model.arch) for where, recipe in chain]
    for where, recipe in chain:
        taught = {"teacher" if name == "teacher" else f"teachers.{name}": t for name, t in recipe.all_teachers.items()}
        named += [(where, f"{table}.arch", settings.arch) for table, settings in taught.items() if settings.arch]
        named += [
            (where, f"{table}.timm", f"timm:{settings.timm}")
            for table, settings in taught.items()
            if settings.timm and ":" not in settings.timm and "/" not in settings.timm
        ]
    for where, key, arch in sorted(named, key=lambda row: row[2].startswith("timm:")):
        try:
            if not arch.startswith("timm:"):
                check_name(arch)
            elif arch.removeprefix("timm:") not in timm_index():
                from supcrd.models import check_arch

                check_arch(arch)
        except ValueError as error:
            raise RecipeError(f"{where}: {key}: {error}") from None
