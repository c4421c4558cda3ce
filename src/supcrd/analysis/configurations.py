"""Finished run folders -> configurations: runs that differ only in their seed.

Only runs of the same images, divided in the same way, stand side by side.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from supcrd import recipe as recipes
from supcrd.analysis.statistics import clear_best
from supcrd.base.wording import show
from supcrd.errors import RunError
from supcrd.evaluation.measure import LARGEST, Measure
from supcrd.evaluation.measures import measures_of
from supcrd.recipe.settings import Recipe
from supcrd.runs.catalogue import Unread, find
from supcrd.runs.folder import RunFolder


def gather(folders: Sequence[str | Path], *, keep: str | None = None) -> tuple[list[RunFolder], list[str]]:
    """Read finished runs, each once, and say what was left out.

    Args:
        folders: run folders, which must be finished and readable, or folders of run folders: of these, what is not
            finished, or cannot be read by this version, is left out.
        keep: a name, label or folder that is taken though it is a teacher of others.

    Returns:
        The runs, each with an evaluation whose numbers can be right, and notes.

    Raises:
        RunError: no run folder; an unfinished run that was given by name; none at all that can be read.
        SupcrdError: a damaged run that was given by name, or as `keep`.
    """
    named = find(folders)
    notes = []
    unfinished = [run for run in named if not run.finished]
    for run in unfinished:
        if named[run]:
            raise RunError(
                f"{run.path} is not finished (it has no {run.evaluation_file.name}); train it to its end first"
            )
    if unfinished:
        notes.append(f"not finished, left out: {', '.join(run.name for run in unfinished)}")
    unread = Unread(keep)
    runs: list[RunFolder] = []
    for run, asked in named.items():
        if run.finished:
            with unread.noting(run, asked=asked):
                runs.append(checked(run))
    asked_for = {run for run in runs if named[run]}
    if keep is not None:
        asked_for |= {run for run in runs if keep in (run.recipe.name, unseeded(run.recipe.name))}
        asked_for.add(RunFolder(keep))
    teachers = {run.teacher for run in runs} - asked_for
    left_out = [run.recipe.name for run in runs if run in teachers]
    if left_out:
        notes.append(f"teachers of others, left out: {', '.join(left_out)} (give their folders to have them)")
    runs = [run for run in runs if run not in teachers]
    if not runs:
        why = f": {next(iter(unread.reasons.values()))}" if unread.reasons else ""
        raise RunError(f"no finished run in {', '.join(map(str, folders)) or 'nothing'}{why}")
    return runs, [*notes, *unread.notes()]


def checked(run: RunFolder) -> RunFolder:
    """A finished run whose recipe and evaluation are read, and whose numbers can be right.

    Raises:
        SupcrdError: unfinished or damaged.
    """
    _ = run.recipe
    evaluation, where = run.evaluation, f"{run.evaluation_file} is damaged"
    for key in ("split", "data_fingerprint"):
        if not isinstance(evaluation.get(key), str):
            raise RunError(f"{where}: {key} = {show(evaluation.get(key))} is no text")
    for measure in measures_of(evaluation):
        value = evaluation.get(measure.key)
        if value is None or measure.fits(value) or not measure.short:
            continue  # what no terminal shows is a gap where it is damaged
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
            raise RunError(f"{where}: {measure.key} = {show(value, 40)} is not a number that it can be")
        raise RunError(f"{where}: {measure.key} = {value!r} is outside {measure.low:g}..{measure.high:g}")
    return run


def check_same_data(runs: Sequence[RunFolder]) -> None:
    """Raise RunError unless all runs were trained and measured on the same images, divided in the same way."""
    first = runs[0]
    for other in runs[1:]:
        for key in ("split", "data_fingerprint"):
            a, b = first.evaluation[key], other.evaluation[key]
            if a == b:
                continue
            both = f"{first.path} and {other.path} cannot be compared"
            if key == "split":
                raise RunError(f"{both}: measured on split {a} and on split {b}")
            data = recipes.differences(first.recipe, other.recipe).items()
            keys = [f"{name} {before!r} and {after!r}" for name, (before, after) in data if name.startswith("data.")]
            raise RunError(
                f"{both}: other images or another validation split: {', '.join(keys) or f'{key} {a} and {b}'}"
            )


def configurations(runs: Sequence[RunFolder]) -> tuple[dict[str, list[RunFolder]], list[str]]:
    """Group runs that differ only in their seed, each group by seed, under labels that are unique; and notes on these.

    Raises:
        RunError: one run twice.
    """
    groups: dict[str, list[RunFolder]] = {}
    for run in runs:
        groups.setdefault(_identity(run.recipe), []).append(run)
    labelled: dict[str, list[RunFolder]] = {}
    notes = []
    for group in groups.values():
        by_seed: dict[int, RunFolder] = {}
        for run in group:
            twin = by_seed.setdefault(run.recipe.seed, run)
            if twin is not run:
                raise RunError(f"{twin.path} and {run.path} have one recipe and seed ({run.recipe.seed}); give one")
        label = plain = _label([run.recipe.name for run in group])
        again = 2
        while label in labelled:
            label, again = f"{plain} ({again})", again + 1
        if label != plain:
            changed = recipes.differences(labelled[plain][0].recipe, group[0].recipe).items()
            shown = ", ".join(f"{key} = {b!r}, not {a!r}" for key, (a, b) in changed if key != "seed")
            notes.append(f"{label} is {group[0].path}: {shown}")
        labelled[label] = [by_seed[seed] for seed in sorted(by_seed)]
    return labelled, notes


def _identity(recipe: Recipe) -> str:
    """Equal for recipes that differ only in seed, name and place."""
    table = _placeless(recipes.to_table(recipe))
    return json.dumps({key: value for key, value in table.items() if key not in ("name", "seed")}, sort_keys=True)


def _placeless(table: dict[str, Any]) -> dict[str, Any]:
    """A recipe's table without where it runs, the recipes of its teachers likewise."""
    for key in recipes.PLACE_KEYS:
        *tables, last = key.split(".")
        inner = table
        for name in tables:
            inner = inner.get(name, {})
        inner.pop(last, None)
    for settings in (table.get("teacher", {}), *table.get("teachers", {}).values()):
        if settings.get("resolved"):
            _placeless(settings["resolved"])
    return table


