"""Gather finished runs into one JSON file of results: what README and docs show is read from such files.

    python benchmarks/collect.py runs/a runs/b ... --command "supcrd train ..." --out docs/results/NAME.json

Runs that differ only in their seed are one configuration, with mean, sample standard deviation and n (runs).
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from supcrd import recipe as recipes
from supcrd.analysis.configurations import unseeded
from supcrd.base.files import write_json
from supcrd.evaluation.measures import MEASURES
from supcrd.runs.folder import RunFolder

KEPT = [measure.key for measure in MEASURES if measure.better or measure.key == "train_seconds"]

BY_CLASS = ("class_names", "class_accuracy", "class_counts", "validation_class_counts")
"""Left out: an entry for each class, of each run."""


def summary(evaluations: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation of each number over runs."""
    told: dict[str, Any] = {"n": len(evaluations), "seeds": sorted(e["seed"] for e in evaluations)}
    told |= {key: evaluations[0][key] for key in ("method", "arch", "parameters")}
    for key in KEPT:
        values = [e[key] for e in evaluations if e.get(key) is not None]
        if len(values) == len(evaluations):
            spread = statistics.stdev(values) if len(values) > 1 else None
            told[key] = {"mean": statistics.mean(values), "std": spread}
    return told


def gathered(folders: Sequence[Path], before: dict[str, Any] | None = None) -> dict[str, Any]:
    """What is kept of finished runs: where they ran, how, each number, and means over seeds.

    `before` is an earlier result of this function, whose runs are gathered too.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in before["runs"] if before else []:
        groups.setdefault(unseeded(run["name"]), []).append(run)
    for folder in folders:
        evaluation = RunFolder(folder).evaluation | {"teacher": None}  # a path of this machine
        source = evaluation["source"].rsplit("/", 1)[-1]
        groups.setdefault(unseeded(RunFolder.open(folder).recipe.name), []).append(evaluation | {"source": source})
    environments = [json.loads((folder / "environment.json").read_text()) for folder in folders]
    old = before["environment"]["commit"].split(", ") if before and before["runs"] else []
    commits = sorted({str(environment["commit"]) for environment in environments} | set(old))
    epochs = dict(before["training"]) if before and before["runs"] else {}
    epochs |= {
        unseeded(RunFolder.open(f).recipe.name): recipes.to_table(RunFolder.open(f).recipe)["train"] for f in folders
    }
    return {
        "split": next(iter(groups.values()))[0]["split"],
        "images": next(iter(groups.values()))[0]["n"],
        "environment": environments[0] | {"commit": ", ".join(commits), "data_fingerprint": None},
        "training": epochs,
        "summary": {name: summary(runs) for name, runs in groups.items()},
        "runs": [
            {key: value for key, value in run.items() if key not in BY_CLASS}
            for runs in groups.values()
            for run in runs
        ],
    }


def main() -> None:
    """Read the folders, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--command", required=True, help="what gave these runs")
    parser.add_argument("--note", default="", help="budget and circumstances")
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args()

    write_json(options.out, {"command": options.command, "note": options.note} | gathered(options.folders))


if __name__ == "__main__":
    main()
