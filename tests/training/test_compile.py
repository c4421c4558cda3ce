"""`train.compile`: what can be told without a compiler. Speed and values are benchmarks/compile.py's."""

import copy
import os

import pytest
import torch

from supcrd.base.home import COMPILED, own_compiled_code
from supcrd.errors import RunError
from supcrd.models.weights import load_model
from supcrd.recipe import load
from supcrd.training.task import Distillation, Normalised
from typed import invoke, objective_of, refused, student


class CompilerMissing(Exception):
    """As torch raises it."""


CompilerMissing.__module__ = "torch._inductor.exc"


def test_a_machine_that_cannot_compile_is_told_so(base, out, monkeypatch):
    monkeypatch.setattr(Distillation, "compile_encoders", lambda self, mode: None)

    def fail(self, batch):
        raise CompilerMissing("\nNo working C++ compiler found\nmore")

    monkeypatch.setattr(Distillation, "forward", fail)
    line = refused("train", "digits-crd", *student(base, "train.compile=default"), "name=c", "--out", out)
    assert line.endswith("train.compile = 'default' failed here (No working C++ compiler found); off is right")


def test_other_failures_are_not_called_the_compilers(base, out, monkeypatch):
    monkeypatch.setattr(Distillation, "compile_encoders", lambda self, mode: None)
    monkeypatch.setattr(Distillation, "forward", lambda self, batch: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        invoke("train", "digits-crd", *student(base, "train.compile=default"), "name=d", "--out", out)


def test_compiling_changes_neither_keys_nor_values(base):
    model, _ = load_model(base / "runs" / "student")
    objective = objective_of(load("digits-supcon").method, model, torch.arange(3))
    task = Distillation(Normalised(model, (0.5,) * 3, (0.5,) * 3), objective)
    before = copy.deepcopy(task.state_dict())
    task.compile_encoders("default")
    after = task.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before if torch.is_tensor(before[key]))


def test_compiled_code_is_kept_where_only_the_user_can_write(tmp_path, monkeypatch):
    """It runs when it is read again; torch's own place is /tmp/torchinductor_USER."""
    monkeypatch.setenv("SUPCRD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(COMPILED, "")  # is put back afterwards
    own_compiled_code()
    folder = tmp_path / "cache" / "compiled"
    assert os.environ[COMPILED] == str(folder)
    assert oct(folder.stat().st_mode) == oct(0o40700)
    monkeypatch.setenv(COMPILED, str(tmp_path / "chosen"))
    own_compiled_code()
    assert os.environ[COMPILED] == str(tmp_path / "chosen")
    monkeypatch.setenv(COMPILED, "")
    folder.chmod(0o777)
    with pytest.raises(RunError, match=r"other users can write to .*compiled, whose code would run; SUPCRD_CACHE or"):
        own_compiled_code()
