"""The TOML text of recipes: those that ship with the package, and files."""

import re
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from supcrd.base.files import user_path
from supcrd.base.versions import migrate
from supcrd.base.wording import nearest, show
from supcrd.errors import RecipeError
from supcrd.recipe import paths
from supcrd.recipe.overrides import overridden

RESOLVED = "recipe.toml"
"""The file of a run folder that has the run's whole recipe."""
VERSION = 2
"""Of recipes that are written; 1 is that of 0.1, and of a recipe that does not say its `version`."""


def builtin_names() -> list[str]:
    """Names of the recipes that ship with the package, sorted.

    Example:
        >>> "digits-lw-supcrd" in builtin_names()
        True
    """
    return sorted(file.name.removesuffix(".toml") for file in _builtin().iterdir() if file.name.endswith(".toml"))


def builtin_text(name: str) -> str:
    """The TOML text of a built-in recipe.

    Raises:
        RecipeError: there is none of that name.
    """
    if name not in builtin_names():
        here = f"; did you mean the file {name}.toml?" if Path(f"{name}.toml").is_file() else ""
        hint = here or nearest(name, builtin_names()) or ";"
        raise RecipeError(f"unknown recipe {show(name)}{hint} `supcrd recipes` lists them")
    text: str = (_builtin() / f"{name}.toml").read_text(encoding="utf-8")
    return text


def read(recipe: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The table of a recipe with its name and overrides, as it is written: nothing of it is checked.

    Raises:
        RecipeError: a file that is missing or no TOML, an override that is not KEY=VALUE.
    """
    table, stem = _read(recipe)
    return overridden({"name": stem} | paths.absolute(table, folder_of(recipe), f"recipe {recipe}"), overrides)


def folder_of(recipe: str | Path) -> Path:
    """What paths in a recipe are relative to: its file's folder; where the command is given, for a built-in one."""
    text = str(recipe)
    return user_path(text, "recipe", error=RecipeError).parent if text.endswith(".toml") or "/" in text else Path()


def toml(text: str, where: str) -> dict[str, Any]:
    """The table of a TOML text, brought to this version; `where` names it in messages.

    Raises:
        RecipeError: it is not TOML, or written by a newer supcrd.

    Example:
        >>> toml("seed = 3", "my.toml")
        {'seed': 3}
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also an integer of thousands of digits, endless nesting
        raise RecipeError(f"{where} is not TOML: {error}") from None
    return migrate(table, where, VERSION, error=RecipeError)


def _read(recipe: str | Path) -> tuple[dict[str, Any], str]:
    text = str(recipe)
    if not text.endswith(".toml") and "/" not in text:
        return toml(builtin_text(text), text), text
    path = user_path(text, "recipe", error=RecipeError)
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        inside = path / RESOLVED
        hint = f"; did you mean {inside}?" if inside.is_file() else ""  # of a run folder
        raise RecipeError(f"recipe {text} cannot be read: {reason}{hint}") from None
    return toml(content, text), re.sub(r"[^A-Za-z0-9._=+-]+", "-", path.stem)


def _builtin() -> Any:
    return resources.files("supcrd.recipe") / "builtin"
