"""What a sweep file says: one TOML file in, a list of recipes or a search out; a mistake is found before any work."""

import itertools
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w

from supcrd import recipe as recipes
from supcrd.base.files import user_path
from supcrd.base.wording import choices, show
from supcrd.errors import LINE, WORD, RecipeError
from supcrd.recipe.settings import Recipe
from supcrd.sweep.cluster import Cluster
from supcrd.sweep.space import Search, read_search
from supcrd.sweep.tables import read_table

KEYS = ("recipe", "name", "seeds", "set", "grid", "run", "search", "cluster")
MOST = 10_000  # runs
ELSEWHERE = {  # keys of a recipe, or nearly, that a table of overrides cannot have here
    "name": "a name for all runs would be one folder; write it at the top of the file or in a [[run]]",
    "seed": "seeds = [...] at the top gives every run its seeds",
    "seeds": "it belongs at the top of the file, before the first [table]",
    "recipe": "write it at the top of the file, before the first [table], or in a [[run]]",
}

Changes = dict[str, Any]  # dotted key -> value


class Entry(NamedTuple):
    """One of the list [[run]]: where grid and seeds start from."""

    recipe: str
    label: str | None
    """what the names of its runs begin with, in place of the recipe's name and what `started` lists"""
    started: list[str]
    shared: Changes
    own: Changes


class Sweep(NamedTuple):
    """All that a sweep file says."""

    runs: list[Recipe]
    """empty with a search, which makes them as it goes"""
    search: Search | None
    cluster: Cluster


def load_sweep(path: str | Path) -> list[Recipe]:
    """Read a sweep file: each [[run]] (or the base recipe alone), with each combination of [grid], with each seed.

    Overrides are applied in this order: `set`, the [[run]]'s, the grid's, the seed; within each, method.name first.
    They go through `supcrd.recipe.load`, so that a run has the name and the folder that `supcrd train` would give it,
    unless the file gives a name: that stands for the recipe and `set`, a [[run]]'s also for what the [[run]] changes.

    Args:
        path: of the TOML file; recipes that it names by a path are looked for from its folder.

    Returns:
        The recipes, seeds changing fastest, then the grid's last key.

    Raises:
        RecipeError: a file that is missing or no TOML; a key, value or combination that cannot be; two runs that would
            share a folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "sweep.toml")
        ...     _ = path.write_text('recipe = "digits-crd"\\nseeds = [0, 1]\\ngrid."train.lr" = [1e-3, 3e-3]')
        ...     [recipe.name for recipe in load_sweep(path)]
        ['digits-crd_lr=0.001', 'digits-crd_seed=1_lr=0.001', 'digits-crd_lr=0.003', 'digits-crd_seed=1_lr=0.003']
    """
    sweep = read_sweep(path)
    if sweep.search is not None:
        raise RecipeError(f"sweep file {user_path(path)} has [search], and so no list of runs")
    return sweep.runs


def read_sweep(path: str | Path) -> Sweep:
    """Read all of a sweep file: the runs of `load_sweep`, or the search, and what they need of a cluster.

    Args:
        path: as for `load_sweep`.

    Raises:
        RecipeError: as `load_sweep`; a search beside what lists runs; a point of its space that is no recipe.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "sweep.toml")
        ...     _ = path.write_text('recipe = "digits-crd"\\n[search]\\ntrials = 9\\nspace."train.lr" = [1e-3, 3e-3]')
        ...     read_sweep(path).search.settings.trials
        9
    """
    path = user_path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"sweep file {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # also text that is not UTF-8
        raise RecipeError(f"sweep file {path} is not TOML: {error}") from None
    try:
        for key, value in table.items():
            if key not in KEYS:
                raise RecipeError(f"unknown key {key} = {show(value)}{choices(key, KEYS)}")
        cluster = read_table(Cluster, "cluster", table.get("cluster", {}))
        search = _search(table, path.parent) if "search" in table else None
        runs = [] if search is not None else list(_runs(table, path.parent))
        _check_folders(runs)
    except RecipeError as error:
        raise RecipeError(f"sweep file {path}: {error}") from None
    return Sweep(runs, search, cluster)


def _search(table: Mapping[str, Any], folder: Path) -> Search:
    for key in ("grid", "run"):
        if key in table:
            raise RecipeError(f"{key} and search exclude one another: what is to be tried stands in search.space")
    settings, space = read_search(table["search"])
    seeds = _seeds(table["seeds"]) if "seeds" in table else [None]
    if len(seeds) > 1:
        raise RecipeError(f"seeds = {show(table['seeds'])} with search: a trial is one run; one seed is right")
    (entry,) = _entries(table, _changes("set", table.get("set", {})), folder)
    for key in space:
        if key in entry.shared:
            raise RecipeError(f"search.space.{key}: the key has a value by set too; which one is meant?")
    first = {} if seeds == [None] else {"seed": seeds[0]}

    def make(point: Mapping[str, Any]) -> Recipe:
        changes = dict(first)
        for key, value in point.items():
            changes |= dict(_flat("search.space", {key: value}))
        return _recipe(entry, changes)

    base = make({})
    if settings.pruner == "halving" and base.train.minutes is not None:
        raise RecipeError('train.minutes with search.pruner = "halving", which goes by epochs; give train.epochs')
    search = Search(base.name, settings, space, make)
    for point in search.corners():
        make(point)
    return search


