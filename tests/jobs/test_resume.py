"""Exact resume: a run that is killed again and again ends as if nobody had touched it, to the bit."""

import json
import multiprocessing
import random
import resource
import shutil
import signal

import numpy as np
import pytest
import torch

from killed import run_until_killed
from supcrd import recipe
from supcrd.errors import CheckpointError
from supcrd.jobs import run as pipeline
from supcrd.models.weights import load_state
from typed import NET, TEACHER, write_npz

KILLS = 20
TIMES = {"seconds", "images_per_second", "train_seconds", "evaluation_seconds", "teacher"}
SHORT = ["train.epochs=30", "data.validation=0.2", "head.epochs=2", "train.precision=float32"]
# What a run imports, also what it imports only once it needs it: else every process that is killed does so anew.
IMPORTED = [
    "supcrd.jobs.run",
    "supcrd.training.objective.terms",
    "supcrd.metrics.calibration",
    "supcrd.metrics.fidelity",
    "numpy.ma",
    "safetensors.torch",
    "torch._dynamo",
    "torch.utils.serialization",
]
METHODS = {
    "cross_entropy": [],
    "kd": ["method.temperature=4.0"],
    "dkd": ["method.temperature=4.0", "method.warmup_epochs=3.0", "method.beta=2.0"],
    "supcon": ["train.optimizer=sgd", "train.lr=0.05"],
    "crd": [],
    "lw_supcrd": ["train.optimizer=adamw", "train.grad_clip=1.0"],
    "hybrid": [],
    "joint": ["method.standardise=true", "method.label_smoothing=0.1", "method.kd_fall=0.5"],
    "crd with a bank": ["method.bank=20"],
    "lw_supcrd with a bank, kd and a cache": ["method.bank=20", "method.kd_weight=0.5", "teacher.cache=3"],
    "kd with all options of training": [
        "train.optimizer=sgd",
        "train.lr=0.05",
        "train.ema=0.9",
        "train.accumulate=3",
        "train.dot=0.05",
        "train.weight_decay=0.01",
        "train.decay=weights",
        "train.grad_clip=1.0",
        "train.sampling=balanced",
        "train.patience=25",
    ],
}

FEW = ("lw_supcrd with a bank, kd and a cache", "kd with all options of training")
"""What `make test` has; the rest is left to `make long`."""


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A folder with a tiny set and a finished teacher."""
    folder = tmp_path_factory.mktemp("taught")
    write_npz(folder / "tiny.npz")
    source = f"data.source=npz:{folder / 'tiny.npz'}"
    pipeline.run(recipe.load("digits-teacher", [source, *NET, "data.validation=0.2", "name=teacher"]), folder / "runs")
    return folder


@pytest.fixture(scope="module")
def server():
    """Processes that begin with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context


def student(taught, method):
    name = method.partition(" ")[0]
    changes = [f"data.source=npz:{taught / 'tiny.npz'}", *NET, *TEACHER, *SHORT, f"method.name={name}", "name=student"]
    return recipe.load("digits-lw-supcrd", [*changes, *METHODS[method]])


def contents(folder):
    """Everything that a run keeps, without the times."""
    state = load_state(folder / "checkpoint.pt")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").open()]
    assert [row["epoch"] for row in state["history"]] == [row["epoch"] for row in rows]
    with np.load(folder / "outputs.npz") as arrays:
        outputs = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    return {
        "state": {key: state[key] for key in ("task", "optimizer", "epoch", "step")},
        "metrics": [{key: value for key, value in row.items() if key not in TIMES} for row in rows],
        "evaluation": {k: v for k, v in json.loads((folder / "evaluation.json").read_text()).items() if k not in TIMES},
        "outputs": outputs,
        "model": (folder / "model.safetensors").read_bytes(),
        "files": sorted(path.name for path in folder.iterdir()),
    }


def assert_same(one, other, path=""):
    assert type(one) is type(other), path
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{path}.{i}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    else:
        assert one == other, path


def start(server, student, out, moment):
    process = server.Process(target=run_until_killed, args=(recipe.to_toml(student), str(out), moment))
    process.start()
    process.join(120)
    return process.exitcode


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=() if name in FEW else pytest.mark.long) for name in METHODS]
)
def test_killed_twenty_times_and_gone_on_is_the_same_to_the_bit(method, taught, server, tmp_path):
    wanted = student(taught, method)
    for name in ("whole", "cut"):
        shutil.copytree(taught / "runs", tmp_path / name)
    assert start(server, wanted, tmp_path / "whole", None) == 0

    chance = random.Random(method)
    for attempt in range(KILLS):
        kind = ("event", "writing", "time")[attempt % 3]
        moment = {
            "event": ("event", chance.randrange(1, 22)),
            "writing": ("writing", chance.randrange(1, 5), chance.random()),
            "time": ("time", chance.uniform(0.0, 0.08)),
        }[kind]
        status = start(server, wanted, tmp_path / "cut", moment)
        assert status == -signal.SIGKILL, (attempt, moment, status)
    assert start(server, wanted, tmp_path / "cut", None) == 0
    assert_same(contents(tmp_path / "cut" / "student"), contents(tmp_path / "whole" / "student"))


def full_disk(text, out, size):
    """As a full disk does: no file grows above `size` bytes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    with pytest.raises(CheckpointError, match=r"checkpoint.pt cannot be written"):
        pipeline.run(recipe.parse(text, "test"), out)


def test_a_full_disk_leaves_the_last_good_checkpoint(taught, server, tmp_path):
    wanted = student(taught, "crd with a bank")
    for name in ("whole", "cut"):
        shutil.copytree(taught / "runs", tmp_path / name)
    assert start(server, wanted, tmp_path / "whole", None) == 0
    assert start(server, wanted, tmp_path / "cut", ("event", 30)) == -signal.SIGKILL
    checkpoint = tmp_path / "cut" / "student" / "checkpoint.pt"
    before = checkpoint.read_bytes()

    process = server.Process(target=full_disk, args=(recipe.to_toml(wanted), str(tmp_path / "cut"), len(before) // 2))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir() if path.name.startswith(".")] == []
    assert start(server, wanted, tmp_path / "cut", None) == 0
    assert_same(contents(tmp_path / "cut" / "student"), contents(tmp_path / "whole" / "student"))
