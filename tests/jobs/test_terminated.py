"""SIGTERM, as a scheduler sends it, and what a run that is cut still knows: all state, its best epoch included."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_resume import assert_same, contents

from supcrd import recipe as recipes
from supcrd.jobs import run as pipeline
from supcrd.models import Model
from supcrd.models.weights import load_model, load_state
from supcrd.runs.folder import RunFolder
from supcrd.training import task as tasks
from supcrd.training.task import Distillation
from typed import NET, invoke, student, write_npz

SAID = "terminated; training so far is saved, the same command resumes it"
LONG = ["train.epochs=4", "train.batch_size=2", "train.lr=0.003", "name=long"]  # 72 steps an epoch


def tinted(path, train=60, **changed):
    """Images whose class is the strongest channel of a random tint: half learnt, each epoch has another accuracy."""
    random, arrays = np.random.default_rng(5), {}
    for split, count in (("train", train), ("test", 90)):
        tint = random.integers(0, 120, (count, 1, 1, 3), np.uint8)
        arrays[f"{split}_images"] = random.integers(0, 60, (count, 8, 8, 3), np.uint8) + tint
        arrays[f"{split}_labels"] = tint.argmax(axis=3).ravel()
    write_npz(path, **(arrays | changed))
    return f"data.source=npz:{path}"


def test_a_process_that_gets_sigterm_keeps_its_state_and_goes_on(tmp_path):
    words = ["train", "digits-teacher", tinted(tmp_path / "set.npz", 160), *NET, *LONG, "--json", "--out"]
    command = [sys.executable, "-m", "supcrd", *words, str(tmp_path / "cut")]
    checkpoint = tmp_path / "cut" / "long" / "checkpoint.pt"
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 60
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.005)
    time.sleep(0.03)  # into an epoch
    process.send_signal(signal.SIGTERM)
    printed, told = process.communicate(timeout=60)
    assert (process.returncode, printed) == (143, "")
    progress, last = told.splitlines()[:-1], told.splitlines()[-1]
    assert last == SAID
    # the last where reading them took a second
    known = ("long: training on", "long train: epoch", "decoded images kept in")
    assert [line for line in progress if not line.startswith(known)] == []

    state = load_state(checkpoint)
    assert 0 < state["step"] < 72  # within an epoch
    assert len(state["history"]) == state["epoch"] >= 1
    assert not (checkpoint.parent / "evaluation.json").exists()
    assert [path.name for path in checkpoint.parent.iterdir() if path.name.startswith(".")] == []

    again = invoke(*words, tmp_path / "cut")
    assert json.loads(again.stdout)["status"] == "resumed"
    assert json.loads(invoke(*words, tmp_path / "whole").stdout)["status"] == "trained"
    assert_same(contents(checkpoint.parent), contents(tmp_path / "whole" / "long"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted student with a bank and an added kd, its teacher, and the words that train both."""
    folder = tmp_path_factory.mktemp("whole")
    write_npz(folder / "tiny.npz")
    words = ["train", "digits-lw-supcrd", *student(folder, "method.bank=20", "method.kd_weight=0.5")]
    assert invoke(*words, "--out", folder / "runs").exit_code == 0
    return words, folder / "runs"


# Which step of which stage gets the signal, who is left in the middle and where: two steps an epoch.
CUTS = {
    "teacher, within an epoch": ("Distillation", 3, "teacher/checkpoint.pt", (1, 1)),
    "teacher, the last step of an epoch": ("Distillation", 2, "teacher/checkpoint.pt", (0, 2)),
    "the teacher's head": ("HeadFit", 1, "teacher/head.pt", (0, 1)),
    "the teacher's probe": ("ProbeFit", 1, "teacher/checkpoint.pt", (2, 0)),
    "student, the first step": ("Distillation", 5, "student/checkpoint.pt", (0, 1)),
    "student, within its last epoch": ("Distillation", 7, "student/checkpoint.pt", (1, 1)),
}


@pytest.mark.parametrize("cut", CUTS)
def test_sigterm_in_any_stage_is_as_if_it_had_not_come(cut, whole, tmp_path, monkeypatch):
    words, runs = whole
    stage, number, file, place = CUTS[cut]
    kind, seen = getattr(tasks, stage), []
    real = kind.forward

    def forward(self, batch):
        seen.append(batch)
        if len(seen) == number:
            signal.raise_signal(signal.SIGTERM)
        return real(self, batch)

    monkeypatch.setattr(kind, "forward", forward)
    before = signal.getsignal(signal.SIGTERM)
    result = invoke(*words, "--out", tmp_path)
    assert (result.exit_code, result.stdout, result.stderr.splitlines()[-1]) == (143, "", SAID)
    assert len(seen) == number  # it stopped after the step under way
    assert signal.getsignal(signal.SIGTERM) is before
    state = load_state(tmp_path / file)
    assert (state["epoch"], state["step"]) == place
    who = file.partition("/")[0]
    assert not (tmp_path / who / "evaluation.json").exists()
    assert (tmp_path / "student").exists() == (who == "student")

    monkeypatch.setattr(kind, "forward", real)
    assert invoke(*words, "--out", tmp_path).exit_code == 0
    for name in ("teacher", "student"):
        assert_same(contents(tmp_path / name), contents(runs / name))


# Validation-selected accuracy.
VALIDATION = [0.2, 0.7, 0.7, 0.5]  # told in place of what is measured: the best epoch, and a tie, are then known


