"""LW-SupCRD: values derived by hand, limits, and a teacher as certain as floats allow."""

import importlib
import math
from itertools import product

import pytest
import torch
from torch import Tensor

from supcrd.losses import lw_supcrd

E = torch.eye(8, dtype=torch.float64)
REFERENCE = {"alpha": 1.0, "beta": 10.0, "adaptive": True}


def close(actual: Tensor, *expected: float, relative: float = 1e-12) -> None:
    torch.testing.assert_close(
        actual.double(), torch.tensor(expected, dtype=torch.float64).expand(actual.shape), rtol=relative, atol=0
    )


def random_rows(rows: int, width: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_by_hand() -> None:
    # Anchor e1 of class 0, p = (1/2, 1/3, 1/6), tau = 1/2. Candidates: e1 (class 0, s = 2), e2 (class 0, s = 0),
    # -e1 (class 1, s = -2), e2 (class 2, s = 0). alpha = 2, beta = 3: w_pull = 1, POS = e^2 + 1;
    # adaptive beta_i = 3 / (1/2 + 1/2) = 3; NEG = 3 (2/3) e^-2 + 3 (5/6) = 2 e^-2 + 5/2. Loss: ln(1 + NEG / POS) / 2.
    logits = torch.tensor([[3.0, 2.0, 1.0]], dtype=torch.float64).log()
    candidates, classes = torch.stack([E[0], E[1], -E[0], E[1]]), torch.tensor([0, 0, 1, 2])
    loss = lw_supcrd(
        E[:1], candidates, torch.tensor([0]), logits, candidate_labels=classes, alpha=2.0, beta=3.0, temperature=0.5
    )
    close(loss, math.log(1 + (2 * math.exp(-2) + 2.5) / (math.exp(2) + 1)) / 2)


@pytest.mark.parametrize(("p", "factor"), [(0.0, 2.0), (0.3, 1.25), (0.9, 1 / 1.4), (1.0, 1 / 1.5), (0.5, 1.0)])
def test_adaptive_beta_is_the_published_one(p: float, factor: float) -> None:
    # As published: 2 beta at p = 0, 1.25 at 0.3, 0.71 at 0.9, 0.67 at 1. Adaptive beta is plain factor * beta.
    other = (1 - p) / 2
    logits = torch.tensor([[max(p, 1e-300), max(other, 1e-300), max(other, 1e-300)]], dtype=torch.float64).log()
    rows, labels = random_rows(4), torch.tensor([0, 1, 2, 0])
    for beta in (1.0, 10.0):
        options = {"candidate_labels": labels, "temperature": 0.5}
        adaptive = lw_supcrd(rows[:1], rows, labels[:1], logits, beta=beta, **options)
        plain = lw_supcrd(rows[:1], rows, labels[:1], logits, beta=beta * factor, adaptive=False, **options)
        torch.testing.assert_close(adaptive, plain, rtol=1e-12, atol=0)


def test_defaults_are_the_reference() -> None:
    rows, labels, logits = random_rows(6), torch.tensor([0, 1, 2, 0, 1, 2]), random_rows(6, 3, seed=1)
    stated = lw_supcrd(rows, rows, labels, logits, temperature=0.07, teacher_temperature=1.0, **REFERENCE)
    assert torch.equal(lw_supcrd(rows, rows, labels, logits), stated)


@pytest.mark.parametrize(
    ("alpha", "beta", "adaptive"), list(product([0.5, 1.0, 2.0, 10.0], [1.0, 10.0], [True, False]))
)
def test_only_beta_over_alpha_matters_inside(alpha: float, beta: float, adaptive: bool) -> None:
    rows, labels, logits = random_rows(12), torch.arange(12) % 5, random_rows(12, 5, seed=1)
    one = lw_supcrd(rows, rows.roll(1, 1), labels, logits, alpha=alpha, beta=beta, adaptive=adaptive)
    other = lw_supcrd(rows, rows.roll(1, 1), labels, logits, alpha=1.0, beta=beta / alpha, adaptive=adaptive)
    torch.testing.assert_close(one, other / alpha, rtol=1e-12, atol=0)


def test_equal_rows_and_a_teacher_that_knows_nothing() -> None:
    # p = 1/4 everywhere, s equal everywhere and so cancelled. Anchor of class 0: 3 positives, 2 negatives of weight
    # beta_i 3/4, beta_i = 10 / (3/4): NEG / (p POS) = (10 * 2) / (3/4) = 80/3. Class 1: 2 positives, 3 negatives: 60.
    labels = torch.tensor([0, 0, 0, 1, 1])
    loss = lw_supcrd(E[:1].repeat(5, 1), E[:1].repeat(5, 1), labels, torch.zeros(5, 4))
    close(loss, *[math.log(1 + 80 / 3)] * 3, *[math.log(61)] * 2, relative=1e-6)


def test_a_teacher_that_is_right_and_certain() -> None:
    # p = one-hot: w_pull = 1, w_push = beta / 1.5 = 20/3 adaptive, 10 plain. Each anchor e_i: one positive with
    # s = 1, three negatives with s = 0: ln(1 + 3 w_push / e).
    for scale in (1e3, 1e4):
        logits = scale * torch.eye(4)
        for adaptive, push in ((True, 20 / 3), (False, 10.0)):
            loss = lw_supcrd(E[:4], E[:4], torch.arange(4), logits, temperature=1.0, adaptive=adaptive)
            close(loss, math.log(1 + 3 * push / math.e), relative=1e-6)


@pytest.mark.parametrize("gap", [0.0, 1.0, 10.0, 20.0, 50.0, 100.0, 1e3, 1e4])
def test_a_teacher_that_is_wrong_and_certain(gap: float) -> None:
    # Logits (0, gap, 0), anchor of class 0, its negative of class 1: p_0 = 1 / (2 + e^gap), and the push,
    # 1 - p_1 = 2 / (2 + e^gap), is twice that: their ratio is 2 whatever the gap, though in float32 p_1 is exactly 1
    # and p_0 exactly 0 long before. With s = 1 for the positive and 0 for the negative, the margin is
    # ln(2 beta_i) - 1, beta_i = 10 / (p_0 + 1/2). ln p is of the size of the gap, and so is its rounding.
    logits = torch.tensor([[0.0, gap, 0.0]])
    p = math.exp(-gap) / (2 * math.exp(-gap) + 1)
    options = {"candidate_labels": torch.tensor([0, 1]), "temperature": 1.0}
    loss = lw_supcrd(E[:1].float(), E[:2].float(), torch.tensor([0]), logits, **options)
    close(loss, math.log(1 + 2 * 10 / (p + 0.5) / math.e), relative=1e-6 + 6e-8 * gap)


@pytest.mark.parametrize("gap", [17.0, 25.0, 60.0, 90.0, 300.0])
def test_one_minus_p_has_no_cancellation(gap: float) -> None:
    # Three classes with logits (gap, 0, -1), an anchor of class 2 and negatives of classes 0 and 1 far apart in s: only
    # class 0 is near. 1 - p_0 = (1 + 1/e) / (e^gap + 1 + 1/e), p_2 = e^-1 / (the same): the ratio is e + 1 exactly.
    # 1 - p_1 is about 1 and would drown it, so class 1 stands opposite at tau = 0.002: e^-1000 of it is left.
    logits = torch.tensor([[gap, 0.0, -1.0]])
    rows = torch.stack([E[0], E[0], -E[0]]).float()
    options = {"candidate_labels": torch.tensor([2, 0, 1]), "temperature": 0.002, "adaptive": False, "beta": 3.0}
    loss = lw_supcrd(rows[:1], rows, torch.tensor([2]), logits, **options)
    close(loss, math.log(1 + 3 * (math.e + 1)), relative=1e-5)


def log_sum(values: list[float]) -> float:
    return max(values) + math.log(math.fsum(math.exp(v - max(values)) for v in values))


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e3, 1e4])
@pytest.mark.parametrize("temperature", [1e-3, 0.07, 1e3])
def test_extreme_logits_and_temperatures_keep_their_values(scale: float, temperature: float) -> None:
    # The truth in log space, in Python floats: ln(1 - p_c) = ln of the sum of the others' exps - ln of the sum of all.
    student, teacher = random_rows(12).float(), random_rows(12, seed=1).float()
    labels, logits = torch.arange(12) % 4, (scale * random_rows(12, 4, seed=2)).float()
    actual = lw_supcrd(student, teacher, labels, logits, temperature=temperature)
    cosine = torch.nn.functional.cosine_similarity(student[:, None].double(), teacher[None].double(), dim=2).tolist()
    expected = []
    for i, (row, z) in enumerate(zip(cosine, logits.tolist(), strict=True)):
        own = z[labels[i]] - log_sum(z)
        log_beta = math.log(10 / (math.exp(own) + 0.5))
        positive, negative = [], []
        for j, label in enumerate(labels.tolist()):
            if label == labels[i]:
                positive.append(row[j] / temperature)
            else:
                push = log_sum([v for c, v in enumerate(z) if c != label]) - log_sum(z)
                negative.append(log_beta + push + row[j] / temperature)
        margin = log_sum(negative) - own - log_sum(positive)
        expected.append(max(margin, 0) + math.log1p(math.exp(-abs(margin))))
    # s is as large as 1 / temperature: its float32 rounding is the error of a loss that is a difference of two of them.
    torch.testing.assert_close(
        actual.double(), torch.tensor(expected).double(), rtol=1e-5, atol=2e-7 * max(1 / temperature, scale)
    )


