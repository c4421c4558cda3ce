"""Which weights are saved: checked by loading and measuring what lies in the folder."""

import json
import signal

import pytest
import torch

from supcrd.base.device import choose
from supcrd.errors import RecipeError
from supcrd.evaluation.evaluate import glance
from supcrd.jobs import run as pipeline
from supcrd.jobs.chosen import Saved, choose_weights, ends_early
from supcrd.models.normalised import Normalised
from supcrd.models.weights import load_model, load_state
from supcrd.recipe import load
from supcrd.recipe.settings import TrainSettings
from supcrd.runs.folder import RunFolder

CPU = choose("cpu", "float32")


def wanted(quick, *changes):
    return load(
        "digits-cross-entropy",
        [
            *quick,
            "classifier=trained",
            "data.validation=0.3",
            "train.precision=float32",
            "head.epochs=0",
            "name=x",
            *changes,
        ],
    )


def measured(folder, recipe):
    """The validation accuracy of the weights that lie in a folder."""
    model, card = load_model(folder)
    images = pipeline.load_data(recipe)
    return glance(Normalised(model, card.mean, card.std), images.validation, CPU)["accuracy"], card


@pytest.mark.parametrize("lr", [0.001, 0.05])
def test_the_average_is_saved_where_it_is_better(lr, quick, tmp_path):
    recipe = wanted(quick, "train.epochs=4", "train.ema=0.8", f"train.lr={lr}", "train.batch_size=8")
    result = pipeline.run(recipe, tmp_path)
    rows = RunFolder(result.folder).history
    last = rows[-1]
    better = last["validation_accuracy_ema"] > last["validation_accuracy"]
    evaluation = result.evaluation
    assert (evaluation["saved_weights"], evaluation["saved_epoch"]) == ("ema" if better else "last", 4)
    accuracy, card = measured(result.folder, recipe)
    assert accuracy == max(last["validation_accuracy_ema"], last["validation_accuracy"])
    assert evaluation["validation_accuracy"] == accuracy
    assert card.evaluation["saved_weights"] == evaluation["saved_weights"]
    state = load_state(result.folder / "checkpoint.pt")["task"]
    model, _ = load_model(result.folder)
    prefix, dot = ("average.", "-") if better else ("student.", ".")
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[f"{prefix}{name.replace('.', dot)}"]), name


class Fixed:
    """A task at its end."""

    def __init__(self, best=None):
        self.best, self.student, self.average, self.given = best or {}, self, self, []

    def load_state_dict(self, weights):
        self.given.append(weights)

    def give(self):
        self.given.append("average")


def row(epoch, accuracy, ema=None, **more):
    values = {} if accuracy is None else {"validation_accuracy": accuracy}
    return {"epoch": epoch, **values, **({} if ema is None else {"validation_accuracy_ema": ema}), **more}


@pytest.mark.parametrize(
    ("settings", "best", "rows", "saved", "given"),
    [
        ({}, {"epoch": 1, "accuracy": 0.9, "weights": "w"}, [row(1, 0.9), row(2, 0.8)], ("last", 2, 0.8), []),
        ({"ema": 0.9}, None, [row(1, 0.7, 0.71)], ("ema", 1, 0.71), ["average"]),
        ({"ema": 0.9}, None, [row(1, 0.7, 0.7)], ("last", 1, 0.7), []),
        ({"ema": 0.9}, None, [row(1, None)], ("last", 1, None), []),
        (
            {"patience": 1},
            {"epoch": 1, "accuracy": 0.9, "weights": "w"},
            [row(1, 0.9), row(2, 0.8)],
            ("best", 1, 0.9),
            ["w"],
        ),
        ({"patience": 1}, {"epoch": 2, "accuracy": 0.9, "weights": "w"}, [row(2, 0.9)], ("last", 2, 0.9), ["w"]),
        (
            {"patience": 1, "ema": 0.9},
            {"epoch": 1, "accuracy": 0.9, "weights": "w", "ema": True},
            [row(1, 0.8, 0.9), row(2, 0.85, 0.85)],
            ("ema", 1, 0.9),
            ["w"],
        ),
    ],
)
def test_the_choice(settings, best, rows, saved, given):
    task = Fixed(best)
    assert choose_weights(task, TrainSettings(epochs=9, **settings), rows, "x") == Saved(*saved)
    assert task.given == given


def test_when_training_stops():
    settings = TrainSettings(epochs=6, patience=2)
    accuracies = [0.5, 0.6, 0.6, 0.55, 0.7, 0.1]
    stops = [ends_early([row(i + 1, a) for i, a in enumerate(accuracies[:n])], settings) for n in range(1, 7)]
    assert stops == [False, False, False, True, False, False]
    rows = [row(1, 0.5, 0.2), row(2, 0.4, 0.6), row(3, 0.4, 0.5)]
    assert not ends_early(rows, settings)  # the average was better in epoch 2
    assert ends_early([row(1, 0.5)] * 6, settings) is False  # no epoch is left
    assert not ends_early([row(1, None)], TrainSettings(epochs=6))


