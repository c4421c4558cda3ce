"""The tables of docs/results/best-student*.json: each configuration beside the one that it is compared with."""

from typing import Any

from supcrd.analysis.pooled import Pooled

VIEWS = {"cross_entropy-1": "cross_entropy", "kd-1": "kd", "lw-kd-1": "lw-kd"}
JOINED = {f"{name}-attached": name for name in ("lw_supcrd", "crd", "supcon")}
UNIFORM = {"lw_supcrd": "lw_supcrd-uniform", "lw-kd-1": "lw-kd-1-uniform"}
DECAYED = {"dist-1-decay-all": "dist-1", "dist-1-lr-3e-3-decay-all": "dist-1-lr-3e-3"}
STRONGER = {"kd-1": "kd-1-weak", "lw-kd-1": "lw-kd-1-weak"}
BASELINES: dict[str, str | dict[str, str]] = {
    "baselines": "cross_entropy-1",
    "ingredients": "kd-1",
    "contrast": "kd-1",
    "logits": "kd-1",
    "around": "kd-1",
    "views": VIEWS,
    "detached": JOINED,
    "weights": UNIFORM,
    "teachers": STRONGER,
    "rates": DECAYED,
    "long": "kd-1",
    "pair": "cross_entropy-1",
    "headline": "cross_entropy-1",
    "settings": "lr-3e-3-all",
    "tuned": "cross_entropy-1-lr-3e-3",
}
"""Table -> the configuration that differences are from, or that of each; by default that of the usual rate."""

HEADLINE = ("cross_entropy-1", "cross_entropy-1-cutmix", "kd-1", "kd-1-cutmix", "lw-kd-1", "lw-kd-1-cutmix", "dist-1")
"""What README shows of them, where there is a run."""

TUNED = ("cross_entropy-1-lr-3e-3", "kd-1-lr-3e-3", "ls-1-lr-6e-3", "lw-kd-1-lr-6e-3", "dist-1-lr-6e-3",
         "lw-dist-1-lr-6e-3", "dist-1-lr-3e-3-decay-all")  # fmt: skip
"""Each at the rate of `rates` that is best on validation, and what `supcrd distil` trains by default."""

HEAD = ("n", "validation %", "test %", "difference", "ECE %", "as trained %", "refitted %")
FIRST, LAST = ("validation_accuracy", "accuracy"), ("ece", "trained_accuracy", "refit_accuracy")
"""What stands before the difference of test accuracies, and after it."""


def by_seed(results: dict[str, Any], name: str, key: str) -> dict[int, float]:
    """Seed -> number of the runs of a configuration."""
    found = (run for run in results["runs"] if run["name"].partition("_seed=")[0] == name)
    return {run["seed"]: run[key] for run in found if run.get(key) is not None}


def percent(told: dict[str, Any] | None) -> str:
    """Mean ± standard deviation of a share."""
    if told is None:
        return "-"
    return f"{100 * told['mean']:.2f}" + ("" if told["std"] is None else f" ± {100 * told['std']:.2f}")


def difference(results: dict[str, Any], noise: Pooled, name: str, baseline: str) -> str:
    """The difference of two configurations in points, with its 95 % interval where there is one."""
    ours, theirs = by_seed(results, name, "accuracy"), by_seed(results, baseline, "accuracy")
    if ours.keys() <= theirs.keys() and all(ours[seed] == theirs[seed] for seed in ours):
        return "the same models"  # no averaged weights were better on validation
    told = noise.difference(name, baseline)
    if told.mean is None or told.n == 0:
        return ""
    interval = "" if told.low is None or told.high is None else f" ({100 * told.low:+.2f} to {100 * told.high:+.2f})"
    return f"{100 * told.mean:+.2f}{interval}"


def table(results: dict[str, Any], which: str) -> str:
    """One of the tables, in Markdown."""
    against = BASELINES[which]
    noise = Pooled({name: by_seed(results, name, "accuracy") for name in results["summary"]})
    wanted = {"headline": HEADLINE, "tuned": TUNED}.get(which) or results["tables"][which]
    first = [against] if isinstance(against, str) else []
    names = [name for name in dict.fromkeys([*first, *wanted]) if name in results["summary"]]
    differs = f"from `{against}`" if isinstance(against, str) else "difference"
    head = [differs if name == "difference" else name for name in HEAD]
    lines = [f"| configuration | {' | '.join(head)} |", f"|---|{'---:|' * len(head)}"]
    for name in names:
        told = results["summary"][name]
        baseline = against if isinstance(against, str) else against.get(name, name.partition("-lr-")[0])
        apart = "" if baseline == name else difference(results, noise, name, baseline)
        apart = apart if isinstance(against, str) or not apart else f"{apart} from `{baseline}`"
        first, last = ([percent(told.get(key)) for key in keys] for keys in (FIRST, LAST))
        cells = [str(told["n"]), *first, apart, *last]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)
