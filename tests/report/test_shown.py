"""Which runs each figure of a report shows."""

import subprocess
import sys

import pytest

from made import make, several
from reported import full
from supcrd.report import figures, shown
from supcrd.report.collect import collect
from supcrd.report.page import runs_table


@pytest.fixture
def found(tmp_path):
    """Figure -> the runs' names, configuration by configuration, for two students of two seeds and their teacher."""
    make(tmp_path, "teacher", 0, 0.99, recipe="digits-teacher")
    several(tmp_path, "crd", (0.9, 0.8), teacher="teacher")
    several(tmp_path, "supcon", (0.7, 0.6), recipe="digits-supcon", teacher="teacher")
    (data,) = collect([tmp_path]).sets

    def told(name, **options):
        return [[run.name for run in task.runs] for task in shown.tasks(data, "data", **options) if task.name == name]

    return told


def test_accuracies_of_classes_are_of_all_seeds_beside_the_teacher_or_the_baseline(found):
    crd, supcon = ["crd-seed0", "crd-seed1"], ["supcon-seed0", "supcon-seed1"]
    assert found("classes") == [[*crd, "teacher"], [*supcon, "teacher"], ["teacher"]]
    assert found("classes", baseline="supcon") == [[*crd, *supcon], supcon, ["teacher", *supcon]]


def test_other_figures_are_of_the_first_seed(found):
    assert found("reliability") == [["crd-seed0", "supcon-seed0", "teacher"]]
    assert found("similarity") == [["crd-seed0", "teacher"], ["supcon-seed0", "teacher"]]
    assert found("hypersphere") == [["crd-seed0"], ["supcon-seed0"], ["teacher"]]
    assert found("curves") == [["crd-seed0", "crd-seed1", "supcon-seed0", "supcon-seed1", "teacher"]]


def test_a_method_has_one_colour_in_the_table_and_in_all_figures(tmp_path):
    """Also where a figure has a part of the runs only, and another that would have had its colour is not in it."""
    terms = ["kd", "crd", "sp", "at"]
    colors = {term: f"#00000{at}" for at, term in enumerate(terms)}
    full(tmp_path, "crd", 0, 0.8)
    for term in ("kd", "sp", "at"):
        full(tmp_path, term, 0, 0.8, f"method.name={term}", recipe="digits-kd")
    (data,) = collect([tmp_path]).sets
    for task in shown.tasks(data, "data", colors=colors):
        assert task.colors == tuple(colors[run.name] for run in task.runs)
    (task,) = (
        task for task in shown.tasks(data, "data", colors=colors) if (task.name, task.called) == ("alignment", "sp")
    )
    assert "#000002" in figures.make([task])[task.anchor]
    assert 'style="background: #000002"' in runs_table(data, None, colors)


def test_no_figure_needs_torch(tmp_path):
    """It is half a gigabyte of each process, and seconds: figures read folders, and no model."""
    full(tmp_path / "runs", "teacher", 0, 0.9, recipe="digits-teacher")
    full(tmp_path / "runs", "student", 0, 0.8, teacher="teacher")
    script = (
        "import sys; from supcrd.report import report;"
        "text = report([sys.argv[1]], sys.argv[2]).read_text();"
        "print(text.count('<figure'), 'torch' in sys.modules)"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "runs"), str(tmp_path / "report.html")]
    told = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()
    assert int(told[0]) >= 12
    assert told[1] == "False"


def test_a_figure_of_another_process_is_the_same(tmp_path, monkeypatch):
    full(tmp_path / "runs", "one", 0, 0.8)
    (data,) = collect([tmp_path / "runs"]).sets
    wanted = [task for task in shown.tasks(data, "data") if task.name == "alignment"]
    here = figures.make(wanted)
    assert len(here) == 1
    monkeypatch.setattr(figures, "WORTH_WORKERS", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)  # where there is one, all is drawn here
    assert figures.make(wanted) == here


def test_seeds_that_cannot_be_read_are_told_and_the_others_drawn(tmp_path):
    runs = tmp_path / "runs"
    full(runs, "teacher", 0, 0.9, recipe="digits-teacher")
    for seed in (0, 1):
        full(runs, f"crd-seed{seed}", seed, 0.8, teacher="teacher")
    (data,) = collect([runs]).sets
    (task,) = (task for task in shown.tasks(data, "data") if task.name == "classes" and task.called == "crd")
    (runs / "crd-seed0" / "outputs.npz").unlink()
    assert "<figure" in figures.make([task])[task.anchor]
    assert "crd-seed0" in figures.make([task])[task.anchor]
    (runs / "crd-seed1" / "outputs.npz").unlink()
    assert "<figure" not in figures.make([task])[task.anchor]
