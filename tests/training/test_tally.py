"""An epoch's sums by hand, with terms that come and go; and what is not read is not run."""

import signal

import pytest
import torch
from torch import nn

from supcrd.base.device import choose
from supcrd.data.loader import Batch
from supcrd.errors import RunError
from supcrd.models import Model
from supcrd.models.normalised import Normalised
from supcrd.models.weights import load_state
from supcrd.recipe.settings import METHOD_SETTINGS, FitSettings
from supcrd.training.fit import fit
from supcrd.training.tally import Tally, check_row
from supcrd.training.task import Distillation, Step
from supcrd.training.teacher import Teaching
from typed import objective_of

CPU = choose("cpu", "float32")
STEPS = [
    (2, {"a": 1.0}),
    (4, {"b": 2.0, "a": 3.0}),
    (4, {}),
    (6, {"b": 5.0}),
    (2, {"a": 4.0, "c": 1.0, "b": 0.5}),
]  # rows, terms


def batch_of(rows, step=0):
    return Batch(torch.zeros(rows, 1), torch.zeros(rows, dtype=torch.int64), torch.arange(rows), step=step)


def added(steps, tally=None):
    tally = tally or Tally(CPU.device)
    for number, (rows, terms) in steps:
        tally.add({name: torch.tensor(value) for name, value in terms.items()}, torch.tensor(1), batch_of(rows), number)
    return tally


def test_means_are_over_all_rows_of_the_epoch():
    found = added(enumerate(STEPS)).means()
    rows = 18
    assert list(found) == ["loss", "a", "b", "c", "train_accuracy"]
    assert found["a"] == pytest.approx((2 * 1 + 4 * 3 + 2 * 4) / rows)
    assert found["b"] == pytest.approx((4 * 2 + 6 * 5 + 2 * 0.5) / rows)
    assert found["c"] == pytest.approx(2 / rows)
    assert found["loss"] == pytest.approx(sum(sum(terms.values()) * count for count, terms in STEPS) / rows)
    assert found["train_accuracy"] == pytest.approx(5 / rows)


@pytest.mark.parametrize("cut", range(len(STEPS) + 1))
def test_a_tally_that_is_cut_goes_on_to_the_bit(cut):
    steps = list(enumerate(STEPS))
    again = added(steps[cut:], Tally(CPU.device, added(steps[:cut]).state()))
    assert again.means() == added(steps).means()


def test_the_first_term_that_was_not_finite_is_named_wherever_it_came():
    steps = [*enumerate(STEPS), (5, (2, {"late": float("nan"), "a": 1.0})), (6, (2, {"a": float("inf")}))]
    with pytest.raises(RunError, match="loss term late was not finite in epoch 3, step 6; stopped"):
        added(steps).check(nn.Linear(1, 1), 2)


def test_a_state_as_version_2_and_0_1_wrote_it():
    """A dictionary of before terms could come and go."""
    kept = {"names": ["a", "b"], "sums": torch.tensor([6.0, 2.0]), "bad": torch.tensor([-1, -1])}
    kept |= {"correct": torch.tensor(3), "rows": 4, "images": 2, "seconds": 1.5}
    tally = Tally(CPU.device, kept)
    assert tally.means() == {"loss": 2.0, "a": 1.5, "b": 0.5, "train_accuracy": 0.75}
    tally.add({"b": torch.tensor(1.0), "c": torch.tensor(2.0)}, torch.tensor(0), batch_of(4), 7)
    assert tally.means() == {"loss": 2.5, "a": 0.75, "b": 0.75, "c": 1.0, "train_accuracy": 0.375}
    nothing = kept | {"names": [], "sums": None, "bad": None, "correct": torch.tensor(0), "rows": 0}
    assert Tally(CPU.device, nothing).means() == {"loss": 0, "train_accuracy": 0.0}


class Passing(nn.Module):
    """A task whose terms are there in some steps only; Ctrl-C comes in one of them."""

    def __init__(self, stop=None):
        super().__init__()
        self.weight, self.stop, self.seen = nn.Parameter(torch.ones(())), stop, 0

    def groups(self, lr):
        return [{"params": [self.weight], "lr": lr}]

    def forward(self, batch):
        self.seen += 1
        if self.seen == self.stop:
            signal.raise_signal(signal.SIGINT)
        _, values = STEPS[batch.step]
        return Step({name: self.weight * value for name, value in values.items()}, torch.tensor(0))


