"""Ranking teachers: folders made by hand, numbers derived by hand."""

import json
import math

import numpy as np
import pytest

from made import make
from supcrd.runs.folder import RunFolder
from typed import invoke, refused


def teacher(out, name, accuracy, top, *changes, **evaluation):
    """A run of cross-entropy whose logits are `top` for one class and 0 for the two others."""
    folder = make(out, name, 0, accuracy, *changes, recipe="digits-cross-entropy", ece=0.02, **evaluation)
    logits = np.zeros((4, 3), dtype=np.float32)
    logits[:, 1] = top
    RunFolder(folder).write_outputs(labels=np.ones(4, dtype=np.int64), logits=logits, projections=logits)
    return folder


def test_ranked_by_accuracy_and_by_softness(tmp_path):
    teacher(tmp_path, "sure", 0.9, 50.0, "method.label_smoothing=0.1", parameters=1200)
    teacher(tmp_path, "soft", 0.8, 1.0)
    teacher(tmp_path, "middle", 0.9, 3.0)
    found = json.loads(invoke("teachers", tmp_path, "--json").stdout)
    assert (found["split"], found["images"], found["classes"]) == ("test", 400, 3)
    rows = {row["run"].rpartition("/")[2]: row for row in found["rows"]}
    assert list(rows) == ["middle", "sure", "soft"]  # of the two most accurate the softer one comes first
    assert [row["accuracy_rank"] for row in rows.values()] == [1, 1, 3]
    assert [row["softness_rank"] for row in rows.values()] == [2, 3, 1]
    p = math.e / (math.e + 2)
    by_hand = -p * math.log(p) - (1 - p) * math.log((1 - p) / 2)
    assert rows["soft"]["entropy"] == pytest.approx(by_hand)
    assert rows["soft"]["ratio"] == pytest.approx(-0.5)
    assert rows["soft"]["spread"] == pytest.approx(math.sqrt(2) / 3)
    assert rows["sure"]["parameters"] == 1200
    assert [note.partition(",")[0] for note in rows["sure"]["notes"]] == [
        "trained with label smoothing",
        "nearly one-hot: teaches little beyond the labels at temperature 1",
    ]
    assert rows["middle"]["notes"] == []


def test_the_table_says_what_the_columns_mean(tmp_path):
    teacher(tmp_path, "sure", 0.9, 50.0)
    shown = invoke("teachers", tmp_path / "sure").stdout
    assert "sure !" in shown
    assert "90.00" in shown
    assert "Cho & Hariharan 2019" in shown


def test_teachers_of_runs_are_taken_too(tmp_path):
    teacher(tmp_path, "old", 0.9, 5.0)
    student = teacher(tmp_path, "student", 0.8, 2.0, teacher="old")
    rows = json.loads(invoke("teachers", student, "--json").stdout)["rows"]
    assert [row["run"].rpartition("/")[2] for row in rows] == ["old", "student"]


def test_refused_in_one_line(tmp_path):
    assert "is not there" in refused("teachers", tmp_path / "nowhere")
    bare = make(tmp_path, "bare", 0, 0.5)
    assert str(bare) in refused("teachers", bare)  # without outputs
    broken = teacher(tmp_path, "broken", 0.5, math.nan)
    assert "no finite logits" in refused("teachers", broken)
    other = teacher(tmp_path, "other", 0.5, 1.0, data_fingerprint="f1")
    assert "cannot be compared" in refused("teachers", teacher(tmp_path, "one", 0.5, 1.0), other)
