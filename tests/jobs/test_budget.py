"""`train.minutes`: epochs that are found once, without a trace in the results, and kept."""

import copy
import json
import math
import re
import signal
from types import SimpleNamespace

import pytest
import torch

from supcrd import recipe as recipes
from supcrd.base.device import choose
from supcrd.data.loader import Batch, ViewBatches
from supcrd.errors import RunError
from supcrd.jobs import budget
from supcrd.jobs import run as pipeline
from supcrd.models.weights import load_state
from supcrd.recipe import load
from supcrd.recipe.settings import TrainSettings
from supcrd.runs.folder import RunFolder
from supcrd.sweep.plan import Job, costs, epochs_of, estimate, kind
from supcrd.training import budget as timing
from supcrd.training.budget import EpochTime, time_epoch

CPU = choose("cpu", "float32")
TERMS = """
[objective.cross_entropy]
[objective.kd]
fall_epochs = 2.0
"""
OPTIONS = [
    "train.optimizer=sgd", "train.lr=0.05", "train.dot=0.05", "train.ema=0.9", "train.accumulate=2",
    "train.sampling=balanced", "train.grad_clip=1.0",
]  # fmt: skip


@pytest.fixture
def short(quick):
    """Overrides of a quick run, without a length."""
    return [change for change in quick if change.removeprefix("train.") != "epochs=2"]


@pytest.fixture
def wanted(short, quick_teacher, tmp_path):
    """The recipe of a run in which whatever depends on the number of epochs is there: a schedule, a falling term."""
    text = re.sub(r"\[method\]\n(\w.*\n)+", "", recipes.builtin_text("digits-kd")) + TERMS
    (tmp_path / "composed.toml").write_text(text)
    given = ["data.validation=0.2", "train.precision=float32", "train.schedule=cosine", "teacher.cache=5", *OPTIONS]

    def make(*changes):
        teacher = [*quick_teacher, "teacher.override.name=teacher"]
        return load(tmp_path / "composed.toml", [*short, *teacher, *given, *changes])

    return make


def fixed_time(monkeypatch, seconds):
    """A machine on which an epoch takes so long; the real steps are taken as well."""

    def timed(task, *rest, **named):
        assert task.objective.epochs == budget.ENDLESS
        time_epoch(task, *rest, **named)
        return EpochTime(seconds, 0.0)

    monkeypatch.setattr(budget, "time_epoch", timed)
    monkeypatch.setattr(budget, "_end_of_epoch", lambda *_: 0.0)


def contents(folder):
    rows = [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")}
            for row in RunFolder(folder).history]  # fmt: skip
    return load_state(folder / "checkpoint.pt"), (folder / "model.safetensors").read_bytes()[-10_000:], rows


def test_a_run_of_minutes_is_the_run_of_the_epochs_that_they_give(wanted, tmp_path, monkeypatch, caplog):
    """To the bit, with a falling term, a schedule, a cache and all other options: timing leaves nothing behind."""
    caplog.set_level("INFO", "supcrd")
    fixed_time(monkeypatch, 60.0)
    timed = pipeline.run(wanted("train.minutes=4.5", "name=timed"), tmp_path)
    assert "timed: train.minutes = 4.5: 4 epochs of about 60 s" in caplog.text
    told = json.loads((timed.folder / "budget.json").read_text())
    assert (told["minutes"], told["epochs"]) == (4.5, 4)
    assert timed.evaluation["epochs"] == 4
    plain = pipeline.run(wanted("train.epochs=4", "name=plain"), tmp_path)
    one, other = contents(timed.folder), contents(plain.folder)
    assert one[1:] == other[1:]
    assert all(torch.equal(value, other[0]["task"][name]) for name, value in one[0]["task"].items()
               if isinstance(value, torch.Tensor))  # fmt: skip
    assert one[2][-1]["kd"] < one[2][1]["kd"]
    steps = 4 * 3  # of 48 images
    assert one[2][-1]["lr"] == pytest.approx(0.05 * (1 + math.cos(math.pi * (steps - 1) / steps)) / 2)


