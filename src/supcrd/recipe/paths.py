"""Where the files are that a recipe names: beside the file that names them, or where the command is given."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supcrd.base.files import is_address, user_path
from supcrd.errors import RecipeError
from supcrd.recipe.settings import SOURCES

logger = logging.getLogger("supcrd")

PATHS = tuple(name.removesuffix("PATH") for name in SOURCES if name.endswith(":PATH"))
"""Beginnings of data sources that are a path."""
TABLES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json")
"""Endings of tables of files."""
PLAIN = ("run", "checkpoint", "classes")
"""Keys of a teacher that are one."""


def is_table(name: str) -> bool:
    """Whether a value of `data.groups` is the path of a table, and not a column.

    Example:
        >>> is_table("patients.csv"), is_table("my/patients.TSV"), is_table("patient")
        (True, True, False)
    """
    return name.lower().endswith(TABLES)


def absolute(table: Mapping[str, Any], base: Path, where: str) -> dict[str, Any]:
    """A recipe's table whose paths do not depend on where a command is given.

    Relative paths are taken from `base`, the folder of the file that holds them. Version 0.1 took them from the current
    folder: a file that is there and not beside the recipe is taken, with a warning.

    Args:
        table: as TOML gives it, of any shape; what is no path stays.
        base: a folder.
        where: the recipe, for messages.

    Raises:
        RecipeError: what no path can be, such as one with a NUL character.

    Example:
        >>> t = absolute({"data": {"source": "npz:a.npz"}, "teacher": {"recipe": "digits-teacher"}}, Path("/x"), "r")
        >>> t["data"]["source"], t["teacher"]["recipe"]
        ('npz:/x/a.npz', 'digits-teacher')
    """
    done = dict(table)
    data = table.get("data")
    if isinstance(data, Mapping):
        done["data"] = _data(data, base, where)
    if isinstance(table.get("plugins"), list):
        done["plugins"] = [
            _path(name, base, f"{where}: plugins") if isinstance(name, str) and name.endswith(".py") else name
            for name in table["plugins"]
        ]
    model = table.get("model")
    if isinstance(model, Mapping) and isinstance(model.get("checkpoint"), str):
        done["model"] = dict(model) | {"checkpoint": _path(model["checkpoint"], base, f"{where}: model.checkpoint")}
    if isinstance(table.get("teacher"), Mapping):
        done["teacher"] = _teacher(table["teacher"], base, f"{where}: teacher")
    if isinstance(table.get("teachers"), Mapping):
        done["teachers"] = {
            name: _teacher(settings, base, f"{where}: teachers.{name}") if isinstance(settings, Mapping) else settings
            for name, settings in table["teachers"].items()
        }
    return done


def _data(data: Mapping[str, Any], base: Path, where: str) -> dict[str, Any]:
    changed = dict(data)
    for key in ("source", "unlabelled"):
        source = data.get(key)
        kind = next((kind for kind in PATHS if isinstance(source, str) and source.startswith(kind)), None)
        if kind is not None and source != kind and not is_address(str(source).removeprefix(kind)):
            changed[key] = kind + _path(str(source).removeprefix(kind), base, f"{where}: data.{key}")
    for key in ("folder", "classes", "split_file", "groups"):
        if key == "groups" and not is_table(str(data.get(key))):
            continue  # a column
        if isinstance(data.get(key), str) and (key, data[key]) != ("folder", "data"):  # the default: where one is
            changed[key] = _path(data[key], base, f"{where}: data.{key}")
    return changed


def _teacher(settings: Mapping[str, Any], base: Path, where: str) -> dict[str, Any]:
    changed = dict(settings)
    for key in PLAIN:
        if isinstance(settings.get(key), str):
            changed[key] = _path(settings[key], base, f"{where}.{key}")
    if isinstance(settings.get("override"), Mapping):
        changed["override"] = absolute(settings["override"], base, f"{where}.override")
    recipe = settings.get("recipe")
    if isinstance(recipe, str) and (recipe.endswith(".toml") or "/" in recipe):
        changed["recipe"] = _path(recipe, base, f"{where}.recipe")
    return changed


def _path(text: str, base: Path, where: str) -> str:
    path = Path(text)
    user_path(text, where, error=RecipeError)
    if not text or text.startswith("~") or path.is_absolute():
        return text
    ours, theirs = base.resolve() / path, path.absolute()
    if not ours.exists() and theirs.exists() and ours.resolve() != theirs.resolve():
        logger.warning(
            "%s: %s is not there, %s is taken; paths in a recipe are relative to its file now",
            where,
            ours,
            theirs,
        )
        return str(theirs)
    return str(ours)


def same(old: Any, new: Any) -> bool:
    """Whether two values of a key are equal, a relative path of version 0.1 being the absolute one that it ends.

    Example:
        >>> same("npz:photos/a.npz", "npz:/home/me/photos/a.npz"), same("npz:b.npz", "npz:/home/me/a.npz"), same(1, 1)
        (True, False, True)
    """
    if old == new or not (isinstance(old, str) and isinstance(new, str)):
        return bool(old == new)
    kind = next((kind for kind in PATHS if old.startswith(kind) and new.startswith(kind)), "")
    short, long = Path(old.removeprefix(kind)), Path(new.removeprefix(kind))
    if short.is_absolute():
        short, long = long, short
    parts = [part for part in short.parts if part != ".."]
    return long.is_absolute() and not short.is_absolute() and list(long.parts[-len(parts) :]) == parts
