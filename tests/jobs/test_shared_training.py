"""`supcrd train` in several processes: the numbers of one, deaths, and what they cannot share."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import killed
from supcrd import recipe
from supcrd.base.files import fingerprint
from supcrd.errors import RecipeError, RunError
from supcrd.jobs import run as pipeline
from supcrd.jobs import shared
from supcrd.jobs.shared import agreed
from supcrd.models import Model
from supcrd.models.weights import Card, save_model
from supcrd.recipe.settings import TrainSettings
from supcrd.runs.opening import open_run
from supcrd.training.plan import check_processes
from typed import invoke, refused

SMALL = ["data.limit=200", "train.batch_size=48", "head.epochs=1", "probe.epochs=1"]
TEACHER = ["teacher.override.head.epochs=1", "teacher.override.probe.epochs=1", "teacher.override.train.epochs=1"]
METHODS = {
    "lw": ["digits-lw-supcrd", "method.bank=64", "train.ema=0.9"],
    "crd": ["digits-crd", "method.bank=40", "method.kd_weight=0.5"],
    "supcon": ["digits-supcon"],
    "kd": ["digits-kd"],
    "joint": ["digits-joint", "train.grad_clip=1.0", "teacher.cache=2", "train.optimizer=sgd", "train.dot=0.05"],
}


def command(name, out, *more, shards=2, epochs=2):
    changes = [*METHODS[name], *SMALL, f"train.epochs={epochs}", f"train.shards={shards}", "name=it"]
    if name != "supcon":
        changes += [*TEACHER, f"teacher.override.train.shards={shards}"]
    return [sys.executable, "-m", "supcrd", "train", *changes, "--out", str(out), *map(str, more)]


def trained(name, out, *more, **about):
    """What a training leaves: in processes of its own with --devices, else in this one."""
    arguments = command(name, out, *more, **about)
    if more:
        one = {"OMP_NUM_THREADS": "1"}
        subprocess.run(arguments, check=True, capture_output=True, text=True, env=os.environ | one)
    else:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        pipeline.run(recipe.load(arguments[4], arguments[5 : arguments.index("--out")]), out)
        torch.set_num_threads(threads)
    return what_stays(out)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What eight epochs leave that nothing disturbs."""
    return trained("lw", tmp_path_factory.mktemp("whole"), epochs=8)


def what_stays(out):
    rows = [json.loads(line) for line in (out / "it" / "metrics.jsonl").read_text().splitlines()]
    rows = [{key: value for key, value in row.items() if key not in ("seconds", "images_per_second")} for row in rows]
    evaluation = json.loads((out / "it" / "evaluation.json").read_text())
    return fingerprint(out / "it" / "model.safetensors"), rows, evaluation["accuracy"], evaluation["nll"]


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_give_the_numbers_of_one(tmp_path, name):
    assert trained(name, tmp_path / "two", "--devices", 2) == trained(name, tmp_path / "one")


@pytest.mark.parametrize("name", ["lw", "supcon", "kd"])
def test_four_processes_give_the_numbers_of_one(tmp_path, name):
    """The last batch is too small for four parts, so that a process has none of it."""
    four = trained(name, tmp_path / "four", "--devices", 4, shards=4)
    assert four == trained(name, tmp_path / "one", shards=4)


def test_a_dead_process_ends_the_others_and_one_goes_on(tmp_path, whole):
    """Killed after its first of eight epochs; resumed by one process, the run is that of one left alone."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    arguments = command("lw", tmp_path / "cut", "--devices", 2, epochs=8)
    first = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=environment)
    metrics, deadline = tmp_path / "cut" / "it" / "metrics.jsonl", time.monotonic() + 600
    while not metrics.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(processes_of(first.pid)[-1], signal.SIGKILL)
    began = time.monotonic()
    assert first.wait(60) != 0
    assert time.monotonic() - began < 45
    assert not (tmp_path / "cut" / "it" / "evaluation.json").exists()
    assert trained("lw", tmp_path / "cut", epochs=8) == whole


# In any process and stage of teacher and student: before a step, in the first process also before a file and the like.
KILLED = [(2, 1, 0), (1, 2, 4), (2, 1, 2), (2, 1, 6), (2, 1, 9), (1, 2, 1), (4, 2, 0), (4, 2, 10), (4, 1, 8)]


@pytest.mark.parametrize(("before", "after", "seed"), KILLED)
def test_killed_at_a_random_moment_another_number_goes_on(tmp_path, whole, before, after, seed):
    chance = random.Random(seed)
    rank = chance.randrange(before)
    moment = f"at_event({chance.randrange(1, 130)})" if rank == 0 else f"at_step({chance.randrange(1, 25)})"
    text = KILLER.format(tests=str(Path(killed.__file__).parent), rank=rank, moment=moment)
    (tmp_path / "killed_run.py").write_text(text)
    shards = max(before, after)
    arguments = command("lw", tmp_path / "cut", shards=shards, epochs=8)
    script = [str(tmp_path / "killed_run.py")]
    if before > 1:
        script = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(before), *script]
    arguments[1:3] = script
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    cut = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=600)
    assert cut.returncode == -signal.SIGKILL if before == 1 else "SIGKILL" in cut.stderr, (rank, moment)
    assert not (tmp_path / "cut" / "it" / "evaluation.json").exists()
    expected = whole if shards == 2 else trained("lw", tmp_path / "whole", shards=shards, epochs=8)
    number = ("--devices", after) if after > 1 else ()
    assert trained("lw", tmp_path / "cut", *number, shards=shards, epochs=8) == expected, (rank, moment)


KILLER = """
import os, sys
sys.path.insert(0, {tests!r})
from killed import at_event, at_step
if int(os.environ.get("RANK", "0")) == {rank}:
    {moment}