def test_a_cut_run_has_the_epochs_that_it_began_with(wanted, tmp_path, monkeypatch):
    fixed_time(monkeypatch, 60.0)
    recipe = wanted("train.minutes=3.5", "name=x")
    whole = pipeline.run(recipe, tmp_path / "whole")
    real = RunFolder.write_metrics

    def interrupt(self, rows):
        real(self, rows)
        if self.name == "x" and len(rows) == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(RunFolder, "write_metrics", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(recipe, tmp_path / "cut")
    monkeypatch.setattr(RunFolder, "write_metrics", real)
    folder = tmp_path / "cut" / "x"
    fixed_time(monkeypatch, 1.0)  # a much faster machine now
    assert RunFolder(folder).recipe.train.epochs == 3
    again = pipeline.run(recipe, tmp_path / "cut")
    assert again.status == "resumed"
    assert again.evaluation["epochs"] == 3
    assert (folder / "model.safetensors").read_bytes()[-10_000:] == contents(whole.folder)[1]
    assert pipeline.run(recipe, tmp_path / "cut").status == "already finished"

    for file in ("evaluation.json", "budget.json"):
        (folder / file).unlink()
    with pytest.raises(RunError, match=r"cut/x: it has a checkpoint, but no budget.json, .* --force starts over"):
        pipeline.run(recipe, tmp_path / "cut")
    (folder / "budget.json").write_text('{"epochs": "many"}')
    with pytest.raises(RunError, match=r"budget.json cannot be read: epochs = 'many'"):
        pipeline.run(recipe, tmp_path / "cut")


def test_too_short_for_an_epoch_says_what_one_takes_and_leaves_nothing(short, tmp_path, monkeypatch):
    fixed_time(monkeypatch, 90.0)
    with pytest.raises(RunError) as error:
        pipeline.run(load("digits-cross-entropy", [*short, "train.minutes=1", "name=x"]), tmp_path / "out")
    line = str(error.value)
    assert "x: train.minutes = 1: one epoch takes about 90 s here (4 steps and the validation)" in line
    least = float(line.rpartition("; ")[2].partition(" ")[0])
    assert 1.5 <= least <= 1.5 * 1.1 + 0.3
    assert "\n" not in line
    assert list((tmp_path / "out" / "x").iterdir()) == []
    # the same name may be used again at once
    fixed_time(monkeypatch, 20.0)
    done = pipeline.run(load("digits-cross-entropy", [*short, "train.minutes=1", "name=x"]), tmp_path / "out")
    assert done.evaluation["epochs"] == 2


def test_the_time_of_an_epoch_is_that_of_its_steps_and_its_start(monkeypatch):
    """By a clock of its own: a task whose first step of all is slow, and epochs that need a while to begin."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    class Slow(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.calls = torch.nn.Parameter(torch.ones(1)), 0
            self.register_buffer("seen", torch.zeros(()))

        def groups(self, lr):
            return [{"params": [self.weight], "lr": lr}]

        def forward(self, batch):
            self.calls += 1
            self.seen += 1
            clock.now += 8.0 if self.calls == 1 else 0.25
            return {"loss": (self.weight * torch.rand(1)).sum()}, torch.tensor(0)

    class Batches:
        steps = 50

        def epoch(self, epoch, start=0):
            clock.now += 2.0
            for _ in range(start, self.steps):
                yield Batch(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64), torch.arange(2))

    task, before = Slow(), torch.get_rng_state()
    state = copy.deepcopy(task.state_dict())
    settings = TrainSettings(epochs=0, minutes=1.0, optimizer="sgd", lr=0.1)
    result = time_epoch(task, Batches(), settings, CPU, seed=0, limit=0.0)
    assert result == EpochTime(seconds=2.0 + 50 * 0.25, spent=2.0 + 8.0 + 0.25 + 2.0 + 3 * 0.25)
    longer = time_epoch(task, Batches(), settings, CPU, seed=0, limit=4.0)
    assert longer.seconds == 14.5
    assert task.calls == 5 + 2 + 9  # until more than 4 seconds have gone
    assert all(torch.equal(value, state[name]) for name, value in task.state_dict().items())
    assert task.weight.grad is None
    assert torch.equal(torch.get_rng_state(), before)


def test_a_device_that_works_by_itself_is_waited_for_at_the_end_alone(monkeypatch):
    """As a GPU does: a step is given to it in 1 s, and it takes 3; waiting for it costs 5 s besides."""
    clock = SimpleNamespace(now=0.0, done=0.0)
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def wait(_):
        if clock.done > clock.now:
            clock.now = clock.done + 5.0

    monkeypatch.setattr(type(CPU), "wait", wait)

    class Given(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def groups(self, lr):
            return [{"params": [self.weight], "lr": lr}]

        def forward(self, batch):
            clock.now += 1.0
            clock.done = max(clock.done, clock.now) + 3.0
            return {"loss": self.weight.sum()}, torch.tensor(0)

    class Batches:
        steps = 100

        def epoch(self, epoch, start=0):
            yield from [Batch(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64), torch.arange(2))] * self.steps

    settings = TrainSettings(epochs=0, minutes=1.0, optimizer="sgd", lr=0.1)
    found = time_epoch(Given(), Batches(), settings, CPU, seed=0, limit=60.0)
    first, steps = 1.0 + 3.0 + 5.0, 52  # given in 60 s; done after 1 s and 3 s each, and one wait
    assert found.seconds == pytest.approx(first + 99 * (1.0 + 3.0 * steps + 5.0) / steps)


def test_plans_and_readers_know_the_epochs_once_they_are_known(short, tmp_path, monkeypatch):
    fixed_time(monkeypatch, 25.0)
    recipe = load("digits-cross-entropy", [*short, "train.minutes=1", "name=x"])
    assert epochs_of(recipe, tmp_path) == 0
    known = costs(tmp_path)
    assert estimate(Job("x", recipe), tmp_path, known) is None
    pipeline.run(recipe, tmp_path)
    assert epochs_of(recipe, tmp_path) == 2
    assert RunFolder(tmp_path / "x").recipe.train.epochs == 2
    known = costs(tmp_path)
    assert known[kind(recipe)].epoch == pytest.approx(RunFolder(tmp_path / "x").evaluation["train_seconds"] / 2)
    other = recipe.model_copy(update={"name": "y"})
    assert estimate(Job("y", other), tmp_path, known) == pytest.approx(60 + known[kind(recipe)].evaluation)
    assert "epochs" not in recipes.to_table(RunFolder(tmp_path / "x").recipe)["train"]


def test_batches_of_a_small_set_can_be_timed(short):
    """Fewer steps in an epoch than are timed at least."""
    recipe = load("digits-cross-entropy", [*short, "train.batch_size=40", "train.minutes=1"])
    images = pipeline.load_data(recipe)
    batches = ViewBatches(images.train, recipe.augment, batch_size=100, seed=0, device=CPU.device)
    assert batches.steps == 1

    class Task(torch.nn.Linear):
        def groups(self, lr):
            return [{"params": list(self.parameters()), "lr": lr}]

        def forward(self, batch):
            return {"loss": super().forward(batch.inputs.flatten(1)).mean()}, torch.tensor(0)

    assert time_epoch(Task(192, 2), batches, recipe.train, CPU, seed=0, limit=0.0).seconds > 0
