"""The stories in examples/: their scripts run on made data, at small size, with their commands in this process."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from supcrd import recipe
from supcrd.models.names import NETWORKS
from typed import images, invoke, write_npz

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
STUB = """#!/bin/sh
printf '%s\\037' "$@" >> "$COMMANDS"
echo >> "$COMMANDS"
"""
SMALL = {
    "train.epochs": 1, "train.batch_size": 16, "probe.epochs": 1,
    "teacher.override.model.arch": "convnet", "teacher.override.train.epochs": 1,
    "teacher.override.train.batch_size": 16, "teacher.override.head.epochs": 1, "teacher.override.probe.epochs": 0,
}  # fmt: skip


@pytest.fixture
def example(tmp_path, monkeypatch):
    """A function that copies an example, and one that runs its script: bash expands, `invoke` does the commands."""
    monkeypatch.chdir(tmp_path)

    def copied(name):
        return shutil.copytree(EXAMPLES / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))

    def run(folder, *arguments, **variables):
        binaries, commands = tmp_path / "bin", tmp_path / "commands"
        binaries.mkdir()
        (binaries / "supcrd").write_text(STUB)
        (binaries / "supcrd").chmod(0o755)
        known = os.environ | {"PATH": f"{binaries}:{os.environ['PATH']}", "COMMANDS": str(commands)} | variables
        subprocess.run(["bash", folder / "run.sh", *map(str, arguments)], env=known, check=True)
        done = [invoke(*line.split("\037")[:-1]) for line in commands.read_text().splitlines()]
        assert [(one.exit_code, one.stderr) for one in done if one.exit_code] == []
        return done

    return copied, run


def small_sweep(folder, data):
    """One seed, made data, an epoch."""
    path = folder / "sweep.toml"
    values = SMALL | {"data.source": f"npz:{data}"}
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("seeds", "set"))]
    inline = ", ".join(
        f'"{key}" = {f"{value!r}" if isinstance(value, str) else value}' for key, value in values.items()
    )
    path.write_text("\n".join([lines[0], "seeds = [0]", f"set = {{ {inline} }}", *lines[1:]]))


def test_the_table_of_a_paper(example, tmp_path):
    copied, run = example
    folder = copied("paper-table")
    small_sweep(folder, write_npz(tmp_path / "tiny.npz"))
    *_, printed = run(folder, tmp_path / "out")
    table = (tmp_path / "out" / "table.tex").read_text()
    assert table.splitlines()[0] == r"% \usepackage{booktabs}"
    assert [line.split(" & ")[0] for line in table.splitlines() if line.startswith(("cross", "kd", "joint"))] == [
        "cross-entropy", "joint", "kd",
    ]  # fmt: skip
    with open(tmp_path / "out" / "table.csv", newline="") as file:
        assert [row["configuration"] for row in csv.DictReader(file)] == ["cross-entropy", "joint", "kd"]
    assert printed.stdout.startswith("| Configuration | Accuracy % |")


def test_a_term_and_a_network_of_ones_own(example, tmp_path):
    copied, run = example
    folder = copied("plug-in")
    small_sweep(folder, write_npz(tmp_path / "tiny.npz", size=16))
    _, compared, exported = run(folder, tmp_path / "out")
    assert "accuracy less that of without" in compared.stdout
    assert (tmp_path / "out" / "model.onnx").is_file()
    assert "float32" in exported.stdout


def test_the_term_is_one_less_the_cosine(monkeypatch):
    """Against numpy, in float64."""
    monkeypatch.chdir(EXAMPLES / "plug-in")
    loaded = recipe.load("student.toml")
    from supcrd.training.objective.term import TERMS, Context, Outputs, Shapes, Step

    kind, shapes = TERMS.get("directions"), Shapes(features=4, projections=2, logits=2)
    teachers = {"teacher": Shapes(features=6, projections=2, logits=2)}
    term = kind(kind.Settings(), Context(classes=2, labels=torch.tensor([0, 1]), student=shapes, teachers=teachers))
    own, theirs = torch.randn(5, 4), torch.randn(5, 6)
    value = term(Step(None, Outputs(features=own), {"teacher": Outputs(features=theirs)}))
    a, b = own.double().numpy() @ term.adapter.weight.detach().double().numpy().T, theirs.double().numpy()
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert value.item() == pytest.approx(1 - cosines.mean(), rel=1e-5)
    assert loaded.objective["directions"]["weight"] == 2.0


def test_photographs_to_int8(example, tmp_path, no_figures):
    """With a teacher that is quicker than EfficientNet, which the next test has."""
    copied, run = example
    folder = copied("sign-digits")
    pixels, labels = images(90, size=32)
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        path = tmp_path / "photos" / f"digit {label}" / f"IMG_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    teacher = folder / "teacher.toml"
    text = teacher.read_text().replace("lite0_imagenet", "convnet").replace('plugins = ["pretrained.py"]', "")
    teacher.write_text(text.replace("epochs = 12", "epochs = 1"))
    out = tmp_path / "out"
    done = run(folder, tmp_path / "photos", out, "train.batch_size=16", "probe.epochs=1", EPOCHS="4", SEEDS="1")
    assert "int8" in done[3].stdout
    with open(out / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 90
    assert {row["class"] for row in rows} <= {"digit 0", "digit 1", "digit 2"}


def test_the_teacher_starts_from_the_package_s_weights(monkeypatch):
    """Their names are others, their order is timm's; the classifier's two stand last."""
    path = EXAMPLES / "sign-digits" / "pretrained.py"
    assert recipe.load(path.with_name("teacher.toml")).model.arch == "lite0_imagenet"
    names = vars(sys.modules[NETWORKS.get("lite0_imagenet").__module__])
    torch.manual_seed(1)
    theirs = timm.create_model(names["ARCH"]).eval()
    weights = {f"_{place}": tensor for place, tensor in enumerate(theirs.state_dict().values())}
    own = timm.create_model(names["ARCH"], num_classes=0).eval()
    own.load_state_dict(names["renamed"](weights, own.state_dict()))
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(own(pixels), theirs.forward_head(theirs.forward_features(pixels), pre_logits=True))
    with pytest.raises(ValueError, match="not the weights of tf_efficientnet_lite0"):
        names["renamed"](dict(reversed(weights.items())), own.state_dict())