def test_teacher_temperature_divides_the_logits() -> None:
    rows, labels, logits = random_rows(6), torch.tensor([0, 1, 2, 0, 1, 2]), random_rows(6, 3, seed=1)
    softened = lw_supcrd(rows, rows, labels, logits, teacher_temperature=4.0)
    torch.testing.assert_close(softened, lw_supcrd(rows, rows, labels, logits / 4), rtol=1e-12, atol=0)
    flat = lw_supcrd(rows, rows, labels, logits, teacher_temperature=1e9)
    torch.testing.assert_close(flat, lw_supcrd(rows, rows, labels, logits * 0), rtol=1e-8, atol=0)


CANDIDATES = {
    "one class": ([3, 3], [3, 3, 3]),
    "no negatives": ([1, 1], [1, 1, 1]),
    "no positives": ([0, 0], [1, 2, 1]),
}


@pytest.mark.parametrize("kind", CANDIDATES)
@pytest.mark.parametrize("adaptive", [True, False])
def test_zero_with_zero_gradient(kind: str, adaptive: bool) -> None:
    labels, candidate_labels = map(torch.tensor, CANDIDATES[kind])
    student, teacher = random_rows(2).float().requires_grad_(), random_rows(3, seed=1).float().requires_grad_()
    logits = random_rows(2, 4, seed=2).float().requires_grad_()
    loss = lw_supcrd(student, teacher, labels, logits, candidate_labels=candidate_labels, adaptive=adaptive)
    assert loss.eq(0).all()
    loss.sum().backward()
    assert all(x.grad is not None and x.grad.eq(0).all() for x in (student, teacher, logits))


