"""Every preset of another paper's method: three epochs on digits, cut and resumed to the bit, and reported."""

import json
import shutil
import signal

import pytest
import torch

import supcrd
from supcrd.jobs import run as pipeline
from supcrd.models.weights import load_state
from supcrd.recipe import load
from supcrd.recipe.compared import COMPARED
from supcrd.report import report
from supcrd.runs.folder import RunFolder
from supcrd.training.task import Distillation
from typed import invoke, refused, teacher_from

NET = ["data.source=digits", "model.arch=convnet", "train.batch_size=128", "augment.views=1", "train.lr=0.01",
       "probe.epochs=0", "head.epochs=0", "train.precision=float32", "classifier=trained"]  # fmt: skip
TEACHER = [f"teacher.override.{change}" for change in [*NET[1:], "train.epochs=1", "name=teacher"]]
MORE = {
    "crd_nce": ["method.negatives=256"],
    "rrd": ["method.queue=300"],
    "review": ["method.warmup_epochs=2.0"],
    "simkd": ["model.arch=resnet8+64", "train.batch_size=64"],
}
FEW = ("crd_nce",)
"""What `make test` has, being the one with the most state; the rest is left to `make long`."""


def recipe(name, *changes):
    own = [f"method.name={name}", "train.epochs=3", f"name={name}", *MORE.get(name, []), *own_teacher(name)]
    return load("digits-kd", [*NET, *TEACHER, *own, *changes])


def own_teacher(name):
    """SimKD's has the mean of its last map as features, which convnet has not."""
    return ["teacher.override.model.arch=resnet8", "teacher.override.name=other"] if name == "simkd" else []


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A folder with a finished teacher."""
    out = tmp_path_factory.mktemp("taught") / "runs"
    pipeline.run(recipe("rkd", "train.epochs=1"), out)
    shutil.rmtree(out / "rkd")
    return out


def state(folder):
    kept = load_state(folder / "checkpoint.pt")
    rows = [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in kept["history"]]
    return {"task": kept["task"], "optimizer": kept["optimizer"], "rows": rows}


def assert_same(one, other, path=""):
    assert type(one) is type(other), path
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    elif isinstance(one, list):
        for number, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{path}.{number}")
    else:
        assert one == other, path


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FEW else pytest.mark.long) for name in COMPARED]
)
def test_trained_cut_and_resumed_is_the_same_to_the_bit_and_is_reported(
    name, taught, tmp_path, monkeypatch, no_figures
):
    out = shutil.copytree(taught, tmp_path / "runs")
    whole = pipeline.run(recipe(name), out)
    rows = state(whole.folder)["rows"]
    assert len(rows) == 3
    falls = name if name == "simkd" else "cross_entropy"
    assert rows[-1][falls] < rows[0][falls]
    assert all(row[name] != 0 for row in rows)
    calls, real = [], Distillation.forward

    def forward(self, batch):
        calls.append(batch)
        if len(calls) == 14:  # in the second epoch
            signal.raise_signal(signal.SIGINT)
        return real(self, batch)

    monkeypatch.setattr(Distillation, "forward", forward)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(recipe(name, "name=cut"), out)
    monkeypatch.setattr(Distillation, "forward", real)
    assert not RunFolder(out / "cut").finished
    resumed = pipeline.run(recipe(name, "name=cut"), out)
    assert resumed.status == "resumed"
    assert_same(state(whole.folder), state(resumed.folder))
    page = report([out / "teacher", whole.folder], tmp_path / "report.html").read_text()
    assert name in page


def test_a_student_with_its_teachers_classifier_is_a_model_like_others(tmp_path):
    """Trained, measured with its projector counted, loaded from its file alone, and asked for classes."""
    changes = ["data.source=digits", "train.epochs=1", "augment.views=1", "head.epochs=0", "probe.epochs=0"]
    override = [f"teacher.override.{change}" for change in [*changes[1:], "model.arch=resnet8", "name=teacher"]]
    own = ["method.name=simkd", "model.arch=resnet8+64", "name=student", "classifier=trained"]
    result = pipeline.run(load("digits-kd", [*changes, *override, *own]), tmp_path)
    model, teacher = (supcrd.load_model(tmp_path / name / "model.safetensors") for name in ("student", "teacher"))
    assert torch.equal(model.classifier.weight, teacher.classifier.weight)
    encoder = sum(p.numel() for p in model.encoder.parameters())
    assert encoder - sum(p.numel() for p in teacher.encoder.parameters()) == 64 * 32 * 2 + 32 * 32 * 9 + 2 * 128
    assert result.evaluation["parameters"] == encoder + sum(p.numel() for p in model.classifier.parameters())
    again = json.loads(invoke("evaluate", tmp_path / "student", "--json").stdout)
    assert again["accuracy"] == result.evaluation["accuracy"]


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("crd_nce", ["method.negatives=99999"], "objective.crd_nce: negatives = 99999: there are"),
        ("at", ["method.student_maps=stage7"], "reads the map 'stage7', which the student lacks; it has stage1"),
        ("at", ["method.student_maps=stage1,stage2"], "2 of the student (stage1, stage2) and 3 of the teacher"),
        ("sp", ["method.teacher_maps=stage7"], "reads the map 'stage7', which the teacher teacher lacks"),
        ("at", ["model.arch=timm:resnet10t"], "5 of the student (stage1"),
        (
            "simkd",
            ["model.arch=resnet8+128", "teacher.override.model.arch=convnet"],
            "objective.simkd: the teacher's feat",
        ),
        (
            "fitnet",
            ["teacher.cache=2"],
            "teacher.cache = 2: it has features, but no maps (maps/stage2 of teacher teacher)",
        ),
        ("rkd", ["method.distance=-1.0"], "method.distance = -1.0: a number of 0 to 1000000 is right"),
        ("simkd", [], "has 128 features and needs a projector to the teacher's: model.arch = 'NAME+128' brings it"),
        ("rkd", ["method.dim=2"], "method rkd has no key dim = 2 (cc, crd_nce and rrd have it"),
        ("mlkd", ["method.temperatures=2,0"], "method.temperatures = 0: a number of 0.001 to 1000 is right"),
    ],
)
def test_what_cannot_work_is_refused_before_the_teacher_is_trained(name, changes, said, tmp_path):
    own = [*NET, *TEACHER, f"method.name={name}", "train.epochs=3", *changes]
    line = refused("train", "digits-kd", *own, "--out", tmp_path / "runs")
    assert said in line
    assert not list((tmp_path / "runs").glob("*"))


def test_a_classifier_that_cannot_be_reused_is_refused_before_the_run_has_a_folder(taught, tmp_path):
    """By the teacher that is there; a folder would stand in the way of the next try."""
    own = [*NET[:1], *NET[2:], "method.name=simkd", "model.arch=resnet8+128", "name=pupil"]
    file = teacher_from(tmp_path, f'run = "{taught / "teacher"}"', "digits-kd")
    line = refused("train", file, *own, "--out", taught)
    assert "objective.simkd: the teacher's features are not the mean of its last map" in line
    assert not (taught / "pupil").exists()
