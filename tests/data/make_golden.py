"""Make `golden-0.1/`: run folders, a checkpoint and a published file as version 0.1.0 wrote them.

They must be read for ever, so they are made once, by the code of 0.1.0 itself, and never again by later code:

    git worktree add /tmp/old 6e49194
    OMP_NUM_THREADS=1 PYTHONPATH=/tmp/old/src python tests/data/make_golden.py
    git worktree remove /tmp/old

A path in a recipe is relative to `golden-0.1/`. To keep the folder below 3 MB most students are kept without
`model.safetensors`: its card is the same as `model.json`.

* `published.pth`: a convnet under the published wrapper's keys, in half precision.
* `runs/`: a teacher, `published.pth` imported, a student of each method, two of them with two seeds.
* `runs/unfinished`: a student cut by SIGTERM within its second epoch; `uncut.json`: what it gives when it is not cut.
"""

import hashlib
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from supcrd.checkpoints import load_model
from supcrd.tasks import Distillation

from machine import machine
from supcrd import pipeline, recipe

HERE = Path(__file__).resolve().parent / "golden-0.1"
TEACHER = ["model.arch=resnet8", "model.projector=[16,8]", "train.epochs=6", "train.batch_size=16", "name=teacher"]
STUDENT = [
    "data.limit=120",
    "model.projector=[16,8]",
    "train.epochs=2",
    "train.batch_size=12",
    "train.lr=5e-3",
    "probe.epochs=5",
    "head.epochs=2",
    # what is computed is then the same on every machine, but for the order of sums
    "train.precision=float32",
    "train.device=cpu",
]
BY_RECIPE = ["teacher.recipe=digits-teacher", *(f"teacher.override.{change}" for change in TEACHER)]
BANK = ["method.bank=32", "method.kd_weight=0.5"]
RUNS = {  # name -> (its recipe, changes)
    "cross_entropy": ("digits-cross-entropy", BY_RECIPE),
    "cross_entropy_seed=1": ("digits-cross-entropy", [*BY_RECIPE, "seed=1"]),
    "kd": ("digits-kd", BY_RECIPE),
    "dkd": ("digits-kd", [*BY_RECIPE, "method.name=dkd", "method.warmup_epochs=1.0"]),
    "supcon": ("digits-supcon", BY_RECIPE),
    "crd": ("digits-crd", [*BY_RECIPE, BANK[0]]),
    "lw_supcrd": ("digits-lw-supcrd", [*BY_RECIPE, *BANK]),
    "lw_supcrd_seed=1": ("digits-lw-supcrd", [*BY_RECIPE, *BANK, "seed=1"]),
    "hybrid": ("digits-hybrid", BY_RECIPE),
}
PUBLISHED = 'checkpoint = "published.pth"'
UNFINISHED = [*BY_RECIPE, *BANK, "train.optimizer=sgd", "train.lr=0.02", "train.grad_clip=1.0", "name=unfinished"]
WITH_WEIGHTS = ("teacher", "cross_entropy", "lw_supcrd")
CUT = 13  # step: the third of the second epoch
TIMES = ("seconds", "images_per_second")


class Encoder(nn.Module):
    """The published convnet, for 8 x 8 grey pixels."""

    def __init__(self):
        super().__init__()
        layers = []
        for below, above in ((1, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(below, above, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        self.conv, self.fc = nn.Sequential(*layers), nn.Linear(128, 128)

    def forward(self, images):
        return self.fc(self.conv(images).flatten(1))


def write_published(path):
    """A convnet that has seen some digits, as the reference saves its own; nothing of this package is in it."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images[:500] / 16).float()[:, None] * 2 - 1
    labels = torch.from_numpy(digits.target[:500]).long()
    torch.manual_seed(0)
    net = nn.Module()
    net.encoder = Encoder()
    net.projector = nn.Sequential(nn.Linear(128, 16), nn.ReLU(), nn.Linear(16, 8))
    net.classifier = nn.Linear(128, 10)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(40):
        loss = nn.functional.cross_entropy(net.classifier(net.encoder(images)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save({key: value.half() for key, value in net.state_dict().items()}, path)


def by_published(folder):
    """A recipe whose teacher is `published.pth`, in a file outside what is kept."""
    text = recipe.builtin_text("digits-crd").replace('recipe = "digits-teacher"', f"{PUBLISHED}\njoint = false")
    path = folder / "student_of_published.toml"
    path.write_text(text.replace("[teacher]", "[teacher]\nmean = [0.5]\nstd = [0.5]"))
    return path


def cut(wanted):
    """Run until step `CUT`, where SIGTERM comes."""
    real, seen = Distillation.forward, []

    def forward(self, batch):
        seen.append(batch)
        if len(seen) == CUT:
            signal.raise_signal(signal.SIGTERM)
        return real(self, batch)

    Distillation.forward = forward
    try:
        pipeline.run(wanted, "runs")
    except KeyboardInterrupt:
        return
    finally:
        Distillation.forward = real
    raise AssertionError("it was not cut")


def digest(state):
    """A hash of all tensors, by name."""
    told = hashlib.blake2b(digest_size=16)
    for name in sorted(state):
        told.update(name.encode() + state[name].contiguous().numpy().tobytes())
    return told.hexdigest()


def summary(folder):
    """What `uncut.json` holds of a finished run."""
    state = load_model(folder)[0].state_dict()
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    evaluation = json.loads((folder / "evaluation.json").read_text())
    return {
        "machine": machine(),
        "weights": digest(state),
        "norms": {name: tensor.double().norm().item() for name, tensor in state.items()},
        "metrics": [{key: value for key, value in row.items() if key not in TIMES} for row in rows],
        "evaluation": {key: value for key, value in evaluation.items() if not key.endswith("_seconds")},
    }


def main():
    torch.set_num_threads(1)
    platform.platform = lambda: "Linux"  # the build of a kernel is nobody's business
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    os.chdir(HERE)
    write_published(Path("published.pth"))
    for name, (built_in, changes) in RUNS.items():
        pipeline.run(recipe.load(built_in, [*STUDENT, *changes, f"name={name}"]), "runs")
    with tempfile.TemporaryDirectory() as folder:
        named = by_published(Path(folder))
        pipeline.run(recipe.load(named, [*STUDENT, "name=student_of_published"]), "runs")

    wanted = recipe.load("digits-lw-supcrd", [*STUDENT, *UNFINISHED])
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree("runs/teacher", Path(folder) / "teacher")
        whole = pipeline.run(wanted, folder).folder
        Path("uncut.json").write_text(json.dumps(summary(whole), indent=1) + "\n")
    cut(wanted)

    for folder in Path("runs").iterdir():
        if (folder / "evaluation.json").exists():
            (folder / "checkpoint.pt").unlink()
            if folder.name not in WITH_WEIGHTS:
                (folder / "model.safetensors").unlink()
    bytes_in_all = sum(path.stat().st_size for path in Path().rglob("*") if path.is_file())
    print(f"{bytes_in_all / 1e6:.2f} MB in {HERE}", file=sys.stderr)


if __name__ == "__main__":
    main()
