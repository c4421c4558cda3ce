"""The reference's experiments by one command: their recipes, and what finished runs of them say."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from supcrd import recipe as recipes
from supcrd.errors import SupcrdError
from supcrd.published import BANK, EXPERIMENTS, PLAIN, SETS, TABLES, Row
from supcrd.runs import Run, load_run
from supcrd.settings import Recipe
from supcrd.statistics import summary

KEPT = (
    "accuracy",
    "accuracy_at_best",
    "probe_accuracy",
    "knn_accuracy",
    "alignment",
    "uniformity",
    "separation_ratio",
    "ece",
    "teacher_agreement",
    "train_accuracy",
    "validation_accuracy",
    "best_epoch",
    "train_seconds",
)


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
        raise SupcrdError(f"--recipe-set {recipe_set!r}: there are {', '.join(SETS)}")
    for option, count in (("--seeds", seeds), ("--sweep-seeds", sweep_seeds)):
        if count < 1:
            raise SupcrdError(f"{option} {count}: 1 or more are right")
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key in ("name", "seed") or key.startswith("method."):
            raise SupcrdError(f"override {override!r}: {key} is what the tables vary")
    runs: dict[str, list[Recipe]] = {}
    for table in tables:
        for row in TABLES[table]:
            name = experiment(row, recipe_set)
            count = max(len(runs.get(name, ())), seeds if table == "main" else sweep_seeds)
            runs[name] = [_recipe(recipe_set, name, k, overrides) for k in range(count)]
    asked = f"--recipe-set {recipe_set} --tables {','.join(tables)} --seeds {seeds} --sweep-seeds {sweep_seeds}"
    command = " ".join(["supcrd reproduce", asked, *overrides])
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

    A folder that holds a run of another recipe does not count (training it is refused, with the difference).

    Returns:
        command, set, about, recipe, overrides, tables, planned and finished (runs), data (split, n, fingerprint),
        environment (of the first finished run), commits, teacher, and experiments: name -> changes, runs, summary (of
        each number of KEPT: n, mean, std).
    """
    experiments: dict[str, Any] = {}
    finished: list[Run] = []
    for name, wanted in planned.runs.items():
        done = []
        for recipe in wanted:
            run = Run(out / recipe.name, recipe)
            if run.finished and not recipes.differences(load_run(run.folder).recipe, recipe):
                done.append(run)
        finished += done
        told = [{"seed": run.recipe.seed} | _kept(run.evaluation()) for run in done]
        experiments[name] = {
            "changes": list(_changes(planned.recipe_set, name)),
            "runs": told,
            "summary": {key: _short(run[key] for run in told) for key in KEPT},
        }
    first = finished[0].evaluation() if finished else {}
    teacher = out / f"{planned.recipe_set}-teacher"
    environments = [_environment(run.folder) for run in finished]
    return {
        "command": planned.command,
        "set": planned.recipe_set,
        "about": SETS[planned.recipe_set].about,
        "recipe": SETS[planned.recipe_set].recipe,
        "overrides": list(planned.overrides),
        "tables": list(planned.tables),
        "planned": len(planned.recipes),
        "finished": len(finished),
        "data": {"split": first.get("split"), "n": first.get("n"), "fingerprint": first.get("data_fingerprint")},
        "environment": environments[0] if environments else None,
        "commits": sorted({str(environment.get("commit")) for environment in environments}),
        "teacher": _kept(load_run(teacher).evaluation()) if (teacher / "evaluation.json").is_file() else None,
        "experiments": experiments,
    }


def _kept(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    return {key: evaluation.get(key) for key in KEPT}


def _short(values: Iterable[float | None]) -> dict[str, Any]:
    told = summary([value for value in values if value is not None])
    return {"n": told.n, "mean": told.mean, "std": told.std}


def _environment(folder: Path) -> dict[str, Any]:
    import json

    try:
        environment: dict[str, Any] = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in environment.items() if key != "origins"}
