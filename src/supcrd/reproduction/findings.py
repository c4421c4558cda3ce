"""Which of the reference's findings hold in our runs, which do not, and which so few runs leave open."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from supcrd.analysis.statistics import ROUNDING, Paired, holm, paired
from supcrd.reproduction.claims import CLAIMS, UNIFORMITY
from supcrd.reproduction.published import EXPERIMENTS, TABLES, Figures

LEVEL = 0.05
HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"


class Finding(NamedTuple):
    """What our runs say of a claim."""

    finding: str
    text: str
    verdict: str  # holds, does not hold or cannot be told
    difference: float | None  # of accuracies, 0..1, or of rank correlations; above 0 as published
    low: float | None  # 95% interval of the difference, not corrected
    high: float | None
    p: float | None  # two-sided, corrected for all claims
    n: int  # common seeds, or experiments
    basis: str  # what the test rests on


class Spread(NamedTuple):
    """The noise between runs of one experiment, without the effect that a seed has on all experiments."""

    std: float
    freedom: int


def findings(
    experiments: Mapping[str, Any], names: Mapping[str, str], replicates: Sequence[Sequence[str]] = ()
) -> list[Finding]:
    """The claims whose two experiments are among the given ones, and that of uniformity if there are enough.

    A claim is decided by the mean difference over common seeds. Its error is that of randomised blocks (seeds are the
    blocks): accuracy = experiment + seed + noise, the noise being pooled over all experiments, so that a claim with one
    common seed has a test too, and one with three is decided at least as easily. With two experiments it is the paired
    t-test. Where a claim's own differences spread more than those of all other experiments (F test, 5%), its own paired
    t-test decides, since the pool is not its spread. All p are corrected together by Holm's method, against 5%.

    Assumptions: noise that is roughly normal and, but for that F test, of one size in all experiments. The
    conclusions are about other seeds, not about other test images.

    Args:
        experiments: as `reproduce.collect` has them: accuracies by run.
        names: experiment -> the name under which its runs are listed, where two experiments are the same in this set.
        replicates: pairs of experiments that are one; the second adds nothing to the pool, nor to rank correlations.

    Source: Fisher 1935, "The design of experiments" (randomised blocks); Holm 1979.

    Example:
        >>> def runs(*values): return {"runs": [{"seed": i, "accuracy": v} for i, v in enumerate(values)]}
        >>> ours = {"lw_supcrd": runs(0.70, 0.71, 0.72), "undistilled": runs(0.60, 0.612, 0.622)}
        >>> [(f.text, f.verdict, f.n) for f in findings(ours, {})]
        [('LW-SupCRD above undistilled', 'holds', 3)]
    """
    accuracies = {
        name: {run["seed"]: run["accuracy"] for run in experiment["runs"] if run["accuracy"] is not None}
        for name, experiment in experiments.items()
    }
    again = {second for _, second in replicates}
    once = {name: values for name, values in accuracies.items() if name not in again}
    spread = pooled(once)
    tested = []
    for claim in CLAIMS:
        better, worse = (names.get(name, name) for name in (claim.better, claim.worse))
        if better == worse or better not in accuracies or worse not in accuracies:
            continue
        pair = paired(accuracies[better], accuracies[worse])
        others = pooled({name: values for name, values in once.items() if name not in (better, worse)})
        p, low, high, basis = _test(pair, spread, others)
        tested.append(Finding(claim.finding, claim.text, OPEN, pair.mean, low, high, p, pair.n, basis))
    tested += _uniformity(experiments, replicates)
    return [
        finding._replace(p=p, verdict=_verdict(finding.difference, p))
        for finding, p in zip(tested, holm([finding.p for finding in tested]), strict=True)
    ]


def concluded(tested: Sequence[Finding]) -> list[tuple[str, str, str]]:
    """The reference's findings: text, verdict, and how many of its comparisons hold.

    A finding holds if all of its comparisons were made and hold; it does not if one does not.

    Example:
        >>> claim = Finding("beta = 10 is best", "beta = 10 above beta = 1", "holds", 0.01, None, None, 0.01, 3, "")
        >>> concluded([claim])
        [('beta = 10 is best', 'cannot be told', '1 of 3 comparisons holds')]
    """
    parts = [claim.finding for claim in CLAIMS] + [UNIFORMITY]
    lines = []
    for finding in dict.fromkeys(claim.finding for claim in tested):
        verdicts, total = [claim.verdict for claim in tested if claim.finding == finding], parts.count(finding)
        held, failed = verdicts.count(HOLDS), verdicts.count(FAILS)
        verdict = FAILS if failed else HOLDS if held == total else OPEN
        counts = f"{held} of {total} comparisons hold{'s' if held == 1 else ''}"
        lines.append((finding, verdict, counts + (f", {failed} the other way round" if failed else "")))
    return lines


def pooled(accuracies: Mapping[str, Mapping[int, float]]) -> Spread | None:
    """The noise of accuracy = experiment + seed + noise, by least squares over all runs.

    Args:
        accuracies: by experiment and seed. An experiment with one seed adds nothing.

    Returns:
        None where no degree of freedom is left to estimate it, or all residuals are 0.

    Example:
        >>> spread = pooled({"a": {0: 0.70, 1: 0.72}, "b": {0: 0.70, 1: 0.70}})
        >>> round(spread.std, 6), spread.freedom  # differences 0 and 0.02: their std over the square root of 2
        (0.01, 1)
    """
    import numpy as np

    runs = [(name, seed, value) for name, values in accuracies.items() for seed, value in values.items()]
    columns = {key: i for i, key in enumerate(dict.fromkeys(key for name, seed, _ in runs for key in (name, seed)))}
    design, values = np.zeros((len(runs), len(columns))), np.array([value for _, _, value in runs])
    for row, (name, seed, _) in enumerate(runs):
        design[row, [columns[name], columns[seed]]] = 1
    if not runs:
        return None
    effects, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    freedom = len(runs) - int(rank)
    std = math.sqrt(float(((values - design @ effects) ** 2).sum()) / freedom) if freedom else 0.0
    return Spread(std, freedom) if std > ROUNDING * float(abs(values).max()) else None


def _test(
    pair: Paired, spread: Spread | None, others: Spread | None
) -> tuple[float | None, float | None, float | None, str]:
    """p (two-sided), the 95% interval of the mean difference, and what they rest on."""
    from scipy.special import stdtr, stdtrit

    if pair.n == 0 or pair.mean is None:
        return None, None, None, "no common seed yet"
    if spread is None:
        return None, None, None, "no spread between seeds to go by"
    if _wider(pair, others):
        return pair.p, pair.low, pair.high, "its own differences, which spread more than others"
    error = spread.std * math.sqrt(2 / pair.n)
    half = float(stdtrit(spread.freedom, 0.975)) * error
    p = 2 * float(stdtr(spread.freedom, -abs(pair.mean) / error))
    basis = f"pooled spread, {100 * spread.std:.2f} points ({spread.freedom} degrees of freedom)"
    return p, pair.mean - half, pair.mean + half, basis


def _wider(pair: Paired, others: Spread | None) -> bool:
    """Whether the variance of the differences is above twice the noise variance of the others, by an F test."""
    from scipy.special import fdtrc

    if pair.std is None or others is None:
        return False
    return bool(fdtrc(pair.n - 1, others.freedom, pair.std**2 / (2 * others.std**2)) < LEVEL)


def _verdict(difference: float | None, p: float | None) -> str:
    if p is None or difference is None or p >= LEVEL:
        return OPEN
    return HOLDS if difference > 0 else FAILS


class Order(NamedTuple):
    """Rank correlation of a number with accuracy over experiments."""

    n: int
    ours: float  # Spearman's rank correlation
    published: float


def order(experiments: Mapping[str, Any], key: str, replicates: Sequence[Sequence[str]] = ()) -> Order | None:
    """Rank correlation of alignment or uniformity with accuracy, over the experiments that were published with both.

    Lower is better for both, so -1 is expected. None for fewer than 4 experiments, and where one
    of the two is constant.
    """
    ours, published = _measured(experiments, replicates)
    if len(ours) < 4 or any(len({getattr(row, name) for row in ours}) == 1 for name in ("accuracy", key)):
        return None
    from scipy.stats import spearmanr

    def rank(figures: Sequence[Figures]) -> float:
        return float(spearmanr(*zip(*((getattr(f, key), f.accuracy) for f in figures), strict=True)).statistic)

    return Order(len(ours), rank(ours), rank(published))


def _uniformity(experiments: Mapping[str, Any], replicates: Sequence[Sequence[str]]) -> Iterator[Finding]:
    """Whether uniformity orders the experiments better than alignment: an exact test that exchanges the two.

    If neither says more of accuracy than the other, an experiment's two ranks may as well be exchanged: all 2^n ways
    are, and p is the share of those with a difference of the correlations at least as large.
    """
    by_uniformity, by_alignment = (order(experiments, key, replicates) for key in ("uniformity", "alignment"))
    if by_uniformity is None or by_alignment is None:
        return
    import numpy as np
    from scipy.stats import rankdata

    ours, _ = _measured(experiments, replicates)
    accuracy, alignment, uniformity = (rankdata(column) for column in zip(*ours, strict=True))
    parts = (alignment - uniformity) * (accuracy - accuracy.mean())
    signs = 1 - 2 * ((np.arange(2 ** len(parts))[:, None] >> np.arange(len(parts))) & 1)
    p = float((abs(signs @ parts) >= abs(parts.sum()) - 1e-9).mean())
    basis = "experiments; difference of two rank correlations, exact exchange of the two"
    difference = by_alignment.ours - by_uniformity.ours
    yield Finding(UNIFORMITY, UNIFORMITY, OPEN, difference, None, None, p, by_uniformity.n, basis)


def _measured(
    experiments: Mapping[str, Any], replicates: Sequence[Sequence[str]]
) -> tuple[list[Figures], list[Figures]]:
    """Our means and the published figures of the experiments that have both, in one order."""
    again = {second for _, second in replicates}
    ours, theirs = [], []
    for name, figures in published().items():
        means = {key: value["mean"] for key, value in experiments.get(name, {}).get("summary", {}).items()}
        mine = Figures(*(means.get(key) for key in Figures._fields))  # type: ignore[arg-type]
        if name not in again and None not in mine and None not in figures:
            ours.append(mine)
            theirs.append(figures)
    return ours, theirs


def published() -> dict[str, Figures]:
    """The published figures of each experiment; of one that was published twice, those of the first table."""
    rows = [row for table in TABLES.values() for row in table if row.published is not None]
    first = {row.experiment: row.published for row in reversed(rows) if row.published is not None}
    return {name: first[name] for name in EXPERIMENTS if name in first}


def apart(experiments: Mapping[str, Any], replicates: Sequence[Sequence[str]]) -> list[tuple[str, str, float, float]]:
    """Replicates: names, our mean difference of accuracy over common seeds, and the published one."""
    figures, rows = published(), []
    for one, other in replicates:
        both = [
            {run["seed"]: run["accuracy"] for run in experiments.get(name, {}).get("runs", ())} for name in (one, other)
        ]
        mean = paired(*both).mean
        if mean is not None:
            rows.append((one, other, mean, figures[one].accuracy - figures[other].accuracy))
    return rows
