"""The built-in recipes of ImageNet and iNaturalist at their true shapes: 224 px, all classes, their own networks.

    python benchmarks/rehearse.py --out docs/results/rehearsed-cpu.json

`python benchmarks/tables.py` writes the table of docs/scale.md from the file.

Images are made (500 x 375 JPEG in shards, one of each class to train), a teacher has random weights, and the batch is
smaller than the recipe's. A recipe trains for some steps, is interrupted, and goes on for as many from its checkpoint;
one named by --whole goes on to its end, with validation and evaluation. Each is a process; memory is the largest
resident size. Rows that --out has of other recipes stay.
"""

import argparse
import io
import json
import resource
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import timm
import tomli_w
import torch
from PIL import Image

from measure import keep, table
from scale_recipes import SETS, large, teacher_arch
from supcrd import recipe as recipes
from supcrd.jobs import run as pipeline
from supcrd.training.fit import Progress

CLASSES = {name: classes for name, (_, _, classes) in SETS.items()}
PICTURE = (500, 375)  # px; ILSVRC's mean
HEAD = ["recipe", "networks", "classes", "batch", "steps", "s a step", "MB", "to its end"]


def shards(folder: Path, classes: int, validation: int) -> None:
    """An image of each class to train and some to validate, in shards."""
    pictures = []
    for seed in range(16):
        stream, pixels = io.BytesIO(), np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(PICTURE, Image.Resampling.BICUBIC).save(stream, "jpeg", quality=90)
        pictures.append(stream.getvalue())
    order = np.random.default_rng(0).permutation(classes)
    for split, labels in (("train", order), ("val", order[:validation])):
        with tarfile.open(folder / f"{split}-000.tar", "w") as tar:
            for number, label in enumerate(labels):
                for kind, content in (("jpg", pictures[label % 16]), ("cls", b"%d" % label)):
                    member = tarfile.TarInfo(f"{number:05}.{kind}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def changed(name: str, folder: Path, batch_size: int) -> dict[str, Any]:
    """The recipe on those shards: one epoch, small batches, a teacher of random weights."""
    table, classes = recipes.read(name), CLASSES[name.split("-")[0]]
    table["data"]["source"] = f"shards:{folder / 'shards'}"
    table["train"] |= {"epochs": 1, "batch_size": batch_size}
    for key in ("milestones", "warmup_epochs"):
        table["train"].pop(key, None)
    teacher = teacher_arch(recipes.load(name))
    if teacher is not None:
        torch.manual_seed(0)
        weights = timm.create_model(teacher.removeprefix("timm:"), num_classes=classes).state_dict()
        torch.save(weights, folder / "teacher.pth")
        head = table["teacher"].get("head", {"epochs": 1, "batch_size": batch_size})
        table["teacher"] = {"checkpoint": str(folder / "teacher.pth"), "arch": teacher, "check": False, "head": head}
    if "negatives" in table["method"]:  # of as many training images
        table["method"]["negatives"] = classes // 2
    if "bank" in table["method"]:
        table["method"]["bank"] = classes
    return table


def rehearse(name: str, batch_size: int, steps: int, whole: bool) -> dict[str, Any]:
    """Steps, an interruption, more steps."""
    times: list[float] = []

    def stop(run: str, stage: str, progress: Progress) -> None:
        if stage == "train" and run == name and progress.step > 0:
            times.append(time.perf_counter())
            if len(times) == steps or (len(times) == 2 * steps and not whole):
                signal.raise_signal(signal.SIGINT)

    classes = CLASSES[name.split("-")[0]]
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        (folder / "shards").mkdir()
        shards(folder / "shards", classes, validation=50)
        (folder / f"{name}.toml").write_text(tomli_w.dumps(changed(name, folder, batch_size)))
        recipe, end = recipes.load(folder / f"{name}.toml"), None
        for _ in range(2):  # the second time from the checkpoint that the interruption left
            with suppress(KeyboardInterrupt):
                end = pipeline.run(recipe, folder / "runs", report=stop)
        student, teacher = recipe.model.arch, teacher_arch(recipes.load(name))
        return {
            "networks": [arch.removeprefix("timm:") for arch in (teacher, student) if arch is not None],
            "method": recipe.method.name, "classes": classes, "image_size": recipe.data.image_size,
            "batch_size": batch_size, "steps": len(times),
            "seconds_per_step": statistics.median(after - before for before, after in pairwise(times)),
            "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "evaluation": None if end is None else {key: end.evaluation[key] for key in ("split", "n", "accuracy")},
        }  # fmt: skip


def cells(name: str, row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    return [
        f"`{name}`", ", ".join(row["networks"]), f"{row['classes']:,}", str(row["batch_size"]), str(row["steps"]),
        f"{row['seconds_per_step']:.1f}", f"{row['bytes'] / 1e6:,.0f}", "yes" if row["evaluation"] else "no",
    ]  # fmt: skip


def markdown(results: dict[str, Any]) -> str:
    """The table of docs/scale.md."""
    rows = [cells(name, row) for name, row in results["rows"].items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in [HEAD, ["---", "---", *["---:"] * 5, "---"], *rows])


def main() -> None:
    """Rehearse each recipe in a process of its own, print a table and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", choices=large(), default=large())
    parser.add_argument("--whole", nargs="*", choices=large(), default=["imagenet-r34-r18"])
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=4, help="before the interruption, and after it")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.one is not None:
        row = rehearse(options.one, options.batch_size, options.steps, options.one in options.whole)
        print(json.dumps(row))
        return
    before = json.loads(options.out.read_text())["rows"] if options.out is not None and options.out.is_file() else {}
    rows = dict(before)
    for name in options.recipes:
        given = ["--batch-size", str(options.batch_size), "--steps", str(options.steps), "--whole", *options.whole]
        done = subprocess.run(
            [sys.executable, __file__, "--one", name, *given], stdout=subprocess.PIPE, text=True, check=True
        )
        rows[name] = json.loads(done.stdout.splitlines()[-1])
        print(name, rows[name], file=sys.stderr)
        keep(options.out, options, {"rows": rows})
    print(table(HEAD, [cells(name, row) for name, row in rows.items()]))


if __name__ == "__main__":
    main()
