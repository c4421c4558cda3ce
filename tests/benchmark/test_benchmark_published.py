"""The committed table of published figures, and what is made of it beside runs."""

import numpy as np
import pytest
from scipy import stats

from supcrd import recipe as recipes
from supcrd.base.files import write_json, write_text
from supcrd.benchmark import published
from supcrd.benchmark.orderings import orderings
from supcrd.benchmark.pairs import FIELD, Pair, read_pairs
from supcrd.benchmark.plan import plan
from supcrd.benchmark.results import results
from supcrd.benchmark.table import markdown, notes, ordering_lines, rows
from supcrd.figures.superclasses import SUPERCLASSES
from supcrd.recipe.settings import METHOD_SETTINGS
from supcrd.reproduction.published import TABLES, TEACHER

CIFAR100 = sorted(name for group in SUPERCLASSES.values() for name in group)
# of RepDistiller's README, typed from its page: KD, FitNet, RKD, CRD and the undistilled student
TYPED = {
    "resnet56:resnet20": (70.66, 69.21, 69.61, 71.16, 69.06),
    "resnet110:resnet32": (73.08, 71.06, 71.82, 73.48, 71.14),
    "resnet32x4:resnet8x4": (73.33, 73.50, 71.90, 75.51, 72.50),
    "wrn-40-2:wrn-16-2": (74.92, 73.58, 73.35, 75.48, 73.26),
    "wrn-40-2:wrn-40-1": (73.54, 72.24, 72.22, 74.14, 71.98),
    "vgg13:vgg8": (72.98, 71.02, 71.48, 73.94, 70.36),
    "resnet50-2048:mobilenetv2": (67.35, 63.16, 64.43, 69.11, 64.60),
    "resnet32x4:shufflenetv1": (74.07, 73.59, 72.28, 75.11, 70.50),
    "resnet32x4:shufflenetv2": (74.45, 73.54, 73.21, 75.65, 71.82),
}


def pair_of(key):
    return Pair(*key.split(":"))


@pytest.mark.parametrize("key", TYPED)
def test_figures_are_those_of_the_source(key):
    methods = ("kd", "fitnet", "rkd", "crd_nce", "cross_entropy")
    for name, percent in zip(methods, TYPED[key], strict=True):
        (one,) = [one for one in published.figures(pair_of(key), name) if one.source == "repdistiller"]
        assert 100 * one.accuracy == pytest.approx(percent, abs=1e-6)
        assert (one.epoch, one.view_epochs) == ("last", 240)
    assert key in FIELD


def test_the_table_is_whole():
    table = published._table()
    assert {row["source"] for row in [*table["figures"], *table["settings"]]} == set(table["sources"])
    first = [row for row in table["figures"] if "quotes" not in row]
    own = {(row["pair"], row["method"], row["source"]): row["accuracy"] for row in first}
    for row in table["figures"]:
        assert row["method"] in (*METHOD_SETTINGS, published.TEACHER)
        assert 0.5 < row["accuracy"] < 0.82
        if "quotes" in row:  # one of them by another hundredth
            assert own[row["pair"], row["method"], row["quotes"]] == pytest.approx(row["accuracy"], abs=0.00011)
    places = [(row["pair"], row["method"], row["source"]) for row in table["figures"]]
    assert len(places) == len(set(places))
    for source in table["sources"].values():
        assert source["epoch"] in ("last", "best", "not stated")
        assert source.get("url", "https://").startswith("https://")
    for row in table["settings"]:
        assert row["key"] in METHOD_SETTINGS[row["method"]].model_fields
    assert {row["method"] for row in table["figures"]} >= {"dkd", "dist", "review", "simkd", "mlkd", "rrd", "ls"}


# of resnet56 to resnet20, typed from each page: what stands in one table
TOGETHER = {
    "mdistiller": {"kd": 70.66, "dkd": 71.97},
    "ls": {"kd": 70.66, "ls": 71.43, "dkd": 71.97, "mlkd": 72.19},
    "nd": {"teacher": 72.34, "cross_entropy": 69.06, "kd": 70.66, "dist": 71.78, "dkd": 71.97, "review": 71.89},
    "dist": {"teacher": 72.34, "cross_entropy": 69.06, "dist": 71.75},
    "rrd": {"teacher": 72.34, "cross_entropy": 69.06, "kd": 70.66, "fitnet": 69.21, "at": 70.55, "sp": 69.67,
            "cc": 69.63, "vid": 70.38, "rkd": 69.61, "pkt": 70.34, "nst": 69.60, "crd_nce": 71.16, "rrd": 70.71},
}  # fmt: skip
RANKED = {
    "mdistiller": {("dkd", "kd")},
    "ls": {("ls", "kd"), ("mlkd", "kd"), ("dkd", "ls"), ("mlkd", "ls"), ("mlkd", "dkd")},  # dkd > kd is mdistiller's
    "nd": {("dist", "kd"), ("review", "kd"), ("dkd", "dist"), ("review", "dist"), ("dkd", "review")},
    "dist": set(),
    "rrd": {("rrd", "kd")},
}


