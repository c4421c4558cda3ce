"""Any finite input gives a finite loss and gradient, and the right ones: against loops in float64 and in log space.

Over the whole range of the arguments: temperatures 0.001 to 1000, weights 1e-8 to 1e8, logits to 1e4, rows of 1e-30 to
1e30, of one dimension, opposite, equal and zero; in every type; dense and in blocks.

Tolerance: `STEPS` units in the last place of the type it is computed in (float32 at least), of the largest number on
the way to the result: a similarity of 1 / temperature, a weight's logarithm, a logit over its temperature. A gradient
is then rounded once more, to the type of its rows, in which it may also be too small to be there.
"""

import math
import random
from importlib import import_module

import log_space
import pytest
import torch
from torch import Tensor

from supcrd.losses import crd, dkd, hybrid, kd, lw_supcrd, supcon

TYPES = [torch.float32, torch.float32, torch.float64, torch.float16, torch.bfloat16]
DRAWS = 80
STEPS = {torch.float32: 16, torch.float64: 400}  # the loops compute in float64 too
MODULES = [import_module(f"supcrd.losses.{name}") for name in ("supcon", "crd", "lw_supcrd")]


class Case:
    """What one seed draws."""

    def __init__(self, seed: int) -> None:
        r, g = random.Random(seed), torch.Generator().manual_seed(seed)
        self.type = r.choice(TYPES)
        rows, width, classes = r.choice([1, 2, 3, 5, 8]), r.choice([1, 1, 2, 3, 8]), r.choice([2, 3, 5])
        self.temperature = r.choice([0.001, 0.02, 0.023, 0.03, 0.05, 0.07, 1.0, 1000.0, 10 ** r.uniform(-3, 3)])
        self.alpha = r.choice([1.0, 1.0, 1e-8, 1e8, 10 ** r.uniform(-8, 8)])
        self.beta = r.choice([10.0, 1.0, 1e-8, 1e8, 10 ** r.uniform(-8, 8)])
        self.adaptive, self.soft = r.random() < 0.5, r.choice([1.0, 1.0, 4.0, 0.001, 1000.0])
        scale = 1.0 if self.type == torch.float16 else r.choice([1.0, 1.0, 1e-3, 1e3, 1e30, 1e-30])
        self.size = r.choice([0.0, 1.0, 10.0, 100.0, 1e4])

        def drawn(count: int, columns: int, factor: float) -> Tensor:
            return (factor * torch.randn(count, columns, generator=g)).to(self.type)

        self.student, self.teacher = drawn(rows, width, scale), drawn(rows, width, scale)
        kind = r.choice(["as they are", "as they are", "signs", "opposite", "equal", "a row of zeros"])
        if kind == "signs":
            self.student = self.student.sign() * scale
        elif kind in ("opposite", "equal"):
            self.teacher = self.student * (-1 if kind == "opposite" else 1)
        elif kind == "a row of zeros":
            self.student[0] = 0
        self.student = self.student.to(self.type)
        self.logits, self.other = drawn(rows, classes, self.size), drawn(rows, classes, self.size)
        self.labels = torch.randint(classes, (rows,), generator=g)

    @property
    def weights(self) -> dict[str, float]:
        return {"alpha": self.alpha, "beta": self.beta, "temperature": self.temperature, "adaptive": self.adaptive,
                "teacher_temperature": self.soft}  # fmt: skip


def of_supcon(c: Case, student: Tensor, teacher: Tensor) -> tuple[Tensor, tuple]:
    loss = supcon(student, c.labels, temperature=c.temperature)
    value, gradient = log_space.supcon(c.student.tolist(), c.labels.tolist(), temperature=c.temperature)
    return loss, (value, gradient, [[0.0] * len(row) for row in gradient])


def of_crd(c: Case, student: Tensor, teacher: Tensor) -> tuple[Tensor, tuple]:
    loss = crd(student, teacher, temperature=c.temperature)
    return loss, log_space.crd(c.student.tolist(), c.teacher.tolist(), temperature=c.temperature)


def of_lw_supcrd(c: Case, student: Tensor, teacher: Tensor) -> tuple[Tensor, tuple]:
    labels = c.labels.tolist()
    rows = c.student.tolist(), c.teacher.tolist(), labels, c.logits.tolist(), labels
    return lw_supcrd(student, teacher, c.labels, c.logits, **c.weights), log_space.lw_supcrd(*rows, **c.weights)


def of_hybrid(c: Case, student: Tensor, teacher: Tensor) -> tuple[Tensor, tuple]:
    parts = of_supcon(c, c.student, c.teacher)[1], of_lw_supcrd(c, c.student, c.teacher)[1]
    loss = hybrid(student, teacher, c.labels, c.logits, lam=0.5, **c.weights)
    numbers = [[torch.tensor(one, dtype=torch.float64) for one in part] for part in parts]
    return loss, tuple((0.5 * (x + y)).tolist() for x, y in zip(*numbers, strict=True))


