"""Verdicts against values derived by hand: Student's t in closed form, a two-way analysis of variance on paper."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from supcrd.reproduction.claims import CLAIMS, UNIFORMITY
from supcrd.reproduction.findings import apart, concluded, findings, order, pooled, published
from supcrd.reproduction.published import TABLES


def experiment(*accuracies, first=0, alignment=None, uniformity=None):
    runs = [{"seed": first + i, "accuracy": value} for i, value in enumerate(accuracies)]
    means = {"accuracy": sum(accuracies) / len(accuracies) if accuracies else None}
    means |= {"alignment": alignment, "uniformity": uniformity}
    return {"runs": runs, "summary": {key: {"mean": value} for key, value in means.items()}}


def told(ours, names=None, replicates=()):
    return {each.text: each for each in findings(ours, names or {}, replicates)}


def p2(t):
    """Two-sided p with 2 degrees of freedom, in closed form."""
    return 1 - abs(t) / math.sqrt(t * t + 2)


T2 = 0.95 * math.sqrt(2 / (1 - 0.95**2))  # its 97.5% quantile


def test_two_experiments_are_the_paired_t_test():
    ours = {"lw_supcrd": experiment(0.70, 0.72, 0.74), "undistilled": experiment(0.68, 0.71, 0.71)}
    (found,) = told(ours).values()  # differences 0.02, 0.01, 0.03: mean 0.02, std 0.01
    assert found.difference == pytest.approx(0.02)
    assert found.p == pytest.approx(p2(0.02 / (0.01 / math.sqrt(3))))
    half = T2 * 0.01 / math.sqrt(3)
    assert (found.low, found.high, found.n) == (pytest.approx(0.02 - half), pytest.approx(0.02 + half), 3)
    assert found.verdict == "cannot be told"  # p = 0.074


def test_verdicts_by_direction():
    up, down = (0.70, 0.71, 0.72), (0.60, 0.612, 0.622)  # differences 0.1, 0.098, 0.098: t = 148
    for better, worse, verdict in ((up, down, "holds"), (down, up, "does not hold")):
        (found,) = told({"lw_supcrd": experiment(*better), "baseline_crd": experiment(*worse)}).values()
        assert found.verdict == verdict
        assert (found.difference > 0) == (verdict == "holds")


def test_one_seed_rests_on_the_pooled_spread():
    # Residuals of the two with two seeds: (a - b) is 0.02 and 0, so each is 0.005 off: s^2 = 4 * 0.005^2 / 1, s = 0.01.
    ours = {
        "kd": experiment(0.72, 0.70),
        "dkd": experiment(0.70, 0.70),
        "lw_supcrd": experiment(0.73),
        "alpha_2.0": experiment(0.70),
    }
    found = told(ours)["alpha = 1 above alpha = 2"]
    t = 0.03 / (0.01 * math.sqrt(2))
    assert found.p == pytest.approx(1 - 2 / math.pi * math.atan(t))  # one degree of freedom: Cauchy's distribution
    assert found.high - found.difference == pytest.approx(math.tan(0.475 * math.pi) * 0.01 * math.sqrt(2))
    assert (found.n, found.verdict) == (1, "cannot be told")


def test_three_seeds_are_never_harder_to_tell_than_one():
    """The paired t-test of three seeds by itself could not tell 3 points from 0 among so many claims; its spread is."""
    noise = [(0.001, -0.002, 0.001), (-0.002, 0.001, 0.001), (0.002, 0, -0.002), (0, 0.002, -0.002), (0.001, 0, -0.001)]
    names = ("lw_supcrd", "undistilled", "baseline_supcon", "baseline_crd", "hybrid_lambda_0.3")
    ours = {
        name: experiment(*(0.70 - 0.03 * (i > 0) + e for e in each))
        for i, (name, each) in enumerate(zip(names, noise, strict=True))
    }
    ours |= {"alpha_2.0": experiment(0.67)}
    by_three, by_one = told(ours)["LW-SupCRD above SupCon"], told(ours)["alpha = 1 above alpha = 2"]
    assert by_three.n == 3
    assert by_one.n == 1
    assert by_three.p < by_one.p < 0.05


def test_pooled_noise_is_that_of_a_two_way_analysis_of_variance():
    values = np.random.default_rng(0).normal(0.7, 0.01, (4, 3))
    rest = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
    found = pooled({f"e{i}": dict(enumerate(row)) for i, row in enumerate(values)})
    assert found.freedom == 3 * 2
    assert found.std == pytest.approx(math.sqrt((rest**2).sum() / 6))
    shifted = pooled({f"e{i}": dict(enumerate(row + np.array([0, 0.3, -0.2]))) for i, row in enumerate(values)})
    assert shifted.std == pytest.approx(found.std)  # what a seed does to all is no noise
    single = {f"e{i}": dict(enumerate(row)) for i, row in enumerate(values)} | {"one": {1: 0.2}}
    assert pooled(single) == (pytest.approx(found.std), 6)  # one seed adds nothing


def test_an_experiment_that_spreads_more_goes_by_its_own_test():
    quiet = [experiment(*(0.70 + 0.001 * e for e in noise)) for noise in itertools.permutations((-1, 0, 1))]
    ours = dict(zip(("lw_supcrd", "undistilled", "kd", "dkd", "crd_kd", "lw_supcrd_kd"), quiet, strict=True))
    ours["baseline_crd"] = experiment(0.66, 0.65, 0.53)
    found = told(ours)["LW-SupCRD above CRD"]
    values = [a["accuracy"] - b["accuracy"] for a, b in zip(ours["lw_supcrd"]["runs"], ours["baseline_crd"]["runs"],
                                                            strict=True)]  # fmt: skip
    plain = stats.ttest_1samp(values, 0)
    assert found.p == pytest.approx(2 * plain.pvalue)  # Holm: the smaller of two
    assert found.low == pytest.approx(plain.confidence_interval().low)
    assert "its own" in found.basis


def test_without_spread_nothing_can_be_told():
    one = told({"lw_supcrd": experiment(0.8), "undistilled": experiment(0.1)})["LW-SupCRD above undistilled"]
    assert (one.difference, one.p, one.low, one.verdict) == (pytest.approx(0.7), None, None, "cannot be told")
    equal = told({"lw_supcrd": experiment(0.9, 0.8), "undistilled": experiment(0.7, 0.6)})
    assert equal["LW-SupCRD above undistilled"].p is None  # both differences 0.2: no spread, not certainty
    assert pooled({}) is None


def test_what_is_planned_but_not_there_yet_and_what_is_not_planned():
    ours = {"lw_supcrd": experiment(0.7, 0.71), "undistilled": experiment(), "kd": experiment(0.7, 0.73, 0.7)}
    (found,) = told(ours).values()
    assert (found.verdict, found.difference, found.n, found.basis) == ("cannot be told", None, 0, "no common seed yet")
    apart_seeds = told(ours | {"undistilled": experiment(0.6, first=7)})["LW-SupCRD above undistilled"]
    assert apart_seeds.n == 0
    assert findings({}, {}) == []


def test_aliases():
    ours = {"lw_supcrd": experiment(0.70, 0.72), "bank_lw_supcrd": experiment(0.71, 0.75)}
    found = told(ours, {"no_bank_lw_supcrd": "lw_supcrd"})
    assert list(found) == ["LW-SupCRD with a bank above without"]
    assert found["LW-SupCRD with a bank above without"].difference == pytest.approx(0.02)
    same = told(ours, {"no_bank_lw_supcrd": "lw_supcrd", "bank_lw_supcrd": "lw_supcrd"})
    assert same == {}  # a run is neither better nor worse than itself


def test_p_is_corrected_for_all_claims():
    random = np.random.default_rng(1)
    names = ("lw_supcrd", "undistilled", "baseline_supcon", "baseline_crd", "hybrid_lambda_0.3")
    ours = {name: experiment(*random.normal(0.7 - 0.01 * i, 0.004, 3)) for i, name in enumerate(names)}
    table = np.array([[run["accuracy"] for run in each["runs"]] for each in ours.values()])
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    error = math.sqrt((rest**2).sum() / 8) * math.sqrt(2 / 3)
    plain = [2 * stats.t.sf(abs((table[0] - row).mean()) / error, 8) for row in table[1:]]
    corrected, reached = {}, 0.0
    for rank, i in enumerate(np.argsort(plain)):  # Holm 1979, by hand
        reached = max(reached, min(1.0, (4 - rank) * plain[i]))
        corrected[i] = reached
    found = told(ours)
    texts = ["undistilled", "SupCon", "CRD", "hybrid, lambda = 0.3"]
    assert [found[f"LW-SupCRD above {text}"].p for text in texts] == pytest.approx([corrected[i] for i in range(4)])


def test_replicates_add_nothing_to_the_pool():
    ours = {"alpha_2.0": experiment(0.70, 0.72, 0.71), "lw_supcrd": experiment(0.73, 0.74, 0.735)}
    alone = told(ours)["alpha = 1 above alpha = 2"]
    twice = told(ours | {"beta_5.0": ours["alpha_2.0"]}, replicates=[("alpha_2.0", "beta_5.0")])
    assert twice["alpha = 1 above alpha = 2"].high == pytest.approx(alone.high)
    assert apart(ours | {"beta_5.0": experiment(0.69, 0.72)}, [("alpha_2.0", "beta_5.0")]) == [
        ("alpha_2.0", "beta_5.0", pytest.approx(0.005), pytest.approx(0.7178 - 0.7063))
    ]
    assert apart(ours, [("alpha_2.0", "beta_5.0")]) == []


# A finding of several comparisons


def verdicts(*given):
    claims = [claim for claim in CLAIMS if claim.finding == "alpha = 1 is best"]
    template = findings({"lw_supcrd": experiment(0.7), "alpha_2.0": experiment(0.7)}, {})[0]
    return concluded([template._replace(finding=claim.finding, text=claim.text, verdict=verdict)
                      for claim, verdict in zip(claims, given, strict=False)])[0][1:]  # fmt: skip


def test_a_finding_holds_if_all_of_it_holds():
    assert verdicts("holds", "holds", "holds") == ("holds", "3 of 3 comparisons hold")
    assert verdicts("holds", "cannot be told", "holds")[0] == "cannot be told"
    assert verdicts("holds", "holds") == ("cannot be told", "2 of 3 comparisons hold")  # one was not made
    assert verdicts("holds", "does not hold", "cannot be told") == (
        "does not hold",
        "1 of 3 comparisons holds, 1 the other way round",
    )


# Uniformity against alignment


def ordered(alignment, uniformity):
    """Experiments with the published accuracies, and these numbers in the order of accuracy."""
    names = sorted(
        (name for name, figures in published().items() if figures.alignment is not None),
        key=lambda name: published()[name].accuracy,
    )
    columns = zip(names, alignment, uniformity, strict=False)
    return {name: experiment(published()[name].accuracy, alignment=a, uniformity=u) for name, a, u in columns}


def test_rank_correlations_by_hand():
    found = order(ordered([1, 2, 3, 4], [4, 3, 1, 2]), "uniformity")
    # ranks of uniformity 4 3 1 2 against 1 2 3 4: sum of squares 9 + 1 + 4 + 4 = 18, 1 - 6 * 18 / (4 * 15)
    assert (found.n, found.ours) == (4, pytest.approx(-0.8))
    assert order(ordered([1, 2, 3, 4], [4, 3, 1, 2]), "alignment").ours == pytest.approx(1)
    # undistilled, CRD, tau = 0.05 and SupCon: published -1.7332, -2.2358, -3.6645, -2.5665, ranks 4 3 1 2 as well
    assert found.published == pytest.approx(-0.8)
    assert order(ordered([1, 2, 3], [3, 2, 1]), "uniformity") is None
    assert order(ordered([1, 2, 3, 4], [2, 2, 2, 2]), "uniformity") is None  # no order, and no NaN


def test_published_correlations_are_of_the_main_table(monkeypatch):
    """LW-SupCRD was published twice; the first one counts, whichever table comes last."""
    tables = {**TABLES, "hybrid": (), "temperature": TABLES["temperature"]}
    monkeypatch.setattr("supcrd.reproduction.findings.TABLES", tables)
    assert published()["lw_supcrd"].accuracy == 0.7319
    monkeypatch.undo()
    figures = [each for each in published().values() if each.alignment is not None]
    ours = {name: experiment(0.5 + 0.01 * i, alignment=i, uniformity=i) for i, name in enumerate(published())}
    expected = stats.spearmanr([f.uniformity for f in figures], [f.accuracy for f in figures]).statistic
    assert order(ours, "uniformity").published == pytest.approx(expected)
    assert order(ours, "uniformity").n == len(figures) == 15
    assert order(ours, "uniformity", [("alpha_2.0", "beta_5.0")]).n == 14


def test_uniformity_above_alignment_by_all_exchanges():
    random = np.random.default_rng(3)
    alignment, uniformity = random.normal(size=7), -np.arange(7) + random.normal(size=7)
    (found,) = [each for each in findings(ordered(alignment, uniformity), {}) if each.finding == UNIFORMITY]
    ranks = stats.rankdata(alignment), stats.rankdata(uniformity), np.arange(7)
    differences = []
    for swapped in itertools.product((False, True), repeat=7):  # the definition, one by one
        a, u = np.where(swapped, ranks[1], ranks[0]), np.where(swapped, ranks[0], ranks[1])
        differences.append(np.cov(a, ranks[2])[0, 1] - np.cov(u, ranks[2])[0, 1])
    p = np.mean(np.abs(differences) >= abs(differences[0]) - 1e-12)
    claims = [each for each in findings(ordered(alignment, uniformity), {}) if each.p is not None]
    assert claims == [found]  # one seed each: no other claim has a p, so this one's is not corrected
    assert found.p == pytest.approx(p)
    expected = stats.spearmanr(alignment, ranks[2]).statistic - stats.spearmanr(uniformity, ranks[2]).statistic
    assert found.difference == pytest.approx(expected)
    assert found.n == 7


def test_perfect_uniformity_and_opposite_alignment_hold():
    (found,) = [each for each in findings(ordered(range(8), range(8, 0, -1)), {}) if each.finding == UNIFORMITY]
    assert (found.p, found.difference, found.verdict) == (pytest.approx(2 / 2**8), pytest.approx(2), "holds")
    (other,) = [each for each in findings(ordered(range(8, 0, -1), range(8)), {}) if each.finding == UNIFORMITY]
    assert other.verdict == "does not hold"
