"""The command line as a user types it: in a process of its own where the exit status or the streams matter."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from supcrd.cli import app
from supcrd.models import Model
from supcrd.runs.folder import RunFolder
from typed import refused


def supcrd(*arguments, status=0):
    """Run a command in this process; returns (standard output, standard error)."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.stdout, result.stderr


@pytest.fixture
def trained(tmp_path, quick, quick_teacher):
    out, _ = supcrd(
        "train", "digits-lw-supcrd", *quick, *quick_teacher, "name=student", "--out", tmp_path / "runs", "--json"
    )
    return json.loads(out)


def test_help_is_fast_and_brings_no_torch():
    code = "import sys, supcrd.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert "evaluate" in supcrd("--help")[0]


WRONG = """
recipes nosuch
train nosuch
train digits-kd train.dropout=3
train digits-kd model.arch=resnet9
train digits-kd teacher.override.train.epoch=9
train digits-kd model.arch=timm:resnet18 train.dropout=3
train digits-kd model.arch=timm:resnet18 teacher.override.model.arch=resnet9
reproduce train.epoch=3
reproduce --tables mian
compare runs --metric loss
plot tnse
""".strip()


def test_what_was_typed_wrong_is_refused_without_torch():
    """Which takes seconds, and with timm twice as many; one process for all of them, since each start takes one."""
    code = "import sys\nfrom supcrd.cli import app\nfor line in sys.argv[1].splitlines():\n"
    code += "    try: app(line.split())\n    except SystemExit as end: assert end.code == 2, (line, end.code)\n"
    code += "    assert not {'torch', 'timm'} & set(sys.modules), line\n"
    process = subprocess.run([sys.executable, "-c", code, WRONG], capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    assert process.stdout == ""
    said = process.stderr.splitlines()
    assert len(said) == len(WRONG.splitlines())
    assert all(line.startswith("error: ") for line in said)


def test_no_wait_is_handed_on(tmp_path, monkeypatch):
    from supcrd.jobs import run as pipeline

    waits = []
    result = pipeline.Result(tmp_path, None, {}, "trained")
    monkeypatch.setattr(pipeline, "run", lambda *_, wait, **others: (waits.append(wait), result)[1])
    supcrd("train", "digits-kd", "--json")
    supcrd("train", "digits-kd", "--json", "--no-wait")
    assert waits == [True, False]


def test_the_keys_of_a_recipe_are_listed_without_torch():
    code = "import sys\nfrom supcrd.cli import app\n"
    code += "try: app(['recipes', '--keys'])\nexcept SystemExit as end: assert end.code == 0, end.code\n"
    code += "sys.exit('torch' in sys.modules or 'timm' in sys.modules or 'numpy' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr
    assert "  train.weight_decay = 0.0   a number of 0 to 1000\n" in process.stdout
    out, _ = supcrd("recipes", "train.l", "--keys")
    assert [line.strip() for line in out.splitlines()] == [
        "train: The main training of a run.",
        "train.lr = 0.001   a number above 0 and of 1000 or less",
        "peak learning rate",
        "",
    ]
    wrong = supcrd("recipes", "--keys", "train.epohcs", status=2)[1]
    assert wrong == "error: no key begins with 'train.epohcs'; did you mean train.epochs?\n"
    wrong = supcrd("recipes", "--keys", "objective.kd", status=2)[1]
    assert "docs/objectives.md lists those of [objective.NAME]" in wrong


def test_recipes():
    out, _ = supcrd("recipes")
    assert "digits-lw-supcrd" in out
    out, _ = supcrd("recipes", "digits-lw-supcrd")
    assert out.startswith("# supcrd train digits-lw-supcrd\n")
    assert 'name = "lw_supcrd"' in out


def test_train_json_names_folders_and_holds_the_evaluation(trained, tmp_path):
    assert trained["status"] == "trained"
    assert trained["runs"]["student"] == str(tmp_path / "runs" / "student")
    assert os.path.isdir(trained["runs"]["teacher"])
    assert 0 <= trained["evaluation"]["accuracy"] <= 1
    out, _ = supcrd("train", tmp_path / "runs" / "student" / "recipe.toml", "--out", tmp_path / "runs", "--json")
    assert json.loads(out)["status"] == "already finished"
    assert json.loads(out)["evaluation"] == trained["evaluation"]
    out, _ = supcrd("train", tmp_path / "runs" / "student" / "recipe.toml", "--out", tmp_path / "runs")
    assert "already finished" in out


def test_evaluate_gives_the_runs_own_numbers(trained, tmp_path, npz):
    keys = [
        "n",
        "accuracy",
        "accuracy_top5",
        "knn_accuracy",
        "alignment",
        "uniformity",
        "intra_class_distance",
        "inter_class_distance",
        "separation_ratio",
        "ece",
        "nll",
    ]
    for model in (trained["runs"]["student"], f"{trained['runs']['student']}/model.safetensors"):
        for data in ([], ["--data", f"npz:{npz}"]):
            values = json.loads(supcrd("evaluate", model, *data, "--json")[0])
            for key in [*keys, "probe_accuracy"]:
                assert values[key] == pytest.approx(trained["evaluation"][key]), key
    assert values["accuracy_top5"] is None  # three classes
    assert json.loads(supcrd("evaluate", trained["runs"]["student"], "--split", "validation", "--json")[0])["n"] == 6
    assert "accuracy" in supcrd("evaluate", trained["runs"]["student"])[0]


def test_evaluate_a_published_checkpoint(tmp_path, npz):
    torch.manual_seed(1)
    model = Model(3, "convnet", image_size=8).eval()
    torch.save(model.state_dict(), tmp_path / "published.pth")
    with np.load(npz) as arrays:
        images, labels = torch.from_numpy(arrays["test_images"]), torch.from_numpy(arrays["test_labels"])
    with torch.no_grad():
        logits = model((images.permute(0, 3, 1, 2) / 255 - 0.5) / 0.5).logits
    expected = (logits.argmax(1) == labels).double().mean().item()
    normalisation = ["--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5"]
    arguments = ["evaluate", tmp_path / "published.pth", "--data", f"npz:{npz}", "--num-classes", "3", "--json"]
    assert json.loads(supcrd(*arguments, *normalisation)[0])["accuracy"] == pytest.approx(expected)
    _, told = supcrd(*arguments)
    assert "does not say its normalisation" in told


def test_predict(trained, tmp_path):
    for name, channel in (("red.png", 0), ("blue.webp", 2)):
        pixels = np.zeros((20, 12, 3), dtype=np.uint8)
        pixels[:, :, channel] = 200
        Image.fromarray(pixels).save(tmp_path / name)
    arguments = ["predict", trained["runs"]["student"], tmp_path / "red.png", tmp_path / "blue.webp"]
    rows = json.loads(supcrd(*arguments, "--json")[0])["predictions"]
    assert [row["image"] for row in rows] == [str(tmp_path / "red.png"), str(tmp_path / "blue.webp")]
    for row in rows:
        probabilities = [guess["probability"] for guess in row["classes"]]
        assert sum(probabilities) == pytest.approx(1)
        assert probabilities == sorted(probabilities, reverse=True)
    assert "red.png" in supcrd(*arguments)[0]


def test_mistakes_are_one_line_and_status_2(tmp_path, npz, quick):
    assert "unknown recipe 'nosuch'" in refused("train", "nosuch")
    assert "did you mean train.epochs?" in refused("train", "digits-crd", "train.epoch=3")
    assert "unknown data source 'cifar1000'" in refused("train", "digits-supcon", "data.source=cifar1000")
    assert (
        "no model at" in (line := refused("evaluate", tmp_path / "x", "--data", "digits")) or "does not exist" in line
    )
    missing = refused("train", "digits-supcon", f"data.source=npz:{tmp_path}/no.npz", "--out", tmp_path / "runs")
    assert f"{tmp_path}/no.npz" in missing
    # and in a process of its own
    command = ["train", "digits-supcon", *quick, "train.device=cuda:7", "--out", str(tmp_path / "runs")]
    process = subprocess.run([sys.executable, "-m", "supcrd", *command], capture_output=True, text=True, timeout=120)
    assert (process.returncode, process.stdout) == (2, "")
    assert "Traceback" not in process.stderr
    (device,) = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
    assert "device 'cuda:7'" in device
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--split", "exam"], "--split 'exam' is unknown"),
        (["--mean", "0.5"], "--mean and --std must be given together"),
        (["--mean", "a,b,c", "--std", "1,1,1"], "--mean 'a,b,c' is not numbers"),
        (["--mean", "0,0,0", "--std", "0,1,1"], "--std '0,1,1': 0.0001 to 1000 is right, on the 0..1 scale"),
        (["--mean", "124,116,104", "--std", "58,57,57"], "--mean '124,116,104': -10 to 10 is right, on the 0..1 scale"),
        (["--data", "digits"], "digits has '3', '4', '5', '6', '7' and 2 more among its 10 classes, which the model"),
        (["--num-classes", "4"], "num_classes is 4"),
        (["--arch", "resnet8"], "arch is 'resnet8'"),
        (["--device", "cuda:9"], "'cuda:9'"),
    ],
)
def test_evaluate_mistakes(base, options, said):
    result = CliRunner().invoke(app, ["evaluate", str(base / "runs" / "student"), *options])
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_predict_mistakes(trained, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nonsense")
    _, told = supcrd("predict", trained["runs"]["student"], tmp_path / "broken.png", status=2)
    assert "broken.png" in told
    torch.save(Model(3, "convnet", image_size=8).state_dict(), tmp_path / "p.pth")
    _, told = supcrd("predict", tmp_path / "p.pth", tmp_path / "broken.png", status=2)
    assert "give --mean and --std" in told


def test_ctrl_c_keeps_the_checkpoint_and_the_same_command_goes_on(tmp_path, npz, monkeypatch):
    command = [
        sys.executable, "-m", "supcrd", "train", "digits-supcon", f"data.source=npz:{npz}", "model.arch=convnet",
        "train.epochs=2000", "probe.epochs=0", "name=long", "--out", str(tmp_path),
        "teacher.override.train.epochs=1", "teacher.override.head.epochs=0", "teacher.override.model.arch=convnet",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "long" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not metrics.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "the same command resumes it" in told
    assert "Traceback" not in told
    assert out == ""
    assert (tmp_path / "long" / "checkpoint.pt").exists()
    assert not (tmp_path / "long" / "evaluation.json").exists()
    assert not list(tmp_path.rglob("*.tmp"))
    before = len(metrics.read_text().splitlines())
    real = RunFolder.write_metrics

    def write_metrics(folder, rows):
        real(folder, rows)
        if len(rows) > before:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(RunFolder, "write_metrics", write_metrics)
    supcrd(*command[3:], status=130)
    epochs = [json.loads(line)["epoch"] for line in metrics.open()]
    assert epochs == list(range(1, len(epochs) + 1))
    assert len(epochs) > before


def test_demo(tmp_path, monkeypatch, plain):
    """The demo's whole path, cut short: the recipes' own epochs are for `make demo`."""
    from supcrd import recipe

    real = recipe.load
    short = ["train.epochs=2", "head.epochs=1", "probe.epochs=2", "data.limit=100", "data.validation=0.2"]
    teacher = [f"teacher.override.{change}" for change in ("train.epochs=2", "head.epochs=1", "probe.epochs=2")]
    monkeypatch.setattr(recipe, "load", lambda name, changes: real(name, [*short, *teacher, f"name={name}", *changes]))
    out, _ = supcrd("demo", "--out", tmp_path)
    for name in (
        "digits-teacher",
        "digits-cross-entropy",
        "digits-supcon",
        "digits-crd",
        "digits-lw-supcrd",
        "digits-hybrid",
    ):
        assert name in out
    assert str(tmp_path) in out
    for path in tmp_path.glob("digits-*/evaluation.json"):  # those that do without a teacher are compared with it too
        compared = json.loads(path.read_text())["teacher_agreement"] is not None
        assert compared == ("digits-teacher" not in path.parent.name)
    # not cut: the table goes into 80 columns, with the mark of a run that has warnings after two epochs
    assert re.search(r"^digits-cross-entropy-demo( !)? ", out, re.MULTILINE)
