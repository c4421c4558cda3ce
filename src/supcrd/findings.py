"""Which of the reference's findings hold in our runs, which do not, and which cannot be told from so few."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from supcrd.published import EXPERIMENTS, REPLICATES, TABLES
from supcrd.statistics import holm, paired

LEVEL = 0.05


class Claim(NamedTuple):
    """A published order of two experiments by accuracy."""

    text: str
    better: str
    worse: str


CLAIMS = (
    Claim("LW-SupCRD is above the undistilled student", "lw_supcrd", "undistilled"),
    Claim("LW-SupCRD is above SupCon", "lw_supcrd", "baseline_supcon"),
    Claim("LW-SupCRD is above CRD", "lw_supcrd", "baseline_crd"),
    Claim("LW-SupCRD is above the hybrid, lambda = 0.3", "lw_supcrd", "hybrid_lambda_0.3"),
    Claim("the hybrid loses with lambda: 0.3 is above 0.9", "hybrid_lambda_0.3", "hybrid_lambda_0.9"),
    Claim("alpha = 1 is above alpha = 2", "lw_supcrd", "alpha_2.0"),
    Claim("alpha = 1 is above alpha = 5", "lw_supcrd", "alpha_5.0"),
    Claim("alpha = 1 is above alpha = 10", "lw_supcrd", "alpha_10.0"),
    Claim("beta = 10 is above beta = 12", "lw_supcrd", "beta_12.0"),
    Claim("beta = 10 is above beta = 5", "lw_supcrd", "beta_5.0"),
    Claim("beta = 10 is above beta = 1", "lw_supcrd", "beta_1.0"),
    Claim("temperature 0.07 is above 0.05", "lw_supcrd", "temp_0.05"),
    Claim("a bank of 4,096 rows raises LW-SupCRD", "bank_lw_supcrd", "no_bank_lw_supcrd"),
    Claim("a bank of 4,096 rows raises CRD", "bank_crd", "no_bank_crd"),
)


class Finding(NamedTuple):
    """What our runs say of a claim."""

    text: str
    verdict: str  # holds, does not hold or cannot be told
    difference: float | None  # of accuracies, 0..1; above 0 as published
    low: float | None  # 95% interval of the difference
    high: float | None
    n: int  # common seeds
    basis: str  # what the interval rests on


def findings(experiments: Mapping[str, Any], names: Mapping[str, str]) -> list[Finding]:
    """Each claim whose two experiments have a common seed.

    With two seeds or more it is decided by a paired t-test over seeds, with one by the spread between the seeds of the
    experiments that have more, pooled over these (a difference of two runs varies by its square root of 2); corrected
    for the number of claims by Holm's method, at 5%.

    Args:
        experiments: as `reproduce.collect` has them, accuracies by run.
        names: under which experiment's name another is kept, where it is the same in this set.

    Example:
        >>> def runs(*values): return {"runs": [{"seed": i, "accuracy": v} for i, v in enumerate(values)]}
        >>> ours = {"lw_supcrd": runs(0.70, 0.71, 0.72), "undistilled": runs(0.60, 0.612, 0.622)}
        >>> [(f.verdict, f.n) for f in findings(ours, {})]
        [('holds', 3)]
    """
    accuracies = {
        name: {run["seed"]: run["accuracy"] for run in each["runs"] if run["accuracy"] is not None}
        for name, each in experiments.items()
    }
    spread, freedom = _pooled(accuracies)
    told, p_values = [], []
    for claim in CLAIMS:
        better = accuracies.get(names.get(claim.better, claim.better), {})
        worse = accuracies.get(names.get(claim.worse, claim.worse), {})
        pair = paired(better, worse)
        if pair.n == 0 or pair.mean is None:
            continue
        p, low, high, basis = pair.p, pair.low, pair.high, "paired differences over seeds"
        if pair.n == 1 and spread is not None:
            p, low, high = _single(pair.mean, spread, freedom)
            basis = f"one seed; standard deviation {100 * spread:.2f} points pooled over the seeds of other experiments"
        elif pair.n == 1:
            basis = "one seed"
        told.append(Finding(claim.text, "", pair.mean, low, high, pair.n, basis))
        p_values.append(p)
    return [
        finding._replace(verdict=_verdict(finding.difference, p))
        for finding, p in zip(told, holm(p_values), strict=True)
    ]


def _verdict(difference: float | None, p: float | None) -> str:
    if p is None or difference is None or p >= LEVEL:
        return "cannot be told"
    return "holds" if difference > 0 else "does not hold"


def _pooled(accuracies: Mapping[str, Mapping[int, float]]) -> tuple[float | None, int]:
    """The standard deviation between seeds, pooled over all experiments with more than one, and its freedom."""
    squares, freedom = 0.0, 0
    for values in accuracies.values():
        if len(values) > 1:
            mean = math.fsum(values.values()) / len(values)
            squares += math.fsum((value - mean) ** 2 for value in values.values())
            freedom += len(values) - 1
    return (math.sqrt(squares / freedom), freedom) if freedom and squares > 0 else (None, 0)


def _single(difference: float, spread: float, freedom: int) -> tuple[float, float, float]:
    """p and 95% interval of a difference of two single runs, by Student's t."""
    from scipy.special import stdtr, stdtrit  # type: ignore[import-untyped]

    error = spread * math.sqrt(2)
    half = float(stdtrit(freedom, 0.975)) * error
    return 2 * float(stdtr(freedom, -abs(difference) / error)), difference - half, difference + half


class Order(NamedTuple):
    """How a number goes with accuracy over experiments."""

    n: int
    ours: float  # Spearman's rank correlation
    published: float


def order(experiments: Mapping[str, Any], key: str) -> Order | None:
    """Rank correlation of alignment or uniformity with accuracy, over the experiments that were published with both.

    Both are "lower is better", so -1 is what a reader of them expects. None for fewer than 4 experiments.
    """
    published = {row.experiment: row.published for table in TABLES.values() for row in table if row.published}
    ours, theirs = [], []
    for name in EXPERIMENTS:
        figures, each = published.get(name), experiments.get(name)
        theirs_of = getattr(figures, key, None)
        if figures is None or theirs_of is None or each is None or each["summary"][key]["mean"] is None:
            continue
        ours.append((each["summary"][key]["mean"], each["summary"]["accuracy"]["mean"]))
        theirs.append((theirs_of, figures.accuracy))
    if len(ours) < 4:
        return None
    from scipy.stats import spearmanr  # type: ignore[import-untyped]

    def rank(pairs: list[tuple[float, float]]) -> float:
        return float(spearmanr(*zip(*pairs, strict=True)).statistic)

    return Order(len(ours), rank(ours), rank(theirs))


def replicates(experiments: Mapping[str, Any]) -> list[tuple[str, str, float, float]]:
    """Pairs of experiments that are one under Adam: names, our difference of mean accuracy, the published one."""
    published = {row.experiment: row.published for table in TABLES.values() for row in table if row.published}
    told = []
    for one, other in REPLICATES:
        means = [experiments.get(name, {}).get("summary", {}).get("accuracy", {}).get("mean") for name in (one, other)]
        first, second = published[one], published[other]
        if None not in means and first is not None and second is not None:
            told.append((one, other, means[0] - means[1], first.accuracy - second.accuracy))
    return told
