"""Measures: one list feeds files, tables, comparison, report and glossary; a user's own needs one file."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from supcrd.analysis.compare import compare
from supcrd.errors import PluginError, SupcrdError
from supcrd.evaluation.measure import OWN, measure
from supcrd.evaluation.measures import MEASURES, measures_of
from supcrd.recipe import plugins
from supcrd.report.collect import collect
from supcrd.report.table import columns
from typed import NET, invoke, refused, write_npz

DOCUMENT = (Path(__file__).parents[2] / "docs" / "measures.md").read_text()
(EXAMPLE,) = re.findall(r"```python\n# my_measures\.py\n(.*?)```", DOCUMENT, re.DOTALL)
RECIPE = """
plugins = ["my_measures.py"]
[data]
source = "npz:tiny.npz"
[model]
arch = "convnet"
[method]
name = "cross_entropy"
"""
TINY = [*NET, "train.epochs=1", "probe.epochs=0", "head.epochs=0"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_npz(tmp_path / "tiny.npz")
    Path("my_measures.py").write_text(EXAMPLE)
    Path("my.toml").write_text(RECIPE)
    yield tmp_path
    plugins.load([], Path())  # no plug-in of this test is in use in the next one


def train(*changes, recipe="my.toml"):
    done = invoke("train", recipe, "--out", "runs", "--json", *TINY, *changes)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)["evaluation"]


def test_the_example_of_the_documents(here):
    evaluation = train("name=a")
    train("name=a_seed=1", "seed=1")
    train("name=b", "train.lr=0.01")
    train("name=b_seed=1", "train.lr=0.01", "seed=1")
    with np.load("runs/a/outputs.npz") as outputs:
        top = np.sort(outputs["logits"], axis=1)
    assert evaluation["margin"] == pytest.approx(float((top[:, -1] - top[:, -2]).mean()), rel=1e-5)
    meaning = "Mean difference of the two largest logits."
    about = {"title": "Margin", "meaning": meaning, "better": 1, "scale": 1.0, "digits": 2}
    assert evaluation["measures"] == {"margin": about}
    assert evaluation["knn_accuracy"] is not None

    plugins.load([], Path())  # from here on nothing knows the plug-in
    assert "margin" not in [known.key for known in measures_of({})]
    assert [column.title for column in columns(collect(["runs"]).sets[0])][-1] == "Margin"
    assert invoke("report", "runs", "--out", "page.html").exit_code == 0
    assert f"<dt>Margin</dt><dd>{meaning}</dd>" in Path("page.html").read_text()
    compared = invoke("compare", "runs", "--baseline", "a", "--metric", "margin")
    assert compared.exit_code == 0, compared.stderr
    assert "margin less that of a, over common seeds\n" in compared.stdout
    row = json.loads(invoke("compare", "runs", "--metric", "margin", "--json").stdout)["rows"][0]
    assert row["values"]["margin"]["mean"] > 0
    assert "did you mean margin?" in refused("compare", "runs", "--metric", "margins")

    measured = json.loads(invoke("evaluate", "runs/a", "--plugin", "my_measures.py", "--json").stdout)
    assert measured["margin"] == pytest.approx(evaluation["margin"])
    assert "margin" not in json.loads(invoke("evaluate", "runs/a", "--json").stdout)


def test_a_run_has_the_measures_of_its_own_recipe(here):
    Path("plain.toml").write_text(RECIPE.replace('plugins = ["my_measures.py"]', ""))
    assert "margin" in train("name=a")
    assert not {"margin", "measures"} & train("name=b", recipe="plain.toml").keys()
    Path("my_measures.py").write_text(EXAMPLE.replace('"margin"', '"gap"'))
    assert {"gap"} == train("name=c")["measures"].keys()  # the changed file no longer has the other


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("return float('nan')", "measure 'margin' gives nan; a finite number, or None, is right"),
        ("return measured.logits", "measure 'margin' fails: "),
        ("return 1 / 0", "measure 'margin' fails: ZeroDivisionError: division by zero ("),
        ("return 'much'", "measure 'margin' fails: ValueError: could not convert string to float: 'much'"),
    ],
)
def test_a_measure_that_does_not_work(here, body, problem):
    head = EXAMPLE[: EXAMPLE.index("    top =")]
    Path("my_measures.py").write_text(f"{head}    {body}\n")
    assert problem in refused("train", "my.toml", "--out", "runs", *TINY)
    assert not Path("runs/my/evaluation.json").exists()


def test_what_a_measure_needs_is_there_or_it_is_none(here):
    text = EXAMPLE.replace("better=1", 'better=1, needs="teacher"').replace(
        "measured.logits.topk", "(measured.logits - measured.teacher_logits).topk"
    )
    Path("my_measures.py").write_text(text)
    assert train("name=a")["margin"] is None


def test_keys_that_are_refused():
    with pytest.raises(PluginError, match="measure 'ece' is supcrd's own; give it another name"):
        measure("ece", title="", meaning="")(lambda measured: 0)
    with pytest.raises(PluginError, match="measure 'mine': needs = 'luck'; train, teacher or probe is right"):
        measure("mine", title="", meaning="", needs="luck")(lambda measured: 0)
    assert "mine" not in OWN


def test_compare_takes_every_measure_with_a_direction(tmp_path):
    from made import several

    several(tmp_path, "low", [0.5, 0.6, 0.55], ece=0.1)
    for seed, folder in enumerate(several(tmp_path, "high", [0.5, 0.6, 0.55], "train.lr=0.1")):
        path = folder / "evaluation.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"ece": 0.3 + 0.01 * seed, "nll": 1.0}))
    for seed in range(3):
        path = tmp_path / f"low-seed{seed}" / "evaluation.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"ece": 0.1 + 0.011 * seed}))
    high, low = sorted(compare([tmp_path], "low", metric="ece").rows, key=lambda row: row.label)
    assert (high.label, high.verdict, low.verdict) == ("high", "worse", "baseline")  # its error is the larger
    assert high.difference.mean == pytest.approx(np.mean([0.2, 0.199, 0.198]))
    with pytest.raises(SupcrdError, match=r"--metric nll: .*low-seed0 has none; one of accuracy, .*ece.* is right"):
        compare([tmp_path], "low", metric="nll")
    with pytest.raises(SupcrdError, match="unknown --metric 'parameters'"):
        compare([tmp_path], metric="parameters")


def test_the_list_says_all_that_is_shown():
    keys = [known.key for known in MEASURES]
    assert len(set(keys)) == len(keys)
    for known in MEASURES:
        assert known.title
        assert known.meaning.endswith(".")
        assert known.better in (1, 0, -1)
        assert known.low < known.high
