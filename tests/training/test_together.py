"""Batches in parts with one loss: the gradient of the whole, whatever is run twice, and statistics of the parts."""

import copy

import pytest
import torch
from torch import nn

from supcrd.base.device import choose
from supcrd.data.loader import Batch
from supcrd.data.shares import Shares
from supcrd.models import Model
from supcrd.models.normalised import Normalised
from supcrd.models.rounded import rounded_layers
from supcrd.recipe.settings import TrainSettings
from supcrd.training.objective.build import build
from supcrd.training.objective.term import Context
from supcrd.training.optimiser import make_optimizer
from supcrd.training.step import take_step
from supcrd.training.task import Distillation
from supcrd.training.teacher import Teaching, shapes_of
from supcrd.training.together import Together

N, B, V, C = 24, 10, 2, 4
LABELS = torch.arange(N) % C
CPU = choose("cpu", "float32")
TABLES = {"supcon": {}, "crd": {"bank": 9}, "kd": {}, "fitnet": {}, "cross_entropy": {}, "rkd": {}, "review": {}}


def subject(arch, width):
    return Normalised(Model(C, arch, in_channels=1, image_size=16, projector=(width,)), (0.4,), (0.2,))


def task_of(tables, *, statistics=True, **about):
    torch.manual_seed(0)
    student, teacher = subject("resnet8", 6), subject("resnet14", 6)
    context = Context(classes=C, labels=LABELS, student=shapes_of(student, maps=True),
                      teachers={"teacher": shapes_of(teacher, maps=True)})  # fmt: skip
    objective = build(tables, context, epochs=3, views=V)
    task = Distillation(student, objective, {"teacher": Teaching(teacher)}, **about).double().train()
    if not statistics:
        for module in task.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.eval()
    return task


def batches():
    g = torch.Generator().manual_seed(1)
    for step in range(2):
        index = torch.randperm(N, generator=g)[: B - 3 * step]
        images = torch.rand(V * len(index), 1, 16, 16, generator=g, dtype=torch.float64)
        yield Batch(images, LABELS[index].repeat(V), index, None, 0, step, 2)


def trained(task, *, together=None, dot=0.0):
    """Terms, weights and buffers after two steps; the second one has a small batch, with fewer parts."""
    settings = TrainSettings(epochs=1, optimizer="sgd", lr=0.01, dot=dot, grad_clip=5.0)
    optimizer = make_optimizer(task.groups(0.01), settings, distilled=task.distilled)
    seen = []
    for batch in batches():
        seen.append(take_step(task, optimizer, batch, CPU, 5.0, together=together, reseed=torch.manual_seed))
    return seen, {name: value for name, value in task.state_dict().items() if isinstance(value, torch.Tensor)}


@pytest.mark.parametrize("dot", [0.0, 0.05])
@pytest.mark.parametrize("recompute", [False, True])
def test_parts_have_the_gradient_of_the_whole(recompute, dot):
    """Where no norm tells parts apart: terms that compare images, banks, maps and a head that learns too."""
    right = trained(task_of(TABLES, statistics=False), dot=dot)
    found = trained(task_of(TABLES, statistics=False), together=Together(Shares(4), recompute=recompute), dot=dot)
    torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-9)


def test_running_twice_changes_nothing():
    kept, twice = (
        trained(task_of(TABLES), together=Together(Shares(3), recompute=recompute)) for recompute in (False, True)
    )
    torch.testing.assert_close(kept, twice, rtol=0, atol=0)


def test_norms_see_parts_and_remember_their_mean():
    """The first norm of a network, by hand: batches of 4, 3 and 3 images, 0.9 old + 0.1 mean over the images."""
    task = task_of({"cross_entropy": {}})
    before = copy.deepcopy(task.student.encoder)
    (batch, *_) = batches()
    take_step(task, torch.optim.SGD(task.parameters(), lr=0.0), batch, CPU, None, together=Together(Shares(3)))
    rows = before.conv1((batch.inputs - 0.4) / 0.2).view(V, B, 16, 16, 16).detach()
    of_parts = [rows[:, part].transpose(0, 2).flatten(1) for part in ([0, 1, 2, 3], [4, 5, 6], [7, 8, 9])]
    weights = torch.tensor([0.4, 0.3, 0.3], dtype=torch.float64)
    mean = torch.stack([part.mean(dim=1) for part in of_parts], dim=1) @ weights
    variance = torch.stack([part.var(dim=1) for part in of_parts], dim=1) @ weights
    norm = task.student.encoder.bn1
    torch.testing.assert_close(norm.running_mean, 0.1 * mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * variance, rtol=1e-6, atol=1e-6)
    assert norm.num_batches_tracked == 1


def test_dropout_is_a_function_of_the_part():
    """Parts draw their own masks, and the same ones whether they are run once or twice."""
    results = []
    for recompute in (False, True):
        task = task_of({"cross_entropy": {}, "supcon": {}})
        task.student.encoder.avgpool = nn.Sequential(task.student.encoder.avgpool, nn.Dropout(0.5))
        results.append(trained(task, together=Together(Shares(2), recompute=recompute)))
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_quantize_rounds_the_students_layers_and_no_others():
    (batch, *_) = batches()
    plain, task = task_of(TABLES, statistics=False), task_of(TABLES, statistics=False, quantize=True)
    right, found = plain.passed(batch), task.passed(batch)
    with rounded_layers(plain.student.encoder, plain.student.classifier):
        features = plain.student.encoder((batch.inputs - 0.4) / 0.2)
        logits = plain.student.classifier(features)
    torch.testing.assert_close(found.attached.features, features)
    torch.testing.assert_close(found.attached.logits, logits)
    assert 1e-4 < (features - right.attached.features).norm() / features.norm() < 0.1
    torch.testing.assert_close(found.taught["teacher"].features, right.taught["teacher"].features, rtol=0, atol=0)
    assert list(task.state_dict()) == list(plain.state_dict())
