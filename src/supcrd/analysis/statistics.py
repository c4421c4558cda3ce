"""What a few runs tell: means with their intervals, paired differences with a test, correction for many tests.

Student's t throughout: it supposes that what seeds add is roughly normal. A question that the numbers cannot answer is
answered by None, never by 0 or NaN.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Numbers of which the largest and the smallest differ by less than this share of the largest magnitude that they were
# made from are equal: 0.9 - 0.8 and 0.7 - 0.6 differ in the last bit, while two accuracies that differ at all do so by
# one image of however many were classified.
ROUNDING = 1e-12
LEVEL = 0.05
"""Below this corrected p a difference is one."""


@dataclass(frozen=True)
class Summary:
    """Some numbers in short; what they cannot tell is None."""

    n: int
    mean: float | None
    std: float | None
    """sample standard deviation (n - 1)"""
    low: float | None
    """lower end of the interval of the mean"""
    high: float | None

    @property
    def half_width(self) -> float | None:
        """Of the interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


@dataclass(frozen=True)
class Paired(Summary):
    """Differences of pairs in short, and a test of their mean against 0."""

    p: float | None
    """two-sided"""
    reason: str | None
    """why there is no test, where there is none"""


def summary(values: Sequence[float], *, level: float = 0.95) -> Summary:
    """Mean, sample standard deviation and Student's t interval of the mean.

    Args:
        values: n finite numbers, of any unit.
        level: of the interval, between 0 and 1.

    Returns:
        In the unit of the values. n = 0: no number; n = 1: the mean alone. Values that are all equal: std 0 and no
        interval, since one of no width would claim to be certain.

    Raises:
        ValueError: a value that is not finite; a level outside 0..1.

    Source: Student 1908; mean +- t(level, n - 1) * std / sqrt(n).

    Example:
        >>> values = summary([0.70, 0.72, 0.74])
        >>> round(values.mean, 4), round(values.std, 4), round(values.low, 4), round(values.high, 4)
        (0.72, 0.02, 0.6703, 0.7697)
        >>> summary([0.7])
        Summary(n=1, mean=0.7, std=None, low=None, high=None)
    """
    return _summary(values, level, scale=max(map(abs, values), default=0.0))