class Batches:
    steps = len(STEPS)

    def epoch(self, epoch, start=0):
        for step in range(start, self.steps):
            yield batch_of(STEPS[step][0], step)


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 8])
def test_a_fit_whose_terms_come_and_go_resumes_to_the_bit(tmp_path, stop):
    def run(path, stop=None):
        task = Passing(stop)
        return task, fit(task, Batches(), FitSettings(epochs=2), seed=0, place=CPU, state_file=path)

    whole, history = run(tmp_path / "whole.pt")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut.pt", stop)
    assert load_state(tmp_path / "cut.pt")["version"] == 2
    again, resumed = run(tmp_path / "cut.pt")
    assert torch.equal(again.weight, whole.weight)
    assert whole.weight != 1
    for row, other in zip(history, resumed, strict=True):
        assert {**row, "seconds": 0, "images_per_second": 0} == {**other, "seconds": 0, "images_per_second": 0}


@pytest.mark.parametrize(
    ("method", "projector", "teacher"),
    [("cross_entropy", 0, 0), ("kd", 0, 1), ("dkd", 0, 1), ("supcon", 1, 0), ("crd", 1, 1), ("lw_supcrd", 1, 1)],
)
def test_what_no_term_reads_is_not_run_and_not_changed(method, projector, teacher):
    """Calls of the networks in a step, and weights that weight decay must not touch either."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        student, other = (Model(3, "convnet", image_size=8, projector=(8, 4)) for _ in range(2))
    settings = METHOD_SETTINGS[method].model_validate({"name": method})
    labels = torch.arange(6) % 3
    teachers = {"teacher": Teaching(Normalised(other, (0.5,) * 3, (0.5,) * 3))}
    objective = objective_of(settings, student, labels, other)
    task = Distillation(Normalised(student, (0.5,) * 3, (0.5,) * 3), objective, teachers)
    calls = {"encoder": 0, "projector": 0, "classifier": 0, "teacher": 0}

    def count(name):
        def hook(*_):
            calls[name] += 1

        return hook

    for name in ("encoder", "projector", "classifier"):
        getattr(student, name).register_forward_hook(count(name))
    for encoder in task.frozen_encoders:
        encoder.register_forward_hook(count("teacher"))

    class Pixels:
        steps = 2

        def epoch(self, epoch, start=0):
            for step in range(start, 2):
                images = torch.rand(12, 3, 8, 8, generator=torch.Generator().manual_seed(step))
                yield Batch(images, labels.repeat(2), torch.arange(6), None, epoch, step, 2)

    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    fit(task, Pixels(), FitSettings(epochs=1, optimizer="adamw", weight_decay=0.5), seed=0, place=CPU)
    assert calls == {"encoder": 2, "projector": 2 * projector, "classifier": 2, "teacher": 2 * teacher}
    changed = {name.partition(".")[0] for name, p in student.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {"encoder", "classifier"} | ({"projector"} if projector else set())


def problem_of(*steps):
    with pytest.raises(RunError) as error:
        added(enumerate(steps)).check(nn.Linear(1, 1), 0)
    return str(error.value)


def test_a_sum_that_alone_overflows_stops_the_run():
    assert "the sum of the loss terms was not finite in epoch 1, step 2" in problem_of(
        (2, {"a": 1.0, "b": 1.0}), (2, {"a": 3e38, "b": 3e38})
    )


def test_a_mean_that_alone_overflows_stops_the_run():
    """As found: each step finite, and an infinite loss in metrics.jsonl."""
    assert "the mean of a loss term over epoch 1 was not finite" in problem_of((2, {"a": 3e38}))


def test_a_term_that_is_not_finite_is_named_before_the_sum():
    assert "loss term b was not finite in epoch 1, step 1" in problem_of((2, {"a": 1.0, "b": torch.inf}))


def test_an_epochs_row_with_a_number_that_is_not_finite():
    for epoch, rest in ((3, r"stopped; a checkpoint of the epochs before remains \(try"), (1, "stopped; try a lower")):
        with pytest.raises(RunError, match=f"validation_accuracy was not finite at the end of epoch {epoch}; {rest}"):
            check_row({"epoch": epoch, "loss": 1.0, "validation_accuracy": float("nan")})


def test_a_state_without_a_place_for_the_sum_is_continued():
    state = added([(0, (2, {"a": 1.0}))]).state()
    state["bad"] = state["bad"][:-1]
    continued = added([(1, (2, {"a": 3e38, "b": 3e38}))], Tally(CPU.device, state))
    assert continued.bad.tolist() == [-1, -1, 1]
