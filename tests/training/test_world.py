"""Two processes that share each batch do what one does with the whole of it."""

import json
import signal
from unittest.mock import patch

import pytest
import torch
from torch import nn

from jointly import together
from supcrd.base.device import choose
from supcrd.data.loader import Batch
from supcrd.data.shares import Shares
from supcrd.errors import RunError, Terminated
from supcrd.models.weights import load_state, save_state
from supcrd.recipe.settings import FitSettings
from supcrd.training.fit import fit
from supcrd.training.objective.build import build
from supcrd.training.objective.term import Context, Outputs, Shapes
from supcrd.training.objective.term import Step as TermStep
from supcrd.training.processes import Group
from supcrd.training.task import Step
from supcrd.training.world import ALONE

N, B, V, F, D, C = 25, 5, 2, 6, 5, 3
LABELS = torch.arange(N) % C
CPU = choose("cpu", "float32")
TABLES = {"crd": {"bank": 9}, "lw_supcrd": {"bank": 5}, "plain": {"term": "lw_supcrd"}, "supcon": {},
          "cross_entropy": {"fall_epochs": 1.0}}  # fmt: skip


class Heads(nn.Module):
    """A student of linear heads and a teacher whose projection head learns too, on features that are given."""

    def __init__(self, world=ALONE, at_step=lambda batch: None):
        super().__init__()
        shapes = Shapes(features=F, projections=D, logits=C)
        context = Context(classes=C, labels=LABELS, student=shapes, teachers={"teacher": shapes}, seed=3)
        self.world, self.at_step = world, at_step
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.heads = nn.ModuleList(nn.Linear(F, width) for width in (D, C, D, C))
            self.objective = build(TABLES, context, epochs=2, views=V)

    def groups(self, lr):
        return [{"params": list(self.parameters()), "lr": lr}]

    def forward(self, batch):
        self.at_step(batch)
        projections, logits, taught, known = (head(batch.inputs) for head in self.heads)
        outputs = {"teacher": Outputs(projections=taught, logits=known.detach())}
        step = TermStep(batch, Outputs(projections=projections, logits=logits), outputs, self.world)
        return Step(self.objective(step, step), (logits.argmax(dim=1) == batch.labels).sum())


class Shared:
    """The batches of one process out of `size`: the images of each batch are dealt out in order."""

    steps = N // B

    def __init__(self, rank=0, size=1):
        self.rank, self.size = rank, size

    def epoch(self, epoch, start=0):
        views = torch.randn(V, N, F, generator=torch.Generator().manual_seed(epoch))
        order = torch.randperm(N, generator=torch.Generator().manual_seed(100 + epoch))
        for step in range(start, self.steps):
            whole = order[step * B :][:B]
            index = whole[Shares(self.size, self.rank, self.size).images(len(whole))]
            batch = Batch(views[:, index].flatten(0, 1), LABELS[index].repeat(V), index, None, epoch, step, self.steps)
            every = batch._replace(indices=whole, labels=LABELS[whole].repeat(V))
            yield batch._replace(whole=every) if self.size > 1 else batch


SETTINGS = FitSettings(epochs=2, optimizer="sgd", lr=0.05)
"""SGD, since Adam's first steps are signs, which turn over where a gradient is a rounding error."""


def whole():
    task = Heads()
    return task, fit(task, Shared(), SETTINGS, seed=0, place=CPU)


def worker(rank, size, folder, stage):
    """What a process of the world does; what it saw goes into a file."""
    world, shared, state = Group(Shares(2, rank, 2)), Shared(rank, 2), folder / "state.pt"

    def seen(batch):
        if stage == "cut" and rank == 1 and (batch.epoch, batch.step) == (1, 2):
            signal.raise_signal(signal.SIGTERM)

    class Bad(Heads):
        def forward(self, batch):
            terms, correct = super().forward(batch)
            bad = stage == "bad" and rank == 1 and batch.step == 3
            return Step({**terms, "crd": terms["crd"] * torch.nan} if bad else terms, correct)

    task, told = Bad(world, seen), {"written": 0}

    def counted(*arguments):
        told["written"] += 1
        save_state(*arguments)

    try:
        with patch("supcrd.training.fit.save_state", counted):
            history = fit(task, shared, SETTINGS, seed=0, place=CPU, state_file=state, world=world)
        told["history"] = history
        torch.save(task.state_dict(), folder / f"{stage}-{rank}.pt")
    except (Terminated, RunError) as error:
        told["error"] = f"{type(error).__name__} {error}"
    (folder / f"{stage}-{rank}.json").write_text(json.dumps(told))


def two(folder, stage):
    together(2, worker, folder, stage)
    return [json.loads((folder / f"{stage}-{rank}.json").read_text()) for rank in range(2)]


def told(history):
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in history]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("world")


def test_a_signal_to_one_stops_both_at_one_step_and_what_goes_on_is_the_whole(folder):
    """Sums, banks and weights of the two are those of one process with whole batches, also after they were cut."""
    ended = two(folder, "cut")
    assert [each["error"].split()[0] for each in ended] == ["Terminated", "Terminated"]
    assert [each["written"] for each in ended] == [2, 0]  # the first one alone: an epoch's end, the signal
    left = load_state(folder / "state.pt")
    assert (left["epoch"], left["step"]) == (1, 3)
    assert (left["tally"]["rows"], left["tally"]["images"]) == (3 * B * V, 3 * B)  # of both

    ended = two(folder, "on")
    task, history = whole()
    assert len(history) == 2
    for rank, each in enumerate(ended):
        state = torch.load(folder / f"on-{rank}.pt")
        assert state.keys() == task.state_dict().keys()
        for name, value in task.state_dict().items():  # rows of a bank among them, and when they were written
            torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-5, msg=name)
        assert told(each["history"]) == [pytest.approx(row, rel=1e-4) for row in told(history)], rank


def test_a_term_that_is_not_finite_in_one_stops_both(folder, tmp_path):
    errors = [each["error"] for each in two(tmp_path, "bad")]
    assert "loss term crd was not finite in epoch 1, step 4" in errors[1]
    assert all(error.startswith("RunError") for error in errors)
