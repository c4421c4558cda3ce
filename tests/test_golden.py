"""What version 0.1.0 wrote is read for ever: `data/golden-0.1/`, made by `data/make_golden.py`, copied before use."""

import hashlib
import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch.nn import functional

from machine import machine
from supcrd import recipe
from supcrd.analysis.compare import compare
from supcrd.figures.draw import plot
from supcrd.jobs import run as pipeline
from supcrd.jobs.assess import evaluate_file
from supcrd.jobs.predict import predict_files
from supcrd.models.card import Card
from supcrd.models.weights import load_model
from supcrd.recipe.compared import COMPARED
from supcrd.recipe.settings import METHOD_SETTINGS
from supcrd.report import report
from supcrd.report.collect import collect
from supcrd.report.make import build
from supcrd.report.shown import pages
from supcrd.runs.folder import RunFolder
from typed import invoke

GOLDEN = Path(__file__).resolve().parent / "data" / "golden-0.1"
UNCUT = json.loads((GOLDEN / "uncut.json").read_text())
RUNS = sorted(path.parent.name for path in GOLDEN.glob("runs/*/recipe.toml"))
FINISHED = [name for name in RUNS if name != "unfinished"]
WEIGHED = sorted(path.parent.name for path in GOLDEN.glob("runs/*/model.safetensors"))
STUDENT = ["data.limit=120", "train.epochs=1", "train.batch_size=12", "train.device=cpu", "probe.epochs=1"]
TIMES = ("seconds", "images_per_second", "train_seconds", "evaluation_seconds")


@pytest.fixture
def golden(tmp_path, monkeypatch):
    """A copy, and within it: a path in a recipe is relative to the caller's folder."""
    monkeypatch.chdir(shutil.copytree(GOLDEN, tmp_path / "golden"))


def stated(name):
    return json.loads((GOLDEN / "runs" / name / "evaluation.json").read_text())


