"""A teacher is tried before it teaches, and one that others train meanwhile is waited for."""

import itertools
import json
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from supcrd import recipe
from supcrd.analysis.compare import compare
from supcrd.errors import RecipeError, RunError
from supcrd.jobs import run as pipeline
from supcrd.jobs.network import new_student
from supcrd.jobs.taught import Teacher, Tried
from supcrd.jobs.trial import judge, reordered
from supcrd.models import Model
from supcrd.models.normalised import Normalised
from supcrd.models.weights import load_model, save_model
from supcrd.runs.folder import RunFolder
from supcrd.runs.opening import locked
from typed import NET, invoke, refused, student, teacher_from, write_npz


@pytest.mark.parametrize(
    ("tried", "own", "problem"),
    [
        (Tried(0.262, "validation", 1000, 0.1), 0.655, "26.2% on 1000 validation images.*far below the 65.5%"),
        (Tried(0.112, "validation", 143, 0.105), None, "always giving one class has 10.5%"),
        (Tried(0.5, "validation", 500, 0.1), 0.655, None),  # 15 points: a warning
        (Tried(0.112, "validation", 143, 0.105), 0.113, None),  # it never was any better: a warning
        (Tried(0.35, "validation", 19, 0.33), None, None),  # too few images to tell
        (Tried(0.98, "validation", 143, 0.1), 0.99, None),
        (
            Tried(0.02, "validation", 2000, 0.01, 0.72),
            None,
            r"2.0% on 2000 .*, and 72.0% with its outputs in another ord",
        ),
        (Tried(0.40, "validation", 2000, 0.01, 0.45), None, None),
        (Tried(0.13, "validation", 500, 0.1, 0.24), None, None),  # as an order that is fitted to noise does
    ],
)
def test_what_a_trial_refuses(tried, own, problem, caplog):
    if problem is None:
        judge(tried, own, "t", True)
        return
    with pytest.raises(RunError, match=problem + ".*likely causes.*teacher.check=false"):
        judge(tried, own, "t", True)
    with caplog.at_level(logging.WARNING, "supcrd"):
        judge(tried, own, "t", False)
    assert "likely causes" in caplog.text


def test_the_best_order_of_outputs_is_that_of_a_search_over_all():
    torch.manual_seed(0)
    logits, labels = torch.randn(60, 4), torch.arange(60) % 4
    orders = itertools.permutations(range(4))
    every = [float((torch.tensor(order)[logits.argmax(dim=1)] == labels).float().mean()) for order in orders]
    assert reordered(logits, labels) == pytest.approx(max(every))
    assert reordered(logits[:39], labels[:39]) is None


def test_a_teacher_with_another_normalisation_is_refused(base, tmp_path):
    """The weights of a good teacher under a card that says something else."""
    source = f"data.source=npz:{write_npz(tmp_path / 'set.npz', train=300, test=90)}"
    learn = [source, *NET, "train.epochs=12"]
    assert invoke("train", "digits-teacher", *learn, "name=good", "--out", tmp_path).exit_code == 0
    good = RunFolder(tmp_path / "good").evaluation["accuracy"]
    assert good > 0.9
    teaching = teacher_from(tmp_path, f'checkpoint = "{tmp_path}/good/model.safetensors"', "digits-kd")
    out = tmp_path / "runs"
    wrong = ["teacher.mean=[9.0,0.0,-9.0]", "teacher.std=[1.0,1.0,1.0]"]
    line = refused("train", teaching, source, *NET, *wrong, "name=a", "--out", out)
    assert "far below" in line
    assert f"{good:.1%}" in line
    assert not out.exists() or not any(out.iterdir())
    done = invoke("train", teaching, source, *NET, *wrong, "teacher.check=false", "name=a", "--json", "--out", out)
    assert json.loads(done.stdout)["evaluation"]["teacher_accuracy"] < 0.7
    done = invoke("train", teaching, source, *NET, "name=b", "--json", "--out", out)
    told = json.loads(done.stdout)
    assert told["evaluation"]["teacher_accuracy"] > 0.9
    assert told["evaluation"]["teacher_tried_on"] == "validation"
    # weights from elsewhere have a row of their own
    teacher = RunFolder.open(told["runs"]["teacher"])
    assert teacher.evaluation["accuracy"] == good
    rows = compare([out / "b", teacher.path]).rows
    assert [row.label for row in rows] == ["b", teacher.recipe.name]
    with pytest.raises(RecipeError, match="nothing to train"):
        pipeline.run(teacher.recipe, tmp_path / "again")


