"""Which of the reference's findings hold in our runs, which do not, and which cannot be told from so few.

The claims were written down before any run was made: what is tested does not depend on what was seen.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from supcrd.analysis.statistics import ROUNDING, Paired, holm, paired
from supcrd.reproduction.published import EXPERIMENTS, TABLES, Figures

LEVEL = 0.05
HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"
UNIFORMITY = "uniformity goes with accuracy, and more than alignment does"


class Claim(NamedTuple):
    """A published order of two experiments by accuracy."""

    finding: str  # of the reference, which this is a part of
    text: str
    better: str
    worse: str


def _above(finding: str, better: str, first: str, **others: str) -> tuple[Claim, ...]:
    return tuple(Claim(finding, f"{first} above {text}", better, worse) for worse, text in others.items())


CLAIMS = (
    *_above(
        "LW-SupCRD is above the baselines",
        "lw_supcrd",
        "LW-SupCRD",
        undistilled="undistilled",
        baseline_supcon="SupCon",
        baseline_crd="CRD",
    ),
    *_above(
        "hybrids are below LW-SupCRD",
        "lw_supcrd",
        "LW-SupCRD",
        **{f"hybrid_lambda_{lam}": f"hybrid, lambda = {lam}" for lam in (0.3, 0.5, 0.7, 0.9)},
    ),
    *_above(
        "a hybrid loses as lambda grows", "hybrid_lambda_0.3", "lambda = 0.3", **{"hybrid_lambda_0.9": "lambda = 0.9"}
    ),
    *_above(
        "alpha = 1 is best",
        "lw_supcrd",
        "alpha = 1",
        **{f"alpha_{alpha}.0": f"alpha = {alpha}" for alpha in (2, 5, 10)},
    ),
    *_above(
        "beta = 10 is best",
        "lw_supcrd",
        "beta = 10",
        **{f"beta_{beta}.0": f"beta = {beta}" for beta in (12, 5, 1)},
    ),
    *_above("temperature 0.07 is above 0.05", "lw_supcrd", "temperature 0.07", **{"temp_0.05": "0.05"}),
    *_above("a memory bank helps", "bank_lw_supcrd", "LW-SupCRD with a bank", no_bank_lw_supcrd="without"),
    *_above("a memory bank helps", "bank_crd", "CRD with a bank", no_bank_crd="without"),
)


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
    """How far runs of one experiment lie apart, what their seeds do to all experiments taken off."""

    std: float
    freedom: int


def findings(
    experiments: Mapping[str, Any], names: Mapping[str, str], replicates: Sequence[Sequence[str]] = ()
) -> list[Finding]:
    """Each claim whose two experiments are among these, and that of uniformity, where there are enough.

    A claim is decided by the mean difference over common seeds. Its error is that of randomised blocks (seeds are the
    blocks): accuracy = experiment + seed + noise, the noise being pooled over all experiments, so that a claim with one
    common seed has a test too, and one with three is never the harder to tell. With two experiments this is the paired
    t-test. Where a claim's own differences spread more than those of all other experiments (F test, 5%), its own paired
    t-test decides, since the pool is not its spread. All p are corrected together by Holm's method, against 5%.

    What it supposes: noise that is roughly normal and, but for that F test, of one size in all experiments. It speaks
    of other seeds, not of other test images.

    Args:
        experiments: as `reproduce.collect` has them: accuracies by run.
        names: under which experiment's name another is kept, where it is the same in this set.
        replicates: pairs of experiments that are one; the second adds nothing to the pool, nor to rank correlations.

    Source: Fisher 1935, "The design of experiments" (randomised blocks); Holm 1979.

    Example:
        >>> def runs(*values): return {"runs": [{"seed": i, "accuracy": v} for i, v in enumerate(values)]}
        >>> ours = {"lw_supcrd": runs(0.70, 0.71, 0.72), "undistilled": runs(0.60, 0.612, 0.622)}
        >>> [(f.text, f.verdict, f.n) for f in findings(ours, {})]
        [('LW-SupCRD above undistilled', 'holds', 3)]
    """
    accuracies = {
        name: {run["seed"]: run["accuracy"] for run in each["runs"] if run["accuracy"] is not None}
        for name, each in experiments.items()
    }
    again = {second for _, second in replicates}
    once = {name: values for name, values in accuracies.items() if name not in again}
    spread = pooled(once)
    told = []
    for claim in CLAIMS:
        better, worse = (names.get(name, name) for name in (claim.better, claim.worse))
        if better == worse or better not in accuracies or worse not in accuracies:
            continue
        pair = paired(accuracies[better], accuracies[worse])
        others = pooled({name: values for name, values in once.items() if name not in (better, worse)})
        p, low, high, basis = _test(pair, spread, others)
        told.append(Finding(claim.finding, claim.text, OPEN, pair.mean, low, high, p, pair.n, basis))
    told += _uniformity(experiments, replicates)
    return [
        each._replace(p=p, verdict=_verdict(each.difference, p))
        for each, p in zip(told, holm([each.p for each in told]), strict=True)
    ]


def concluded(told: Sequence[Finding]) -> list[tuple[str, str, str]]:
    """The reference's findings: text, verdict, and how many of its comparisons hold.

    A finding holds if all of its comparisons were made and hold; it does not if one does not.

    Example:
        >>> claim = Finding("beta = 10 is best", "beta = 10 above beta = 1", "holds", 0.01, None, None, 0.01, 3, "")
        >>> concluded([claim])
        [('beta = 10 is best', 'cannot be told', '1 of 3 comparisons holds')]
    """
    parts = [claim.finding for claim in CLAIMS] + [UNIFORMITY]
    lines = []
    for finding in dict.fromkeys(each.finding for each in told):
        verdicts, all_of_them = [each.verdict for each in told if each.finding == finding], parts.count(finding)
        held, failed = verdicts.count(HOLDS), verdicts.count(FAILS)
        verdict = FAILS if failed else HOLDS if held == all_of_them else OPEN
        said = f"{held} of {all_of_them} comparisons hold{'s' if held == 1 else ''}"
        lines.append((finding, verdict, said + (f", {failed} the other way round" if failed else "")))
    return lines


def pooled(accuracies: Mapping[str, Mapping[int, float]]) -> Spread | None:
    """The noise of accuracy = experiment + seed + noise, by least squares over all runs.

    Args:
        accuracies: by experiment and seed. An experiment with one seed adds nothing.

    Returns:
        None where nothing is left over to estimate it from, or all that is left over is 0.

    Example:
        >>> told = pooled({"a": {0: 0.70, 1: 0.72}, "b": {0: 0.70, 1: 0.70}})
        >>> round(told.std, 6), told.freedom  # differences 0 and 0.02: their std over the square root of 2
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
    effects, _, rank, _ = np.linalg.lstsq(design, values)
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
    """Whether differences spread more than twice the noise of others would have them, by an F test."""
    from scipy.special import fdtrc

    if pair.std is None or others is None:
        return False
    return bool(fdtrc(pair.n - 1, others.freedom, pair.std**2 / (2 * others.std**2)) < LEVEL)


