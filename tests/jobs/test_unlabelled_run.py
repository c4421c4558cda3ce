"""Runs with training images without labels: their teachers have none, and what cannot be is refused before any work."""

import json

import numpy as np
import pytest

from supcrd import recipe
from supcrd.jobs import run as pipeline
from typed import contents, images, invoke, refused, student, write_npz


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A finished run on 27 images with a label and 12 without, from a cache of the teacher's features."""
    folder = tmp_path_factory.mktemp("unlabelled")
    write_npz(folder / "tiny.npz")
    np.savez(folder / "more.npz", train_images=255 - images(12)[0])
    result = invoke("train", "digits-kd", *asked(folder), "teacher.cache=1", "--out", folder / "runs")
    assert result.exit_code == 0, result.output
    assert "27 training images with a label, 12 without one from npz:" in result.output
    return folder


def asked(folder, *changes):
    return student(folder, f"data.unlabelled=npz:{folder / 'more.npz'}", *changes)


def test_the_student_learns_from_them_and_its_teacher_does_not(base):
    runs = base / "runs"
    assert recipe.load(str(runs / "student/recipe.toml")).data.unlabelled == f"npz:{base / 'more.npz'}"
    assert recipe.load(str(runs / "teacher/recipe.toml")).data.unlabelled == "refuse"
    origins = json.loads((runs / "student/environment.json").read_text())["origins"]
    assert "set of unlabelled images" in origins
    (cache,) = (runs / "teacher/cache").iterdir()
    assert np.load(cache / "epoch-000.npy", mmap_mode="r").shape[0] == 27 + 12
    rows = [json.loads(line) for line in (runs / "student/metrics.jsonl").read_text().splitlines()]
    assert all(row["loss"] == pytest.approx(row["cross_entropy"] + row["kd"]) for row in rows)


def test_a_finished_run_stays_and_its_teacher_serves_a_student_without_them(base):
    before = contents(base / "runs")
    again = pipeline.run(recipe.load("digits-kd", [*asked(base), "teacher.cache=1"]), base / "runs")
    assert again.status == "already finished"
    assert contents(base / "runs") == before
    plain = pipeline.run(recipe.load("digits-kd", [*student(base), "name=plain", "train.epochs=1"]), base / "runs")
    assert plain.teacher == base / "runs/teacher"
    evaluated = invoke("evaluate", base / "runs/student")  # by the labelled data alone
    assert evaluated.exit_code == 0, evaluated.output


@pytest.mark.parametrize(
    ("method", "change", "words"),
    [
        ("digits-supcon", "train.epochs=1", "every term of the objective needs labels (supcon, probe)"),
        (
            "digits-kd",
            "data.unlabelled=skipp",
            "refuse, skip, or a source as in data.source is right; did you mean skip?",
        ),
        ("digits-kd", "train.batch_size=1", "0 of its images may have a label (27 of 39 training images have one)"),
        ("digits-kd", "data.unlabelled=npz:none.npz", "none.npz: no such npz file"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(base, tmp_path, method, change, words):
    changes = [part for part in asked(base, change) if "teacher" not in part or method == "digits-kd"]
    line = refused("train", method, *changes, "--out", tmp_path / "runs")
    assert words in line
    assert not (tmp_path / "runs").exists()


def test_other_images_are_another_run(base):
    started = ["name=begun", "teacher.cache=0"]
    pipeline.run(
        recipe.load("digits-kd", asked(base, *started, f"data.unlabelled=npz:{base / 'tiny.npz'}")), base / "runs"
    )
    (base / "runs/begun/evaluation.json").unlink()
    environment = base / "runs/begun/environment.json"
    written = json.loads(environment.read_text())
    written["origins"]["set of unlabelled images"] = "f" * 32
    environment.write_text(json.dumps(written))
    changes = asked(base, *started, f"data.unlabelled=npz:{base / 'tiny.npz'}")
    assert "was begun with another set of unlabelled images" in refused(
        "train", "digits-kd", *changes, "--out", base / "runs"
    )
