"""Run folders -> configurations with their means and intervals, and what can be said of their differences.

Runs whose recipes differ only in `seed` are one configuration. Nothing here trains or prints, and nothing is chosen by
the split that the accuracies are of.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from supcrd.analysis.caveats import environments, threads, under_trained
from supcrd.analysis.configurations import check_same_data, clear_bests, configurations, gather, number, numbers
from supcrd.analysis.statistics import LEVEL, Paired, Summary, holm, paired, summary
from supcrd.base.files import user_path
from supcrd.base.wording import choices, nearest, show
from supcrd.errors import SupcrdError
from supcrd.evaluation import health
from supcrd.evaluation.measure import Measure
from supcrd.evaluation.measures import known_of
from supcrd.runs.folder import RunFolder


@dataclass(frozen=True)
class Row:
    """A configuration: what its runs gave, and its difference to the baseline over the seeds that both have."""

    label: str
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    n: int
    values: dict[str, Summary | None]
    """a key for each measure; None where not all of its runs have the number"""
    difference: Paired | None
    """None for the baseline, without one, and where one of the two lacks the metric"""
    corrected_p: float | None
    """Holm's, over all differences of the comparison"""
    verdict: str
    """better, worse or cannot tell; baseline for the baseline, empty without one"""
    told: str
    """how far the numbers carry, in words"""
    warnings: tuple[str, ...] = ()
    """what is wrong with its runs, each kind once, in the words of the first run that has it"""