def scripted(monkeypatch, accuracies):
    """Validation that says what it is told to."""
    from supcrd.jobs import student

    def validated(task, subject, split, place, epoch):
        task.remember(epoch, accuracies[epoch - 1])
        return {"validation_accuracy": accuracies[epoch - 1]}

    monkeypatch.setattr(student, "_validated", validated)


def test_early_stopping_saves_the_best_epoch_and_says_so(quick, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "supcrd")
    scripted(monkeypatch, [0.2, 0.7, 0.6, 0.7, 0.5, 0.9])
    recipe = wanted(quick, "train.epochs=6", "train.patience=2", "train.schedule=constant")
    result = pipeline.run(recipe, tmp_path)
    rows = RunFolder(result.folder).history
    assert [row.get("stopped_early") for row in rows] == [None, None, None, True]
    about = {key: result.evaluation[key] for key in ("epochs", "stopped_early", "saved_weights", "saved_epoch")}
    assert about == {"epochs": 4, "stopped_early": True, "saved_weights": "best", "saved_epoch": 2}
    assert result.evaluation["validation_accuracy"] == 0.7
    assert (result.evaluation["best_epoch"], result.evaluation["accuracy_at_best"]) == (
        2,
        result.evaluation["accuracy"],
    )
    assert "x: stopped after epoch 4 of 6: train.patience = 2" in caplog.text
    assert "x: the weights of epoch 2 are saved (70.00% on validation, the last weights 70.00%)" in caplog.text
    model, _ = load_model(result.folder)
    best = load_state(result.folder / "checkpoint.pt")["task"]["_extra_state"]["weights"]
    assert all(torch.equal(value, best[name]) for name, value in model.state_dict().items())
    # the same two epochs and no more give these weights
    short = pipeline.run(wanted(quick, "train.epochs=2", "train.schedule=constant", "name=y"), tmp_path)
    other, _ = load_model(short.folder)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_stopped_run_that_is_cut_ends_the_same(quick, tmp_path, monkeypatch):
    scripted(monkeypatch, [0.7, 0.6, 0.5, 0.9])
    recipe = wanted(quick, "train.epochs=4", "train.patience=2")
    whole = pipeline.run(recipe, tmp_path / "whole")
    real = RunFolder.write_metrics

    def interrupt(self, rows):
        real(self, rows)
        if len(rows) == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(RunFolder, "write_metrics", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(recipe, tmp_path / "cut")
    monkeypatch.setattr(RunFolder, "write_metrics", real)
    again = pipeline.run(recipe, tmp_path / "cut")
    assert again.status == "resumed"
    assert again.evaluation["epochs"] == whole.evaluation["epochs"] == 3
    assert (again.folder / "model.safetensors").read_bytes() == (whole.folder / "model.safetensors").read_bytes()


def test_patience_needs_a_validation_split(quick, tmp_path):
    with pytest.raises(RecipeError, match=r"train.patience = 3: npz:.* has no validation split to stop by; data.valid"):
        pipeline.run(wanted(quick, "train.patience=3", "data.validation=0.0"), tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "tiny.npz"]


def test_an_average_without_a_validation_split_is_not_saved(quick, tmp_path, caplog):
    caplog.set_level("INFO", "supcrd")
    result = pipeline.run(wanted(quick, "train.ema=0.9", "data.validation=0.0"), tmp_path)
    assert result.evaluation["saved_weights"] == "last"
    assert "train.ema: there is no validation split to compare by; the last weights are saved" in caplog.text
    assert "validation_accuracy_ema" not in json.loads((result.folder / "metrics.jsonl").read_text().splitlines()[0])


def test_an_average_changes_nothing_else(quick, tmp_path):
    """The weights that are trained, and what is measured of them, are those of a run without."""
    plain = pipeline.run(wanted(quick, "name=plain"), tmp_path)
    averaged = pipeline.run(wanted(quick, "train.ema=0.999", "name=averaged"), tmp_path)
    states = [load_state(result.folder / "checkpoint.pt")["task"] for result in (plain, averaged)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items() if name != "_extra_state")
    rows = [RunFolder(result.folder).history for result in (plain, averaged)]
    assert [row["loss"] for row in rows[0]] == [row["loss"] for row in rows[1]]
    assert [row["validation_accuracy"] for row in rows[0]] == [row["validation_accuracy"] for row in rows[1]]
