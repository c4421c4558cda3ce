"""RESULTS.md: our means beside the published figures, and what they say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supcrd.files import write_json, write_text
from supcrd.findings import Finding, findings, order, replicates
from supcrd.published import EXPERIMENTS, SETS, TABLES, TEACHER, Row
from supcrd.reproduce import Plan, collect, experiment

TITLES = {
    "main": "Main table",
    "alpha": "alpha (beta = 10)",
    "beta": "beta (alpha = 1)",
    "temperature": "Temperature",
    "hybrid": "Hybrid: lambda SupCon + (1 - lambda) LW-SupCRD",
    "bank": "Memory bank (momentum 0.5)",
    "logits": "Terms on the logits (nothing published by the reference)",
}
COLUMNS = (
    "",
    "published",
    "last epoch",
    "n",
    "validation-selected",
    "linear probe",
    "alignment (published)",
    "uniformity (published)",
)


def write_results(planned: Plan, out: Path) -> None:
    """Bring `results.json` and `RESULTS.md` in `out` to what is finished there."""
    results = collect(planned, out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "results.json", results)
    write_text(out / "RESULTS.md", markdown(results))


def markdown(results: Mapping[str, Any], *, level: int = 1) -> str:
    """Results of `reproduce.collect` as a page, headings from `level` on."""
    mark = "#" * level
    lines = [f"{mark} Reproduction, recipe set `{results['set']}`", "", *_about(results), ""]
    for table in results["tables"]:
        lines += [f"{mark}# {TITLES[table]}", "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        if table == "main":
            lines.append(_teacher(results))
        lines += [_line(row, results) for row in TABLES[table]] + [""]
    return "\n".join([*lines, *_findings(results, mark)])


def _about(results: Mapping[str, Any]) -> list[str]:
    environment, data = results["environment"] or {}, results["data"]
    packages = environment.get("packages", {})
    hardware = ", ".join(environment.get("gpus") or []) or environment.get("processor")
    about, finished, planned = results["about"], results["finished"], results["planned"]
    lines = [
        f"{about[0].upper()}{about[1:]}. {finished} of {planned} runs finished.",
        "",
        f"* `{results['command']}` (recipe `{results['recipe']}`)",
        f"* CIFAR-100, {data['split']} split, n = {data['n']} images, read once, after training; accuracies in %.",
        f"* {hardware}, torch {packages.get('torch')}, supcrd {packages.get('supcrd')}"
        f" ({', '.join(commit[:7] for commit in results['commits'])})",
        "* Ours: mean ± sample standard deviation over n seeds. Last epoch: encoder and the classifier trained",
        "  with it, as published (for contrastive methods an online probe). Validation-selected: the same, of the",
        "  epoch with the highest validation accuracy. Linear probe: fitted on frozen features afterwards.",
        "* Published figures are one seed each, of ResNet-18 after 50 epochs, and were chosen on the test split.",
    ]
    if SETS[results["set"]].recipe != SETS["published"].recipe:
        lines.append("  Other networks and epochs were trained here: compare the order, not the numbers.")
    return lines


def _teacher(results: Mapping[str, Any]) -> str:
    told = results["teacher"]
    if told is None:
        return f"| teacher | {100 * TEACHER.accuracy:.2f} | - | 0 | - | - | - | - |"
    cells = [
        "teacher",
        f"{100 * TEACHER.accuracy:.2f}",
        *(_percent({"n": 1, "mean": told["accuracy"], "std": None}), "1"),
        *(_percent({"n": 1, "mean": told[key], "std": None}) for key in ("accuracy_at_best", "probe_accuracy")),
        *(_beside({"mean": told[key], "std": None}, getattr(TEACHER, key)) for key in ("alignment", "uniformity")),
    ]
    return f"| {' | '.join(cells)} |"


def _line(row: Row, results: Mapping[str, Any]) -> str:
    told = results["experiments"][experiment(row, results["set"])]["summary"]
    published = row.published
    cells = [
        row.label,
        "-" if published is None else f"{100 * published.accuracy:.2f}",
        _percent(told["accuracy"]),
        str(told["accuracy"]["n"]),
        *(_percent(told[key]) for key in ("accuracy_at_best", "probe_accuracy")),
        *(_beside(told[key], getattr(published, key, None)) for key in ("alignment", "uniformity")),
    ]
    return f"| {' | '.join(cells)} |"


def _percent(told: Mapping[str, Any]) -> str:
    if told["mean"] is None:
        return "-"
    spread = "" if told["std"] is None else f" ± {100 * told['std']:.2f}"
    return f"{100 * told['mean']:.2f}{spread}"


def _beside(told: Mapping[str, Any], published: float | None) -> str:
    if told["mean"] is None:
        return "-"
    spread = "" if told["std"] is None else f" ± {told['std']:.3f}"
    return f"{told['mean']:.3f}{spread}" + ("" if published is None else f" ({published:.4f})")


def _findings(results: Mapping[str, Any], mark: str) -> list[str]:
    experiments = results["experiments"]
    names = {row.experiment: experiment(row, results["set"]) for table in TABLES.values() for row in table}
    told = findings(experiments, names)
    if not told:
        return []
    lines = [
        f"{mark}# What it says",
        "",
        "Differences of last-epoch accuracy in points, positive as published, with 95% intervals; verdicts at 5% after",
        "Holm's correction for all of them.",
        "",
        "| published finding | verdict | difference | n | basis |",
        "|---|---|---|---|---|",
        *(_finding(each) for each in told),
        "",
    ]
    for key in ("uniformity", "alignment"):
        found = order(experiments, key)
        if found is not None:
            lines.append(
                f"* {key.capitalize()} against accuracy over {found.n} experiments (Spearman; -1 where lower {key} "
                f"always goes with higher accuracy): ours {found.ours:+.2f}, published {found.published:+.2f}."
            )
    for one, other, ours, published in replicates(experiments):
        lines.append(
            f"* Replicates: `{one}` and `{other}` have one beta/alpha and are under Adam one experiment run twice: "
            f"they differ by {100 * ours:+.2f} points here, {100 * published:+.2f} as published."
        )
    return [*lines, ""]


def _finding(each: Finding) -> str:
    assert each.difference is not None
    interval = "" if each.low is None or each.high is None else f" ({100 * each.low:+.2f} to {100 * each.high:+.2f})"
    return f"| {each.text} | {each.verdict} | {100 * each.difference:+.2f}{interval} | {each.n} | {each.basis} |"


assert set(TITLES) == set(TABLES)
assert {row.experiment for table in TABLES.values() for row in table} == set(EXPERIMENTS)