@dataclass(frozen=True)
class Comparison:
    """Configurations side by side; shares, and their differences, in 0..1."""

    metric: str
    scale: float
    """a value of the metric times this is shown: 100 for percent, whose differences are points"""
    split: str
    source: str | None
    images: int | None
    baseline: str | None
    level: float
    """below this corrected p a difference is one"""
    rows: tuple[Row, ...]
    best: dict[str, str]
    """key of a measure -> label of the configuration that is the best of it, where that can be told"""
    selected: str | None
    """label of the highest mean validation accuracy, where that was asked for"""
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def beside(self, key: str) -> bool:
        """Whether a configuration has this accuracy, of a classifier that is not the saved one, beside its accuracy."""
        return any(row.values[key] not in (None, row.values["accuracy"]) for row in self.rows)

    def signed(self, difference: float) -> str:
        """A difference as tables have it: of shares in points, of others with three digits."""
        return f"{100 * difference:+.2f}" if self.scale == 100 else f"{self.scale * difference:+.3g}"

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON: no NaN, None for what is not known."""
        return asdict(self)


def compare(
    folders: Sequence[str | Path],
    baseline: str | None = None,
    *,
    metric: str = "accuracy",
    select: bool = False,
    test: bool = False,
) -> Comparison:
    """Compare finished runs, configuration by configuration.

    Args:
        folders: run folders; or folders of run folders, of which the finished runs are taken (what is not finished is
            noted), without those that are teachers of others taken.
        baseline: a configuration's label, a run's name or a run folder; None for no differences.
        metric: key of a measure that is better higher or lower, of which differences are taken.
        select: tell the configuration of highest mean validation accuracy.
        test: refuse where a test of significance cannot be made.

    Returns:
        Configurations in the order of their first runs.

    Raises:
        RunError: no run, an unfinished or damaged one, the same run twice; runs of different data or splits.
        SupcrdError: an unknown baseline or metric, one that the runs do not have; a test or a selection that cannot be
            made.

    Example:
        >>> import tempfile
        >>> from supcrd.recipe import load
        >>> from supcrd.runs.opening import open_run
        >>> with tempfile.TemporaryDirectory() as out:
        ...     for name, accuracies in {"crd": (0.92, 0.94, 0.97), "supcon": (0.90, 0.93, 0.94)}.items():
        ...         for seed, accuracy in enumerate(accuracies):
        ...             recipe = load(f"digits-{name}", [f"seed={seed}"])
        ...             run = open_run(Path(out), recipe, origins={})
        ...             numbers = {"accuracy": accuracy, "split": "test", "data_fingerprint": "0"}
        ...             run.write_evaluation(numbers)
        ...     row = compare([out], "digits-supcon").rows[0]
        >>> row.label, row.n, round(row.difference.mean, 4), row.verdict, row.told
        ('digits-crd', 3, 0.02, 'cannot tell', 'n = 3: the interval is ±2.5 points')
    """
    if test and baseline is None:
        raise SupcrdError("--test needs --baseline: a test is of a difference")
    runs, notes = gather(folders, keep=baseline)
    return compare_runs(runs, baseline, metric=metric, select=select, test=test, notes=notes)


def compare_runs(
    runs: Sequence[RunFolder],
    baseline: str | None = None,
    *,
    metric: str = "accuracy",
    select: bool = False,
    test: bool = False,
    notes: Sequence[str] = (),
) -> Comparison:
    """Compare runs that are read already (of `gather`); `notes` come first among those of the comparison."""
    known = known_of(run.evaluation for run in runs)
    measure = _metric(metric, known)
    check_same_data(runs)
    groups, labelling = configurations(runs)
    notes = [*notes, *labelling, *environments(groups)]
    chosen = find_baseline(baseline, groups) if baseline is not None else None
    _check_metric(metric, groups, chosen, known)
    rows = [_row(label, group, measure, chosen, groups, known) for label, group in groups.items()]
    corrected = holm([row.difference.p if row.difference else None for row in rows])
    rows = [_judged(row, p, measure) for row, p in zip(rows, corrected, strict=True)]
    if test:
        untold = [f"{row.label} ({_why(row)})" for row in rows if row.label != chosen and row.corrected_p is None]
        if untold:
            raise SupcrdError(
                f"--test: no test against {chosen} can be made of {', '.join(untold)}; train more seeds, the same ones"
            )
    split = str(runs[0].evaluation["split"])
    warnings = threads(groups)
    if chosen is not None and split != "train":
        warned, noted = under_trained(chosen, groups[chosen], split)
        warnings += warned
        notes += noted
    selected = None
    if select:
        selected, warned = _selected(rows, split)
        warnings += warned
    source, images = (runs[0].evaluation.get(key) for key in ("source", "n"))
    return Comparison(
        metric=metric,
        scale=measure.scale,
        split=split,
        source=source if isinstance(source, str) else None,
        images=images if isinstance(images, int) else None,
        baseline=chosen,
        level=LEVEL,
        rows=tuple(rows),
        best=clear_bests(groups, known.values()),
        selected=selected,
        warnings=tuple(warnings),
        notes=tuple(notes),
    )


def find_baseline(baseline: str, groups: Mapping[str, Sequence[RunFolder]]) -> str:
    """The label of the configuration that a label, a run's name or a run folder means.

    Raises:
        SupcrdError: there is none (the known ones are named, the nearest first), or a name means several.
    """
    if baseline in groups:
        return baseline
    path = user_path(baseline).resolve()
    by_folder = [label for label, group in groups.items() if path in [run.path.resolve() for run in group]]
    by_name = [label for label, group in groups.items() if baseline in [run.recipe.name for run in group]]
    meant = by_folder or by_name
    if len(meant) > 1:
        raise SupcrdError(f"--baseline {baseline!r} is a run of several configurations: {', '.join(meant)}")
    if not meant:
        known = sorted(groups, key=lambda label: -difflib.SequenceMatcher(None, baseline, label).ratio())
        rest = f" and {len(known) - 10} more" if len(known) > 10 else ""
        hint = nearest(baseline, known) or "."
        raise SupcrdError(f"unknown --baseline {show(baseline)}{hint} Known: {', '.join(known[:10])}{rest}")
    return meant[0]


def _metric(key: str, known: Mapping[str, Measure]) -> Measure:
    """The measure that differences are taken of.

    Raises:
        SupcrdError: there is none of that key, or neither higher nor lower is better.
    """
    valid = [name for name, measure in known.items() if measure.better]
    if key not in valid:
        raise SupcrdError(f"unknown --metric {show(key)}{choices(key, valid)}")
    return known[key]


def _row(
    label: str,
    group: Sequence[RunFolder],
    metric: Measure,
    baseline: str | None,
    groups: Mapping[str, Sequence[RunFolder]],
    known: Mapping[str, Measure],
) -> Row:
    by_seed = {key: numbers(group, key) for key in known}
    values = {key: None if seeds is None else summary(list(seeds.values())) for key, seeds in by_seed.items()}
    own, other = by_seed[metric.key], numbers(groups[baseline], metric.key) if baseline is not None else None
    difference = paired(own, other) if label != baseline and own is not None and other is not None else None
    about = difference or values[metric.key]
    return Row(
        label=label,
        runs=tuple(str(run.path) for run in group),
        seeds=tuple(run.recipe.seed for run in group),
        n=len(group),
        values=values,
        difference=difference,
        corrected_p=None,
        verdict="" if baseline is None else "baseline" if label == baseline else "cannot tell",
        told=_told(about, metric) if about is not None else f"not all of its runs have {metric.key}",
        warnings=tuple(health.merged([health.told(run.evaluation) for run in group])),
    )


def _told(about: Summary, metric: Measure) -> str:
    """How far a mean, or a mean difference, can be trusted."""
    if about.n == 0:
        return "no common seeds"
    if about.n == 1:
        return "n = 1"
    if about.half_width is None:
        return f"n = {about.n}: all equal, so the spread is not known"
    if metric.scale != 100:
        return f"n = {about.n}: the interval is ±{metric.scale * about.half_width:.2g}"
    points = 100 * about.half_width
    return f"n = {about.n}: the interval is ±{points:.{0 if points >= 10 else 1 if points >= 1 else 2}f} points"


def _judged(row: Row, corrected_p: float | None, metric: Measure) -> Row:
    if corrected_p is None or row.difference is None or row.difference.mean is None or corrected_p >= LEVEL:
        return replace(row, corrected_p=corrected_p)
    return replace(
        row, corrected_p=corrected_p, verdict="better" if metric.better * row.difference.mean > 0 else "worse"
    )


def _why(row: Row) -> str:
    """Why a row has no test."""
    return (row.difference.reason if row.difference else None) or row.told


def _check_metric(
    metric: str, groups: Mapping[str, Sequence[RunFolder]], baseline: str | None, known: Mapping[str, Measure]
) -> None:
    """Refuse a metric that the baseline, or without one every configuration, lacks."""
    for label in [baseline] if baseline is not None else list(groups):
        lacking = [run for run in groups[label] if number(run, metric) is None]
        if not lacking:
            return
    there = [key for key, measure in known.items() if measure.better and number(lacking[0], key) is not None]
    raise SupcrdError(f"--metric {metric}: {lacking[0].path} has none; one of {', '.join(there)} is right")


def _selected(rows: Sequence[Row], split: str) -> tuple[str, list[str]]:
    """The label of highest mean validation accuracy, and warnings."""
    means: dict[str, float] = {}
    for row in rows:
        known = row.values["validation_accuracy"]
        if known is None or known.mean is None:
            raise SupcrdError(
                f"--select chooses on the validation split only, and not all runs of {row.label} have a validation "
                "accuracy (data.validation = 0 holds no images out)"
            )
        means[row.label] = known.mean
    best = max(means.values())
    first, *ties = [label for label, mean in means.items() if mean == best]
    warnings = [f"{first} is tied on validation with {', '.join(ties)}; it was given first"] if ties else []
    if split == "validation":
        warnings.append("the data has no test split: the split that chose is the one measured, so this is optimistic")
    return first, warnings
