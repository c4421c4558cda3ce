"""What a report says of a search: how many trials there were, and by what one of them was chosen."""

import json

import pytest

from reported import full
from supcrd.report import report
from supcrd.report.collect import collect

SUMMARY = {"name": "rates", "asked": 20, "trials": 20, "complete": 7, "pruned": 12, "failed": 1, "running": 0,
           "sampler": "tpe", "pruner": "halving", "seed": 3, "chosen_by": "validation_accuracy",
           "best": {"number": 4, "run": "b", "validation_accuracy": 0.8125, "values": {"train.lr": 0.1}}}  # fmt: skip
SAID = (
    "Search rates: 20 trials: 7 complete, 12 pruned, 1 failed (sampler tpe, pruner halving, seed 3). Chosen by the "
    "validation accuracy, without the test split: trial 4, b, 81.25%. The best of 20 is an optimistic figure; the "
    "run's test accuracy is not."
)


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "runs"
    for name, accuracy in (("a", 0.7), ("b", 0.8)):
        full(folder, name, 0, accuracy, f"train.lr={accuracy}").rename(folder / name)
    return folder


def write(runs, name="rates", **changes):
    file = runs / f"{name}.search" / "search.json"
    file.parent.mkdir()
    file.write_text(json.dumps(SUMMARY | {"name": name} | changes))
    return file


def test_it_stands_on_top_of_the_page(runs, tmp_path, no_figures):
    write(runs)
    text = report([runs], tmp_path / "report.html").read_text(encoding="utf-8")
    line = SAID.replace("'", "&#39;")
    assert f'<p class="lead">{line}</p>' in text
    assert text.index(line) < text.index('<h2 id="data1-runs"')


def test_it_is_said_of_the_folder_and_of_the_chosen_run(runs):
    assert collect([runs]).searches == ()
    write(runs)
    assert collect([runs]).searches == (SAID,)
    assert collect([runs / "b"]).searches == (SAID,)
    assert collect([runs / "a"]).searches == ()
    assert collect([runs / "a", runs]).searches == (SAID,)


def test_of_a_search_that_is_cut_or_chose_none(runs):
    write(runs, complete=0, pruned=0, failed=1, running=2, trials=3, best=None)
    assert collect([runs]).searches == (
        "Search rates: 3 trials: 0 complete, 0 pruned, 1 failed (sampler tpe, pruner halving, seed 3). 2 not at their "
        "end yet. None came to its end.",
    )


@pytest.mark.parametrize("text", ["", "[]", "{}", "3", '{"best": 4}', json.dumps(SUMMARY | {"best": "b"})])
def test_a_damaged_summary_is_a_note(runs, text):
    file = write(runs)
    file.write_text(text)
    material = collect([runs])
    assert material.searches == ()
    assert material.notes == (f"{file}: no summary of a search, or a damaged one: left out",)


def test_names_are_escaped(runs, tmp_path, no_figures):
    write(runs, name="<script>alert(1)")
    assert "<script>alert(1)" not in report([runs], tmp_path / "report.html").read_text(encoding="utf-8")
