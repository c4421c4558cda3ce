"""`supcrd distil` from data to a model that predicts."""

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from supcrd import recipe as recipes
from supcrd.distil.budget import epochs_in
from supcrd.distil.plan import plan
from supcrd.errors import RunError
from supcrd.jobs.assess import load_model
from supcrd.training.budget import EpochTime
from typed import contents, invoke, refused

QUICK = ["train.batch_size=16", "train.lr=1e-3", "probe.epochs=2", "head.epochs=1", "augment.crop_padding=1"]


@pytest.fixture
def command(npz, tmp_path):
    words = ["--data", f"npz:{npz}", "--student", "resnet8", "--teacher", "auto", "--epochs", "2", "--seeds", "2"]
    return ["distil", *words, "--out", tmp_path / "runs", *QUICK]


def test_from_data_to_a_model(command, npz, tmp_path, no_figures, monkeypatch):
    monkeypatch.setattr("supcrd.distil.deployed.SECONDS", 0.01)
    shown = invoke(*command)
    assert shown.exit_code == 0, shown.output
    line = next(line for line in shown.stderr.splitlines() if line.startswith("--teacher auto: "))
    assert line.startswith(
        "--teacher auto: convnet, 0.36 million parameters (resnet8: 0.077 million); on this device (cpu)"
    )
    out = tmp_path / "runs"
    done = json.loads((out / "distil.json").read_text())
    text = " ".join(shown.stdout.split())
    assert " ".join(done["text"].split()) in text
    assert "the undistilled student" in done["text"]
    rows = {row["label"]: row for row in done["comparison"]["rows"]}
    assert list(rows) == ["undistilled", "dist"]
    assert [row["n"] for row in rows.values()] == [2, 2]
    # the best model is the one of highest validation accuracy, of the configuration of highest mean
    found = {path.parent.name: json.loads(path.read_text()) for path in out.glob("*/evaluation.json")}
    group = [numbers for name, numbers in found.items() if name.startswith(done["comparison"]["selected"])]
    best = found[done["run"].rpartition("/")[2]]
    assert best["validation_accuracy"] == max(numbers["validation_accuracy"] for numbers in group)
    assert load_model(out / "best").card.evaluation["accuracy"] == best["accuracy"]
    assert done["cost"]["parameters"] == best["parameters"]
    assert (out / "report.html").is_file()
    # the same command again trains nothing
    times = {path: path.stat().st_mtime_ns for path in out.glob("*/model.safetensors") if path.parent.name != "best"}
    again = json.loads(invoke(*command, "--json").stdout)
    assert again["comparison"] == done["comparison"]
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_what_stops_every_run_is_said_once_and_nothing_is_begun(command, tmp_path, no_figures, monkeypatch):
    monkeypatch.setattr("supcrd.distil.deployed.SECONDS", 0.01)
    out = tmp_path / "runs"
    gone = [*command[:2], "folder:nowhere", *command[3:]]
    said = refused(*gone)
    assert said.startswith("error: nowhere: no such folder")
    assert not out.exists()
    (out / "undistilled").mkdir(parents=True)
    recipe = plan(command[2], "auto", "resnet8", epochs=1, overrides=QUICK, auto="convnet").recipes[0]
    (out / "undistilled" / "recipe.toml").write_text(recipes.to_toml(recipe))
    said = refused(*command)
    assert "undistilled holds a run of another recipe: train.epochs was 1, is 2" in said
    assert said.endswith("; give another --out")
    by_time = [word if word != "--epochs" else "--minutes" for word in command]
    said = refused(*by_time, "data.limit=20")
    assert "undistilled holds a run of another recipe: data.limit was None, is 20" in said
    assert [path.name for path in out.iterdir()] == ["undistilled"]


def test_minutes_give_all_students_the_same_epochs(npz, tmp_path, no_figures, monkeypatch):
    monkeypatch.setattr("supcrd.distil.deployed.SECONDS", 0.01)
    monkeypatch.setattr("supcrd.jobs.budget.time_epoch", lambda *_, **__: EpochTime(4.0, 0.0))  # so 12 s are 2 epochs
    out = tmp_path / "runs"
    words = ["distil", "--data", f"npz:{npz}", "--student", "resnet8", "--methods", "kd", "--out", out, *QUICK]
    assert invoke(*words, "--minutes", "0.2").exit_code == 0
    epochs = json.loads((out / "minutes.json").read_text())["epochs"]
    assert epochs == 2
    found = {path.parent.name: json.loads(path.read_text()) for path in out.glob("*/evaluation.json")}
    assert {name: numbers["epochs"] for name, numbers in found.items() if name != "teacher-convnet"} == {
        "undistilled": epochs, "kd": epochs,
    }  # fmt: skip
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == [
        "best",
        "kd",
        "teacher-convnet",
        "undistilled",
    ]
    monkeypatch.setattr("supcrd.jobs.budget.time_epoch", None)
    assert invoke(*words, "--minutes", "0.2").exit_code == 0  # nothing is timed again
    assert "--minutes 0.2, not 0.3" in refused(*words, "--minutes", "0.3")


