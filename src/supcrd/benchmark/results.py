"""What the runs of a benchmark gave: a row a configuration, from the run folders alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from supcrd.analysis.caveats import environments, threads, under_trained
from supcrd.analysis.configurations import number
from supcrd.analysis.pooled import Pooled
from supcrd.analysis.statistics import holm, summary
from supcrd.benchmark import published
from supcrd.benchmark.orderings import orderings
from supcrd.benchmark.pairs import Pair
from supcrd.benchmark.plan import Groups
from supcrd.benchmark.protocol import BASE, KD
from supcrd.evaluation import health
from supcrd.recipe.settings import Recipe
from supcrd.runs.folder import RunFolder
from supcrd.sweep.plan import Outcome

ACCURACIES = {"last": "trained_accuracy", "selected": "accuracy_at_best"}
"""Of the last epoch and of the epoch that validation selected, by the classifier trained with the encoder: the key of
evaluation.json."""
BASELINES = (KD, BASE)


def results(pair: Pair, groups: Groups, out: Path, outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """A pair's numbers so far, as plain values for JSON; shares in 0..1, what is not known is None.

    Args:
        groups: the recipes of the pair.
        out: the folder of run folders.
        outcomes: by the name of a run, what became of it in this call.

    Returns:
        teacher: its run, accuracy, parameters and published figures; None before a run was finished.
        rows: by configuration views, epochs, training images and runs; `last`, `selected`, `selected_less_last`,
            `probe`, `seconds` in short over the seeds; parameters; `differences` to KD and to cross-entropy by
            `analysis.pooled`, with p corrected by Holm for all of the kind, to both; published figures; what failed.
        orderings: see `orderings.orderings`; caveats: what to be careful about, a line each.
        comparable: whether the data have the classes that the published figures are of.
    """
    runs = {name: [_read(recipe, out) for recipe in group] for name, group in groups.items()}
    finished = [run for group in runs.values() for run in group if run is not None]
    names = next((run.evaluation.get("class_names") for run in finished), None)
    comparable = isinstance(names, list) and published.comparable(names)
    rows = {name: _row(pair, name, groups[name], runs[name], outcomes, comparable=comparable) for name in groups}
    values = {name: {key: _by_seed(group, key) for key in ACCURACIES} for name, group in runs.items()}
    _differences(rows, values)
    plain = rows[BASE]["parameters"] if BASE in rows else None
    for row in rows.values():
        known = row["parameters"] is not None and plain is not None
        row["extra_parameters"] = row["parameters"] - plain if known else None
    last = {name: of["last"] for name, of in values.items()}
    there = {name: [run for run in group if run is not None] for name, group in runs.items()}
    return {
        "pair": pair.key,
        "comparable": comparable,
        "teacher": _teacher(pair, finished, comparable=comparable),
        "rows": rows,
        "orderings": orderings(pair, last) if comparable else [],
        "caveats": _caveats({name: group for name, group in there.items() if group}),
    }


def _caveats(groups: Mapping[str, Sequence[RunFolder]]) -> list[str]:
    """Of the comparison: other code, threads or teachers, baselines that may be under-trained."""
    lines = [*environments(groups), *threads(groups)]
    for baseline in (name for name in BASELINES if name in groups):
        split = str(groups[baseline][0].evaluation.get("split"))
        lines += [line for part in under_trained(baseline, groups[baseline], split) for line in part]
    return lines


def _read(recipe: Recipe, out: Path) -> RunFolder | None:
    run = RunFolder(out / recipe.name, recipe)  # which does without reading the file's
    return run if run.finished else None


def _by_seed(group: Sequence[RunFolder | None], key: str) -> dict[int, float]:
    """Seed -> accuracy, of the runs that are finished."""
    there = [run for run in group if run is not None]
    return {run.recipe.seed: value for run in there if (value := number(run, ACCURACIES[key])) is not None}


def _row(
    pair: Pair,
    name: str,
    group: Sequence[Recipe],
    runs: Sequence[RunFolder | None],
    outcomes: Mapping[str, Outcome],
    *,
    comparable: bool,
) -> dict[str, Any]:
    first, there = group[0], [run for run in runs if run is not None]
    entries = [_run(run) for run in there]
    less = [run["selected"] - run["last"] for run in entries if None not in (run["selected"], run["last"])]
    failed = [outcomes[recipe.name] for recipe in group if recipe.name in outcomes]
    return {
        "method": first.method.model_dump(mode="json"),
        "views": first.view_count,
        "epochs": first.train.epochs,
        "seeds": [run.recipe.seed for run in there],
        "n": len(there),
        "last": _short([run["last"] for run in entries]),
        "selected": _short([run["selected"] for run in entries]),
        "selected_less_last": asdict(summary(less)),
        "probe": _short([run["probe"] for run in entries]),
        "seconds": _short([run["seconds"] for run in entries]),
        "parameters": next((run["parameters"] for run in entries), None),
        "differences": {},
        "published": [asdict(one) for one in published.figures(pair, name)] if comparable else [],
        "warnings": health.merged([run["warnings"] for run in entries]),
        "failed": [{"run": one.name, "status": one.status, "reason": one.reason} for one in failed if not one.good],
        "runs": entries,
    }


def _run(run: RunFolder) -> dict[str, Any]:
    evaluation, about = run.evaluation, run.environment
    return {
        "run": run.name,
        "seed": run.recipe.seed,
        **{name: number(run, key) for name, key in ACCURACIES.items()},
        "best_epoch": evaluation.get("best_epoch"),
        "epochs": evaluation.get("epochs"),
        "validation_accuracy": number(run, "validation_accuracy"),
        "probe": number(run, "probe_accuracy"),
        "seconds": number(run, "train_seconds"),
        "parameters": evaluation.get("parameters"),
        "images": evaluation.get("n"),
        "place": evaluation.get("place"),
        "processor": about.get("processor"),
        "gpus": about.get("gpus"),
        "threads": about.get("threads"),
        "commit": about.get("commit"),
        "packages": about.get("packages"),
        "warnings": health.told(evaluation),
    }


def _short(values: Sequence[float | None]) -> dict[str, Any]:
    """`summary` of what is known."""
    return asdict(summary([value for value in values if value is not None and math.isfinite(value)]))


def _differences(rows: Mapping[str, dict[str, Any]], values: Mapping[str, Any]) -> None:
    """Write the differences of all rows to the baselines into them; p is corrected for all of one kind of accuracy."""
    pairs = [(name, baseline) for baseline in BASELINES if baseline in rows for name in rows if name != baseline]
    for key in ACCURACIES:
        noise = Pooled({name: values[name][key] for name in rows})
        differences = [noise.difference(*pair) for pair in pairs]
        corrected = holm([one.p for one in differences])
        for (name, baseline), one, p in zip(pairs, differences, corrected, strict=True):
            rows[name]["differences"].setdefault(baseline, {})[key] = asdict(one) | {"corrected_p": p}


def _teacher(pair: Pair, finished: Sequence[RunFolder], *, comparable: bool) -> dict[str, Any] | None:
    """The teacher of the first finished run that has one."""
    for run in finished:
        folder = run.teacher
        if folder is None or not folder.finished:
            continue
        own = folder.evaluation
        return {
            "run": folder.name,
            "arch": pair.teacher,
            "accuracy": number(folder, "accuracy"),
            "split": own.get("split"),
            "images": own.get("n"),
            "tried": run.evaluation.get("teacher_accuracy"),
            "tried_on": run.evaluation.get("teacher_tried_on"),
            "parameters": own.get("parameters"),
            "epochs": own.get("epochs"),
            "same_data": own.get("data_fingerprint") == run.evaluation.get("data_fingerprint"),
            "published": [asdict(one) for one in published.figures(pair, published.TEACHER)] if comparable else [],
        }
    return None
