"""The caller's global generators are as they were after whatever this library does, and after it fails."""

import random

import numpy as np
import pytest
import torch
from torch import nn

import supcrd
from supcrd import recipe
from supcrd.base.device import choose
from supcrd.base.seeding import forked
from supcrd.data.loader import FeatureBatches
from supcrd.errors import RunError
from supcrd.evaluation.evaluate import evaluate
from supcrd.jobs import run as pipeline
from supcrd.jobs.network import new_student
from supcrd.models.weights import Card, save_model
from supcrd.recipe.settings import FitSettings, ProbeSettings
from supcrd.training.fit import fit
from supcrd.training.task import ProbeFit, Step
from typed import DIVERGES
from typed import student as changes_of

CPU = choose("cpu", "float32")


def states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


@pytest.fixture(autouse=True)
def untouched():
    """What a test did leaves Python's, NumPy's and torch's generators alone."""
    torch.manual_seed(3)
    before = states()
    yield
    assert states() == before


def batches(rows=32):
    labels = torch.arange(rows) % 2
    return FeatureBatches(torch.eye(2)[labels], labels, batch_size=8, seed=0)


def probe():
    with torch.random.fork_rng(devices=[]):
        return ProbeFit(2, 2)


class Noisy(nn.Module):
    """A task that draws, and fails in its third step if it is to."""

    def __init__(self, fails):
        super().__init__()
        self.weight, self.fails, self.drawn = nn.Parameter(torch.ones(1)), fails, []

    def groups(self, lr):
        return [{"params": [self.weight], "lr": lr}]

    def forward(self, batch):
        self.drawn.append(torch.rand(()).item())
        if self.fails and len(self.drawn) == 3:
            raise RuntimeError("no more")
        return Step({"drawn": self.weight.sum() * self.drawn[-1]}, torch.tensor(0))


@pytest.mark.parametrize("fails", [False, True])
def test_a_fit(fails):
    tasks = Noisy(fails), Noisy(False)
    settings = FitSettings(epochs=1)
    if fails:
        with pytest.raises(RuntimeError, match="no more"):
            fit(tasks[0], batches(), settings, seed=0, place=CPU)
    else:
        fit(tasks[0], batches(), settings, seed=0, place=CPU)
    fit(tasks[1], batches(), settings, seed=0, place=CPU)
    assert tasks[0].drawn == tasks[1].drawn[: len(tasks[0].drawn)]  # and what a step draws is a function of its seed
    assert len(set(tasks[1].drawn)) == 4


def test_a_fit_that_diverges():
    class Diverges(Noisy):
        def forward(self, batch):
            return Step({"term": self.weight.sum() * torch.nan}, torch.tensor(0))

    with pytest.raises(RunError):
        fit(Diverges(False), batches(), FitSettings(epochs=1), seed=0, place=CPU)


@pytest.mark.parametrize("method", ["kd", "lw-supcrd"])
def test_a_whole_run_with_its_teacher(base, tmp_path, method):
    pipeline.run(recipe.load(f"digits-{method}", changes_of(base)), tmp_path / "new")


def test_a_run_that_fails(base, tmp_path):
    wrong = recipe.load("digits-lw-supcrd", changes_of(base, *DIVERGES))
    with pytest.raises(supcrd.errors.SupcrdError):
        pipeline.run(wrong, tmp_path / "new")


def test_measuring_and_loading(base, tmp_path):
    images = pipeline.load_data(recipe.load("digits-crd", changes_of(base)))
    made = [new_student(recipe.load("digits-crd", changes_of(base)), images) for _ in range(2)]
    weights = [each.model.state_dict() for each in made]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    evaluate(made[0], images.test, CPU, train=images.train, probe=ProbeSettings(epochs=1))
    model = made[0].model
    card = Card(arch="convnet", num_classes=3, image_size=8, projector=model.config()["projector"])
    save_model(tmp_path, model, card)
    supcrd.load_model(tmp_path)
    torch.save({f"encoder.{key}": value for key, value in model.encoder.state_dict().items()}, tmp_path / "wrong.pth")
    with pytest.raises(supcrd.errors.CheckpointError):
        supcrd.load_model(tmp_path / "wrong.pth")


def test_a_fork_seeds_as_torch_does_and_ends_with_an_error():
    with forked() as reseed:
        torch.manual_seed(11)
        expected = torch.rand(3)
        reseed(11)
        assert torch.equal(torch.rand(3), expected)
    with pytest.raises(ZeroDivisionError), forked() as reseed:
        reseed(1 // 0)
