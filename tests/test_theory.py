"""Every statement of docs/theory.md, against double loops and autograd in float64."""

import math
import re
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from supcrd.losses import crd, hybrid, kd, lw_supcrd
from supcrd.metrics.sphere import alignment, uniformity

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "theory.md").read_text()
TAU, C = 0.3, 5
exact = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-12)
CASES = pytest.mark.parametrize(("alpha", "adaptive", "bank"), list(product([1.0, 2.0], [True, False], [0, 4])))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def probabilities(rows: int, classes: int = C, seed: int = 2) -> Tensor:
    return normal(rows, classes, seed=seed).mul(2).softmax(dim=1)


def naive(
    scores: Tensor, labels: Tensor, others: Tensor, p: Tensor, *, alpha=1.0, beta=10.0, adaptive=True, eps=0.0
) -> Tensor:
    """As published, a double loop: -(1/alpha) ln((w_pull POS + eps) / (w_pull POS + NEG + eps))."""
    losses = []
    for i, own in enumerate(labels.tolist()):
        pull = push = scores.new_zeros(())
        for j, label in enumerate(others.tolist()):
            if label == own:
                pull = pull + alpha * p[i, own] * scores[i, j].exp()
            else:
                weight = beta / (p[i, own] + 0.5) if adaptive else beta
                push = push + weight * (1 - p[i, label]) * scores[i, j].exp()
        losses.append(-((pull + eps) / (pull + push + eps)).log() / alpha)
    return torch.stack(losses)


def closed_form(
    scores: Tensor, labels: Tensor, others: Tensor, p: Tensor, *, alpha=1.0, beta=10.0, adaptive=True
) -> tuple[Tensor, Tensor, Tensor]:
    """The gate sigma (B, 1) and the shares pi and nu (B, N) of docs/theory.md."""
    same, own = labels[:, None] == others, p.gather(1, labels[:, None])
    positive = scores.exp() * same
    negative = scores.exp() * ~same * (beta / (own + 0.5) if adaptive else beta) * (1 - p[:, others])
    pull, push = alpha * own * positive.sum(dim=1, keepdim=True), negative.sum(dim=1, keepdim=True)
    return push / (pull + push), positive / positive.sum(dim=1, keepdim=True), negative / push


