"""RESULTS.md: our means beside the published figures, and what they say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supcrd.base.files import write_json, write_text
from supcrd.reproduction.claims import UNIFORMITY
from supcrd.reproduction.findings import Finding, apart, concluded, findings, order
from supcrd.reproduction.plan import Plan, collect, experiment
from supcrd.reproduction.published import EXPERIMENTS, TABLES, TEACHER, Row

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
    values = [finding._asdict() for finding in _tested(results)]
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "results.json", results | {"findings": values})
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
    packages, data = (results["environment"] or {}).get("packages", {}), results["data"]
    about, finished, planned = results["about"], results["finished"], results["planned"]
    lines = [f"{about[0].upper()}{about[1:]}. {finished} of {planned} runs finished.", ""]
    lines.append(f"* `{results['command']}` (recipe `{results['recipe']}`)")
    if results["overrides"]:
        lines.append(f"* Changed in all runs: {', '.join(f'`{override}`' for override in results['overrides'])}.")
    if finished:
        lines.append(
            f"* Data `{data['source']}`, {data['split']} split, n = {data['n']} images, read once, after training; "
            "accuracies in %."
        )
        torch, supcrd = " and ".join(results["torch"]), packages.get("supcrd")
        versions = [f"torch {torch or 'unknown'}", f"supcrd {supcrd or 'unknown'}"]
        commits = ", ".join(commit[:7] for commit in results["commits"])
        lines.append(f"* {', '.join([*results['hardware'], *versions])}{f' ({commits})' if commits else ''}.")
    lines += [
        "* Ours: mean ± sample standard deviation over n seeds. Last epoch: encoder and the classifier trained",
        "  with it, as published (for contrastive methods an online probe). Validation-selected: the same, of the",
        "  epoch with the highest validation accuracy. Linear probe: fitted on frozen features afterwards.",
        "* Published figures are one seed each, of ResNet-18 after 50 epochs on CIFAR-100, and were chosen on the",
        "  test split.",
    ]
    if not results["as_published"]:
        lines.append("  Networks, epochs or settings are others here: compare the order, not the numbers.")
    if results["left_out"]:
        values = "; ".join(f"`{name}` ({reason})" for name, reason in results["left_out"].items())
        lines.append(f"* Left out: {values}.")
    return lines


def _teacher(results: Mapping[str, Any]) -> str:
    values = results["teacher"]
    if values is None:
        return f"| teacher | {100 * TEACHER.accuracy:.2f} | - | 0 | - | - | - | - |"
    cells = [
        "teacher",
        f"{100 * TEACHER.accuracy:.2f}",
        *(_percent({"n": 1, "mean": values["accuracy"], "std": None}), "1"),
        *(_percent({"n": 1, "mean": values[key], "std": None}) for key in ("accuracy_at_best", "probe_accuracy")),
        *(_beside({"mean": values[key], "std": None}, getattr(TEACHER, key)) for key in ("alignment", "uniformity")),
    ]
    return f"| {' | '.join(cells)} |"


def _line(row: Row, results: Mapping[str, Any]) -> str:
    name = experiment(row, results["set"])
    values = results["experiments"][name]["summary"]
    published = row.published
    twins = [other for pair in results["replicates"] if name in pair for other in pair if other != name]
    cells = [
        row.label
        + "".join(f"; replicate of `{other}`" for other in twins)
        + (f"; the runs of `{name}`" if name != row.experiment else ""),
        "-" if published is None else f"{100 * published.accuracy:.2f}",
        _percent(values["accuracy"]),
        str(values["accuracy"]["n"]),
        *(_percent(values[key]) for key in ("accuracy_at_best", "probe_accuracy")),
        *(_beside(values[key], getattr(published, key, None)) for key in ("alignment", "uniformity")),
    ]
    return f"| {' | '.join(cells)} |"


def _percent(values: Mapping[str, Any]) -> str:
    if values["mean"] is None:
        return "-"
    spread = "" if values["std"] is None else f" ± {100 * values['std']:.2f}"
    return f"{100 * values['mean']:.2f}{spread}"


def _beside(values: Mapping[str, Any], published: float | None) -> str:
    if values["mean"] is None:
        return "-"
    spread = "" if values["std"] is None else f" ± {values['std']:.3f}"
    return f"{values['mean']:.3f}{spread}" + ("" if published is None else f" ({published:.4f})")


def _tested(results: Mapping[str, Any]) -> list[Finding]:
    names = {row.experiment: experiment(row, results["set"]) for table in TABLES.values() for row in table}
    return findings(results["experiments"], names, results["replicates"])


def _findings(results: Mapping[str, Any], mark: str) -> list[str]:
    experiments, twins = results["experiments"], results["replicates"]
    tested = _tested(results)
    if not tested:
        return []
    lines = [
        f"{mark}# What it says",
        "",
        *(["Provisional: runs are missing.", ""] if results["finished"] < results["planned"] else []),
        "| published finding | verdict | |",
        "|---|---|---|",
        *(f"| {finding} | {verdict} | {counts} |" for finding, verdict, counts in concluded(tested)),
        "",
        "Its comparisons: differences of last-epoch accuracy in points over common seeds, positive as published, with",
        "95% intervals; p after Holm's correction for all of them, verdicts at 5%. How: docs/reproduce.md.",
        "",
        "| comparison | verdict | difference | p | n | by |",
        "|---|---|---|---|---|---|",
        *(_finding(claim) for claim in tested),
        "",
    ]
    for key in ("uniformity", "alignment"):
        ranks = order(experiments, key, twins)
        if ranks is not None:
            lines.append(
                f"* {key.capitalize()} against accuracy over {ranks.n} experiments (Spearman; -1 where lower {key} "
                f"always goes with higher accuracy): ours {ranks.ours:+.2f}, published {ranks.published:+.2f}."
            )
    for one, other, ours, published in apart(experiments, twins):
        lines.append(
            f"* Replicates: `{one}` and `{other}` have one beta/alpha and are, under Adam, one experiment run twice: "
            f"they differ by {100 * ours:+.2f} points here (the same seeds), {100 * published:+.2f} as published."
        )
    return [*lines, ""]


def _finding(finding: Finding) -> str:
    scale = 1 if finding.finding == UNIFORMITY else 100  # correlations, or points
    cells = [finding.text, finding.verdict, "-", "-", str(finding.n), finding.basis]
    if finding.difference is not None:
        cells[2] = f"{scale * finding.difference:+.2f}"
        if finding.low is not None and finding.high is not None:
            cells[2] += f" ({scale * finding.low:+.2f} to {scale * finding.high:+.2f})"
    if finding.p is not None:
        cells[3] = f"{finding.p:.2g}" if finding.p >= 0.001 else "< 0.001"
    return f"| {' | '.join(cells)} |"


assert set(TITLES) == set(TABLES)
assert {row.experiment for table in TABLES.values() for row in table} == set(EXPERIMENTS)
