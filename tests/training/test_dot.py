"""DOT against a naive loop and against torch's SGD."""

import copy

import pytest
import torch
from torch import nn

from supcrd.base.device import choose
from supcrd.data.loader import FeatureBatches
from supcrd.errors import RecipeError
from supcrd.jobs import run as pipeline
from supcrd.recipe import load
from supcrd.recipe.settings import TrainSettings
from supcrd.training.dot import DOT
from supcrd.training.fit import fit
from supcrd.training.optimiser import make_optimizer
from supcrd.training.task import Step

CPU = choose("cpu", "float32")
MU, DELTA, DECAY, LR = 0.9, 0.07, 0.01, 0.05


class Two(nn.Module):
    """An encoder with the terms of a task and of a distillation, and a head for either alone."""

    distilled = frozenset({"kd"})

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.encoder, self.task, self.taught = nn.Linear(5, 4), nn.Linear(4, 3), nn.Linear(4, 2)
        self.double()

    def groups(self, lr):
        return [{"params": list(self.parameters()), "lr": lr}]

    def terms(self, x, y, skip=()):
        features = torch.tanh(self.encoder(x))
        terms = {"cross_entropy": nn.functional.cross_entropy(self.task(features), y),
                 "kd": self.taught(features).square().mean()}  # fmt: skip
        return {name: torch.zeros((), dtype=x.dtype) if name in skip else term for name, term in terms.items()}

    def forward(self, batch):
        return Step(self.terms(batch.inputs, batch.labels), torch.zeros((), dtype=torch.int64))


def data():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(12, 5, generator=generator, dtype=torch.float64), torch.arange(12) % 3


def skipped(step):
    """Either term is left out of some steps: falling and rising weights do that."""
    return {3: ("kd",), 5: ("cross_entropy",)}.get(step, ())


def naive(model, steps, delta):
    """Parameter by parameter, from the definition, with autograd's gradient of each term by itself."""
    x, y = data()
    parameters = list(model.parameters())
    velocity = [{} for _ in parameters]
    for step in range(steps):
        terms = model.terms(x, y, skipped(step))
        gradients = {
            name: torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
            if term.requires_grad else (None,) * len(parameters)
            for name, term in terms.items()
        }  # fmt: skip
        with torch.no_grad():
            for i, p in enumerate(parameters):
                own = {name: gradients[name][i] for name in terms}
                if all(g is None for g in own.values()):
                    continue
                for name, g in own.items():
                    if g is not None:
                        velocity[i].setdefault(name, torch.zeros_like(p))
                both = len(velocity[i]) == 2
                first = p.clone()
                for name, v in velocity[i].items():
                    shift = (DELTA if delta else 0.0) * both * (1 if name == "kd" else -1)
                    g = own[name] if own[name] is not None else torch.zeros_like(p)
                    g = g + DECAY * first if name == "cross_entropy" or not both else g
                    v.copy_((MU + shift) * v + g)
                p.copy_(first - LR * sum(velocity[i].values()))


def run(model, steps, delta=DELTA, norm=None):
    optimizer = DOT(model.parameters(), lr=LR, momentum=MU, delta=delta, weight_decay=DECAY, distilled={"kd"})
    x, y = data()
    for step in range(steps):
        optimizer.zero_grad()
        optimizer.backward(model.terms(x, y, skipped(step)))
        if norm is not None:
            optimizer.clip(list(model.parameters()), norm)
        optimizer.step()
    return optimizer


def assert_close(one, other):
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], rtol=1e-10, atol=1e-12, msg=name)


def test_it_is_the_definition():
    ours, theirs = Two(), Two()
    run(ours, 8)
    naive(theirs, 8, delta=True)
    assert_close(ours, theirs)
    without = Two()
    run(without, 8, delta=0.0)
    assert not torch.allclose(ours.encoder.weight, without.encoder.weight, rtol=1e-3)
    # a head that has one of the gradients alone moves with the plain momentum as long as the encoder does
    assert ours.task.weight.shape == (3, 4)


@pytest.mark.parametrize("norm", [None, 0.3])
def test_without_a_difference_it_is_sgd(norm):
    ours, theirs = Two(), Two()
    run(ours, 8, delta=0.0, norm=norm)
    plain = torch.optim.SGD(theirs.parameters(), lr=LR, momentum=MU, weight_decay=DECAY)
    x, y = data()
    for step in range(8):
        plain.zero_grad(set_to_none=True)
        sum(theirs.terms(x, y, skipped(step)).values()).backward()
        if norm is not None:
            nn.utils.clip_grad_norm_(theirs.parameters(), norm)
        plain.step()
    assert_close(ours, theirs)


def test_its_state_is_whole():
    """Saved in the middle and loaded into another optimiser, it goes on as if nothing had been."""
    whole, first = Two(), Two()
    run(whole, 4)
    optimizer = run(first, 2)
    second = copy.deepcopy(first)
    again = DOT(second.parameters(), lr=1.0, momentum=MU, delta=0.0, distilled={"kd"})
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    x, y = data()
    for step in (2, 3):
        again.zero_grad()
        again.backward(second.terms(x, y, skipped(step)))
        again.step()
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def test_parts_add_up():
    x, y = data()
    whole, parts = Two(), Two()
    for model, cuts in ((whole, [slice(0, 12)]), (parts, [slice(0, 4), slice(4, 12)])):
        optimizer = DOT(model.parameters(), lr=LR, momentum=MU, delta=DELTA, distilled={"kd"})
        for _ in range(3):
            optimizer.zero_grad()
            for cut in cuts:
                share = (cut.stop - cut.start) / 12
                optimizer.backward({name: share * term for name, term in model.terms(x[cut], y[cut]).items()})
            optimizer.step()
    assert_close(whole, parts)


def test_fit_uses_it():
    x, y = data()
    ours, theirs = Two(), Two()
    settings = TrainSettings(
        epochs=4, batch_size=12, optimizer="sgd", lr=LR, momentum=MU, weight_decay=DECAY, dot=DELTA
    )
    fit(ours, FeatureBatches(x, y, batch_size=12, seed=0), settings, seed=0, place=CPU)
    optimizer = make_optimizer(theirs.groups(LR), settings, distilled=theirs.distilled)
    assert isinstance(optimizer, DOT)
    for _ in range(4):
        optimizer.zero_grad()
        optimizer.backward(theirs.terms(x, y))
        optimizer.step()
    assert_close(ours, theirs)


def test_momenta_outside_the_range():
    for momentum, delta in ((0.9, 0.1), (0.05, 0.06), (0.9, -0.1)):
        with pytest.raises(ValueError, match="momentum -/\\+ delta"):
            DOT([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=momentum, delta=delta)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("digits-cross-entropy", "every term that teaches the encoder reads no teacher (cross_entropy)"),
        ("digits-crd", "every term that teaches the encoder reads a teacher (crd)"),
    ],
)
def test_one_gradient_alone_is_refused_before_a_teacher_is_trained(recipe, message, quick, tmp_path):
    wanted = load(recipe, [*quick, "train.optimizer=sgd", "train.dot=0.05"])
    with pytest.raises(RecipeError) as error:
        pipeline.run(wanted, tmp_path)
    assert message in str(error.value)
    assert list(tmp_path.glob("digits*")) == []
