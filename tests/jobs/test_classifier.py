"""The stage after training, in whole runs: what is saved, what is said of it, and what stays as it was."""

import json
import logging
import shutil

import numpy as np
import pytest
import torch

from supcrd import recipe
from supcrd.errors import RecipeError, RunError
from supcrd.jobs import run as pipeline
from supcrd.jobs.assess import evaluate_file
from supcrd.metrics import expected_calibration_error, fit_temperature
from supcrd.models.weights import load_model, load_state
from supcrd.runs.folder import RunFolder
from typed import NET, TEACHER, invoke, refused, write_npz

TABLE = {"asked", "saved", "why", "temperature"}


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A folder with a tiny set and a finished teacher."""
    folder = tmp_path_factory.mktemp("taught")
    write_npz(folder / "tiny.npz", train=60)
    pipeline.run(recipe.load("digits-teacher", [*data(folder), *NET, "name=teacher"]), folder / "runs")
    return folder


def data(folder):
    return [f"data.source=npz:{folder / 'tiny.npz'}", "data.validation=0.2"]


def student(taught, *changes):
    return recipe.load("digits-lw-supcrd", [*data(taught), *NET, *TEACHER, "name=student", *changes])


def trained_weights(folder):
    """Of the checkpoint, which the stage does not touch."""
    task = load_state(folder / "checkpoint.pt")["task"]
    return {key.removeprefix("student."): value for key, value in task.items() if key.startswith("student.")}


def test_digits_are_as_good_as_their_probe(tmp_path):
    """Real images, LW-SupCRD: the classifier trained along is far behind after three epochs, the saved one is not."""
    changes = [
        "train.epochs=3",
        "data.limit=400",
        "teacher.override.train.epochs=3",
        "teacher.override.model.arch=resnet8",
    ]
    result = pipeline.run(recipe.load("digits-lw-supcrd", [*changes, "head.epochs=1"]), tmp_path)
    e, folder = result.evaluation, result.folder
    assert e["accuracy"] == e["refit_accuracy"] > e["probe_accuracy"] - 0.02
    assert e["accuracy"] > e["trained_accuracy"] + 0.1
    assert e["validation_accuracy"] == e["classifier"]["validation"]["refit"]["accuracy"]
    assert (e["classifier"]["asked"], e["classifier"]["saved"]) == ("best", "refit")
    assert e["warnings"] == []
    # the file alone has what was measured
    card = load_model(folder)[1]
    assert (card.classifier, card.temperature) == ("refit", e["classifier"]["temperature"])
    both = ("accuracy", "trained_accuracy", "refit_accuracy", "ece", "ece_before")
    assert {key: card.evaluation[key] for key in both} == {key: e[key] for key in both}
    again = evaluate_file(folder, None, device="cpu")
    assert {key: again[key] for key in ("accuracy", "ece", "nll", "probe_accuracy")} == pytest.approx(
        {key: e[key] for key in ("accuracy", "ece", "nll", "probe_accuracy")}, rel=1e-6
    )
    # only the classifier is another than at the end of training
    weights = trained_weights(folder)
    for key, tensor in load_model(folder)[0].state_dict().items():
        assert torch.equal(tensor, weights[key]) != key.startswith("classifier."), key


def test_the_trained_one_is_untouched(taught, tmp_path):
    shutil.copytree(taught / "runs", tmp_path / "runs")
    result = pipeline.run(student(taught, "classifier=trained"), tmp_path / "runs")
    weights = trained_weights(result.folder)
    assert all(torch.equal(tensor, weights[key]) for key, tensor in load_model(result.folder)[0].state_dict().items())
    e = result.evaluation
    assert e["classifier"].keys() == TABLE
    assert e["classifier"]["temperature"] is e["ece_before"] is e["refit_accuracy"] is None
    assert e["trained_accuracy"] == e["accuracy"]
    card = load_model(result.folder)[1]
    assert (card.classifier, card.temperature) == ("trained", None)
    other = pipeline.run(student(taught, "name=other", "classifier=refit"), tmp_path / "runs").evaluation
    assert other["trained_accuracy"] == e["accuracy"]  # the published protocol's number stands beside the saved one
    assert other["classifier"]["trained"]["ece_before"] == pytest.approx(e["ece"], rel=1e-6)
    assert other["accuracy_at_best"] == e["accuracy_at_best"]
    assert other["probe_accuracy"] == e["probe_accuracy"]


def test_the_temperature_of_a_trained_one_that_wins(taught, tmp_path, monkeypatch):
    """The classifier that was trained, divided by the temperature of validation; its answers are those of before."""
    monkeypatch.setattr("supcrd.jobs.classifier.refit", lambda *_: None)
    shutil.copytree(taught / "runs", tmp_path / "runs")
    result = pipeline.run(student(taught), tmp_path / "runs")
    table, weights = result.evaluation["classifier"], trained_weights(result.folder)
    assert table["saved"] == "trained"
    state = load_model(result.folder)[0].state_dict()
    for key in ("classifier.weight", "classifier.bias"):
        torch.testing.assert_close(state[key] * table["temperature"], weights[key])
    with np.load(result.folder / "outputs.npz") as arrays:
        logits, labels = (torch.from_numpy(arrays[name]) for name in ("logits", "labels"))
    assert result.evaluation["ece"] == pytest.approx(expected_calibration_error(logits, labels))
    plain = logits.double() * table["temperature"]
    assert result.evaluation["ece_before"] == pytest.approx(expected_calibration_error(plain, labels), abs=1e-5)
    images = pipeline.load_data(student(taught)).validation
    model, card = load_model(result.folder)
    mean, std = (torch.tensor(values)[:, None, None] for values in (card.mean, card.std))
    with torch.inference_mode():
        calibrated = model((images.images.permute(0, 3, 1, 2) / 255 - mean) / std).logits
    assert fit_temperature(calibrated, images.labels) == pytest.approx(1.0, rel=1e-3)


def test_without_validation_it_stays_and_is_said(taught, tmp_path, caplog):
    caplog.set_level(logging.INFO, "supcrd")
    changes = ["data.validation=0.0", "teacher.override.name=unheld"]
    result = pipeline.run(student(taught, *changes), tmp_path)
    table = result.evaluation["classifier"]
    assert (table["asked"], table["saved"], table["temperature"]) == ("best", "trained", None)
    assert "no validation images to choose by" in table["why"]
    assert f"student: the classifier saved is trained: {table['why']}" in caplog.messages
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(
        RecipeError, match=r"^classifier = 'refit': .*tiny.npz has no validation images, by which"
    ) as told:
        pipeline.run(student(taught, *changes, "name=other", "classifier=refit"), tmp_path)
    assert "\n" not in str(told.value)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before  # before any work


def test_other_values_are_refused():
    line = refused("train", "digits-crd", "classifier=refitted")
    assert "classifier = 'refitted'; valid: trained, refit, best" in line


def test_a_run_of_before_stays_and_goes_on_as_it_began(taught, tmp_path, monkeypatch, caplog):
    """Its recipe lacks the key: finished, it stays finished; unfinished, it keeps the trained classifier."""
    caplog.set_level(logging.INFO, "supcrd")
    shutil.copytree(taught / "runs", tmp_path / "runs")
    done = pipeline.run(student(taught, "classifier=trained"), tmp_path / "runs")
    for run in (done.folder, done.teacher):
        lines = (run / "recipe.toml").read_text().splitlines(keepends=True)
        (run / "recipe.toml").write_text("".join(line for line in lines if not line.startswith("classifier =")))
    old = (done.folder / "evaluation.json").read_bytes()
    assert RunFolder(done.folder).recipe.classifier == "trained"

    again = pipeline.run(student(taught), tmp_path / "runs")  # the default, best
    assert (again.status, again.evaluation) == ("already finished", done.evaluation)
    assert (done.folder / "evaluation.json").read_bytes() == old
    assert any("classifier stays trained, not best; --force starts it over" in line for line in caplog.messages)
    with pytest.raises(RunError, match="classifier was 'trained', is 'refit'"):
        pipeline.run(student(taught, "classifier=refit"), tmp_path / "runs")

    weights = (done.folder / "model.safetensors").read_bytes()
    (done.folder / "evaluation.json").unlink()
    assert pipeline.run(student(taught), tmp_path / "runs").evaluation["classifier"]["asked"] == "trained"
    assert (done.folder / "model.safetensors").read_bytes() == weights
    forced = pipeline.run(student(taught), tmp_path / "runs", force=True)
    assert forced.evaluation["classifier"]["asked"] == "best"
    assert RunFolder(done.folder).lacks == []


def test_cut_in_the_stage_it_does_it_again(taught, tmp_path, monkeypatch):
    for name in ("whole", "cut"):
        shutil.copytree(taught / "runs", tmp_path / name)
    whole = pipeline.run(student(taught, "classifier=refit"), tmp_path / "whole")

    def cut(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr("supcrd.jobs.classifier.choose", cut)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(student(taught, "classifier=refit"), tmp_path / "cut")
    assert not (tmp_path / "cut" / "student" / "evaluation.json").exists()
    resumed = pipeline.run(student(taught, "classifier=refit"), tmp_path / "cut")
    assert resumed.status == "resumed"
    assert resumed.evaluation["classifier"] == whole.evaluation["classifier"]
    assert resumed.evaluation["weights"] == whole.evaluation["weights"]


def test_it_is_shown(taught, tmp_path):
    shutil.copytree(taught / "runs", tmp_path / "runs")
    out = ["--out", tmp_path / "runs"]
    common = [*data(taught), *NET, *TEACHER]
    result = invoke("train", "digits-lw-supcrd", *common, "name=student", "classifier=refit", *out)
    assert result.exit_code == 0, result.stderr
    lines = " ".join(result.stdout.split())
    assert "classifier refit: asked for; the refitted one is right on" in lines
    for key in ("as trained ", "refitted ", "ECE before its temperature "):
        assert key in lines
    assert json.loads((tmp_path / "runs" / "student" / "evaluation.json").read_text())["classifier"]["l2"] > 0
    compared = invoke("compare", tmp_path / "runs" / "student", "--metric", "trained_accuracy", "--json")
    assert compared.exit_code == 0, compared.stderr
