"""Finished run folders -> configurations: runs that differ only in their seed.

Only runs of the same images, divided in the same way, stand side by side.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from supcrd import recipe as recipes
from supcrd.base.wording import show
from supcrd.errors import RunError, SupcrdError
from supcrd.recipe.settings import Recipe
from supcrd.runs.folder import load_run

METRICS = ("accuracy", "accuracy_at_best", "probe_accuracy", "knn_accuracy")
"""What differences can be of."""
SUMMARISED = (*METRICS, "alignment", "uniformity", "validation_accuracy", "train_accuracy")
REASONS = 3  # of folders that cannot be read, in full
LARGEST = 1e6  # of any of these: a number beyond it is damage


@dataclass(frozen=True)
class Measured:
    """A finished run."""

    folder: Path
    recipe: Recipe
    evaluation: Mapping[str, Any]
    environment: Mapping[str, str]
    """supcrd commit, torch and teacher (a fingerprint of its weights), as far as they are known"""

    @property
    def teacher(self) -> Path | None:
        """The folder of its teacher."""
        named = self.evaluation.get("teacher")
        return (self.folder.parent / named).resolve() if isinstance(named, str) else None


def gather(folders: Sequence[str | Path], *, keep: str | None = None) -> tuple[list[Measured], list[str]]:
    """Read finished runs, each once, and say what was left out.

    Args:
        folders: run folders, which must be finished and readable, or folders of run folders: of these, what is not
            finished, or cannot be read by this version, is left out.
        keep: a name, label or folder that is taken though it is a teacher of others.

    Raises:
        RunError: no run folder; an unfinished run that was given by name; none at all that can be read.
        SupcrdError: a damaged run that was given by name, or as `keep`.
    """
    found: dict[Path, Measured] = {}
    asked: set[Path] = set()
    notes = []
    unread = Unread(keep)
    for folder in (Path(folder).expanduser() for folder in folders):
        if (folder / "recipe.toml").is_file():
            if not (folder / "evaluation.json").is_file():
                raise RunError(f"{folder} is not finished (it has no evaluation.json); train it to its end first")
            inside = [folder]
            asked.add(folder.resolve())
        else:
            inside = sorted(path.parent for path in folder.glob("*/recipe.toml"))
            if not inside:
                there = "is no run folder (it has no recipe.toml) and holds none" if folder.exists() else "is not there"
                raise RunError(f"{folder} {there}")
            unfinished = [path.name for path in inside if not (path / "evaluation.json").is_file()]
            if unfinished:
                notes.append(f"not finished, left out: {', '.join(unfinished)}")
        for path in inside:
            if (path / "evaluation.json").is_file() and path.resolve() not in found:
                with unread.noting(path, asked=path.resolve() in asked):
                    found[path.resolve()] = _measured(path)
    teachers = {run.teacher for run in found.values()}
    if keep is not None:
        asked |= {path for path, run in found.items() if keep in (run.recipe.name, unseeded(run.recipe.name))}
        asked.add(Path(keep).expanduser().resolve())
    left_out = [path for path in found if path in teachers and path not in asked]
    if left_out:
        names = ", ".join(found.pop(path).recipe.name for path in left_out)
        notes.append(f"teachers of others, left out: {names} (give their folders to have them)")
    if not found:
        why = f": {next(iter(unread.reasons.values()))}" if unread.reasons else ""
        raise RunError(f"no finished run in {', '.join(map(str, folders)) or 'nothing'}{why}")
    return list(found.values()), [*notes, *unread.notes()]


class Unread:
    """Run folders, found in a folder of such, that this version cannot read: left out, and said so in one note."""

    def __init__(self, keep: str | None = None) -> None:
        self.keep = keep
        self.reasons: dict[Path, str] = {}

    @contextlib.contextmanager
    def noting(self, folder: Path, *, asked: bool = False) -> Iterator[None]:
        """Read a run folder within this; what is wrong with it is noted, or raised where somebody asked for it."""
        try:
            yield
        except SupcrdError as error:
            kept = self.keep is not None and (
                self.keep == folder.name or Path(self.keep).expanduser().resolve() == folder.resolve()
            )
            if asked or kept:
                raise
            self.reasons[folder] = str(error)

    def notes(self) -> list[str]:
        """None, or one."""
        if not self.reasons:
            return []
        told = [f"{folder.name} ({reason})" for folder, reason in list(self.reasons.items())[:REASONS]]
        return [f"cannot be read, left out: {', '.join([*told, *(f.name for f in list(self.reasons)[REASONS:])])}"]


def check_same_data(runs: Sequence[Measured]) -> None:
    """Raise RunError unless all runs were trained and measured on the same images, divided in the same way."""
    first = runs[0]
    for other in runs[1:]:
        for key in ("split", "data_fingerprint"):
            a, b = first.evaluation[key], other.evaluation[key]
            if a == b:
                continue
            both = f"{first.folder} and {other.folder} cannot be compared"
            if key == "split":
                raise RunError(f"{both}: measured on split {a} and on split {b}")
            data = recipes.differences(first.recipe, other.recipe).items()
            keys = [f"{name} {before!r} and {after!r}" for name, (before, after) in data if name.startswith("data.")]
            raise RunError(
                f"{both}: other images or another validation split: {', '.join(keys) or f'{key} {a} and {b}'}"
            )


def configurations(runs: Sequence[Measured]) -> tuple[dict[str, list[Measured]], list[str]]:
    """Group runs that differ only in their seed, each group by seed, under labels that are unique; and notes on these.

    Raises:
        RunError: one run twice.
    """
    groups: dict[str, list[Measured]] = {}
    for run in runs:
        groups.setdefault(_identity(run.recipe), []).append(run)
    labelled: dict[str, list[Measured]] = {}
    notes = []
    for group in groups.values():
        by_seed: dict[int, Measured] = {}
        for run in group:
            twin = by_seed.setdefault(run.recipe.seed, run)
            if twin is not run:
                raise RunError(f"{twin.folder} and {run.folder} have one recipe and seed ({run.recipe.seed}); give one")
        label = plain = _label([run.recipe.name for run in group])
        again = 2
        while label in labelled:
            label, again = f"{plain} ({again})", again + 1
        if label != plain:
            changed = recipes.differences(labelled[plain][0].recipe, group[0].recipe).items()
            shown = ", ".join(f"{key} = {b!r}, not {a!r}" for key, (a, b) in changed if key != "seed")
            notes.append(f"{label} is {group[0].folder}: {shown}")
        labelled[label] = [by_seed[seed] for seed in sorted(by_seed)]
    return labelled, notes


def _measured(folder: Path) -> Measured:
    run = load_run(folder)
    evaluation = run.evaluation()
    where = f"{folder / 'evaluation.json'} is damaged"
    for key in ("split", "data_fingerprint"):
        if not isinstance(evaluation.get(key), str):
            raise RunError(f"{where}: {key} = {show(evaluation.get(key))} is no text")
    for key in SUMMARISED:
        value = evaluation.get(key)
        if value is None:
            continue
        # in these words NaN is none, and neither is an integer of hundreds of digits
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
            raise RunError(f"{where}: {key} = {show(value)} is no number that it can be")
        if "accuracy" in key and not 0 <= value <= 1:
            raise RunError(f"{where}: {key} = {value!r} is outside 0..1")
    return Measured(folder, run.recipe, evaluation, _environment(folder))


def _environment(folder: Path) -> dict[str, str]:
    known: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError, AttributeError):  # a copy without it: nothing can be told
        held = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
        known["supcrd"] = held.get("commit")
        known["torch"] = held.get("packages", {}).get("torch")
        known["teacher"] = held.get("origins", {}).get("teacher")
    return {name: value for name, value in known.items() if isinstance(value, str)}


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
