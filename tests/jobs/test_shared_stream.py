"""A streamed set whose images are mixed: two processes that are cut, one that goes on, and one left alone."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from test_shared_training import what_stays

from supcrd import recipe
from supcrd.data.loader import ViewBatches
from supcrd.jobs import run as pipeline
from supcrd.models.weights import load_state

CUT = """
import os, signal
from supcrd.data.loader import ViewBatches

whole = ViewBatches.epoch

def cut(self, epoch, start=0):
    for batch in whole(self, epoch, start):
        if os.environ.get("RANK") == "1" and (batch.epoch, batch.step) == (1, 2):
            os.kill(os.getpid(), signal.SIGTERM)
        yield batch

ViewBatches.epoch = cut
"""


@pytest.fixture
def changes(tmp_path):
    """Of a recipe: 60 pictures of several sizes, each view cut from one before it is decoded, flipped and mixed."""
    for split, count in (("train", 60), ("test", 12)):
        for number in range(count):
            random = np.random.default_rng(number)
            pixels = random.integers(0, 60, (12 + number % 4, 12 + number % 3, 3), dtype=np.uint8)
            pixels[..., number % 3] += 150
            path = tmp_path / "set" / split / f"class{number % 3}" / f"{number:02}.{('png', 'jpg')[number % 2]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    (tmp_path / "cut.py").write_text(CUT)
    return [f"data.source=folder:{tmp_path / 'set'}", "data.stream=true", "data.image_size=8", "data.block=4",
            "data.workers=1", "augment.crop=whole", "augment.flip=0.5", "augment.mixup=0.8", "augment.cutmix=1.0",
            "augment.mix=0.8", "model.arch=resnet8", "train.epochs=2", "train.batch_size=12", "train.shards=2",
            "train.device=cpu", "classifier=trained", "head.epochs=0", "probe.epochs=0", "name=it",
            f'plugins=["{tmp_path / "cut.py"}"]']  # fmt: skip


def test_cut_in_two_processes_and_gone_on_in_one_it_is_the_run_left_alone(tmp_path, changes, monkeypatch):
    """Process 1 gets SIGTERM in the third step of the second epoch; to the bit."""
    name, cut, alone = "digits-cross-entropy", tmp_path / "cut", tmp_path / "alone"
    arguments = [sys.executable, "-m", "supcrd", "train", name, *changes, "--devices", "2", "--out", str(cut)]
    one = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(arguments, capture_output=True, text=True, env=one, timeout=300)
    assert done.returncode == 143, done.stderr
    assert "training so far is saved, the same command resumes it" in done.stderr
    assert not (cut / "it" / "evaluation.json").exists()
    state = load_state(cut / "it" / "checkpoint.pt")
    assert (state["epoch"], state["step"]) == (1, 3)

    monkeypatch.setattr(ViewBatches, "epoch", ViewBatches.epoch)  # what the plug-in changes is put back
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for out in (cut, alone):
        pipeline.run(recipe.load(name, changes), out)
    torch.set_num_threads(threads)
    assert what_stays(cut) == what_stays(alone)