@pytest.mark.parametrize("source", TOGETHER)
def test_a_source_ranks_what_it_prints_in_one_table_unless_it_quotes_both(source):
    pair = Pair("resnet56", "resnet20")
    printed = {name: 100 * value for name, (value, _) in published.printed(pair, source).items()}
    assert printed == pytest.approx(TOGETHER[source])
    names = ("kd", "dkd", "dist", "review", "mlkd", "ls", "rrd")
    values = {name: {0: 0.7 + 0.01 * at, 1: 0.71 + 0.01 * at} for at, name in enumerate(names)}
    ranked = [(row["better"], row["worse"]) for row in orderings(pair, values) if row["source"] == source]
    assert sorted(ranked) == sorted(RANKED[source])


def test_the_references_figures_are_those_that_its_tables_have():
    rows = {row.experiment: row.published for row in TABLES["main"]}
    rows |= {"teacher": TEACHER}
    names = {"cross_entropy": "undistilled", "supcon": "baseline_supcon", "crd": "baseline_crd",
             "lw_supcrd": "lw_supcrd", "hybrid": "hybrid_lambda_0.3", "teacher": "teacher"}  # fmt: skip
    for name, experiment in names.items():
        (one,) = published.figures(Pair("resnet50", "resnet18"), name)
        views = 50 if name in ("cross_entropy", "teacher") else 100  # 50 epochs, of one view or two
        assert (one.accuracy, one.view_epochs) == (rows[experiment].accuracy, views)


def test_the_published_settings_of_ls_are_those_that_its_logs_are_named_after():
    assert published.settings(Pair("resnet56", "resnet20"), "ls") == {}
    assert published.settings(Pair("vgg13", "vgg8"), "ls") == {"temperature": 3.0}
    assert published.settings(Pair("resnet110", "resnet20"), "ls") == {"temperature": 4.0, "weight": 12.0}


def test_two_views_are_said():
    found = published.figures(Pair("resnet32x4", "shufflenetv2"), "mlkd")
    assert [(one.view_epochs, one.epoch) for one in found] == [(1920, "best")]


def test_orderings_against_scipy():
    random = np.random.default_rng(0)
    noise = {name: random.normal(0, 0.001, 5) for name in ("kd", "fitnet", "rkd", "crd_nce", "cross_entropy")}
    means = {"kd": 0.70, "fitnet": 0.72, "rkd": 0.7001, "crd_nce": 0.73, "cross_entropy": 0.65}  # fitnet > kd: reversed
    values = {name: dict(enumerate(means[name] + noise[name])) for name in means}
    found = orderings(Pair("resnet56", "resnet20"), values)
    assert len(found) == 10
    table = np.array([list(of.values()) for of in values.values()])  # the two-way layout, by its textbook formulas
    rest = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    error = np.sqrt((rest**2).sum() / freedom * 2 / table.shape[1])
    raw = {}
    for row in found:
        better, worse = (np.array(list(values[row[key]].values())) for key in ("better", "worse"))
        assert row["ours"] == pytest.approx((better - worse).mean())
        raw[row["better"], row["worse"]] = 2 * stats.t.sf(abs((better - worse).mean()) / error, freedom)
    order = sorted(raw, key=raw.get)
    expected, reached = {}, 0.0
    for rank, names in enumerate(order):
        reached = max(reached, min(1.0, raw[names] * (len(order) - rank)))
        expected[names] = reached
    verdicts = {}
    for row in found:
        names = row["better"], row["worse"]
        assert row["p"] == pytest.approx(expected[names])
        verdicts[names] = row["verdict"]
    assert verdicts["crd_nce", "kd"] == "holds"
    assert verdicts["kd", "fitnet"] == "reversed"
    assert verdicts["kd", "rkd"] == "cannot tell"


def made(out, pair, accuracies):
    """Finished runs of a pair on what has CIFAR-100's classes: method -> accuracy by seed."""
    names = [name for name in accuracies if not name.startswith("cross_entropy")]
    groups = plan([pair], methods=names, seeds=len(accuracies["kd"]), data="cifar100").groups[pair]
    for name, values in accuracies.items():
        for recipe, value in zip(groups[name], values, strict=True):
            (out / recipe.name).mkdir(parents=True)
            write_text(out / recipe.name / "recipe.toml", recipes.to_toml(recipe))
            numbers = {"trained_accuracy": value, "accuracy_at_best": value + 0.001, "seed": recipe.seed, "n": 10000}
            numbers |= {"split": "test", "data_fingerprint": "0", "class_names": CIFAR100, "train_seconds": 60.0}
            numbers |= {"parameters": 278_324 + 1000 * (name == "simkd"), "train_accuracy": 0.99}
            write_json(out / recipe.name / "evaluation.json", numbers)
    return groups


