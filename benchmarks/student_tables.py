"""The tables of docs/results/best-student.json: each configuration beside its baseline, with paired differences."""

from typing import Any

from supcrd.analysis.statistics import paired

BASELINES = {
    "detached": "cross_entropy",
    "baselines": "cross_entropy",
    "ingredients": "kd-z",
    "weights": "lw_supcrd-uniform",
    "teachers": "kd-z",
}
"""Table -> the configuration that differences are from."""

HEAD = (
    "configuration",
    "n",
    "validation %",
    "test %",
    "as trained %",
    "refitted %",
    "ECE %",
    "probe %",
    "difference of test",
)


def by_seed(results: dict[str, Any], name: str, key: str) -> dict[int, float]:
    """Seed -> number of the runs of a configuration."""
    found = (run for run in results["runs"] if run["name"].partition("_seed=")[0] == name)
    return {run["seed"]: run[key] for run in found if run.get(key) is not None}


def percent(told: dict[str, Any] | None) -> str:
    """Mean ± standard deviation of a share."""
    if told is None:
        return "-"
    return f"{100 * told['mean']:.2f}" + ("" if told["std"] is None else f" ± {100 * told['std']:.2f}")


def difference(results: dict[str, Any], name: str, baseline: str, key: str = "accuracy") -> str:
    """Mean of the paired differences of two configurations in points, with its 95 % interval; nothing of n < 2."""
    told = paired(by_seed(results, name, key), by_seed(results, baseline, key))
    if told.mean is None or name == baseline:
        return ""
    interval = "" if told.low is None or told.high is None else f" ({100 * told.low:+.2f} to {100 * told.high:+.2f})"
    return f"{100 * told.mean:+.2f}{interval}"


def table(results: dict[str, Any], which: str) -> str:
    """One of the tables, in Markdown, with what it was measured by."""
    baseline = BASELINES[which]
    names = [name for name in dict.fromkeys([baseline, *results["tables"][which]]) if name in results["summary"]]
    lines = [f"| {' | '.join(HEAD)} from `{baseline}` |", f"|---|{'---:|' * (len(HEAD) - 1)}"]
    for name in names:
        told = results["summary"][name]
        shares = [
            percent(told.get(key))
            for key in (
                "validation_accuracy",
                "accuracy",
                "trained_accuracy",
                "refit_accuracy",
                "ece",
                "probe_accuracy",
            )
        ]
        lines.append(f"| `{name}` | {told['n']} | {' | '.join(shares)} | {difference(results, name, baseline)} |")
    return "\n".join(lines)