def files(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


SUMS = 0.0 if sys.version_info < (3, 12) else 1e-12  # from there on sum() makes up for the rounding of floats


def digest(state):
    """As in `data/make_golden.py`."""
    told = hashlib.blake2b(digest_size=16)
    for name in sorted(state):
        told.update(name.encode() + state[name].contiguous().numpy().tobytes())
    return told.hexdigest()


def assert_close(now, before, exact, path=""):
    """The same on the machine that made it; elsewhere sums are in another order, and an image may change sides."""
    if isinstance(before, dict):
        for key in before.keys() - set(TIMES):  # later versions may say more
            assert_close(now[key], before[key], exact, f"{path}.{key}")
    elif isinstance(before, list):
        assert len(now) == len(before), path
        for at, pair in enumerate(zip(now, before, strict=True)):
            assert_close(*pair, exact, f"{path}.{at}")
    elif exact and isinstance(before, float):
        assert math.isclose(now, before, rel_tol=SUMS), path
    elif not isinstance(before, float):
        assert now == before, path
    else:
        of_images = any(word in path for word in ("accuracy", "ece"))
        assert math.isclose(now, before, rel_tol=1e-4, abs_tol=0.02 if of_images else 1e-6), path


def test_all_kinds_are_there():
    assert {RunFolder.open(GOLDEN / "runs" / name).recipe.method.name for name in FINISHED} == set(METHOD_SETTINGS) - {
        "joint",
        *COMPARED,
    }  # newer
    assert {"teacher", "cross_entropy", "lw_supcrd"} < set(WEIGHED)
    assert sum(len(content) for content in files(GOLDEN).values()) < 3e6
    for path, content in files(GOLDEN).items():
        if path.suffix in (".json", ".toml", ".jsonl"):
            assert b'"/' not in content, path  # a path of the machine that made it


@pytest.mark.parametrize("name", RUNS)
def test_a_run_is_read(name):
    run = RunFolder.open(GOLDEN / "runs" / name)
    assert (run.recipe.name, run.finished) == (name, name != "unfinished")
    assert recipe.parse(recipe.to_toml(run.recipe), name) == run.recipe
    assert run.recipe.seed == ("seed=1" in name)
    if not run.finished:
        return
    assert run.evaluation == stated(name)
    with np.load(run.path / "outputs.npz") as outputs, np.load(run.path / "pictures.npz") as pictures:
        assert outputs["logits"].shape == (120, 10)
        right = (outputs["logits"].argmax(axis=1) == outputs["labels"]).mean()
        assert pictures["images"].shape == (120, 8, 8, 1)
    assert right == pytest.approx(stated(name)["accuracy"])
    card = Card.from_json(json.loads((run.path / "model.json").read_text()))
    assert card.recipe["name"] == name


def test_a_finished_run_is_still_the_run_of_its_recipe(golden):
    """Neither the recipes' keys nor the fingerprints of data and teacher have come to mean something else."""
    before = files("runs")
    for name in FINISHED:
        done = pipeline.run(RunFolder.open(f"runs/{name}").recipe, "runs")
        assert (done.status, done.evaluation) == ("already finished", stated(name))
    assert files("runs") == before


@pytest.mark.parametrize("name", WEIGHED)
def test_a_model_is_read_with_its_card(name):
    model, card = load_model(GOLDEN / "runs" / name)
    with safe_open(GOLDEN / "runs" / name / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(model.state_dict())
        assert all(torch.equal(tensor, file.get_tensor(key)) for key, tensor in model.state_dict().items())
        held = json.loads(file.metadata()["supcrd"])
    assert held.items() <= card.to_json().items()
    assert card.projection_trained


@pytest.mark.parametrize("name", [name for name in WEIGHED if name in FINISHED])
def test_a_model_is_measured_and_asked(name, golden):
    values = evaluate_file(Path("runs", name), None, device="cpu")
    exact = machine() == UNCUT["machine"]
    # the same model on the same images, but for what needs the teacher too
    known = {key for key in stated(name).keys() & values.keys() if values[key] is not None}
    assert {"accuracy", "alignment", "uniformity", "probe_accuracy", "ece"} <= known
    assert_close({key: values[key] for key in known}, {key: stated(name)[key] for key in known}, exact)

    with np.load(f"runs/{name}/pictures.npz") as pictures, np.load(f"runs/{name}/outputs.npz") as outputs:
        for at in range(3):
            Image.fromarray(pictures["images"][at, :, :, 0]).save(f"{at}.png")
        logits = outputs["logits"][pictures["rows"][:3]].astype(np.float64)
    wanted = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for row, probabilities in zip(predict_files(Path("runs", name), [Path(f"{at}.png") for at in range(3)], top=10),
                                  wanted, strict=True):  # fmt: skip
        found = {one["index"]: one["probability"] for one in row["classes"]}
        assert [found[index] for index in range(10)] == pytest.approx(probabilities, rel=1e-4, abs=1e-6)


def test_runs_are_compared(golden):
    compared = compare(["runs"], "cross_entropy")
    rows = {row.label: row for row in compared.rows}
    assert set(rows) == {name for name in FINISHED if "seed" not in name and name != "teacher"}
    pairs = [("lw_supcrd", "cross_entropy"), ("lw_supcrd_seed=1", "cross_entropy_seed=1")]
    differences = [stated(one)["accuracy"] - stated(other)["accuracy"] for one, other in pairs]
    assert rows["lw_supcrd"].difference.n == rows["cross_entropy"].n == 2
    assert rows["lw_supcrd"].difference.mean == pytest.approx(sum(differences) / 2)


def test_runs_are_reported_and_drawn(golden):
    """All in tables; the figures, which take their time, of one student and its teacher."""
    tables = build(collect(["runs"]), baseline="cross_entropy", quick=True)
    for name in RUNS:
        assert f">{name}<" in tables or "seed=1" in name, name  # seeds stand in one row
    page = report(["runs/lw_supcrd"], "report.html").read_text()
    assert page.count("<figure") >= len(pages())
    assert "could not be drawn" not in page
    plot("neighbours", ["runs/lw_supcrd"], Path("neighbours.png"))
    with Image.open("neighbours.png") as picture:
        assert picture.width > 500


def test_a_run_teaches(golden):
    changes = [*STUDENT, "model.projector=[16,8]", "teacher.run=runs/teacher", "teacher.joint=true", "name=new"]
    table = Path("student.toml")
    table.write_text(recipe.builtin_text("digits-lw-supcrd").replace('recipe = "digits-teacher"', 'run = "?"'))
    done = pipeline.run(recipe.load(table, changes), "runs")
    assert (done.status, done.teacher, done.evaluation["teacher"]) == (
        "trained",
        Path("runs/teacher").absolute(),
        "teacher",
    )
    assert done.evaluation["teacher_agreement"] > 0


def test_an_imported_teacher_is_found_again(golden):
    before = set(Path("runs").iterdir())
    old = RunFolder.open("runs/student_of_published").recipe
    train = old.train.model_copy(update={"epochs": 1})
    done = pipeline.run(old.model_copy(update={"name": "new", "train": train}), "runs")
    assert done.teacher.name.startswith("teacher-published-")
    assert set(Path("runs").iterdir()) - before == {Path("runs/new")}


def test_an_unfinished_run_goes_on_as_if_it_had_not_been_cut(golden):
    result = invoke("train", "runs/unfinished/recipe.toml", "--out", "runs", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["status"] == "resumed"
    exact = machine() == UNCUT["machine"]
    state = load_model("runs/unfinished")[0].state_dict()
    assert_close({name: tensor.double().norm().item() for name, tensor in state.items()}, UNCUT["norms"], exact)
    rows = [json.loads(line) for line in Path("runs/unfinished/metrics.jsonl").read_text().splitlines()]
    assert_close(rows, UNCUT["metrics"], exact)
    assert_close(json.loads(Path("runs/unfinished/evaluation.json").read_text()), UNCUT["evaluation"], exact)
    if exact:
        assert digest(state) == UNCUT["weights"]


def test_the_published_file_is_read():
    state = {key: value.float() for key, value in torch.load(GOLDEN / "published.pth", weights_only=True).items()}
    model, card = load_model(GOLDEN / "published.pth")
    assert (card.arch, card.num_classes, card.in_channels, card.image_size, card.projector) == (
        "convnet", 10, 1, 8, (16, 8))  # fmt: skip

    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x = images
    for layer in (0, 3, 6):
        x = functional.conv2d(x, state[f"encoder.conv.{layer}.weight"], state[f"encoder.conv.{layer}.bias"], padding=1)
        x = functional.max_pool2d(functional.relu(x), 2)
    linear = lambda x, name: functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])  # noqa: E731
    features = linear(x.flatten(1), "encoder.fc")
    projections = linear(functional.relu(linear(features, "projector.0")), "projector.2")
    with torch.inference_mode():
        output = model(images)
    for found, wanted in zip(output, (features, projections, linear(features, "classifier")), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
