"""Differences whose noise is pooled: against the F-test of merging two methods, and by hand where all is balanced."""

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression

from supcrd.analysis.pooled import Pooled
from supcrd.analysis.statistics import paired


def drawn(seed=0):
    """Methods of two to four seeds each."""
    random = np.random.default_rng(seed)
    seeds = {"a": (0, 1, 2), "b": (0, 1), "c": (0, 1, 2, 3), "d": (1, 2), "e": (0, 3)}
    block = random.normal(0, 0.02, 4)
    return {
        name: {s: 0.5 + 0.01 * place + block[s] + random.normal(0, 0.003) for s in of}
        for place, (name, of) in enumerate(seeds.items())
    }


def fitted(values, merged=()):
    """The sum of squares that is left of method + seed, and its degrees of freedom; `merged` count as one method."""
    cells = [(merged[0] if name in merged else name, seed, x) for name, of in values.items() for seed, x in of.items()]
    names, seeds = sorted({name for name, *_ in cells}), sorted({seed for _, seed, _ in cells})
    rows = np.array([[*(name == n for n in names), *(seed == s for s in seeds[1:])] for name, seed, _ in cells], float)
    numbers = np.array([x for *_, x in cells])
    rest = numbers - LinearRegression(fit_intercept=False).fit(rows, numbers).predict(rows)
    return (rest**2).sum(), len(cells) - rows.shape[1]


@pytest.mark.parametrize(("name", "baseline"), [("a", "b"), ("c", "d"), ("d", "e"), ("b", "e")])
def test_against_the_f_test_of_merging_two_methods(name, baseline):
    values = drawn()
    whole, freedom = fitted(values)
    less, _ = fitted(values, (name, baseline))
    found = Pooled(values)
    assert found.freedom == freedom
    assert found.std == pytest.approx(np.sqrt(whole / freedom))
    expected = stats.f.sf((less - whole) / (whole / freedom), 1, freedom)
    assert found.difference(name, baseline).p == pytest.approx(expected)


def test_two_methods_of_common_seeds_are_a_paired_t_test():
    values = {"a": {0: 0.5, 1: 0.53, 2: 0.49}, "b": {0: 0.52, 1: 0.54, 2: 0.53}}
    ours, students = Pooled(values).difference("b", "a"), paired(values["b"], values["a"])
    assert (ours.n, ours.reason) == (3, None)
    for key in ("mean", "std", "low", "high", "p"):
        assert getattr(ours, key) == pytest.approx(getattr(students, key))


def test_what_cannot_be_told():
    apart = Pooled({"a": {0: 0.5, 1: 0.6}, "b": {2: 0.5, 3: 0.7}, "c": {}})
    for baseline in ("b", "c", "unknown"):
        assert apart.difference("a", baseline).mean is None
    single = Pooled({"a": {0: 0.5}, "b": {0: 0.6}}).difference("b", "a")
    assert single.mean == pytest.approx(0.1)
    assert (single.p, single.low, single.reason) == (None, None, "no value is left to tell the noise by")
    same = Pooled({"a": {0: 0.5, 1: 0.6}, "b": {0: 0.7, 1: 0.8}}).difference("b", "a")
    assert same.mean == pytest.approx(0.2)
    assert (same.p, same.reason) == (None, "all seeds do the same to all")
    assert Pooled({}).difference("a", "b").n == 0
    assert Pooled(drawn()).difference("a", "a").p is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_refused(bad):
    with pytest.raises(ValueError, match="not finite"):
        Pooled({"a": {0: bad}})
