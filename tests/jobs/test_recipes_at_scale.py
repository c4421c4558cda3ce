"""Recipes of data sets that are not here: two steps of each, with its true number of classes, its own student, streamed
shards and options, on made images of 16 px. Teachers with weights of their own have random ones."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import timm
import tomli_w
import torch
from PIL import Image

from supcrd import recipe as recipes
from supcrd.jobs import run as pipeline
from supcrd.recipe import load

CLASSES = {"imagenet": 1000, "inat2021": 10_000}
LARGE = tuple(name for name in recipes.builtin_names() if name.startswith(tuple(CLASSES)))
TEACHERS = {"imagenet-r50-mobilenetv1": "resnet50"}
"""The others are resnet34 here: weights of half a gigabyte would be written and read."""
SIZE = 16


def classes_of(name: str) -> int:
    return CLASSES[name.split("-")[0]]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory):
    """Number of classes -> a folder of shards with an image of each, and a few to validate."""
    made: dict[int, Path] = {}
    pictures = []
    for seed in range(8):
        stream, pixels = io.BytesIO(), np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((40, 32)).save(stream, "jpeg")
        pictures.append(stream.getvalue())

    def of(classes: int) -> Path:
        if classes not in made:
            made[classes] = tmp_path_factory.mktemp("shards")
            for split, labels in (("train", range(classes)), ("val", range(0, classes, 20))):
                with tarfile.open(made[classes] / f"{split}-000.tar", "w") as tar:
                    for number in labels:
                        for kind, content in (("jpg", pictures[number % 8]), ("cls", b"%d" % number)):
                            member = tarfile.TarInfo(f"{number:05}.{kind}")
                            member.size = len(content)
                            tar.addfile(member, io.BytesIO(content))
            # a label without an image would be refused: the last class is there, so all are
        return made[classes]

    return of


def rehearsed(name: str, source: Path, folder: Path) -> Path:
    """The recipe on those shards, two steps of it, as a file; its teacher's weights are random."""
    table = recipes.read(name)
    table["data"] |= {"source": f"shards:{source}", "image_size": SIZE, "block": 64}
    table["train"] |= {"epochs": 1, "batch_size": classes_of(name) // 2}
    for key in ("milestones", "warmup_epochs"):
        table["train"].pop(key, None)
    if "timm" in table.get("teacher", {}):
        network = TEACHERS.get(name, "resnet34")
        torch.manual_seed(0)
        torch.save(timm.create_model(network, num_classes=1000).state_dict(), folder / "teacher.pth")
        del table["teacher"]["timm"]
        table["teacher"] |= {"checkpoint": str(folder / "teacher.pth"), "arch": f"timm:{network}", "check": False}
        table["teacher"]["image_size"] = SIZE  # or its views would be enlarged to 224 px
    if "bank" in table["method"]:
        table["method"]["bank"] = 1000
    if "negatives" in table["method"]:
        table["method"]["negatives"] = 500
    path = folder / f"{name}.toml"
    path.write_text(tomli_w.dumps(table))
    return path


@pytest.mark.parametrize("name", LARGE)
def test_it_takes_two_steps_with_all_of_its_classes(name: str, shards, tmp_path: Path) -> None:
    changes = ["model.stem=native"]  # 16 px would have another one
    if load(name).teacher is not None and load(name).teacher.recipe is not None:
        changes += ["teacher.override.model.arch=timm:resnet18", "teacher.check=false"]
        changes += ["teacher.override.model.stem=native"]
        changes += [f"teacher.override.train.{key}" for key in ("epochs=1", "batch_size=5000", "warmup_epochs=0")]
        changes += ["teacher.override.head.batch_size=5000"]
    result = pipeline.run(load(rehearsed(name, shards(classes_of(name)), tmp_path), changes), tmp_path / "runs")
    e = result.evaluation
    assert e["split"] == "validation"
    assert e["n"] == classes_of(name) // 20
    assert (result.folder / "model.safetensors").is_file()


@pytest.mark.parametrize("name", LARGE)
def test_it_says_its_source_and_that_it_was_not_run(name: str) -> None:
    text = recipes.builtin_text(name)
    assert "# Result: not measured yet\n" in text
    assert "Source: " in text
    assert "arXiv:" in text
    recipe = load(name)
    assert (recipe.data.image_size, recipe.data.stream, recipe.view_count) == (224, True, 1)
    assert recipe.augment.crop == "whole"
    if recipe.teacher is not None and recipe.teacher.timm is not None:
        assert recipe.teacher.head.epochs == 0  # nothing reads it, and ten passes over ImageNet would train it