def test_one_anchor_without_positives_leaves_the_others_alone() -> None:
    student, teacher = random_rows(3), random_rows(4, seed=1)
    labels, candidates, logits = torch.tensor([0, 1, 2]), torch.tensor([0, 0, 1, 1]), random_rows(3, 3, seed=2)
    loss = lw_supcrd(student, teacher, labels, logits, candidate_labels=candidates)
    assert loss[2] == 0
    without = lw_supcrd(student[:2], teacher, labels[:2], logits[:2], candidate_labels=candidates)
    torch.testing.assert_close(loss[:2], without, rtol=1e-12, atol=0)


def test_one_column_of_logits() -> None:
    # One class only: p = 1 and there are no negatives.
    assert lw_supcrd(E[:2], E[:2], torch.tensor([0, 0]), torch.ones(2, 1)).tolist() == [0, 0]


def test_a_small_batch_takes_the_same_value_by_either_way(monkeypatch) -> None:
    module = importlib.import_module("supcrd.losses.lw_supcrd")
    g = torch.Generator().manual_seed(0)
    student, teacher, logits = torch.randn(3, 30, 30, generator=g)
    labels = torch.randint(30, (30,), generator=g)
    sure = logits.clone()
    sure[:, 3] += 40  # 1 - p is e^-40: only logarithms keep it
    plain, exact = lw_supcrd(student, teacher, labels, logits), lw_supcrd(student, teacher, labels, sure)
    monkeypatch.setattr(module, "SURE", 2.0)
    torch.testing.assert_close(plain, lw_supcrd(student, teacher, labels, logits), rtol=1e-5, atol=1e-6)
    assert torch.equal(exact, lw_supcrd(student, teacher, labels, sure)), "the exact way was taken before too"
