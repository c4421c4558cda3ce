"""Gradient accumulation: a batch in parts has the gradient of the whole; and weight decay by kind of parameter."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from supcrd.base.device import choose
from supcrd.data.loader import Batch, FeatureBatches
from supcrd.recipe.settings import TrainSettings
from supcrd.training.fit import fit
from supcrd.training.objective.build import build
from supcrd.training.objective.term import Context, Outputs, Shapes
from supcrd.training.objective.term import Step as TermStep
from supcrd.training.optimiser import make_optimizer
from supcrd.training.parts import split
from supcrd.training.step import take_step
from supcrd.training.task import ProbeFit, Step

CPU = choose("cpu", "float32")


def batch(images, views):
    rows = torch.randn(views * images, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels, indices = (torch.arange(images) % 3).repeat(views), torch.arange(100, 100 + images)
    mixed = {"partner_labels": labels.flip(0), "shares": torch.linspace(0, 1, len(rows)), "mixed": (0,)}
    return Batch(rows, labels, indices, {"teacher": 10 * rows}, 2, 4, 9, **mixed)


@pytest.mark.parametrize("views", [1, 2, 3])
@pytest.mark.parametrize(("images", "count"), [(7, 3), (8, 4), (5, 4), (3, 2), (9, 1), (2, 2)])
def test_parts_are_the_images_in_order_with_all_their_views(images, count, views):
    whole = batch(images, views)
    parts = split(whole, count)
    sizes = [len(part.indices) for part in parts]
    assert len(parts) == max(1, min(count, images // 2))
    assert min(sizes) >= 2
    assert max(sizes) - min(sizes) <= 1
    assert torch.cat([part.indices for part in parts]).tolist() == whole.indices.tolist()
    for part in parts:
        assert (part.epoch, part.step, part.steps, part.mixed) == (2, 4, 9, (0,))
        for view in range(views):
            for place, index in enumerate(part.indices.tolist()):
                row, original = view * len(part.indices) + place, view * images + index - 100
                assert torch.equal(part.inputs[row], whole.inputs[original])
                assert torch.equal(part.taught["teacher"][row], whole.taught["teacher"][original])
                for name in ("labels", "partner_labels", "shares"):
                    assert getattr(part, name)[row] == getattr(whole, name)[original]


@pytest.mark.parametrize("count", [2, 3])
def test_a_step_in_parts_is_the_step_of_the_whole(count):
    """Without batch norm and terms that compare images; parts of 4 and 3 images weigh as they should."""
    results = []
    for accumulate in (1, count):
        torch.manual_seed(0)
        task = ProbeFit(5, 3).double()
        optimizer = torch.optim.SGD(task.parameters(), lr=0.5)
        terms, correct = take_step(task, optimizer, batch(7, 2), CPU, None, accumulate=accumulate)
        results.append((task.classifier.weight.detach(), terms["probe"].detach(), correct))
    torch.testing.assert_close(results[0], results[1])


class Watched(nn.Module):
    """A network with batch norm that counts what autograd keeps at once."""

    def __init__(self):
        super().__init__()
        self.net, self.rows = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)), []

    def groups(self, lr):
        return [{"params": list(self.parameters()), "lr": lr}]

    def forward(self, part):
        self.rows.append(len(part.labels))
        logits = self.net(part.inputs)
        return Step({"ce": functional.cross_entropy(logits, part.labels)}, (logits.argmax(1) == part.labels).sum())


def test_fit_takes_one_step_for_all_parts_and_counts_every_row_once():
    x, y = torch.randn(30, 5, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3
    task, steps = Watched(), []
    settings = TrainSettings(epochs=1, batch_size=12, accumulate=4)
    history = fit(task, FeatureBatches(x, y, batch_size=12, seed=0), settings, seed=0, place=CPU, on_step=steps.append)
    assert task.rows == [3] * 8 + [2] * 3  # the last batch has 6 images
    assert steps == [0, 1, 2]
    assert 0 <= history[0]["train_accuracy"] <= 1


def test_terms_that_compare_images_compare_those_of_a_part():
    whole = batch(6, 2)
    shapes = Shapes(features=5, projections=5, logits=3)
    context = Context(classes=3, labels=whole.labels[:6], student=shapes)
    objective = build({"supcon": {}}, context, epochs=1, views=2)

    class Task(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(5, 5, bias=False)
            with torch.no_grad():
                self.head.weight.copy_(torch.eye(5))

        def forward(self, part):
            step = TermStep(part, Outputs(projections=self.head(part.inputs.float())))
            return Step(objective(step, step), torch.tensor(0))

    task = Task()
    terms, _ = take_step(task, torch.optim.SGD(task.parameters(), lr=0.0), whole, CPU, None, accumulate=2)
    apart = [task(part).terms["supcon"] for part in split(whole, 2)]
    torch.testing.assert_close(terms["supcon"], sum(apart) / 2)
    assert not torch.allclose(terms["supcon"], task(whole).terms["supcon"])


def test_weight_decay_on_weights_only():
    """One step of plain SGD without a gradient to speak of: what decays shrinks, the rest stays."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    groups = [{"params": list(net[:3].parameters()), "lr": 0.1}, {"params": list(net[3].parameters()), "lr": 0.01}]
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    settings = TrainSettings(epochs=1, optimizer="sgd", momentum=0.0, weight_decay=0.5, decay="weights")
    optimizer = make_optimizer(groups, settings)
    assert [group["peak_lr"] for group in optimizer.param_groups] == [0.1, 0.1, 0.01, 0.01]
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in net.named_parameters():
        rate = 0.1 if not name.startswith("3") else 0.01
        kept = name in ("0.bias", "1.weight", "1.bias", "3.bias")
        torch.testing.assert_close(value.detach(), before[name] * (1 if kept else 1 - 0.5 * rate), msg=name)


@pytest.mark.parametrize("decay", ["all", "weights"])
def test_gradients_are_clipped_as_before_groups_were_split(decay):
    torch.manual_seed(0)
    parts = [nn.Linear(4, 3), nn.Linear(3, 2)]
    clipped = []

    class Task(nn.Module):
        def forward(self, given):
            return Step({"loss": parts[1](parts[0](given.inputs.float()[:, :4])).square().sum()}, torch.tensor(0))

    settings = TrainSettings(epochs=1, optimizer="sgd", weight_decay=0.1, decay=decay)
    optimizer = make_optimizer([{"params": list(part.parameters()), "lr": 0.0} for part in parts], settings)
    take_step(Task(), optimizer, batch(4, 1), CPU, 0.01)
    clipped = [torch.cat([p.grad.flatten() for p in part.parameters()]).norm().item() for part in parts]
    assert clipped == pytest.approx([0.01, 0.01], rel=1e-3)  # encoder and classifier apart, weights and biases together


def test_the_state_of_an_optimiser_from_before_is_read():
    """Groups were then without a word on clipping and decay; the default has them still."""
    task = ProbeFit(5, 3)
    old = torch.optim.SGD([{"params": list(task.parameters()), "lr": 0.1, "peak_lr": 0.1}], lr=0.1, momentum=0.9)
    optimizer = make_optimizer(task.groups(0.1), TrainSettings(epochs=1, optimizer="sgd"))
    assert optimizer.state_dict()["param_groups"][0].keys() == old.state_dict()["param_groups"][0].keys()
    optimizer.load_state_dict(old.state_dict())
