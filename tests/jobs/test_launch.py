"""What `--devices` refuses before it starts a process."""

import pytest
import torch

from supcrd.base import device
from supcrd.errors import RunError
from supcrd.jobs.launch import launch
from supcrd.recipe import load
from typed import refused


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine with two, as torch tells it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(device, "has_native_bfloat16", lambda place: False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so that it is not set here


def test_more_devices_than_there_are(two_gpus, monkeypatch, tmp_path):
    def started(*arguments):
        raise AssertionError(arguments)

    monkeypatch.setattr("torch.distributed.launcher.api.elastic_launch", started)
    with pytest.raises(RunError, match=r"^--devices 4: this machine has 2 CUDA devices$"):
        launch(load("digits-supcon"), 4, ["train"])
    line = refused("train", "digits-supcon", "--devices", "4", "--out", tmp_path / "runs")
    assert "--devices 4: this machine has 2 CUDA devices" in line
    assert not (tmp_path / "runs").exists()
    begun = "the processes cannot be started"
    with pytest.raises(RunError, match=begun):  # as many as there are would be
        launch(load("digits-supcon"), 2, ["train"])
    with pytest.raises(RunError, match=begun):  # and on the CPU any number
        launch(load("digits-supcon", ["train.device=cpu"]), 4, ["train"])
