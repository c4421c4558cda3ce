"""Runs of a sweep in several processes: how their command is heard, and that they are the run of one."""

import signal
import sys

import pytest

from supcrd import recipe as recipes
from supcrd.errors import RecipeError
from supcrd.models.weights import load_model
from supcrd.runs.folder import RunFolder
from supcrd.sweep import launched
from supcrd.sweep.run import run_all


@pytest.fixture
def command(tmp_path, monkeypatch):
    """A program in place of Python's, that writes down its arguments and does what it is told."""

    def write(lines):
        path = tmp_path / "python"
        path.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\n{lines}\n')
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        monkeypatch.setattr(launched, "POLL", 0.01)

    return write


def test_what_comes_of_it(tmp_path, command):
    run = recipes.load("digits-teacher", ["name=a"])
    folder = tmp_path / "a"
    folder.mkdir()
    command("echo warning >&2\necho error: no such thing >&2\nexit 2")
    assert launched.launched(run, tmp_path, 2) == {"status": "failed", "reason": "no such thing"}
    assert " -m supcrd train " in (tmp_path / "arguments").read_text()
    assert (tmp_path / "arguments").read_text().endswith(f"--devices 2 --out {tmp_path}\n")
    command("echo terminated >&2\nexit 143")
    assert launched.launched(run, tmp_path, 2)["status"] == "interrupted"
    command(f"trap 'exit 143' TERM\necho '{{\"epoch\": 1}}' > {folder}/metrics.jsonl\nwhile :; do sleep 0.02; done")
    assert launched.launched(run, tmp_path, 2, until=1) == {"status": "paused"}
    command(f"echo '{{\"version\": 2}}' > {folder}/evaluation.json")
    assert launched.launched(run, tmp_path, 2)["status"] == "trained"
    with pytest.raises(RecipeError, match=r"train.batch_size = 2 gives 2 processes"):
        launched.launched(recipes.load("digits-teacher", ["train.batch_size=2"]), tmp_path, 2)


def test_ctrl_c_is_passed_on_once_and_waited_for(tmp_path, command, monkeypatch):
    command(f"trap 'echo got >> {tmp_path}/got; exit 143' TERM\nwhile :; do sleep 0.02; done")

    def interrupted(process, folder, until):
        while not (tmp_path / "arguments").exists():
            pass
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(launched, "_waited", interrupted)
    with pytest.raises(KeyboardInterrupt):
        launched.launched(recipes.load("digits-teacher"), tmp_path, 2)


def test_two_processes_give_the_run_of_one(tmp_path, quick):
    changes = [*quick, "name=a", "train.shards=2", "head.epochs=0", "probe.epochs=0", "train.device=cpu"]
    run = recipes.load("digits-teacher", changes)
    (shared,) = run_all([run], tmp_path / "two", devices=2)
    assert shared.status == "trained", shared
    (alone,) = run_all([run], tmp_path / "one")
    assert shared.evaluation["accuracy"] == alone.evaluation["accuracy"]
    states = [load_model(tmp_path / out / "a")[0].state_dict() for out in ("one", "two")]
    assert all((states[0][key] == states[1][key]).all() for key in states[0])
    assert RunFolder(tmp_path / "two" / "a").environment["processes"] == 2