def problem(bank: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Raw student and teacher rows, labels of both, probabilities; every anchor has positives and negatives."""
    x, z = normal(8, 4).requires_grad_(), normal(8 + bank, 4, seed=1).requires_grad_()
    others = torch.arange(8 + bank) % 4
    return x, z, others[:8], others, probabilities(8)


def ours(x: Tensor, z: Tensor, labels: Tensor, others: Tensor, p: Tensor, **options: Any) -> Tensor:
    others = labels if len(others) == len(labels) else others  # the same object takes the library's quick path
    return lw_supcrd(x, z, labels, p.log(), candidate_labels=others, **{"temperature": TAU} | options)


def scores_of(x: Tensor, z: Tensor) -> Tensor:
    return normalize(x, dim=1) @ normalize(z, dim=1).T / TAU


def tangent(gradient: Tensor, raw: Tensor) -> Tensor:
    """(I - u u^T) gradient / |raw|, row by row, u being the unit row."""
    unit, norm = normalize(raw.detach(), dim=1), raw.detach().norm(dim=1, keepdim=True)
    return (gradient - (gradient * unit).sum(dim=1, keepdim=True) * unit) / norm


def test_every_statement_names_its_test() -> None:
    assert set(re.findall(r"::(test_\w+)", TEXT)) == {n for n in globals() if n.startswith("test_")} - {
        "test_every_statement_names_its_test"
    }


# 1. alpha


@CASES
def test_only_the_ratio_matters(alpha: float, adaptive: bool, bank: int) -> None:
    x, z, labels, others, p = problem(bank)
    both = [{"alpha": 3 * alpha, "beta": 12.0}, {"alpha": 1.0, "beta": 4 / alpha}]
    for loss in (ours, lambda x, z, *rest, **options: naive(scores_of(x, z), *rest, **options)):
        one, other = (loss(x, z, labels, others, p, adaptive=adaptive, **each) for each in both)
        exact(one, other / (3 * alpha))


def test_the_published_epsilon_is_not_homogeneous() -> None:
    # The published code subtracts the row's maximum and adds 1e-8: with positives far away and p(y) small that is
    # no longer small beside w_pull POS.
    s, label, p = torch.tensor([[-2 / 0.07, 0.0]], dtype=torch.float64), torch.tensor([0]), probabilities(1)
    others = torch.tensor([0, 1])
    for eps, equal in ((0.0, True), (1e-8, False)):
        one, other = (naive(s, label, others, p, alpha=a, beta=b, eps=eps) for a, b in ((2.0, 10.0), (1.0, 5.0)))
        assert math.isclose(one.item(), other.item() / 2, rel_tol=1e-6) == equal


def trajectory(
    kind: Any, *, alpha, beta, lr=0.01, clip=math.inf, kd_weight=0.0, ce_weight=1.0, steps=30, **settings
) -> Tensor:
    """All parameters after each step of the joint training: student, teacher's head at lr / 10, online classifier.

    `settings` are those of the groups that the contrastive loss reaches, the classifier's too where kd reaches it.
    """
    images, taught, labels, logits = normal(24, 6), normal(24, 6, seed=1), torch.arange(24) % 4, normal(24, C, seed=2)
    shapes = [(6, 8), (8, 4), (6, 4), (8, C)]
    parameters = [(normal(*shape, seed=3 + k) / 3).requires_grad_() for k, shape in enumerate(shapes)]
    encoder, projector, head, classifier = parameters
    groups = [{"params": [encoder, projector], "lr": lr}, {"params": [head], "lr": lr / 10}]
    groups = [group | settings for group in groups]
    groups.append({"params": [classifier], "lr": 0.01} | (settings if kd_weight else {}))
    optimizer, path = kind(groups, lr=lr), []
    for _ in range(steps):
        features = (images @ encoder).tanh()
        loss = lw_supcrd(features @ projector, taught @ head, labels, logits, alpha=alpha, beta=beta).mean()
        loss = loss + ce_weight * cross_entropy(features.detach() @ classifier, labels)
        loss = loss + kd_weight * kd(features @ classifier, logits).mean()
        optimizer.zero_grad()
        loss.backward()
        for group in groups[:2]:
            torch.nn.utils.clip_grad_norm_(group["params"], clip)
        optimizer.step()
        path.append(torch.cat([each.detach().flatten() for each in parameters]))
    return torch.stack(path)


def deviation(one: Tensor, other: Tensor) -> float:
    """Largest distance of two paths, over the distance gone."""
    return ((one - other).norm(dim=1).max() / (one[-1] - one[0]).norm()).item()


A = 10.0  # alpha
adam, adamw, sgd = torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD
momentum, nesterov = partial(sgd, momentum=0.9), partial(sgd, momentum=0.9, nesterov=True)
RULES = {  # optimiser, settings of L(alpha, beta), those of L(1, beta/alpha), whether the former would not do for both
    "adam": (adam, {"eps": 1e-8}, {"eps": A * 1e-8}, False),
    "adamw": (adamw, {"eps": 1e-8, "weight_decay": 0.1}, {"eps": A * 1e-8, "weight_decay": 0.1}, False),
    "adam, L2": (adam, {"eps": 1e-8, "weight_decay": 0.1}, {"eps": A * 1e-8, "weight_decay": A * 0.1}, True),
    "adam, clipped": (adam, {"eps": 1e-8, "clip": 0.2}, {"eps": A * 1e-8, "clip": A * 0.2}, True),
    "adam, kd": (adam, {"eps": 1e-8, "kd_weight": 0.1}, {"eps": A * 1e-8, "kd_weight": 1.0, "ce_weight": A}, True),
    "sgd": (sgd, {"lr": 0.3}, {"lr": 0.3 / A}, True),
    "momentum": (momentum, {"lr": 0.3}, {"lr": 0.3 / A}, True),
    "nesterov": (nesterov, {"lr": 0.3}, {"lr": 0.3 / A}, True),
    "sgd, L2": (momentum, {"lr": 0.3, "weight_decay": 0.1}, {"lr": 0.3 / A, "weight_decay": A * 0.1}, True),
}


@pytest.mark.parametrize("name", RULES)
def test_same_trajectory(name: str) -> None:
    kind, left, right, breaks = RULES[name]
    swept = trajectory(kind, alpha=A, beta=10.0, **left)
    same, unscaled = (trajectory(kind, alpha=1.0, beta=10.0 / A, **each) for each in (right, left))
    # clip_grad_norm_ adds 1e-6 to the norm, which is not scaled
    assert deviation(swept, same) < (1e-4 if "clip" in left else 1e-9)
    assert (deviation(swept, unscaled) > 0.02) == breaks


def test_clipping_always_or_never_breaks_nothing() -> None:
    for clip in (0.01, 100.0):
        one, other = (trajectory(adam, alpha=a, beta=a, clip=clip) for a in (A, 1.0))
        assert deviation(one, other) < 1e-4


def test_size_of_adams_epsilon() -> None:
    sizes = []
    for alpha, eps in ((10.0, 1e-8), (10.0, 1e-10), (2.0, 1e-8)):
        one, other = (trajectory(adam, alpha=a, beta=b, eps=eps, steps=100) for a, b in ((alpha, 10), (1, 10 / alpha)))
        sizes.append(deviation(one, other))
    assert 3e-7 < sizes[0] < 1e-6  # docs: 6e-7
    assert sizes[0] / sizes[1] == pytest.approx(100, rel=0.05)  # linear in epsilon
    assert sizes[0] / sizes[2] == pytest.approx(9, rel=0.3)  # and in alpha - 1
    one = trajectory(adam, alpha=2.0, beta=10.0, eps=2.0**-27)
    assert torch.equal(one, trajectory(adam, alpha=1.0, beta=5.0, eps=2.0**-26))


def test_alpha_in_hybrid_is_another_lambda() -> None:
    x, z, labels, _, p = problem(0)
    lam, alpha = 0.3, 5.0
    one = hybrid(x, z, labels, p.log(), lam=lam, alpha=alpha, beta=10.0)
    other = hybrid(x, z, labels, p.log(), lam=alpha * lam / (alpha * lam + 1 - lam), beta=10.0 / alpha)
    exact(one, (lam + (1 - lam) / alpha) * other)


def test_published_replicates() -> None:
    rows = re.findall(r"\| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|", TEXT)
    groups: dict[float, list[tuple[float, float]]] = {}
    for ratio, alpha, beta, accuracy, aligned in rows:
        assert int(ratio) == int(beta) / int(alpha)
        groups.setdefault(int(ratio), []).append((float(accuracy), float(aligned)))
    assert len(rows) == 8
    sweep = [[float(x) for x in row[3:]] for row in rows if row[2] == "10" and row[3] != "73.35"]
    assert [round(max(c) - min(c), 2) for c in zip(*sweep, strict=True)] == [3.12, 0.16]
    spread = {k: [round(max(c) - min(c), 4) for c in zip(*v, strict=True)] for k, v in groups.items() if len(v) > 1}
    assert spread == {10: [0.16, 0.0472], 5: [1.15, 0.1358], 1: [0.39, 0.0892]}


# 2. Gradients


@CASES
def test_gradient_of_similarities(alpha: float, adaptive: bool, bank: int) -> None:
    x, z, labels, others, p = problem(bank)
    options, s = {"alpha": alpha, "adaptive": adaptive}, scores_of(x, z).detach().requires_grad_()
    losses = naive(s, labels, others, p, **options)
    (gradient,) = torch.autograd.grad(losses.sum(), s)
    gate, pi, nu = closed_form(s.detach(), labels, others, p, **options)
    exact(gradient, gate / alpha * (nu - pi))
    exact(gate[:, 0], 1 - (-alpha * ours(x, z, labels, others, p, **options)).exp().detach())
    for part in (pi, nu):
        exact(part.sum(dim=1), torch.ones(8, dtype=torch.float64))


@CASES
def test_gradient_of_rows(alpha: float, adaptive: bool, bank: int) -> None:
    x, z, labels, others, p = problem(bank)
    options = {"alpha": alpha, "adaptive": adaptive}
    a, b = (normalize(rows.detach(), dim=1).requires_grad_() for rows in (x, z))
    gate, pi, nu = closed_form(scores_of(x, z).detach(), labels, others, p, **options)
    for_a = gate / (alpha * TAU) * (nu - pi) @ b.detach()
    for_b = (gate * (nu - pi)).T @ a.detach() / (8 * alpha * TAU)
    unit = torch.autograd.grad(naive(a @ b.T / TAU, labels, others, p, **options).mean(), (a, b))
    exact(unit, (for_a / 8, for_b))
    assert (for_a.norm(dim=1) <= 2 * gate[:, 0] / (alpha * TAU)).all()
    assert (unit[1].norm(dim=1) <= 1 / (alpha * TAU)).all()
    for loss in (naive(scores_of(x, z), labels, others, p, **options), ours(x, z, labels, others, p, **options)):
        raw = torch.autograd.grad(loss.mean(), (x, z))
        exact(raw, (tangent(for_a / 8, x), tangent(for_b, z)))
        exact((raw[0] * x).sum(dim=1), torch.zeros(8, dtype=torch.float64))


def test_pull_goes_to_near_positives() -> None:
    s, labels = torch.tensor([[0.1, 0.0, 0.0]], dtype=torch.float64) / 0.07, torch.tensor([0, 0, 1])
    s.requires_grad_()
    (gradient,) = torch.autograd.grad(naive(s, labels[:1], labels, probabilities(1)).sum(), s)
    assert (gradient[0, 0] / gradient[0, 1]).item() == pytest.approx(math.exp(0.1 / 0.07))
    assert math.exp(0.1 / 0.07) == pytest.approx(4.17, abs=0.005)


def test_gate_closes_as_the_teacher_grows_sure() -> None:
    x, z, labels, others, _ = problem()
    s, rest = scores_of(x, z).detach(), probabilities(8).scatter(1, labels[:, None], 0)
    rest = rest / rest.sum(dim=1, keepdim=True)  # the other classes' shares of what is left
    kernel, same = s.exp(), labels[:, None] == others
    left, right = ((kernel * ~same * r).sum(dim=1) for r in (1 - rest[:, others], rest[:, others]))
    for adaptive in (True, False):
        before = torch.full((8,), torch.inf, dtype=torch.float64)
        for own in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
            p = (rest * (1 - own)).scatter(1, labels[:, None], own)
            loss = ours(x, z, labels, others, p, adaptive=adaptive).detach()
            ratio = 10 / (own + 0.5 if adaptive else 1) * (left / own + right) / (kernel * same).sum(dim=1)
            exact(loss, ratio.log1p())
            assert (loss < before).all()
            before = loss


def test_push_of_a_class() -> None:
    x, z, labels, others, p = problem()
    s = scores_of(x, z).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(naive(s, labels, others, p).sum(), s)
    for i, own in enumerate(labels.tolist()):
        pushed = {c: gradient[i, others == c].sum().item() for c in range(4) if c != own}
        kernel = {c: s[i, others == c].exp().sum().item() for c in pushed}
        for c, d in product(pushed, pushed):
            weights = ((1 - p[i, c]) / (1 - p[i, d])).item()
            assert pushed[c] / pushed[d] == pytest.approx(weights * kernel[c] / kernel[d])
            assert p[i, own] * (1 - 1e-12) <= weights <= (1 + 1e-12) / p[i, own]
        total = sum(1 - p[i, c].item() for c in range(C) if c != own)
        assert total / (C - 1) == pytest.approx((C - 2 + p[i, own].item()) / (C - 1))


# 3. Limits


def kappa_loss(s: Tensor, labels: Tensor, others: Tensor, kappa: float) -> Tensor:
    """-ln(P / (P + kappa N)), P and N being the plain sums over positives and negatives: double loops."""
    sums = [[s.new_zeros(()), s.new_zeros(())] for _ in labels]
    for (i, own), (j, label) in product(enumerate(labels.tolist()), enumerate(others.tolist())):
        sums[i][own != label] = sums[i][own != label] + s[i, j].exp()
    return torch.stack([-(pull / (pull + kappa * push)).log() for pull, push in sums])


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_evenly_spread_teacher(alpha: float) -> None:
    x, z, labels, others, _ = problem()
    known = {  # the constants of docs, plain and adaptive
        1 / C: (10 / alpha * (C - 1), 10 / alpha * (C - 1) * 2 * C / (C + 2)),
        1.0: (10 / alpha, 10 / alpha * 2 / 3),
    }
    for own, adaptive in product((1 / C, 0.05, 0.6, 1.0), (False, True)):
        other = (1 - own) / (C - 1)
        p = torch.full((8, C), max(other, 1e-300), dtype=torch.float64).scatter(1, labels[:, None], own)
        kappa = 10 / (own + 0.5 if adaptive else 1) / alpha * (1 - other) / own
        if own in known:
            assert kappa == pytest.approx(known[own][adaptive])
        loss = ours(x, z, labels, others, p, alpha=alpha, adaptive=adaptive)
        exact(loss, kappa_loss(scores_of(x, z), labels, others, kappa) / alpha)
    assert round(10 * 99 * 200 / 102) == 1941


def test_supcon_in_form() -> None:
    # Khosla et al., eq. 3: -ln( 1/|P| sum_{p in P} exp(s_ip) / sum_a exp(s_ia) )
    x, z, labels, others, _ = problem()
    s, p = scores_of(x, z).detach(), torch.full((8, C), 1 / C, dtype=torch.float64)
    loss = ours(x, z, labels, others, p, beta=1 / (C - 1), adaptive=False)
    for i, own in enumerate(labels.tolist()):
        positives = [s[i, j].exp().item() for j, label in enumerate(others.tolist()) if label == own]
        inside = -math.log(sum(positives) / len(positives) / s[i].exp().sum().item())
        assert loss[i].item() == pytest.approx(inside - math.log(len(positives)))


@CASES
def test_wrong_and_certain_teacher(alpha: float, adaptive: bool, bank: int) -> None:
    x, z, labels, others, _ = problem(bank)
    s, wrong, same = scores_of(x, z).detach(), (labels + 1) % 4, labels[:, None] == others
    pushing = ~same & (others != wrong[:, None])  # the class that the teacher believes in is not pushed
    ratio = (s.exp() * pushing).sum(dim=1).log() - (s.exp() * same).sum(dim=1).log()
    share = [s.exp() * m / (s.exp() * m).sum(dim=1, keepdim=True) for m in (pushing, same)]
    for k in (40.0, 400.0):  # p(y) = e^-k
        logits = torch.full((8, C), -k, dtype=torch.float64).scatter(1, wrong[:, None], 0.0)
        loss = ours(x, z, labels, others, logits.exp(), alpha=alpha, adaptive=adaptive)
        exact(loss.detach(), (k + math.log(10 * (2 if adaptive else 1) / alpha) + ratio) / alpha)
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        limit = (share[0] - share[1]) @ normalize(z.detach(), dim=1) / (alpha * TAU)
        exact(gradient, tangent(limit, x))
        assert (limit.norm(dim=1) <= 2 / (alpha * TAU)).all()


def test_two_classes() -> None:
    x, z, _, _, _ = problem(0)
    labels, even = torch.arange(8) % 2, torch.full((8, 2), 0.5, dtype=torch.float64)
    p = probabilities(8, 2)
    exact(*(ours(x, z, labels, labels, each, adaptive=False) for each in (p, even)))
    kappa = 10 / (p.gather(1, labels[:, None])[:, 0] + 0.5)
    s = scores_of(x, z)
    exact(
        ours(x, z, labels, labels, p), torch.stack([kappa_loss(s, labels, labels, k)[i] for i, k in enumerate(kappa)])
    )


@pytest.mark.parametrize("adaptive", [False, True])
def test_crd(adaptive: bool) -> None:
    x, z, labels, alpha = normal(4, 4), normal(4, 4, seed=1), torch.arange(4), 2.0
    plain = crd(x, z, temperature=TAU)
    uniform = torch.full((4, C), 1 / C, dtype=torch.float64)
    right = torch.full((4, C), 1e-300, dtype=torch.float64).scatter(1, labels[:, None], 1.0)
    options = {"alpha": alpha, "adaptive": adaptive}
    ratios = [(C + 2) / (2 * C * (C - 1)), 1.5] if adaptive else [1 / (C - 1), 1.0]
    for p, ratio in zip((uniform, right), ratios, strict=True):
        exact(ours(x, z, labels, labels, p, beta=ratio * alpha, **options), plain / alpha)
        # any other ratio is a margin: ln kappa off the positive's score, tau ln kappa off its cosine
        cosine = normalize(x, dim=1) @ normalize(z, dim=1).T
        margin = cosine - TAU * math.log(3) * torch.eye(4, dtype=torch.float64)
        expected = cross_entropy(margin / TAU, labels, reduction="none") / alpha
        exact(ours(x, z, labels, labels, p, beta=3 * ratio * alpha, **options), expected)
    # any p per anchor with beta_i (1 - p_i(y_j)) = alpha p_i(y_i), here with p_i(y_j) = q for the classes present
    own, q = 0.4, 0.1
    p = torch.full((4, C), q, dtype=torch.float64).scatter(1, labels[:, None], own)
    p[:, -1] = 1 - own - 3 * q
    beta = alpha * own / (1 - q) * (own + 0.5 if adaptive else 1)
    exact(ours(x, z, labels, labels, p, beta=beta, **options), plain / alpha)
    p = probabilities(4)  # uneven weights: not CRD, for whatever beta
    assert not torch.allclose(ours(x, z, labels, labels, p, beta=beta, **options), plain / alpha, rtol=0.01)
    assert 0.07 * math.log(10) == pytest.approx(0.161, abs=5e-4)


@CASES
def test_hot(alpha: float, adaptive: bool, bank: int) -> None:
    x, z, labels, others, p = problem(bank)
    tau, options = 1e7, {"alpha": alpha, "adaptive": adaptive}
    gate, pi, nu = closed_form(torch.zeros(8, 8 + bank, dtype=torch.float64), labels, others, p, **options)
    loss = ours(x, z, labels, others, p, temperature=tau, **options)
    exact(loss, -(1 - gate[:, 0]).log() / alpha, rtol=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    exact(tau * gradient, tangent(gate / alpha * (nu - pi) @ normalize(z.detach(), dim=1), x), atol=1e-6)


@CASES
def test_cold(alpha: float, adaptive: bool, bank: int) -> None:
    x, z, labels, others, p = problem(bank)
    cosine, same = scores_of(x, z).detach() * TAU, labels[:, None] == others
    hinge = cosine.masked_fill(same, -2).amax(dim=1) - cosine.masked_fill(~same, -2).amax(dim=1)
    assert (hinge < 0).any()
    assert (hinge > 0).any()
    for tau in (1e-2, 1e-4):
        loss = ours(x, z, labels, others, p, temperature=tau, alpha=alpha, adaptive=adaptive)
        exact(alpha * tau * loss, hinge.clamp(min=0), rtol=0, atol=10 * tau)


# 4. Alignment and uniformity


def potentials(x: Tensor, z: Tensor, labels: Tensor, others: Tensor, p: Tensor, tau: float) -> list[list[float]]:
    """By anchor: c, A and U of docs/theory.md, and what Jensen's inequality bounds them with; loops over distances."""
    found, t = [], 1 / (2 * tau)
    a, b = normalize(x.detach(), dim=1), normalize(z.detach(), dim=1)
    for i, own in enumerate(labels.tolist()):
        squares = (a[i] - b).square().sum(dim=1).tolist()
        near = [d for d, label in zip(squares, others.tolist(), strict=True) if label == own]
        away = [(1 - p[i, label].item(), d) for d, label in zip(squares, others.tolist(), strict=True) if label != own]
        weight = sum(w for w, _ in away)
        c = math.log(10 * weight / (p[i, own].item() * len(near)))
        aligned = -math.log(sum(math.exp(-t * d) for d in near) / len(near))
        uniform = math.log(sum(w / weight * math.exp(-t * d) for w, d in away))
        mean, least, count = t * sum(near) / len(near), t * min(near), math.log(len(near))
        bounds = [least, mean, least + count, -t * sum(w / weight * d for w, d in away), -t * min(d for _, d in away)]
        found.append([c, aligned, uniform, *bounds])
    return found


def test_similarity_is_distance() -> None:
    x, z, _, _, _ = problem()
    exact(scores_of(x, z), (1 - torch.cdist(normalize(x, dim=1), normalize(z, dim=1)).square() / 2) / TAU)


@pytest.mark.parametrize("tau", [0.07, 0.25, 1.0])
def test_loss_from_alignment_and_uniformity(tau: float) -> None:
    x, z, labels, others, p = problem()
    expected = [math.log1p(math.exp(c + a + u)) for c, a, u, *_ in potentials(x, z, labels, others, p, tau)]
    loss = ours(x, z, labels, others, p, temperature=tau, adaptive=False)
    exact(loss.detach(), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("tau", [0.07, 0.25, 1.0])
def test_jensen(tau: float) -> None:
    for _, a, u, least, mean, least_count, weighted, nearest in potentials(*problem(), tau):
        assert 0 <= least < a < min(mean, least_count)
        assert weighted < u < nearest <= 0


def test_uniformity_of_the_metric() -> None:
    # student and teacher rows the same, every image its own class, p uniform: U_i over all j != i with equal weights
    z, labels, p = normal(5, 3), torch.arange(5), torch.full((5, 5), 0.2, dtype=torch.float64)
    each = [u for _, _, u, *_ in potentials(z, z, labels, labels, p, 0.25)]  # t = 2
    mean = math.log(sum(map(math.exp, each)) / 5)
    assert mean == pytest.approx(uniformity(z), rel=1e-12)
    assert sum(each) / 5 < mean
    # and the identity for any tau, with every candidate: ln mean exp(s) = 1/tau + ln mean exp(-|a - b|^2 / (2 tau))
    x, z, _, _, _ = problem()
    potential = (-torch.cdist(normalize(x, dim=1), normalize(z, dim=1)).square() / (2 * TAU)).exp().mean().log()
    exact(scores_of(x, z).exp().mean().log(), 1 / TAU + potential)


def test_near_the_teacher_is_not_near_one_another() -> None:
    e = torch.eye(3, dtype=torch.float64)
    labels, p = torch.tensor([0, 0, 1]), probabilities(3)
    teacher = torch.stack([e[0], -e[0], e[1]])  # a class on two poles
    on_both, on_one = teacher, torch.stack([e[2], e[2], e[1]])
    for student, metric in ((on_both, 4.0), (on_one, 0.0)):
        assert alignment(student, labels) == metric
    near, far = (potentials(rows, teacher, labels, labels, p, 0.07)[0][1] for rows in (on_both, on_one))
    assert near == pytest.approx(math.log(2))  # no more than ln |P|, the price of the other pole
    assert far == pytest.approx(1 / 0.07)


# 5. Adaptive beta


def test_adaptive_range() -> None:
    x, z, labels, others, _ = problem()
    docs = {0.0: 2.0, 0.3: 1.25, 0.5: 1.0, 0.9: 0.71, 1.0: 0.67}
    for own, factor in docs.items():
        logits = torch.full((8, C), (1 - own) / (C - 1) or 1e-300, dtype=torch.float64)
        p = logits.scatter(1, labels[:, None], own or 1e-300)
        assert factor == pytest.approx(1 / (own + 0.5), abs=0.005)
        exact(
            ours(x, z, labels, others, p, beta=3.0),
            ours(x, z, labels, others, p, beta=3.0 / (own + 0.5), adaptive=False),
        )
    assert (-math.log(1.5), -math.log(0.5)) == pytest.approx((-0.405, 0.693), abs=5e-4)
    assert (math.log(0.9 / 0.3), math.log(1.4 / 0.8)) == pytest.approx((1.10, 0.56), abs=5e-3)


def test_adaptive_moves_only_the_gate() -> None:
    x, z, labels, others, p = problem()
    losses = [ours(x, z, labels, others, p, beta=1.0, adaptive=adaptive) for adaptive in (True, False)]
    shift = -(p.gather(1, labels[:, None]) + 0.5).log()
    margins = [loss.detach().expm1().log() for loss in losses]
    exact(margins[0] - margins[1], shift[:, 0])
    adaptive, plain = (torch.autograd.grad(loss.sum(), (x, z)) for loss in losses)
    gates = [-(-loss.detach()).expm1()[:, None] for loss in losses]
    factor = gates[0] / gates[1]
    exact(adaptive[0], factor * plain[0])
    assert ((factor > 2 / 3) & (factor < 2)).all()
    cosine = torch.cosine_similarity(adaptive[1], plain[1], dim=1)
    assert (cosine < 0.9999).any()  # a teacher row's gradient is a sum over anchors