CONTRASTIVE = {"supcon": of_supcon, "crd": of_crd, "lw_supcrd": of_lw_supcrd, "hybrid": of_hybrid}


def compare(name: str, got: Tensor, want: Tensor, *, largest: Tensor | float, steps: float, seed: int) -> None:
    limit = torch.finfo(got.dtype)
    fits = want.abs() < limit.max / 8  # what the type cannot hold is no defect
    assert got[fits].isfinite().all(), f"{name} of seed {seed} is not finite"
    # once more rounded, to its own type; below the smallest normal number that keeps few digits or none
    allowed = steps * largest + 4 * limit.eps * want.abs() + 4 * limit.tiny
    error = (got.double() - want).abs()
    assert (error[fits] <= allowed.expand_as(want)[fits]).all(), f"{name} of seed {seed}: {got} in place of {want}"


@pytest.mark.parametrize("blocked", [False, True])
@pytest.mark.parametrize("name", CONTRASTIVE)
def test_contrastive_losses(monkeypatch: pytest.MonkeyPatch, name: str, blocked: bool) -> None:
    if blocked:
        for module in MODULES:
            monkeypatch.setattr(module, "is_small", lambda *rows: False)
    for seed in range(DRAWS):
        c = Case(seed)
        leaves = [rows.clone().requires_grad_() for rows in (c.student, c.teacher)]
        loss, wanted = CONTRASTIVE[name](c, *leaves)
        value, *gradients = (torch.tensor(numbers, dtype=torch.float64) for numbers in wanted)
        loss.sum().backward()
        factor = max(1.0, 1 / c.alpha) if name in ("lw_supcrd", "hybrid") else 1.0
        on_the_way = 3 + 2 / c.temperature
        if name in ("lw_supcrd", "hybrid"):
            on_the_way += abs(math.log(c.beta / c.alpha)) + 8 * c.size / c.soft
        steps = STEPS[loss.dtype] * torch.finfo(loss.dtype).eps * on_the_way * factor
        compare("loss", loss.detach(), value, largest=torch.tensor(1.0, dtype=torch.float64), steps=steps, seed=seed)
        for rows, gradient in zip(leaves, gradients, strict=True):
            if rows.grad is None:
                continue
            norm = rows.detach().double().norm(dim=1, keepdim=True)
            norm[norm == 0] = torch.inf
            scale = len(rows) / c.temperature / norm
            compare("gradient", rows.grad, gradient, largest=scale, steps=steps, seed=seed)


@pytest.mark.parametrize("name", ["kd", "dkd"])
def test_losses_of_logits(name: str) -> None:
    for seed in range(DRAWS):
        c = Case(seed)
        leaf, t = c.logits.clone().requires_grad_(), c.temperature
        if name == "kd":
            loss = kd(leaf, c.other, temperature=t)
            wanted = log_space.kd(c.logits.tolist(), c.other.tolist(), temperature=t)
            factor = 1.0
        else:
            loss = dkd(leaf, c.other, c.labels, alpha=c.alpha, beta=c.beta, temperature=t)
            labels = c.labels.tolist()
            rows = c.logits.tolist(), c.other.tolist()
            wanted = log_space.dkd(*rows, labels, alpha=c.alpha, beta=c.beta, temperature=t)
            factor = max(c.alpha, c.beta)
        value, gradient = (torch.tensor(numbers, dtype=torch.float64) for numbers in wanted)
        loss.sum().backward()
        steps = STEPS[loss.dtype] * torch.finfo(loss.dtype).eps * factor * (3 + 8 * c.size / t)
        one = torch.tensor(1.0, dtype=torch.float64)
        compare("loss", loss.detach(), value, largest=one * t * t, steps=steps, seed=seed)
        compare("gradient", leaf.grad, gradient, largest=one * t, steps=steps, seed=seed)


@pytest.mark.parametrize("weight", [1e8, 1e-8])
def test_rows_of_one_dimension_at_a_low_temperature(weight: float) -> None:
    """As found: NaN or infinity on the CPU's way for small batches, where the gradient is 0."""
    rows = torch.tensor([[1.0], [-2.0], [3.0], [-4.0]], requires_grad=True)
    labels = torch.tensor([0, 1, 1, 0])
    for options in ({"beta": weight}, {"alpha": weight}):
        rows.grad = None
        lw_supcrd(rows, -rows.detach(), labels, torch.zeros(4, 2), temperature=0.03, **options).sum().backward()
        assert rows.grad is not None
        assert torch.equal(rows.grad, torch.zeros(4, 1))  # a number can only point one way or the other