@pytest.fixture
def validation(monkeypatch):
    """Validation accuracies by epoch, as `Distillation` is told them."""
    real, told = Distillation.remember, list(VALIDATION)
    monkeypatch.setattr(Distillation, "remember", lambda self, epoch, measured: real(self, epoch, told[epoch - 1]))
    return told


def interrupt_after(monkeypatch, epochs):
    real = RunFolder.write_metrics

    def write_metrics(self, rows):
        real(self, rows)
        if len(rows) == epochs:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(RunFolder, "write_metrics", write_metrics)
    return lambda: monkeypatch.setattr(RunFolder, "write_metrics", real)


def own_accuracy(weights, card, path):
    """Of a network with these weights on the test images, without the package's evaluation."""
    model = Model(3, "convnet", image_size=8).eval()
    model.load_state_dict(weights)
    with np.load(path) as arrays:
        images, labels = torch.from_numpy(arrays["test_images"]), torch.from_numpy(arrays["test_labels"])
    mean, std = torch.tensor(card.mean), torch.tensor(card.std)
    with torch.no_grad():
        logits = model(((images / 255 - mean) / std).permute(0, 3, 1, 2)).logits
    return sum(row.argmax().item() == label for row, label in zip(logits, labels.tolist(), strict=True)) / len(labels)


@pytest.mark.parametrize("method", ["teacher", "supcon"])  # cross-entropy and a probe beside a contrastive loss
def test_accuracy_at_best_is_that_of_a_run_that_stopped_there(method, tmp_path, validation, monkeypatch):
    source = tinted(tmp_path / "set.npz")
    changes = [source, *NET, "train.epochs=4", "train.lr=0.003", "train.precision=float32", "name=run"]
    changes += ["classifier=trained"]
    recipe = recipes.load(f"digits-{method}", changes)
    if recipe.teacher is not None:
        recipe = recipe.model_copy(update={"teacher": None})
    whole = pipeline.run(recipe, tmp_path / "whole")

    kept = {}
    for epochs in (2, 3):  # stopped at the best epoch, and after it
        restore = interrupt_after(monkeypatch, epochs)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(recipe, tmp_path / f"cut{epochs}")
        restore()
        kept[epochs] = load_state(tmp_path / f"cut{epochs}" / "run" / "checkpoint.pt")["task"]
    weights = {
        epochs: {key.removeprefix("student."): value for key, value in task.items() if key.startswith("student.")}
        for epochs, task in kept.items()
    }
    best = kept[3]["_extra_state"]  # the tie of the third epoch has not taken its place
    assert (best["epoch"], best["accuracy"]) == (2, 0.7)
    assert_same(dict(best["weights"]), weights[2])

    model, card = load_model(whole.folder)
    evaluation, path = whole.evaluation, tmp_path / "set.npz"
    assert evaluation["best_epoch"] == 2
    assert evaluation["accuracy_at_best"] == pytest.approx(own_accuracy(weights[2], card, path))
    assert evaluation["accuracy"] == pytest.approx(own_accuracy(model.state_dict(), card, path))
    assert evaluation["accuracy_at_best"] not in (evaluation["accuracy"], own_accuracy(weights[3], card, path))

    rows = [json.loads(line) for line in (whole.folder / "metrics.jsonl").open()]
    assert evaluation["train_accuracy"] == rows[-1]["train_accuracy"]
    assert evaluation["validation_accuracy"] == rows[-1]["validation_accuracy"]

    pipeline.run(recipe, tmp_path / "cut3")
    assert_same(contents(tmp_path / "cut3" / "run"), contents(whole.folder))


def test_the_last_epoch_can_be_the_best(tmp_path, validation):
    recipe = recipes.load("digits-teacher", [tinted(tmp_path / "set.npz"), *NET, "name=run"])
    evaluation = pipeline.run(recipe, tmp_path / "runs").evaluation
    assert (evaluation["best_epoch"], evaluation["accuracy_at_best"]) == (2, evaluation["trained_accuracy"])


@pytest.mark.parametrize(
    ("changes", "arrays", "split"),
    [
        (["data.validation=0.0"], {}, "test"),
        ([], {"test_images": None, "test_labels": None}, "validation"),  # selected on what is measured: no news
    ],
)
def test_nothing_is_selected_without_a_split_apart(changes, arrays, split, tmp_path):
    recipe = recipes.load("digits-teacher", [tinted(tmp_path / "set.npz", **arrays), *NET, *changes, "name=run"])
    folder = pipeline.run(recipe, tmp_path / "runs").folder
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert evaluation["split"] == split
    assert evaluation["best_epoch"] is evaluation["accuracy_at_best"] is None
    assert 0 <= evaluation["train_accuracy"] <= 1


def test_what_is_remembered_is_the_first_of_the_highest():
    weight = torch.nn.Parameter(torch.zeros(1))
    network = torch.nn.Module()
    network.weight = weight
    task = SimpleNamespace(_best={}, student=network)
    for epoch, accuracy in enumerate([0.0, 0.5, 0.25, 0.5, 0.75, 0.75, 0.0], 1):
        weight.data.fill_(epoch)
        Distillation.remember(task, epoch, accuracy)
        assert task._best["weights"]["weight"].item() == task._best["epoch"] == [1, 2, 2, 2, 5, 5, 5][epoch - 1]