def test_published_figures_stand_beside_ours(tmp_path):
    accuracies = {"kd": [0.70, 0.71, 0.72], "cross_entropy": [0.68, 0.69, 0.69], "simkd": [0.75, 0.751, 0.752],
                  "dist": [0.71, 0.72, 0.73], "mlkd": [0.70, 0.72, 0.71]}  # fmt: skip
    pair = Pair("resnet32x4", "resnet8x4")
    found = results(pair, made(tmp_path, pair, accuracies), tmp_path, {})
    assert found["comparable"]
    cells = {row[0]: row for row in rows(found)}
    assert cells["kd"][:3] == ["kd", "3", "71.00 ± 1.00"]
    assert cells["kd"][-1] == "73.33 (last, 240) [repdistiller]; 74.42 (epoch?, 240) [simkd]"
    assert cells["dist"][-1] == "76.31 ± 0.19 (epoch?, 240) [dist]; 75.79 (epoch?, 240) [nd]"
    assert cells["mlkd"][-1] == "77.08 (best, 480) [ls]"
    assert cells["simkd"][-1] == "78.08 (epoch?, 240) [simkd]"
    assert cells["simkd"][-2] == "1,000"
    table = np.array(list(accuracies.values()))
    rest = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    half = 100 * stats.t.ppf(0.975, 8) * np.sqrt((rest**2).sum() / 8 * 2 / 3)  # 5 methods, 3 seeds
    every = [of["last"] for row in found["rows"].values() for of in row["differences"].values()]
    told = [one for one in every if one["p"] is not None]  # the others' methods have no runs
    assert len(told) == 8
    ranked, reached = sorted(one["p"] for one in told), 0.0  # Holm, over the differences to both baselines
    wanted = []
    for rank, p in enumerate(ranked):
        reached = max(reached, min(1.0, p * (len(ranked) - rank)))
        wanted.append(reached)
    assert sorted(one["corrected_p"] for one in told) == pytest.approx(wanted)
    assert cells["dist"][6:8] == ["+1.00", f"{1 - half:+.2f} to {1 + half:+.2f}"]
    assert cells["simkd"][8] == f"{100 * np.mean([0.07, 0.061, 0.062]):+.2f}"
    sizes = {"source": "npz:some/where/cifar.npz", "train": 45000, "validation": 5000, "test": 10000}
    document = {"images": sizes, "pairs": [found], "left_out": {pair.key: {"at": "no maps"}}, "view_epochs": 240}
    document |= {"planned": 9, "command": "supcrd benchmark", "environment": {"packages": {}, "commit": None}}
    assert notes(document, found)[0].endswith("the published figures are of 50,000 training images")
    assert "at is left out: no maps" in notes(document, found)
    lines = "\n".join(ordering_lines(found))
    assert "repdistiller: of 1 published orderings of two methods" in lines
    page = markdown(document)
    assert "* ls: [logit-standardization-KD" in page
    assert "best test epoch" in page
    assert "on npz:cifar.npz;" in page
    assert "* papers: " not in page


def test_a_pair_of_ones_own_is_held_against_the_smallest_published_one(tmp_path):
    pair = Pair("resnet20", "resnet8")
    accuracies = {"kd": [0.50, 0.51, 0.515], "at": [0.41, 0.40, 0.42], "cross_entropy": [0.30, 0.31, 0.29]}
    result = results(pair, made(tmp_path, pair, accuracies), tmp_path, {})
    assert {row["published"] == [] for row in result["rows"].values()} == {True}
    assert [(row["pair"], row["better"], row["worse"]) for row in result["orderings"]] == [
        ("resnet56:resnet20", "kd", "cross_entropy"),
        ("resnet56:resnet20", "at", "cross_entropy"),
        ("resnet56:resnet20", "kd", "at"),
    ]
    lines = ordering_lines(result)
    assert lines[0] == "nothing was published of this pair: the orderings are those of resnet56 to resnet20"
    assert lines[1] == "repdistiller: of 3 published orderings of two methods 3 hold, 0 are reversed, 0 cannot be told"
    ours = {"at": 0.002, "cross_entropy": None}
    close = [row | {"verdict": "cannot tell", "ours": ours[row["worse"]]} for row in result["orderings"]]
    told = "kd > cross_entropy (-), at > cross_entropy (-), kd > at (+0.20)"
    assert ordering_lines(result | {"orderings": close})[-1] == f"repdistiller, cannot be told: {told}"


def test_other_classes_have_no_published_figures(tmp_path):
    pair = Pair("resnet56", "resnet20")
    groups = made(tmp_path, pair, {"kd": [0.7], "cross_entropy": [0.6]})
    file = tmp_path / groups["kd"][0].name / "evaluation.json"
    other = tmp_path / groups["cross_entropy"][0].name / "evaluation.json"
    for path in (file, other):
        path.write_text(path.read_text().replace('"apple"', '"melon"'))
    found = results(pair, groups, tmp_path, {})
    assert not found["comparable"]
    assert {row["published"] == [] for row in found["rows"].values()} == {True}
    assert found["orderings"] == []


def test_the_fields_pairs_are_known():
    assert [pair.key for pair in read_pairs(["field"])] == list(FIELD)