def paired(values: Mapping[int, float], baseline: Mapping[int, float], *, level: float = 0.95) -> Paired:
    """Differences value - baseline of the seeds that both have, and the paired t-test of their mean.

    What a seed does to both (order of images, augmentation) cancels in the difference, so fewer seeds tell more.

    Args:
        values: seed -> finite number.
        baseline: likewise.
        level: of the interval of the mean difference, between 0 and 1.

    Returns:
        The summary of the differences and the two-sided p; n is the number of common seeds. p is None, and `reason`
        says why, for n < 2, and where all differences are equal: the test divides by their spread.

    Raises:
        ValueError: a value (of any seed) that is not finite; a level outside 0..1.

    Source: Student 1908; t = mean / (std / sqrt(n)) with n - 1 degrees of freedom.

    Example:
        >>> pairs = paired({0: 0.72, 1: 0.74, 2: 0.77}, {0: 0.70, 1: 0.73, 2: 0.74, 3: 0.9})
        >>> pairs.n, round(pairs.mean, 4), round(pairs.p, 4)
        (3, 0.02, 0.0742)
        >>> paired({0: 0.72}, {0: 0.70}).reason
        'n = 1'
    """
    check_finite([*values.values(), *baseline.values()])
    common = sorted(values.keys() & baseline.keys())
    differences = [values[seed] - baseline[seed] for seed in common]
    scale = max((abs(numbers[seed]) for numbers in (values, baseline) for seed in common), default=0.0)
    short = _summary(differences, level, scale=scale)
    p = reason = None
    if short.n == 0:
        reason = "no common seeds"
    elif short.n == 1:
        reason = "n = 1"
    elif short.low is None or short.mean is None or short.std is None:
        reason = f"all {short.n} differences are equal"
    else:
        from scipy.special import stdtr  # a third of a second

        p = 2 * float(stdtr(short.n - 1, -abs(short.mean) / (short.std / math.sqrt(short.n))))
    return Paired(short.n, short.mean, short.std, short.low, short.high, p, reason)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct the p of many tests, so that the chance of any false discovery among them stays below the level.

    Never less powerful than Bonferroni's correction, and as free of assumptions: the tests may depend on one another,
    as differences to one baseline do.

    Args:
        p_values: in 0..1; None for a test that could not be made, which does not count as one.

    Returns:
        Corrected p in the order given: reject where it is below the level. The i-th smallest of m is multiplied by
        m - i + 1, is at least what the one before came to, and at most 1.

    Raises:
        ValueError: a p outside 0..1.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".

    Example:
        >>> holm([0.01, 0.04, None, 0.03])
        [0.03, 0.06, None, 0.06]
    """
    tests = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    if not all(0 <= p <= 1 for p, _ in tests):
        raise ValueError(f"p-values are between 0 and 1, got {[p for p, _ in tests]}")
    corrected: list[float | None] = [None] * len(p_values)
    reached = 0.0
    for rank, (p, i) in enumerate(tests):
        reached = min(1.0, max(reached, (len(tests) - rank) * p))
        corrected[i] = reached
    return corrected


def seeds_to_tell(differences: Summary) -> int | None:
    """How many common seeds would tell the mean difference from 0, if mean and spread stayed as they are.

    Returns:
        The least n for which the interval at 1 - `LEVEL` leaves out 0: an estimate from as few seeds as there are, and
        without a correction for several tests. None where mean or spread are not known, and above 1,000.

    Source: Student's t; the least n with t(1 - LEVEL / 2, n - 1) * std / sqrt(n) < |mean|.

    Example:
        >>> seeds_to_tell(paired({0: 0.71, 1: 0.72, 2: 0.76}, {0: 0.70, 1: 0.72, 2: 0.74}))  # 1, 0 and 2 points
        7
    """
    if not differences.std or not differences.mean:
        return None
    from scipy.special import stdtrit

    known = (differences.std, abs(differences.mean))
    reached = (n for n in range(2, 1001) if float(stdtrit(n - 1, 1 - LEVEL / 2)) * known[0] / math.sqrt(n) < known[1])
    return next(reached, None)


def of_images(share: float, images: int) -> tuple[float, float]:
    """The 95 % interval of a share of images, as one run gives it: another seed may lie outside.

    Source: Wilson 1927.

    Example:
        >>> low, high = of_images(0.9, 100)
        >>> round(low, 3), round(high, 3)
        (0.826, 0.945)
    """
    from scipy.stats import binomtest  # a third of a second, which loading a model need not take

    low, high = binomtest(round(share * images), images).proportion_ci(method="wilson")
    return float(low), float(high)


def clear_best(values: Mapping[str, Mapping[int, float]], better: int) -> str | None:
    """The name of the best mean, if it can be told from that of every other name.

    Args:
        values: name -> seed -> finite number.
        better: 1 if higher is better, -1 if lower.

    Returns:
        The name whose difference to every other one is tested (`paired`; by `holm` over the other names) with p below
        `LEVEL`. None for fewer than two names, and where one test cannot be made: one seed, a tie, equal differences.

    Raises:
        ValueError: a value that is not finite.

    Example:
        >>> crd, kd = {0: 0.90, 1: 0.92, 2: 0.91}, {0: 0.80, 1: 0.82, 2: 0.82}
        >>> clear_best({"crd": crd, "kd": kd}, 1), clear_best({"crd": {0: 0.9}, "kd": {0: 0.8}}, 1)
        ('crd', None)
    """
    means = {name: math.fsum(of.values()) / len(of) for name, of in values.items() if of}
    if len(means) < 2 or not better:
        return None
    best = max(means, key=lambda name: better * means[name])
    tests = [paired(values[best], values[name]) for name in means if name != best]
    if any(test.mean is None or better * test.mean <= 0 for test in tests):
        return None
    return best if all(p is not None and p < LEVEL for p in holm([test.p for test in tests])) else None


def _summary(values: Sequence[float], level: float, *, scale: float) -> Summary:
    """As `summary`; `scale` is the largest magnitude that the values were made from."""
    if not 0 < level < 1:
        raise ValueError(f"level = {level}: an interval's level is between 0 and 1")
    check_finite(values)
    n = len(values)
    if n == 0:
        return Summary(0, None, None, None, None)
    mean = math.fsum(values) / n
    if n == 1:
        return Summary(1, mean, None, None, None)
    if max(values) - min(values) <= ROUNDING * scale:
        return Summary(n, mean, 0.0, None, None)
    from scipy.special import stdtrit

    std = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(stdtrit(n - 1, (1 + level) / 2)) * std / math.sqrt(n)
    return Summary(n, mean, std, mean - half, mean + half)


def check_finite(values: Sequence[float]) -> None:
    """Refuse what nothing can be computed from.

    Raises:
        ValueError: a value that is not finite.

    Example:
        >>> check_finite([0.5, float("nan")])
        Traceback (most recent call last):
        ValueError: nan is not finite: nothing can be computed from it
    """
    wrong = [value for value in values if not math.isfinite(value)]
    if wrong:
        raise ValueError(f"{wrong[0]} is not finite: nothing can be computed from it")
