"""Whose seconds are not those of a run alone, by times that were set by hand."""

import os

import pytest

from made import make
from supcrd.analysis.caveats import shared_machine
from supcrd.report.collect import collect
from supcrd.report.page import runs_table
from supcrd.runs.folder import RunFolder

NOON = 1_800_000_000
HERE = {"machine": "aaaa"}


def trained(runs, name, start, end, *changes, begun=None, environment=HERE, seconds=None, recipe="digits-crd"):
    """A run that trained between two seconds after noon."""
    told = {"train_seconds": end - start if seconds is None else seconds, "environment": environment}
    run = make(runs, name, 0, 0.8, *changes, recipe=recipe, **told)
    os.utime(run / "recipe.toml", 2 * (NOON + (start - 5 if begun is None else begun),))
    os.utime(run / "metrics.jsonl", 2 * (NOON + end,))
    return RunFolder(run)


def names(runs):
    return sorted(run.name for run in shared_machine(runs))


def test_runs_that_overlap_on_one_machine(tmp_path):
    one, two = trained(tmp_path, "one", 0, 100), trained(tmp_path, "two", 50, 90)
    after = trained(tmp_path, "after", 100, 200)
    assert names([one, two, after]) == ["one", "two"]
    assert names([one, after]) == []  # one after the other
    assert names([one, one]) == []  # beside itself
    elsewhere = trained(tmp_path, "elsewhere", 0, 100, environment={"machine": "bbbb"})
    assert names([one, elsewhere]) == []


def test_a_short_overlap_is_none_to_the_longer_run(tmp_path):
    """4 of 100 seconds are less than a twentieth, 4 of 10 are not."""
    assert names([trained(tmp_path, "long", 0, 100), trained(tmp_path, "short", 96, 106)]) == ["short"]


@pytest.mark.parametrize("environment", [{}, {"platform": "Linux-6", "processor": "x", "gpus": []}])
def test_runs_of_before_go_by_what_is_known_of_their_machine(tmp_path, environment):
    runs = [trained(tmp_path, name, 0, 100, environment=environment) for name in ("one", "two")]
    assert names(runs) == (["one", "two"] if environment else [])


def test_copies_and_imported_weights_say_nothing(tmp_path):
    """A copy's files are all as old as the copying: no 100 seconds lie between its recipe and its last epoch."""
    one, copied = trained(tmp_path, "one", 0, 100), trained(tmp_path, "copied", 0, 100, begun=100)
    assert names([one, copied]) == []
    assert names([one, trained(tmp_path, "imported", 0, 100, seconds=0)]) == []
    (copied.path / "metrics.jsonl").unlink()
    assert names([one, copied]) == []


def test_a_mark_and_a_sentence_stand_where_it_is_so(tmp_path):
    trained(tmp_path, "one", 0, 100)
    trained(tmp_path, "two", 0, 100, recipe="digits-supcon")
    trained(tmp_path, "alone", 200, 300, recipe="digits-kd")
    (data,) = collect([tmp_path]).sets
    html = runs_table(data, None, shared=shared_machine(data.runs))
    assert html.count("†") == 3  # two runs and the sentence
    row = html[html.index(">alone") :]
    assert "†" not in row[: row.index("</tr>")]
    assert "†" not in runs_table(data, None)