from supcrd.cli import main
main()
"""


def test_torchrun_begins_anew_after_a_death(tmp_path, whole):
    """Process 0 is killed in the middle: all are started again, and the run is that of one left alone."""
    arguments = command("lw", tmp_path / "cut", epochs=8)
    options = (
        "--nproc-per-node 2 --max-restarts 3 --monitor-interval 0.2 --rdzv-backend c10d --rdzv-endpoint localhost:0"
    )
    arguments[1:2] = ["-m", "torch.distributed.run", *options.split(), "-m"]
    with (tmp_path / "said").open("w") as said:
        agent = subprocess.Popen(arguments, stderr=said, env=os.environ | {"OMP_NUM_THREADS": "1"})
        metrics, deadline = tmp_path / "cut" / "it" / "metrics.jsonl", time.monotonic() + 600
        while not metrics.is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(processes_of(agent.pid)[0], signal.SIGKILL)
        assert agent.wait(300) == 0
    assert what_stays(tmp_path / "cut") == whole


def test_two_processes_measure_a_file_as_one_does(tmp_path):
    """1,438 images in three blocks."""
    torch.manual_seed(0)
    model, card = Model(10, "resnet8", in_channels=1, image_size=8), {"arch": "resnet8", "in_channels": 1}
    card |= {"image_size": 8, "mean": (0.3,), "std": (0.4,), "recipe": {"probe": {"epochs": 1}}}
    save_model(tmp_path, model, Card(num_classes=10, class_names=tuple("0123456789"), **card))
    about = ["--data", "digits", "--split", "train", "--device", "cpu", "--json"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "supcrd"]
    command += ["evaluate", str(tmp_path), *about]
    one = os.environ | {"OMP_NUM_THREADS": "1"}
    two = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=one).stdout)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert two == json.loads(invoke("evaluate", tmp_path, *about).stdout)
    torch.set_num_threads(threads)
    assert two["n"] == 1438


@pytest.mark.parametrize(("signal_sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_same_command_goes_on(tmp_path, whole, signal_sent, status):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (tmp_path / "said").open("w") as said:
        first = subprocess.Popen(
            command("lw", tmp_path / "cut", "--devices", 2, epochs=8), stderr=said, env=environment
        )
        metrics, deadline = tmp_path / "cut" / "it" / "metrics.jsonl", time.monotonic() + 600
        while not metrics.is_file() and time.monotonic() < deadline:
            time.sleep(0.05)
        first.send_signal(signal_sent)
        assert first.wait(60) == status
    assert "training so far is saved, the same command resumes it" in (tmp_path / "said").read_text()
    assert "Traceback" not in (tmp_path / "said").read_text()
    assert trained("lw", tmp_path / "cut", epochs=8) == whole


def test_a_failure_of_the_first_process_alone_ends_all(tmp_path):
    """Its disk is full in the middle of a training: the other one waits for its word, and says the reason too."""
    (tmp_path / "plugin.py").write_text(FAILS)
    arguments = command("crd", tmp_path / "runs", "--devices", 2)
    arguments.insert(6, f'plugins=["{tmp_path / "plugin.py"}"]')
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 2
    assert "error: metrics.jsonl: No space left on device" in done.stderr
    assert "process 0 of 2: [Errno 28] No space left on device: 'metrics.jsonl'; the last checkpoint" in done.stderr
    assert "Traceback" not in done.stderr


FAILS = """
import errno, os
from supcrd.runs.folder import RunFolder

