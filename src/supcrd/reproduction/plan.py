"""The reference's experiments by one command: their recipes, and what finished runs of them say."""

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from supcrd import recipe as recipes
from supcrd.analysis.statistics import summary
from supcrd.base.wording import nearest
from supcrd.errors import SupcrdError
from supcrd.evaluation.measures import MEASURES
from supcrd.recipe.settings import Recipe
from supcrd.reproduction.published import BANK, EXPERIMENTS, PLAIN, REPLICATES, SETS, TABLES, Row
from supcrd.runs.folder import RunFolder

KEPT = (*(measure.key for measure in MEASURES if measure.better or measure.column), "best_epoch")
"""The numbers of a run that stand in results.json."""


class Plan(NamedTuple):
    """What a call of `supcrd reproduce` is to train."""

    recipe_set: str
    tables: tuple[str, ...]
    overrides: tuple[str, ...]
    runs: dict[str, list[Recipe]]  # by experiment, a recipe a seed
    command: str

    @property
    def recipes(self) -> list[Recipe]:
        """All runs: every experiment's first seed, then its second, so that an early stop leaves a whole table."""
        longest = max(map(len, self.runs.values()))
        return [runs[i] for i in range(longest) for runs in self.runs.values() if i < len(runs)]


def plan(
    recipe_set: str,
    tables: Sequence[str],
    *,
    seeds: int = 3,
    sweep_seeds: int = 1,
    overrides: Sequence[str] = (),
) -> Plan:
    """The runs of some tables.

    Args:
        recipe_set: key of `SETS`.
        tables: keys of `TABLES`.
        seeds: of each run of the main table, >= 1: that of the set's recipe and those after it.
        sweep_seeds: of the runs that only other tables have, >= 1.
        overrides: KEY=VALUE for all runs, e.g. where the data lie.

    Raises:
        SupcrdError: an unknown set; a number of seeds below 1; an override that cannot work.

    Example:
        >>> [run.name for run in plan("small", ["temperature"]).recipes]
        ['small-lw_supcrd-seed0', 'small-temp_0.05-seed0']
    """
    if recipe_set not in SETS:
        raise SupcrdError(f"--recipe-set {recipe_set!r}{nearest(recipe_set, list(SETS))}; there are {', '.join(SETS)}")
    for option, count in (("--seeds", seeds), ("--sweep-seeds", sweep_seeds)):
        if count < 1:
            raise SupcrdError(f"{option} {count}: 1 or more are right")
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key in ("name", "seed", "method", "teacher.override.name") or key.startswith("method."):
            raise SupcrdError(f"override {override!r}: {key} is what tells the experiments apart, and is set by them")
    runs: dict[str, list[Recipe]] = {}
    for table in tables:
        for row in TABLES[table]:
            name = experiment(row, recipe_set)
            count = max(len(runs.get(name, ())), seeds if table == "main" else sweep_seeds)
            runs[name] = [_recipe(recipe_set, name, k, overrides) for k in range(count)]
    asked = f"--recipe-set {recipe_set} --tables {','.join(tables)} --seeds {seeds} --sweep-seeds {sweep_seeds}"
    command = f"supcrd reproduce {asked} {shlex.join(map(_placeless, overrides))}".rstrip()
    return Plan(recipe_set, tuple(tables), tuple(overrides), runs, command)


def experiment(row: Row, recipe_set: str) -> str:
    """Under which experiment's name a row is trained in a set: the first one that changes the same."""
    wanted = _changes(recipe_set, row.experiment)
    return next(name for name in EXPERIMENTS if _changes(recipe_set, name) == wanted)


def _changes(recipe_set: str, name: str) -> tuple[str, ...]:
    of_set = SETS[recipe_set]
    more = of_set.plain if name in PLAIN else of_set.bank if name in BANK else ()
    return (*EXPERIMENTS[name], *more)


def _recipe(recipe_set: str, name: str, k: int, overrides: Sequence[str]) -> Recipe:
    of_set = SETS[recipe_set]
    first = recipes.load(of_set.recipe)
    assert first.teacher is not None
    seed = first.seed + k
    own = [f"name={recipe_set}-{name}-seed{seed}", f"seed={seed}", f"teacher.override.name={recipe_set}-teacher"]
    return recipes.load(of_set.recipe, [*_changes(recipe_set, name), *overrides, *own])