def _runs(table: Mapping[str, Any], folder: Path) -> Iterator[Recipe]:
    seeds = _seeds(table["seeds"]) if "seeds" in table else [None]
    shared = _changes("set", table.get("set", {}))
    grid = _grid(table["grid"]) if "grid" in table else {}
    entries = _entries(table, shared, folder)
    count = math.prod([len(entries), len(seeds), *map(len, grid.values())])
    if count > MOST:
        raise RecipeError(f"{count:,} runs; {MOST:,} is the most")
    for entry in entries:
        for key in grid:
            if key in entry.shared or key in entry.own:
                raise RecipeError(f"grid.{key}: the key has a value by set or [[run]] too; which one is meant?")
        for point in itertools.product(*grid.values()):
            for seed in seeds:
                chosen = {} if seed is None else {"seed": seed}
                for key, value in zip(grid, point, strict=True):
                    chosen |= dict(_flat(f"grid.{key}", {key: value}))
                yield _recipe(entry, chosen)


def _entries(table: Mapping[str, Any], shared: Changes, folder: Path) -> list[Entry]:
    base, title = _text(table, "recipe"), _text(table, "name")
    listed = table.get("run", [{}])
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise RecipeError(f"run = {show(listed)} is no list of tables; each of them begins with [[run]]")
    if not listed:
        raise RecipeError("run = []: there are no runs")
    entries = []
    for number, entry in enumerate(listed, 1):
        where = f"[[run]] number {number}"
        own = {key: value for key, value in entry.items() if key not in ("recipe", "name")}
        named = _text(entry, "recipe", where) or base
        if named is None:
            what = f"{where} names no recipe, and there is none" if "run" in table else "key recipe is missing"
            raise RecipeError(f'{what}; recipe = "NAME" at the top of the file gives all runs their base')
        stem = re.sub(r"[^A-Za-z0-9._=+-]+", "-", Path(named).stem if named.endswith(".toml") else named)
        if named.endswith(".toml") or "/" in named:
            named = str(folder / user_path(named))
        name, changes = _text(entry, "name", where), _changes(where, own)
        parts = [title, name or (stem if "recipe" in entry else None)]
        label = "_".join(part for part in parts if part) if title or name else None
        started = _overrides(shared) + (_overrides(changes) if name else [])
        entries.append(Entry(named, label, started, shared, changes))
    return entries


def _recipe(entry: Entry, chosen: Changes) -> Recipe:
    overrides = [override for layer in (entry.shared, entry.own, chosen) for override in _overrides(layer)]
    try:
        loaded = recipes.load(entry.recipe, overrides)
        if entry.label is not None:
            start = recipes.read(entry.recipe, entry.started) | {"name": entry.label}
            name = recipes.run_name(start, loaded)
            loaded = recipes.load(entry.recipe, [*overrides, f"name={json.dumps(name)}"])
    except RecipeError as error:
        keys = ", ".join(f"{key} = {show(value)}" for key, value in {**entry.shared, **entry.own, **chosen}.items())
        which = f" (the run with {keys})" if keys else ""
        fits = len(f"{error}{which}") <= LINE - 2 * WORD  # beside the path of the sweep file
        raise RecipeError(f"{error}{which if fits else ''}") from None
    return loaded


def _overrides(changes: Changes) -> list[str]:
    """As `recipe.load` takes them; a new method comes before its keys, whatever their order in the file."""
    ordered = sorted(changes.items(), key=lambda item: item[0] != "method.name")
    return [f"{key}={tomli_w.dumps({'v': value}).removeprefix('v = ')}" for key, value in ordered]


def _check_folders(runs: list[Recipe]) -> None:
    seen: dict[str, Recipe] = {}
    for run in runs:
        other = seen.setdefault(run.name, run)
        if other is run:
            continue
        changed = recipes.differences(other, run)
        changes = "; ".join(f"{key} is {show(a)} in one, {show(b)} in the other" for key, (a, b) in changed.items())
        raise RecipeError(
            f"two runs would share the folder {run.name}: {changes}; give each a [[run]] with a name of its own"
            if changed
            else f"the run {run.name} is there twice (where a run happens makes it no other one)"
        )


def _changes(where: str, table: Any) -> Changes:
    """Overrides of a table, by their dotted keys."""
    if not isinstance(table, dict):
        raise RecipeError(f'{where} = {show(table)} is no table, such as {where} = {{ "train.epochs" = 10 }}')
    changes: Changes = {}
    for key, value in _flat(where, table):
        if key in changes:
            raise RecipeError(f"{where}: the key {key} is there twice")
        changes[key] = value
    return changes


def _grid(table: Any) -> dict[str, list[Any]]:
    grid = _changes("grid", table)
    if not grid:
        raise RecipeError("grid has no keys; leave it out, or give it lists of values")
    for key, values in grid.items():
        if not isinstance(values, list):
            raise RecipeError(f"grid.{key} = {show(values)} is no list of values; what all runs share goes into set")
        if not values:
            raise RecipeError(f"grid.{key} = []: there are no values, and so no runs")
    return grid


def _flat(where: str, table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys, whether the file has them quoted or as nested tables."""
    for key, value in table.items():
        if f"{prefix}{key}" in ELSEWHERE:
            raise RecipeError(f"{where}: the key {prefix}{key} cannot be here; {ELSEWHERE[prefix + key]}")
        if "=" in key:
            raise RecipeError(f"{where}: {show(key)} is no key of a recipe")
        if isinstance(value, dict):
            yield from _flat(where, value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _seeds(value: Any) -> list[int]:
    if not isinstance(value, list) or not value or not all(type(seed) is int and seed >= 0 for seed in value):
        raise RecipeError(f"seeds = {show(value)} is no list of whole numbers from 0, such as [0, 1, 2]")
    twice = next((seed for seed in value if value.count(seed) > 1), None)
    if twice is not None:
        raise RecipeError(f"seeds = {show(value)}: {twice} is there twice")
    return value


def _text(table: Mapping[str, Any], key: str, where: str = "") -> str | None:
    value = table.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise RecipeError(f"{where + ': ' if where else ''}{key} = {show(value)} is no text")
    return value
