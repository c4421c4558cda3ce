"""metrics.jsonl as TensorBoard reads it: with its own reader, after kills, and without the package."""

import json
import multiprocessing
import signal
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from killed import run_until_killed
from supcrd import recipe
from supcrd.jobs import run as pipeline
from supcrd.runs.folder import RunFolder
from supcrd.tracking.tensorboard import mirror
from typed import contents, refused, student, write_npz

ROWS = [
    {"epoch": epoch, "loss": 1 / epoch, "lr": 1e-3, "validation_alignment": None, "seconds": 2.5}
    for epoch in range(1, 6)
]


def shown(folder):
    """Tag -> [(step, value)], every event of every file: what is there twice is seen twice."""
    found = {}
    for path in sorted((folder / "tensorboard").iterdir()):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.tensor.float_val[0]))
    return found


def expected(rows):
    told = {}
    for row in rows:
        for key, value in row.items():
            if key != "epoch" and value is not None:
                told.setdefault(key, []).append((row["epoch"], pytest.approx(value, rel=1e-6)))  # float32
    return told


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").open()]


def test_every_number_is_a_scalar_at_its_epoch(tmp_path):
    for count in range(len(ROWS) + 1):
        mirror(RunFolder(tmp_path), ROWS[:count])
    assert shown(tmp_path) == expected(ROWS)
    reader = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"scalars": 0})
    reader.Reload()
    assert set(reader.Tags()["scalars"]) | set(reader.Tags()["tensors"]) == {"loss", "lr", "seconds"}
    events = [event for event in EventFileLoader(str(RunFolder(tmp_path).events)).Load() if event.step]
    assert [event.wall_time for event in events] == [2.5, 5.0, 7.5, 10.0, 12.5]  # of training


def test_what_a_kill_leaves_is_mended(tmp_path):
    """Cut at any byte, an epoch that is trained again, other metrics: the file is as if nothing had been."""
    mirror(RunFolder(tmp_path), ROWS)
    path = RunFolder(tmp_path).events
    whole = path.read_bytes()
    inode = path.stat().st_ino
    again = [*ROWS[:-1], ROWS[-1] | {"loss": 7.0}]
    left = [whole[:size] for size in range(0, len(whole), 7)]
    left += [whole + b"half an event", b"", bytes(len(whole)), whole[:-1] + b"x"]
    for held in left:
        path.write_bytes(held)
        mirror(RunFolder(tmp_path), again)
        mirror(RunFolder(tmp_path), ROWS)
        assert path.read_bytes() == whole
        path.write_bytes(held)
        mirror(RunFolder(tmp_path), again)
        assert shown(tmp_path) == expected(again)
    assert path.stat().st_ino == inode  # TensorBoard may have it open


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A folder with a tiny set."""
    folder = tmp_path_factory.mktemp("base")
    write_npz(folder / "tiny.npz")
    return folder


def untaught(base, *changes):
    """A run by SupCon without a teacher."""
    own = [change for change in student(base, *changes) if not change.startswith("teacher.")]
    return recipe.load("digits-teacher", ["method.name=supcon", *own])


@pytest.fixture(scope="module")
def start():
    """A run in a process that is killed; its exit status."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["supcrd.jobs.run", "safetensors.torch", "torch._dynamo"])

    def started(wanted, out, moment):
        process = context.Process(target=run_until_killed, args=(recipe.to_toml(wanted), str(out), moment))
        process.start()
        process.join(120)
        return process.exitcode

    return started


def test_killed_and_gone_on_leaves_no_step_twice_or_out(base, start, tmp_path):
    wanted = untaught(base, "train.epochs=6", "train.tensorboard=true", "data.validation=0.2", "name=cut")
    for moment in (("event", 8), ("event", 22), ("writing", 3, 0.5), ("event", 14)):
        assert start(wanted, tmp_path, moment) == -signal.SIGKILL, moment
        (RunFolder(tmp_path / "cut").events).parent.mkdir(exist_ok=True)
        with open(RunFolder(tmp_path / "cut").events, "ab") as file:
            file.write(b"\x18")  # the kill was in the middle of an event
    assert start(wanted, tmp_path, None) == 0
    rows = metrics(tmp_path / "cut")
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert shown(tmp_path / "cut") == expected(rows)
    assert "validation_accuracy" in shown(tmp_path / "cut")


def test_it_can_be_asked_for_at_any_time_and_is_not_another_run(base, start, tmp_path):
    plain = untaught(base, "train.epochs=4", "name=later")
    wanted = untaught(base, "train.epochs=4", "name=later", "train.tensorboard=true")
    assert not recipe.differences(plain, wanted)
    assert recipe.load("digits-supcon", ["train.tensorboard=true"]).name == "digits-supcon"
    assert start(plain, tmp_path, ("event", 22)) == -signal.SIGKILL
    assert 0 < len(metrics(tmp_path / "later")) < 4
    assert not (RunFolder(tmp_path / "later").events).exists()
    assert start(wanted, tmp_path, None) == 0
    assert shown(tmp_path / "later") == expected(metrics(tmp_path / "later"))
    before = contents(tmp_path)
    assert pipeline.run(plain, tmp_path).status == "already finished"
    assert contents(tmp_path) == before


def test_it_follows_the_run_epoch_by_epoch(base, tmp_path):
    seen = []

    def report(name, stage, progress):
        if stage == "train" and progress.row is not None:
            seen.append([step for step, _ in shown(tmp_path / name)["loss"]])

    pipeline.run(untaught(base, "train.epochs=3", "train.tensorboard=true", "name=live"), tmp_path, report=report)
    assert seen == [[1], [1, 2], [1, 2, 3]]


def test_asked_for_when_all_is_trained_but_not_measured(base, tmp_path, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "measure", killed)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(untaught(base, "name=late"), tmp_path)
    assert not (RunFolder(tmp_path / "late").events).exists()
    pipeline.run(untaught(base, "name=late", "train.tensorboard=true"), tmp_path)
    assert shown(tmp_path / "late") == expected(metrics(tmp_path / "late"))


def test_without_the_package_one_line_before_any_work(base, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    line = refused("train", "digits-crd", *student(base, "train.tensorboard=true"), "--out", tmp_path / "runs")
    assert "the tracker tensorboard needs its package, which is not installed here" in line
    assert "pip install 'supcrd[tensorboard]'" in line
    assert not (tmp_path / "runs").exists()
    recipe.load("digits-crd", ["train.tensorboard=true"])  # reading such a run's recipe needs no package