def _verdict(difference: float | None, p: float | None) -> str:
    if p is None or difference is None or p >= LEVEL:
        return OPEN
    return HOLDS if difference > 0 else FAILS


class Order(NamedTuple):
    """How a number goes with accuracy over experiments."""

    n: int
    ours: float  # Spearman's rank correlation
    published: float


def order(experiments: Mapping[str, Any], key: str, replicates: Sequence[Sequence[str]] = ()) -> Order | None:
    """Rank correlation of alignment or uniformity with accuracy, over the experiments that were published with both.

    Both are "lower is better", so -1 is what a reader of them expects. None for fewer than 4 experiments, and where one
    of the two is the same in all of them.
    """
    ours, published = _measured(experiments, replicates)
    if len(ours) < 4 or any(len({getattr(each, name) for each in ours}) == 1 for name in ("accuracy", key)):
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
    each = (alignment - uniformity) * (accuracy - accuracy.mean())
    signs = 1 - 2 * ((np.arange(2 ** len(each))[:, None] >> np.arange(len(each))) & 1)
    p = float((abs(signs @ each) >= abs(each.sum()) - 1e-9).mean())
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
        means = {key: told["mean"] for key, told in experiments.get(name, {}).get("summary", {}).items()}
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
    figures, told = published(), []
    for one, other in replicates:
        both = [
            {run["seed"]: run["accuracy"] for run in experiments.get(name, {}).get("runs", ())} for name in (one, other)
        ]
        mean = paired(*both).mean
        if mean is not None:
            told.append((one, other, mean, figures[one].accuracy - figures[other].accuracy))
    return told
