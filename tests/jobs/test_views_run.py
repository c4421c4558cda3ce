"""Whole runs with groups of views, mixed images and streamed ones."""

import json
import re
from pathlib import Path

import pytest
import torch

from supcrd.data import load as load_data
from supcrd.data.loader import ViewBatches
from supcrd.recipe.settings import ViewSettings
from typed import invoke, refused, write_npz

RECIPE = """
[data]
source = "npz:{data}"
[model]
arch = "convnet"
projector = [8, 4]
[views.weak]
flip = 0.5
crop_padding = 1
[views.strong]
crop = "resized"
randaugment = 2
erasing = 0.5
cutmix = 1.0
{more}
[objective.cross_entropy]
[objective.kd]
[objective.supcon]
{supcon}
[train]
epochs = 2
batch_size = 16
[probe]
epochs = 1
[teacher]
recipe = "digits-teacher"
[teacher.override]
name = "teacher"
model.arch = "convnet"
train.epochs = 1
head.epochs = 1
"""


@pytest.fixture
def recipe(tmp_path):
    def write(supcon, more=""):
        path = tmp_path / "mixed.toml"
        path.write_text(RECIPE.format(data=write_npz(tmp_path / "tiny.npz"), supcon=supcon, more=more))
        return path

    return write


def test_a_run_with_groups_and_mixed_images(recipe, tmp_path):
    path = recipe('views = ["weak"]')
    assert invoke("train", path, "--out", tmp_path / "runs").exit_code == 0
    rows = [json.loads(line) for line in (tmp_path / "runs" / "mixed" / "metrics.jsonl").read_text().splitlines()]
    assert {"cross_entropy", "kd", "supcon", "train_accuracy"} <= set(rows[0])
    assert all(row["supcon"] > 0 for row in rows)
    again = invoke("train", path, "--out", tmp_path / "again")
    assert again.exit_code == 0
    weights = [torch.load(tmp_path / out / "mixed" / "checkpoint.pt")["task"] for out in ("runs", "again")]
    assert all(
        torch.equal(a, b) for a, b in zip(*(w.values() for w in weights), strict=True) if isinstance(a, torch.Tensor)
    )


def test_what_cannot_work_is_refused_before_any_work(recipe, tmp_path):
    out = tmp_path / "runs"
    line = refused("train", recipe(""), "--out", out)
    assert "objective.supcon needs the label of every image, and views.strong.cutmix = 1 mixes images" in line
    line = refused("train", recipe('views = ["weka"]'), "--out", out)
    assert "objective.supcon.views has the group 'weka', which the recipe lacks; did you mean weak?" in line
    line = refused("train", recipe('mixed = "skip"', "cutout = 8"), "--out", out)
    assert "views.strong.cutout = 8: the images have 8 px a side; fewer are right" in line
    assert not out.exists()


def test_streamed_views_are_those_in_memory(tmp_path):
    from PIL import Image

    for number in range(12):
        folder = tmp_path / "train" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((12, 12), 20 + number).convert("RGB").save(folder / f"{number}.png")
    settings = {"a": ViewSettings(same_class_mixup=1.0), "b": ViewSettings(crop="resized", randaugment=2, mixup=1.0)}
    sets = [load_data(f"folder:{tmp_path}", validation=0, image_size=12, stream=stream) for stream in (False, True)]
    memory, streamed = (
        ViewBatches(data.train, settings, batch_size=5, seed=1, device=torch.device("cpu")) for data in sets
    )
    for epoch in range(2):
        for a, b in zip(memory.epoch(epoch), streamed.epoch(epoch), strict=True):
            assert torch.equal(a.inputs, b.inputs)
            assert torch.equal(a.shares, b.shares)


def test_the_example_of_the_documents_runs(tmp_path):
    text = (Path(__file__).resolve().parents[2] / "docs" / "views.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "strong.toml"
    path.write_text(example)
    quick = ["train.epochs=1", "probe.epochs=1", "data.limit=60"]
    taught = [f"teacher.override.{change}" for change in ("train.epochs=1", "head.epochs=1", "probe.epochs=0")]
    result = invoke("train", path, *quick, *taught, "teacher.check=false", "--out", tmp_path / "runs")
    assert result.exit_code == 0, result.output