def collect(planned: Plan, out: Path) -> dict[str, Any]:
    """What the finished runs of a plan gave, as JSON has it: fractions 0..1, None for what is not there.

    A folder that cannot be read, or holds a run of another recipe (training it is refused, with the difference) or of
    other images than the first, does not count; `left_out` says so.

    Returns:
        command, set, about, recipe, overrides (paths of this machine cut to their last part), tables, as_published
        (whether nothing but the place of a run was overridden in the published set), planned and finished (runs),
        left_out, data (source, split, n, fingerprint), environment (of the first finished run), hardware, torch and
        commits (of all of them), replicates (pairs of experiments that are one in this set), teacher, and experiments:
        name -> changes, runs, summary (of each number of KEPT: n, mean, std).
    """
    experiments: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    finished: list[Path] = []
    data: dict[str, Any] = {}
    for name, wanted in planned.runs.items():
        runs = []
        for recipe in wanted:
            evaluation, reason = _evaluation(out, recipe)
            if evaluation is not None:
                where = {"split": evaluation.get("split"), "n": evaluation.get("n")}
                where["fingerprint"] = evaluation.get("data_fingerprint")
                data = data or where
                reason = None if where == data else "measured on other images"
            if reason is not None:
                left_out[recipe.name] = reason
            elif evaluation is not None:
                finished.append(out / recipe.name)
                runs.append({"seed": recipe.seed} | _kept(evaluation))
        experiments[name] = {
            "changes": list(_changes(planned.recipe_set, name)),
            "runs": runs,
            "summary": {key: _short(run[key] for run in runs) for key in KEPT},
        }
    first = planned.recipes[0]
    teacher = recipes.teacher_recipe(first)
    taught, reason = _evaluation(out, teacher) if teacher is not None else (None, None)
    if teacher is not None and reason is not None:
        left_out[teacher.name] = reason
    environments = [_environment(folder) for folder in finished]
    return {
        "command": planned.command,
        "set": planned.recipe_set,
        "about": SETS[planned.recipe_set].about,
        "recipe": SETS[planned.recipe_set].recipe,
        "overrides": [_placeless(override) for override in planned.overrides],
        "tables": list(planned.tables),
        "as_published": planned.recipe_set == "published"
        and all(override.partition("=")[0].strip() in recipes.PLACE_KEYS for override in planned.overrides),
        "planned": len(planned.recipes),
        "finished": len(finished),
        "left_out": left_out,
        "data": {"source": _placeless(first.data.source)} | data,
        "environment": environments[0] if environments else None,
        "hardware": _all_of(", ".join(env.get("gpus") or []) or env.get("processor") for env in environments),
        "torch": _all_of(env.get("packages", {}).get("torch") for env in environments),
        "commits": _all_of(env.get("commit") for env in environments),
        "replicates": [list(pair) for pair in REPLICATES] if _scale_free(first) else [],
        "teacher": None if taught is None else _kept(taught),
        "experiments": experiments,
    }


def _evaluation(out: Path, recipe: Recipe) -> tuple[dict[str, Any] | None, str | None]:
    """The numbers of a finished run, or why a folder that has some does not count."""
    run = RunFolder(out / recipe.name)
    if not run.finished:
        return None, None
    try:
        before, evaluation = run.recipe, run.evaluation
    except (SupcrdError, OSError):
        return None, "cannot be read"
    changed = recipes.differences(before, recipe)
    if changed:
        return None, f"of another recipe: {', '.join(changed)}"
    accuracy = _kept(evaluation)["accuracy"]
    return (evaluation, None) if accuracy is not None and 0 <= accuracy <= 1 else (None, "has no accuracy")


def _kept(evaluation: Mapping[str, Any]) -> dict[str, float | None]:
    """Its numbers; None for a missing number or NaN. Accuracy is that of the classifier trained with the encoder."""
    values = {key: evaluation.get(key) for key in KEPT}
    values["accuracy"] = evaluation.get("trained_accuracy", values["accuracy"])  # whatever an override has saved
    return {key: value if _is_number(value) else None for key, value in values.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _short(values: Iterable[float | None]) -> dict[str, Any]:
    runs = summary([value for value in values if value is not None])
    return {"n": runs.n, "mean": runs.mean, "std": runs.std}


def _scale_free(recipe: Recipe) -> bool:
    """Whether the optimiser makes the same of a loss and of a multiple of it (docs/theory.md, 1)."""
    train = recipe.train
    adaptive = train.optimizer == "adamw" or (train.optimizer == "adam" and train.weight_decay == 0)
    return adaptive and train.grad_clip is None


def _placeless(text: str) -> str:
    """A text without the folders of this machine: of an absolute path the last part.

    Example:
        >>> _placeless("data.source=npz:/home/me/cifar100.npz"), _placeless("teacher.timm=hf_hub:owner/name")
        ('data.source=npz:cifar100.npz', 'teacher.timm=hf_hub:owner/name')
    """
    return re.sub(r"(?<![\w.-])(?:~\w*)?/(?:[^/\"']+/)*(?=[^/])", "", text.rstrip("/"))


def _all_of(values: Iterable[str | None]) -> list[str]:
    return sorted({value for value in values if value})


def _environment(folder: Path) -> dict[str, Any]:
    return {key: value for key, value in RunFolder(folder).environment.items() if key != "origins"}