def test_images_without_labels_are_for_distilled_students(npz, tmp_path, no_figures, monkeypatch):
    """The undistilled student has as many steps, as near as whole epochs allow."""
    monkeypatch.setattr("supcrd.distil.deployed.SECONDS", 0.01)
    arrays = np.load(npz)
    count, more = len(arrays["train_images"]) * 9 // 10, 40  # a tenth is held out
    further = np.random.default_rng(1).integers(0, 256, (more, *arrays["train_images"].shape[1:]), dtype=np.uint8)
    np.savez(tmp_path / "more.npz", train_images=further, train_labels=np.zeros(more, dtype=np.int64))
    out = tmp_path / "runs"
    words = ["distil", "--data", f"npz:{npz}", "--student", "resnet8", "--methods", "kd", "--epochs", "2", "--out", out]
    shown = invoke(*words, f"data.unlabelled=npz:{tmp_path / 'more.npz'}", *QUICK)
    assert shown.exit_code == 0, shown.output
    epochs = round(2 * math.ceil((count + more) / 16) / math.ceil(count / 16))
    assert epochs > 2
    ended = {path.parent.name: json.loads(path.read_text())["epochs"] for path in out.glob("*/evaluation.json")}
    assert ended == {"undistilled": epochs, "kd": 2, "teacher-convnet": 2}
    origins = {name: json.loads((out / name / "environment.json").read_text())["origins"] for name in ended}
    assert [name for name in ended if "set of unlabelled images" in origins[name]] == ["kd"]
    assert "as many steps" in shown.stderr


def test_the_undistilled_student_is_compared_at_its_best_rate(npz, tmp_path, no_figures, monkeypatch):
    monkeypatch.setattr("supcrd.distil.deployed.SECONDS", 0.01)
    out = tmp_path / "runs"
    quick = [change for change in QUICK if not change.startswith("train.lr")]
    words = ["distil", "--data", f"npz:{npz}", "--student", "resnet8", "--methods", "kd", "--epochs", "1", "--out", out]
    shown = invoke(*words, "--lr", "1e-9,3e-3", *quick, "classifier=trained")
    assert shown.exit_code == 0, shown.output
    done = json.loads((out / "distil.json").read_text())
    rows = {row["label"]: row["values"]["validation_accuracy"]["mean"] for row in done["comparison"]["rows"]}
    assert set(rows) == {f"{kind}-lr-{rate}" for kind in ("undistilled", "kd") for rate in ("1e-9", "3e-3")}
    plain = {label: accuracy for label, accuracy in rows.items() if label.startswith("undistilled")}
    assert plain[done["comparison"]["baseline"]] == max(plain.values())
    assert rows[done["comparison"]["selected"]] == max(rows.values())


def test_no_tracker_is_shown_the_run_that_is_timed(npz, tmp_path, monkeypatch):
    monkeypatch.setattr("supcrd.jobs.budget.time_epoch", lambda *_, **__: EpochTime(4.0, 0.0))
    monkeypatch.setattr("supcrd.tracking.tracker._module", None)
    file = tmp_path / "mine.toml"
    file.write_text(f'[data]\nsource = "npz:{npz}"\n[model]\narch = "resnet8"\n[method]\nname = "cross_entropy"\n')
    changes = ["train.minutes=0.2", "train.track=mlflow", "train.tensorboard=true", *QUICK]
    assert epochs_in(recipes.load(str(file), changes), tmp_path / "runs") == 2
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["minutes.json"]


def test_too_few_minutes_say_what_an_epoch_takes(npz, tmp_path, monkeypatch):
    out, words = tmp_path / "runs", ["--data", f"npz:{npz}", "--student", "resnet8", *QUICK]
    assert "one epoch takes about" in refused("distil", *words, "--minutes", "1e-9", "--out", out)
    assert not list(out.rglob("*.json"))