def test_random_weights_are_not_above_chance(base, tmp_path):
    """Random weights whose answer is always the same."""
    source = f"data.source=npz:{write_npz(tmp_path / 'set.npz', train=300)}"
    torch.manual_seed(0)
    model = Model(3, "convnet", image_size=8)
    torch.nn.init.zeros_(model.classifier.weight)
    torch.save(model.state_dict(), tmp_path / "random.pth")
    teaching = teacher_from(tmp_path, f'checkpoint = "{tmp_path}/random.pth"', "digits-kd")
    line = refused("train", teaching, source, *NET, "--out", tmp_path / "runs")
    assert "33.3% on 30 validation images" in line
    assert "always giving one class" in line
    assert not (tmp_path / "runs").exists() or not any((tmp_path / "runs").iterdir())


def test_a_folder_that_version_0_1_imported_is_measured(base, tmp_path):
    """It had weights and a card only; its head and weights stay."""
    path = teacher_from(tmp_path, f'checkpoint = "{base}/convnet.pth"')
    changes = [f"data.source=npz:{base}/tiny.npz", *NET, "teacher.check=false"]
    first = pipeline.run(recipe.load(path, [*changes, "name=a"]), tmp_path)
    weights = (first.teacher / "model.safetensors").read_bytes()
    model, card = load_model(first.teacher)
    for file in first.teacher.iterdir():
        file.unlink()
    save_model(first.teacher, model, card)
    second = pipeline.run(recipe.load(path, [*changes, "name=b"]), tmp_path)
    assert second.teacher == first.teacher
    assert (first.teacher / "model.safetensors").read_bytes() == weights
    assert RunFolder.open(first.teacher).finished


def test_a_method_that_reads_no_teacher_trains_none(base, tmp_path):
    plain = [*student(base), "name=s", "--out", tmp_path, "--json"]
    told = json.loads(invoke("train", "digits-cross-entropy", *plain).stdout)
    assert told["runs"]["teacher"] is None
    assert told["evaluation"]["teacher_agreement"] is None
    assert {path.name for path in tmp_path.iterdir()} == {"s"}
    told = json.loads(invoke("train", "digits-cross-entropy", *plain, "teacher.compare=true", "name=c").stdout)
    assert told["evaluation"]["teacher_agreement"] is not None


def test_a_student_does_not_begin_as_its_teacher_did(base):
    changes = [*student(base), "teacher.override.seed=0", "seed=0"]
    kd = recipe.load("digits-kd", changes)
    images = pipeline.load_data(kd)
    taught = new_student(kd, images).model
    teacher = new_student(recipe.teacher_recipe(kd), images).model
    weights = [dict(model.named_parameters())["encoder.conv.0.weight"] for model in (taught, teacher)]
    assert not torch.equal(*weights)
    # all students of a seed begin alike: their differences are the methods'
    crd = new_student(recipe.load("digits-crd", changes), images).model
    assert torch.equal(weights[0], crd.encoder.conv[0].weight)


