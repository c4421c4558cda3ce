"""Statistics against scipy.stats, printed tables, closed forms of Student's t and Holm's own procedure."""

import math
import statistics as standard

import numpy as np
import pytest
from scipy import stats

from supcrd.analysis.statistics import Paired, Summary, holm, paired, summary

# Student's own data (1908): hours of sleep gained under two drugs
FIRST = dict(enumerate([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]))
SECOND = dict(enumerate([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]))


def values_of(n, seed=0):
    return list(np.random.default_rng(seed).uniform(0.5, 0.9, n))


# Summaries


@pytest.mark.parametrize(
    ("n", "t"), [(2, 12.706), (3, 4.303), (4, 3.182), (5, 2.776), (10, 2.262), (30, 2.045), (121, 1.980)]
)
def test_the_interval_by_the_printed_t_table(n, t):
    values = values_of(n)
    told = summary(values)
    assert told.half_width == pytest.approx(t * standard.stdev(values) / math.sqrt(n), rel=3e-4)
    assert (told.low + told.high) / 2 == pytest.approx(told.mean)


@pytest.mark.parametrize("n", [2, 3, 7, 50])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_summary_as_scipy(n, level):
    values = values_of(n, seed=n)
    told = summary(values, level=level)
    low, high = stats.t.interval(level, n - 1, loc=np.mean(values), scale=stats.sem(values))
    assert told == Summary(n, *map(pytest.approx, (np.mean(values), np.std(values, ddof=1), low, high)))


def test_summary_by_hand():
    """Of 1, 2, 3: std 1, and t(0.975, 2) = 0.95 sqrt(2 / (1 - 0.95^2))."""
    half = 0.95 * math.sqrt(2 / (1 - 0.95**2)) / math.sqrt(3)
    assert summary([3, 1, 2]) == Summary(3, 2.0, 1.0, pytest.approx(2 - half), pytest.approx(2 + half))


def test_what_few_values_cannot_tell():
    assert summary([]) == Summary(0, None, None, None, None)
    assert summary([0.7]) == Summary(1, 0.7, None, None, None)
    assert summary([]).half_width is None


def test_equal_values_have_no_interval():
    assert summary([0.7, 0.7, 0.7]) == Summary(3, pytest.approx(0.7), 0.0, None, None)
    assert summary([0.0, 0.0]) == Summary(2, 0.0, 0.0, None, None)
    assert summary([0.7, 0.7 + 1e-16, 0.7]).std == 0  # the last bit is rounding
    assert summary([0.7, 0.7 + 1e-9]).low is not None  # one image of a thousand million is not


# Pairs


def test_students_own_example():
    """As R prints it: t = -4.0621, df = 9, p-value = 0.002833, interval -2.4598858 -0.7001142, mean -1.58."""
    told = paired(FIRST, SECOND)
    assert told.n == 10
    assert told.mean == pytest.approx(-1.58)
    assert told.p == pytest.approx(0.002833, abs=5e-7)
    assert (told.low, told.high) == (pytest.approx(-2.4598858, abs=5e-8), pytest.approx(-0.7001142, abs=5e-8))
    assert told.reason is None
    turned = paired(SECOND, FIRST)
    assert (turned.mean, turned.p) == (pytest.approx(1.58), told.p)


@pytest.mark.parametrize("n", [2, 3, 5, 40])
def test_paired_as_scipy(n):
    one, other = values_of(n, seed=1), values_of(n, seed=2)
    told = paired(dict(enumerate(one)), dict(enumerate(other)))
    expected = stats.ttest_rel(one, other)
    low, high = expected.confidence_interval(0.95)
    assert (told.low, told.high) == (pytest.approx(low), pytest.approx(high))
    assert told.p == pytest.approx(expected.pvalue, rel=1e-9)


def test_p_of_two_and_three_pairs_in_closed_form():
    """With 1 degree of freedom t is Cauchy's: p = 1 - 2 atan(t) / pi; with 2: p = 1 - t / sqrt(t^2 + 2)."""
    two = paired({0: 0.03, 1: 0.05}, {0: 0.0, 1: 0.0})  # mean 0.04, std 0.02 / sqrt(2): t = 4
    assert two.p == pytest.approx(1 - 2 * math.atan(4) / math.pi)
    three = paired({0: 0.01, 1: 0.02, 2: 0.03}, {0: 0.0, 1: 0.0, 2: 0.0})  # std 0.01: t = 2 sqrt(3)
    assert three.p == pytest.approx(1 - math.sqrt(12) / math.sqrt(14))