def test_what_would_stop_a_later_student_is_said_before_the_first(npz, tmp_path, monkeypatch):
    """The undistilled student could be trained, in all of these; nothing is."""
    monkeypatch.setattr("supcrd.distil.run.run_all", None)
    out, teacher = tmp_path / "runs", tmp_path / "mine.toml"
    text = f'[data]\nsource = "npz:{npz}"\n[model]\narch = "convnet"\n[method]\nname = "cross_entropy"\n'
    teacher.write_text(f"{text}[train]\nepochs = 1\n[head]\nepochs = 0\n")
    words = ["distil", "--data", f"npz:{npz}", "--student", "resnet8", "--epochs", "1", "--out", out, *QUICK]
    assert refused(*words, "--teacher", teacher, "--methods", "joint").startswith(
        "error: joint cannot run: the teacher mine has no trained projection head, which joint reads; "
        "teacher.override.head.epochs=10 "
    )
    other = ["teacher.override.head.epochs=1", "model.projector=[32,16]"]
    line = refused(*words, "--teacher", teacher, *other, "--methods", "kd,joint")
    assert line == (
        "error: joint cannot run: objective.lw_supcrd: model.projector ends in 16 dimensions, the teacher's in 64; "
        "they are compared and must be equal"
    )
    assert not out.exists()


def test_a_run_without_a_trained_head_gets_one(npz, tmp_path, no_figures, monkeypatch):
    monkeypatch.setattr("supcrd.distil.deployed.SECONDS", 0.01)
    bare, out = tmp_path / "bare", tmp_path / "runs"
    changes = [f"data.source=npz:{npz}", "model.arch=convnet", "train.epochs=1", *QUICK, "head.epochs=0", "name=bare"]
    assert invoke("train", "digits-cross-entropy", *changes, "--out", tmp_path).exit_code == 0
    before = contents(bare)
    words = ["distil", "--data", f"npz:{npz}", "--student", "resnet8", "--epochs", "1", "--teacher", bare, *QUICK]
    words += ["--methods", "joint"]
    assert "teacher.head.epochs=10 trains one" in refused(*words, "--out", out, "teacher.head.epochs=0")
    assert not out.exists()
    shown = invoke(*words, "--out", out, "teacher.head.epochs=1")
    assert shown.exit_code == 0, shown.output
    assert shown.stderr.splitlines()[0] == (
        f"--teacher {bare}: its projection head is not trained; a copy of it in the folder of --out gets one, "
        "fitted on its frozen features"
    )
    (copy,) = out.glob("teacher-bare-*")
    assert load_model(copy).card.projection_trained
    own, copied = (load_file(folder / "model.safetensors") for folder in (bare, copy))
    changed = {name.partition(".")[0] for name, tensor in own.items() if not torch.equal(tensor, copied[name])}
    assert changed == {"projector"}
    for name in ("undistilled", "joint"):
        assert json.loads((out / name / "evaluation.json").read_text())["teacher"] == copy.name
    assert contents(bare) == before
    of_logits = plan(f"npz:{npz}", str(bare), "resnet8", methods=["kd", "dist"]).recipes[0]
    assert of_logits.teacher.run == str(bare)  # nothing reads its projections


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ([], ["undistilled", "joint"]),
        (["--methods", "dist"], ["undistilled", "dist"]),
        (["augment.cutmix=1.0"], ["undistilled", "kd"]),  # joint's contrastive term does not read mixed images
    ],
)
def test_two_classes_are_distilled_by_joint_unless_asked(npz, tmp_path, monkeypatch, asked, wanted):
    """DIST's correlations within an image of two classes have no gradient (tests of its loss)."""
    begun = []

    def stopped(planned, *_, **__):
        begun.extend(recipe.name for recipe in planned)
        raise RunError("enough")

    with np.load(npz) as file:
        rows = {split: file[f"{split}_labels"] < 2 for split in ("train", "test")}
        np.savez(tmp_path / "two.npz", **{name: file[name][rows[name.partition("_")[0]]] for name in file})
    monkeypatch.setattr("supcrd.distil.run.run_all", stopped)
    words = ["--data", f"npz:{tmp_path / 'two.npz'}", "--student", "resnet8", "--epochs", "1", *QUICK, *asked]
    shown = invoke("distil", *words, "--out", tmp_path / "runs")
    assert (shown.exit_code, begun) == (2, wanted)
    assert (f"two classes: by {wanted[1]}" in shown.stderr) is ("--methods" not in asked)