def write(self, rows):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "metrics.jsonl")

if os.environ.get("RANK") == "0":
    RunFolder.write_metrics = write
"""


def processes_of(parent):
    """Process numbers of the workers that an agent started, in the order of their ranks."""
    found = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(parent)], capture_output=True, text=True).stdout
    return [int(line.split()[0]) for line in found.splitlines() if "supcrd train" in line]


def test_processes_that_were_started_with_other_recipes_end(tmp_path):
    """As on two machines of which one has an older file: both say which process differs, and in what."""
    both = []
    port = 20000 + os.getpid() % 20000
    for rank in range(2):
        place = {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank), "MASTER_ADDR": "localhost",
                 "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}  # fmt: skip
        arguments = command("crd", tmp_path, f"train.lr={0.1 * (rank + 1)}")
        both.append(subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True, env=os.environ | place))
    for process in both:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 2
        assert "process 1 of 2 has another recipe than process 0 (lr = 0.2, not lr = 0.1)" in said
    assert not (tmp_path / "it").exists()


@pytest.mark.parametrize(
    ("settings", "size", "why"),
    [
        ({"batch_size": 2}, 4, "train.batch_size = 2 gives 4 processes less than 2 images each; 8 or more is right"),
        ({"shards": 3}, 2, "train.shards = 3 cannot be shared by 2 processes; a multiple of 2 is right"),
        ({"minutes": 1.0}, 2, "train.minutes = 1 is for one process; give train.epochs to 2"),
        ({"optimizer": "sgd", "dot": 0.05}, 2, "train.dot = 0.05 with 2 processes needs train.shards = 2"),
    ],
)
def test_what_processes_cannot_share(settings, size, why):
    settings = TrainSettings(**(settings if "minutes" in settings else {"epochs": 1} | settings))
    with pytest.raises(RecipeError, match=f"^{why}$"):
        check_processes(settings, size)


def test_the_command_refuses_before_it_starts_any(tmp_path):
    line = refused("train", "digits-supcon", "train.batch_size=3", "--devices", "2", "--out", tmp_path)
    assert "train.batch_size = 3 gives 2 processes less than 2 images each" in line
    line = refused("train", "digits-supcon", "train.shards=2", "train.accumulate=2", "--out", tmp_path)
    assert "both say in how many parts" in line


def test_a_run_of_several_processes_is_not_resumed_by_another_number(tmp_path):
    made = recipe.load("digits-supcon")
    run = open_run(tmp_path, made, origins={}, processes=2)
    run.checkpoint.write_bytes(b"")
    assert open_run(tmp_path, made, origins={}, processes=2) == run
    with pytest.raises(
        RunError, match=r"was begun by 2 process\(es\), and 1 would give other numbers; --devices 2 resumes"
    ):
        open_run(tmp_path, made, origins={})
    exact = recipe.load("digits-supcon", ["train.shards=4", "name=exact"])
    open_run(tmp_path, exact, origins={}, processes=4).checkpoint.write_bytes(b"")
    open_run(tmp_path, exact, origins={}, processes=2)


class Told:
    """Three processes, of which the third is as it is said."""

    size = 3

    def __init__(self, third):
        self.third = third

    def all(self, facts):
        return [facts, facts, self.third]


def test_what_processes_find_is_compared():
    agreed(Told(({"data set": "a"}, None)), {"data set": "a"})
    with pytest.raises(RunError, match=r"process 2 of 3 has another data set than process 0 \(b, not a\)"):
        agreed(Told(({"data set": "b"}, None)), {"data set": "a"})
    with pytest.raises(RunError, match="process 2 of 3: no such file"):
        agreed(Told(({}, "no such file")), {"data set": "a"})


def test_plug_ins_are_compared_too(tmp_path, monkeypatch):
    """A recipe names them only: two machines may have other files of one name."""
    (tmp_path / "own.py").write_text("answer = 42")
    made = recipe.load("digits-supcon", [f'plugins=["{tmp_path / "own.py"}"]'])

    class Second:
        size = 2

        def all(self, facts):
            (here, problem) = facts
            return [facts, (here | {"plug-in own.py": "f" * 32}, problem)]

    monkeypatch.setattr(shared, "everyone", Second)
    with pytest.raises(RunError, match=r"process 1 of 2 has another plug-in own.py than process 0 \(ffff"):
        shared._compared({"recipe": "the same"}, made.plugins)