def test_only_common_seeds_count_and_their_order_does_not():
    told = paired({3: 0.5, 0: 0.7, 1: 0.8, 9: 0.0}, {1: 0.75, 3: 0.49, 0: 0.68, 4: 1.0})
    assert told == paired({0: 0.7, 1: 0.8, 3: 0.5}, {0: 0.68, 1: 0.75, 3: 0.49})
    assert (told.n, told.mean) == (3, pytest.approx((0.02 + 0.05 + 0.01) / 3))


@pytest.mark.parametrize(
    ("values", "baseline", "n", "mean", "reason"),
    [
        ({}, {}, 0, None, "no common seeds"),
        ({0: 0.7}, {1: 0.6}, 0, None, "no common seeds"),
        ({0: 0.7, 1: 0.8}, {1: 0.6}, 1, 0.2, "n = 1"),
    ],
)
def test_what_few_pairs_cannot_tell(values, baseline, n, mean, reason):
    mean = mean if mean is None else pytest.approx(mean)
    assert paired(values, baseline) == Paired(n, mean, None, None, None, None, reason)


def test_equal_differences_have_no_p():
    """0.9 - 0.8, 0.7 - 0.6 and 0.8 - 0.7 differ in their last bits: scipy makes p = 1e-31 of that."""
    told = paired({0: 0.9, 1: 0.7, 2: 0.8}, {0: 0.8, 1: 0.6, 2: 0.7})
    assert told == Paired(3, pytest.approx(0.1), 0.0, None, None, None, "all 3 differences are equal")
    assert paired({0: 0.5, 1: 0.6}, {0: 0.5, 1: 0.6}).p is None
    one_image = paired({0: 0.9, 1: 0.7 + 1e-7}, {0: 0.8, 1: 0.6})  # of ten million
    assert 0 < one_image.p < 1e-5


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused(wrong):
    for ask in (
        lambda: summary([0.5, wrong]),
        lambda: paired({0: 0.5, 1: wrong}, {0: 0.5}),
        lambda: paired({0: 0.5}, {0: 0.5, 1: wrong}),
    ):
        with pytest.raises(ValueError, match="is not finite"):
            ask()


@pytest.mark.parametrize("level", [0.0, 1.0, 95, float("nan")])
def test_a_level_that_is_none(level):
    for ask in (lambda: summary([1.0, 2.0], level=level), lambda: paired({0: 1.0}, {0: 2.0}, level=level)):
        with pytest.raises(ValueError, match=r"level = "):
            ask()


# Many comparisons


def test_holm_by_hand():
    """The smallest of four times 4, the next times 3, and never less than the one before."""
    assert holm([0.01, 0.02, 0.03, 0.04]) == [pytest.approx(p) for p in (0.04, 0.06, 0.06, 0.06)]
    assert holm([0.04, 0.005, 0.03]) == [pytest.approx(p) for p in (0.06, 0.015, 0.06)]
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_a_test_that_was_not_made_does_not_count():
    assert holm([None, 0.01, None, 0.04]) == [None, 0.02, None, 0.04]
    assert holm([None]) == [None]


@pytest.mark.parametrize("level", [0.01, 0.05, 0.2])
def test_holm_rejects_what_his_procedure_does(level):
    """Holm 1979: go through sorted p while p(i) <= level / (m - i + 1); reject those passed."""
    random = np.random.default_rng(0)
    for m in [1, 2, 3, 5, 20] * 20:
        p_values = list(random.uniform(0, 1, m) ** 4)
        rejected = set()
        for passed, index in enumerate(np.argsort(p_values)):
            if p_values[index] > level / (m - passed):
                break
            rejected.add(index)
        assert {index for index, p in enumerate(holm(p_values)) if p <= level} == rejected


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan")])
def test_holm_takes_probabilities(wrong):
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([0.5, wrong])