def number(run: RunFolder, key: str) -> float | None:
    """A finite number of the run's evaluation, else None."""
    value = run.evaluation.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def numbers(group: Sequence[RunFolder], key: str) -> dict[int, float] | None:
    """Seed -> number, where all runs have it."""
    by_seed = {run.recipe.seed: value for run in group if (value := number(run, key)) is not None}
    return by_seed if len(by_seed) == len(group) else None


def clear_bests(groups: Mapping[str, Sequence[RunFolder]], measures: Iterable[Measure]) -> dict[str, str]:
    """Key of a measure -> label of the configuration that is the best of it, where that can be told (`clear_best`).

    Configurations of which not all runs have the number do not compete.
    """
    bests = {}
    for measure in measures:
        values = {label: known for label, group in groups.items() if (known := numbers(group, measure.key))}
        if (best := clear_best(values, measure.better)) is not None:
            bests[measure.key] = best
    return bests


def unseeded(name: str) -> str:
    """A run's name without its seed (`data.split_seed` is another's).

    Example:
        >>> unseeded("digits-crd_split_seed=1_seed=2")
        'digits-crd_split_seed=1'
    """
    return re.sub(r"(?<!_split)[_-]seed[=_-]?\d+", "", name)


def _label(names: Sequence[str]) -> str:
    """What the names have in common, without seeds."""
    plain = [unseeded(name) for name in names]
    common = "".join(letters[0] for letters in takewhile(lambda at: len(set(at)) == 1, zip(*plain, strict=False)))
    return common.rstrip("-_.=+") or plain[0]