def test_a_teacher_that_another_process_trains_is_waited_for(base, tmp_path, caplog):
    """Two commands of one job array, at once, under one teacher that is not there yet."""
    command = [
        sys.executable,
        "-m",
        "supcrd",
        "train",
        "digits-kd",
        *student(base, "train.epochs=1"),
        "--out",
        tmp_path,
    ]
    both = [
        subprocess.Popen([*map(str, command), f"name=s{n}"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert RunFolder(tmp_path / "s0").evaluation["teacher"] == RunFolder(tmp_path / "s1").evaluation["teacher"]
    # and with a lock that is certainly held
    holder = subprocess.Popen(
        [sys.executable, "-c",
         "import pathlib, sys, time\nfrom supcrd.runs.opening import locked\n"
         f"with locked(pathlib.Path({str(tmp_path / 'teacher2')!r})):\n"
         "    print('held', flush=True)\n    sys.stdin.readline()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout.readline() == "held\n"
    late = recipe.load("digits-kd", student(base, "train.epochs=1", "name=late", "teacher.override.name=teacher2"))
    with pytest.raises(RunError, match="another process works in"):
        pipeline.run(late, tmp_path, wait=False)
    with pytest.raises(RunError, match="another process works in"), locked(tmp_path / "teacher2"):
        pass
    began = time.monotonic()
    threading.Timer(1.0, lambda: (holder.stdin.write("\n"), holder.stdin.flush())).start()
    with caplog.at_level(logging.WARNING, "supcrd"):
        assert pipeline.run(late, tmp_path).status == "trained"
    assert "waiting for another process" in caplog.text
    assert time.monotonic() - began >= 0.9
    holder.wait()


def test_weights_that_were_exchanged_are_noticed(base, out, caplog, tmp_path):
    """A model put in the place of the one that the evaluation is of."""
    teacher = RunFolder.open(out / "teacher")
    assert not teacher.measured_others()
    model, card = load_model(teacher.path)
    with torch.no_grad():
        model.classifier.bias += 1
    save_model(teacher.path, model, card)
    assert teacher.measured_others()
    teaching = teacher_from(tmp_path, f'run = "{teacher.path}"', "digits-kd")
    with caplog.at_level(logging.WARNING, "supcrd"):
        changes = [f"data.source=npz:{base}/tiny.npz", *NET, "name=s", "teacher.check=false"]
        pipeline.run(recipe.load(teaching, changes), tmp_path)
    assert "is of other weights than those in the folder" in caplog.text
    assert "not those that its evaluation is of" in refused("reproduce", "layout", out, "--out", tmp_path / "published")


def test_a_student_larger_than_its_teacher_is_warned_of(caplog):
    def teacher(arch):
        whole = Normalised(Model(10, arch, in_channels=1, image_size=8), (0.5,), (0.5,))
        return Teacher(whole, Path("runs/teacher"), "", tuple(range(10)), Tried(0.9, "validation", 100, 0.1))

    wanted = recipe.load("digits-kd", ["name=pupil"])
    student = teacher("resnet14").whole()
    pipeline._note_sizes(wanted, student, {"teacher": teacher("resnet14"), "large": teacher("resnet20")})
    assert caplog.messages == []
    pipeline._note_sizes(wanted, student, {"teacher": teacher("resnet8")})
    (line,) = caplog.messages
    counts = [sum(p.numel() for part in (m.encoder, m.classifier) for p in part.parameters())
              for m in (student.model, teacher("resnet8").whole().model)]  # fmt: skip
    ours, theirs = (f"{count:,}" for count in counts)
    assert line == f"pupil: the student (resnet8, {ours} parameters) is larger than its teacher teacher ({theirs})"


def test_a_weight_that_still_rises_at_the_end_is_warned_of(caplog):
    """ReviewKD's published warm-up is 20 of 240 epochs."""
    wanted = ["name=pupil", "method.name=review", "method.weight=5.0", "augment.views=1"]
    for epochs in (20, 240):
        pipeline._note_rises(recipe.load("digits-kd", [*wanted, f"train.epochs={epochs}"]))
    assert caplog.messages == []
    pipeline._note_rises(recipe.load("digits-kd", [*wanted, "train.epochs=4"]))
    assert caplog.messages == [
        "pupil: the weight of review rises for 20 epochs and training has 4, so it only reaches 1 of 5"
    ]
