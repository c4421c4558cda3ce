"""The common set: what every loss must pass, whatever it computes."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import naive_losses as naive
import pytest
import torch
from torch import Tensor

from supcrd.losses import CRD, DKD, KD, Hybrid, LWSupCRD, SupCon, crd, dkd, hybrid, kd, lw_supcrd, standardise, supcon

CLASSES = 10
TAKING_PART = torch.tensor([True, False, True, True, False, False])  # of the bank's rows, where there is a mask


@dataclass
class Batch:
    student: Tensor  # (B, D)
    teacher: Tensor  # (B, D)
    labels: Tensor  # (B,)
    logits: Tensor  # (B, C)
    bank: Tensor  # (6, D) teacher rows of other images
    bank_labels: Tensor  # (6,)

    def cast(self, dtype: torch.dtype) -> "Batch":
        return Batch(*(x.to(dtype) if x.is_floating_point() else x for x in vars(self).values()))

    def take(self, index: Tensor) -> "Batch":
        return replace(self, **{k: v[index] for k, v in vars(self).items() if not k.startswith("bank")})

    @property
    def candidates(self) -> Tensor:
        return torch.cat([self.teacher, self.bank])

    @property
    def candidate_labels(self) -> Tensor:
        return torch.cat([self.labels, self.bank_labels])

    @property
    def valid(self) -> Tensor:
        return torch.cat([torch.ones_like(self.labels, dtype=torch.bool), TAKING_PART])


def batch(rows: int = 24, width: int = 8, classes: int = CLASSES, seed: int = 0) -> Batch:
    """Float32 rows, as an encoder gives them; students that resemble their teachers somewhat."""
    g = torch.Generator().manual_seed(seed)
    teacher = torch.randn(rows, width, generator=g)
    student = 0.5 * teacher + torch.randn(rows, width, generator=g)
    labels = torch.randint(classes, (rows,), generator=g)
    logits = 2 * torch.randn(rows, classes, generator=g) + 2 * torch.nn.functional.one_hot(labels, classes)
    return Batch(
        student, teacher, labels, logits, torch.randn(6, width, generator=g), torch.randint(classes, (6,), generator=g)
    )


def weights(alpha: float, beta: float, tau: float, adaptive: bool, teacher_temperature: float) -> dict[str, float]:
    return {
        "alpha": alpha,
        "beta": beta,
        "temperature": tau,
        "adaptive": adaptive,
        "teacher_temperature": teacher_temperature,
    }


LW = {
    "default": {},
    "plain": weights(1.0, 10.0, 0.07, False, 1.0),
    "alpha 2": weights(2.0, 10.0, 0.1, True, 1.0),
    "alpha 10, beta 1": weights(10.0, 1.0, 0.05, True, 4.0),
    "alpha 0.5, beta 12": weights(0.5, 12.0, 0.2, False, 0.5),
}
Loss = Callable[[Batch], Tensor]
# name -> (loss of a batch, the same in floats). Some take the defaults, which are the reference's, and some do not.
CASES: dict[str, tuple[Loss, Callable[[Batch], list[float]]]] = {
    "supcon": (
        lambda b: supcon(b.student, b.labels),
        lambda b: naive.supcon(b.student.tolist(), b.labels.tolist(), temperature=0.07),
    ),
    "supcon, two views": (
        lambda b: supcon(b.student.unflatten(1, (2, -1)), b.labels, temperature=0.1),
        lambda b: naive.supcon(
            b.student.unflatten(1, (2, -1)).flatten(0, 1).tolist(),
            [y for y in b.labels.tolist() for _ in range(2)],
            temperature=0.1,
        ),
    ),
    "crd": (
        lambda b: crd(b.student, b.teacher),
        lambda b: naive.crd(b.student.tolist(), b.teacher.tolist(), temperature=0.07),
    ),
    "crd, bank": (
        lambda b: crd(b.student, b.candidates, temperature=0.2),
        lambda b: naive.crd(b.student.tolist(), b.candidates.tolist(), temperature=0.2),
    ),
    "kd": (
        lambda b: kd(b.logits.roll(1, 1), b.logits),
        lambda b: naive.kd(b.logits.roll(1, 1).tolist(), b.logits.tolist(), temperature=4.0),
    ),
    "kd, T = 1": (
        lambda b: kd(b.student, b.teacher, temperature=1.0),
        lambda b: naive.kd(b.student.tolist(), b.teacher.tolist(), temperature=1.0),
    ),
    "kd, standardised": (
        lambda b: kd(standardise(b.logits.roll(1, 1)), standardise(b.logits), temperature=2.0),
        lambda b: naive.kd(*standard_logits(b), temperature=2.0),
    ),
    "dkd": (
        lambda b: dkd(b.logits.roll(1, 1), b.logits, b.labels),
        lambda b: naive.dkd(b.logits.roll(1, 1).tolist(), b.logits.tolist(), b.labels.tolist()),
    ),
    "dkd, alpha 2, beta 0.5, T = 1": (
        lambda b: dkd(b.logits.roll(1, 1), b.logits, b.labels, alpha=2.0, beta=0.5, temperature=1.0),
        lambda b: naive.dkd(
            b.logits.roll(1, 1).tolist(), b.logits.tolist(), b.labels.tolist(), alpha=2.0, beta=0.5, temperature=1.0
        ),
    ),
    "dkd, standardised": (
        lambda b: dkd(standardise(b.logits.roll(1, 1)), standardise(b.logits), b.labels, temperature=2.0),
        lambda b: naive.dkd(*standard_logits(b), b.labels.tolist(), temperature=2.0),
    ),
    "crd, mask": (
        lambda b: crd(b.student, b.candidates, temperature=0.2, valid=b.valid),
        lambda b: naive.crd(b.student.tolist(), b.candidates[b.valid].tolist(), temperature=0.2),
    ),
    "lw_supcrd, mask": (
        lambda b: lw_supcrd(
            b.student, b.candidates, b.labels, b.logits, candidate_labels=b.candidate_labels, valid=b.valid
        ),
        lambda b: naive.lw_supcrd(
            b.student.tolist(),
            b.candidates[b.valid].tolist(),
            b.labels.tolist(),
            b.logits.tolist(),
            b.candidate_labels[b.valid].tolist(),
        ),
    ),
    "lw_supcrd, bank": (
        lambda b: lw_supcrd(b.student, b.candidates, b.labels, b.logits, candidate_labels=b.candidate_labels, beta=5.0),
        lambda b: naive.lw_supcrd(
            b.student.tolist(),
            b.candidates.tolist(),
            b.labels.tolist(),
            b.logits.tolist(),
            b.candidate_labels.tolist(),
            beta=5.0,
        ),
    ),
    "hybrid, bank": (
        lambda b: hybrid(
            b.student,
            b.candidates,
            b.labels,
            b.logits,
            candidate_labels=b.candidate_labels,
            lam=0.7,
            **LW["alpha 2"],
        ),
        lambda b: mixed(b, 0.7, LW["alpha 2"], bank=True),
    ),
    "hybrid": (lambda b: hybrid(b.student, b.teacher, b.labels, b.logits), lambda b: mixed(b, 0.3, {}, bank=False)),
}
for _name, _options in LW.items():
    CASES[f"lw_supcrd, {_name}"] = (
        lambda b, o=_options: lw_supcrd(b.student, b.teacher, b.labels, b.logits, **o),
        lambda b, o=_options: distilled(b, o, bank=False),
    )
every_loss = pytest.mark.parametrize("name", CASES)


def standard_logits(b: Batch) -> tuple[list[list[float]], list[list[float]]]:
    return naive.standardise(b.logits.roll(1, 1).tolist()), naive.standardise(b.logits.tolist())


def distilled(b: Batch, options: dict[str, float], *, bank: bool) -> list[float]:
    rows, labels = (b.candidates, b.candidate_labels) if bank else (b.teacher, b.labels)
    return naive.lw_supcrd(
        b.student.tolist(), rows.tolist(), b.labels.tolist(), b.logits.tolist(), labels.tolist(), **options
    )


def mixed(b: Batch, lam: float, options: dict[str, float], *, bank: bool) -> list[float]:
    alone = naive.supcon(b.student.tolist(), b.labels.tolist(), temperature=options.get("temperature", 0.07))
    taught = distilled(b, options, bank=bank)
    return [lam * x + (1 - lam) * y for x, y in zip(alone, taught, strict=True)]


def close(actual: Tensor, expected: list[float], relative: float) -> None:
    torch.testing.assert_close(
        actual.flatten().double(), torch.tensor(expected, dtype=torch.float64), rtol=relative, atol=1e-15
    )


@every_loss
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_double_loop_in_float64(name: str, seed: int) -> None:
    loss, loop = CASES[name]
    b = batch(seed=seed).cast(torch.float64)
    close(loss(b), loop(b), 1e-12)


@every_loss
def test_equals_the_double_loop_in_float32_at_full_size(name: str) -> None:
    loss, loop = CASES[name]
    b = batch(rows=128, width=64, classes=100)
    b.student = b.student - 0.45 * b.teacher  # early in training: the relative error of a loss near 0 is that of s_ij
    actual = loss(b)
    assert actual.dtype == torch.float32
    close(actual, loop(b), 1e-6)


@every_loss
def test_permuting_the_batch_permutes_the_losses(name: str) -> None:
    loss, b = CASES[name][0], batch().cast(torch.float64)
    order = torch.randperm(len(b.labels), generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(loss(b.take(order)), loss(b)[order], rtol=1e-12, atol=1e-14)


@every_loss
def test_is_never_negative(name: str) -> None:
    for seed in range(5):
        assert (CASES[name][0](batch(seed=seed)) >= 0).all()


@pytest.mark.parametrize("name", [name for name in CASES if "kd" not in name and "views" not in name])
def test_length_of_rows_does_not_matter(name: str) -> None:
    loss, b = CASES[name][0], batch().cast(torch.float64)
    lengths = torch.logspace(-6, 6, len(b.student), dtype=torch.float64)[:, None]
    longer = replace(b, student=b.student * lengths, teacher=b.teacher * lengths.flip(0), bank=b.bank * 7)
    torch.testing.assert_close(loss(longer), loss(b), rtol=1e-12, atol=1e-14)
    for length in (2.0**-100, 2.0**100):  # 1e-30 and 1e30, whose squares leave float32; powers of two are exact
        b = batch()
        longer = replace(b, student=b.student * length, teacher=b.teacher / length)
        torch.testing.assert_close(loss(longer), loss(b), rtol=1e-6, atol=1e-6)


@every_loss
def test_gradient_of_student_and_teacher(name: str) -> None:
    loss, b = CASES[name][0], batch(rows=6, width=4, classes=3).cast(torch.float64)
    b.labels, b.bank_labels = torch.tensor([0, 1, 0, 2, 1, 0]), torch.tensor([2, 2, 1, 0, 0, 1])

    def of(student: Tensor, teacher: Tensor, bank: Tensor, logits: Tensor) -> Tensor:
        return loss(replace(b, student=student, teacher=teacher, bank=bank, logits=logits))

    inputs = tuple(x.clone().requires_grad_() for x in (b.student, b.teacher, b.bank, b.logits))
    assert torch.autograd.gradcheck(of, inputs)


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    loss, b = CASES[name][0], batch().cast(dtype)
    for x in (b.student, b.teacher, b.logits):
        x.requires_grad_()
    result = loss(b)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, loss(b.cast(torch.float32)), rtol=0, atol=0)
    result.sum().backward()
    assert all(x.grad is None or x.grad.isfinite().all() for x in (b.student, b.teacher, b.logits))


@every_loss
def test_autocast_changes_nothing(name: str) -> None:
    loss, b = CASES[name][0], batch()
    plain, b.student = loss(b), b.student.clone().requires_grad_()
    b.logits.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(b)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, plain, rtol=0, atol=0)
    inside.sum().backward()
    assert all(x.grad is None or x.grad.isfinite().all() for x in (b.student, b.logits))


EXTREMES: dict[str, Callable[[Batch], Batch]] = {
    "as they are": lambda b: b,
    "logits of 1e4": lambda b: replace(b, logits=1e4 * b.logits.sign()),
    "one logit of 1e4": lambda b: replace(b, logits=1e4 * (2 * torch.eye(CLASSES)[b.labels.flip(0)] - 1)),
    "rows of zeros": lambda b: replace(b, student=b.student * 0, teacher=b.teacher * 0, logits=b.logits * 0),
    "some rows of zeros": lambda b: replace(b, student=b.student.clone().index_fill_(0, torch.tensor([0, 3]), 0)),
    "rows of 1e30": lambda b: replace(b, student=b.student * 1e30, teacher=b.teacher * -1e30, bank=b.bank * 1e30),
    "rows of 1e-30": lambda b: replace(b, student=b.student * 1e-30, teacher=b.teacher * 1e-30),
    "all equal": lambda b: replace(b, student=b.student * 0 + 3, teacher=b.student * 0 + 3),
    "all opposite": lambda b: replace(b, teacher=-b.student),
    "one class": lambda b: replace(b, labels=b.labels * 0, bank_labels=b.bank_labels * 0),
    "a class a row": lambda b: b.take(torch.tensor([b.labels.tolist().index(y) for y in set(b.labels.tolist())])),
    "one row": lambda b: b.take(torch.tensor([0])),
}
AT: dict[str, Callable[[Batch, float], Tensor]] = {
    "supcon": lambda b, t: supcon(b.student, b.labels, temperature=t),
    "crd": lambda b, t: crd(b.student, b.candidates, temperature=t),
    "kd": lambda b, t: kd(b.student, b.teacher, temperature=t),
    "kd of logits": lambda b, t: kd(b.logits, b.logits.roll(1, 1), temperature=t),
    "kd, standardised": lambda b, t: kd(standardise(b.student), standardise(b.teacher), temperature=t),
    "dkd": lambda b, t: dkd(b.student, b.teacher, b.labels % b.student.shape[1], temperature=t),
    "dkd of logits": lambda b, t: dkd(b.logits, b.logits.roll(1, 1), b.labels, temperature=t),
    "dkd, standardised": lambda b, t: dkd(
        standardise(b.logits), standardise(b.logits.roll(1, 1)), b.labels, temperature=t
    ),
    "crd, mask": lambda b, t: crd(b.student, b.candidates, temperature=t, valid=b.valid),
    "lw_supcrd, mask": lambda b, t: lw_supcrd(
        b.student, b.candidates, b.labels, b.logits, candidate_labels=b.candidate_labels, temperature=t, valid=b.valid
    ),
    "lw_supcrd": lambda b, t: lw_supcrd(b.student, b.teacher, b.labels, b.logits, temperature=t),
    "lw_supcrd, teacher's": lambda b, t: lw_supcrd(b.student, b.teacher, b.labels, b.logits, teacher_temperature=t),
    "lw_supcrd, bank": lambda b, t: lw_supcrd(
        b.student, b.candidates, b.labels, b.logits, candidate_labels=b.candidate_labels, temperature=t, adaptive=False
    ),
    "hybrid": lambda b, t: hybrid(b.student, b.teacher, b.labels, b.logits, temperature=t),
}


@pytest.mark.parametrize("name", AT)
@pytest.mark.parametrize("extreme", EXTREMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_finite_loss_and_gradient_at_the_extremes(name: str, extreme: str, dtype: torch.dtype) -> None:
    for temperature in (1e-3, 0.07, 1.0, 1e3):
        b = EXTREMES[extreme](batch()).cast(dtype)
        leaves = [x.detach().requires_grad_() for x in (b.student, b.teacher, b.logits)]
        loss = AT[name](replace(b, student=leaves[0], teacher=leaves[1], logits=leaves[2]), temperature)
        assert loss.isfinite().all(), temperature
        loss.sum().backward()
        assert all(x.grad is None or x.grad.isfinite().all() for x in leaves), temperature


def test_modules_are_the_mean_of_their_functions() -> None:
    b, o = batch(), LW["alpha 0.5, beta 12"]
    rows = (b.student, b.teacher, b.labels, b.logits)
    bank = {"candidate_labels": b.candidate_labels, "classes": torch.arange(CLASSES).flip(0)}
    two = b.logits.roll(1, 1), b.logits
    masked = {"candidate_labels": b.candidate_labels, "valid": b.valid}
    pairs = [
        (SupCon()(b.student, b.labels), supcon(b.student, b.labels, temperature=0.07)),
        (SupCon(0.3)(b.student, b.labels), supcon(b.student, b.labels, temperature=0.3)),
        (CRD()(b.student, b.teacher), crd(b.student, b.teacher, temperature=0.07)),
        (CRD(temperature=0.3)(b.student, b.candidates), crd(b.student, b.candidates, temperature=0.3)),
        (KD()(b.student, b.teacher), kd(b.student, b.teacher, temperature=4.0)),
        (KD(temperature=2.0)(b.student, b.teacher), kd(b.student, b.teacher, temperature=2.0)),
        (KD(2.0, standardise=True)(*two), kd(standardise(two[0]), standardise(two[1]), temperature=2.0)),
        (DKD()(*two, b.labels), dkd(*two, b.labels, alpha=1.0, beta=8.0, temperature=4.0)),
        (DKD(2.0, 0.5, 3.0)(*two, b.labels), dkd(*two, b.labels, alpha=2.0, beta=0.5, temperature=3.0)),
        (DKD(standardise=True)(*two, b.labels), dkd(standardise(two[0]), standardise(two[1]), b.labels)),
        (CRD()(b.student, b.candidates, b.valid), crd(b.student, b.candidates, valid=b.valid)),
        (LWSupCRD()(*rows), lw_supcrd(*rows, **weights(1.0, 10.0, 0.07, True, 1.0))),
        (LWSupCRD(**o)(*rows), lw_supcrd(*rows, **o)),
        (
            LWSupCRD(**o)(b.student, b.candidates, b.labels, b.logits, **bank),
            lw_supcrd(b.student, b.candidates, b.labels, b.logits, **bank, **o),
        ),
        (
            LWSupCRD(**o)(b.student, b.candidates, b.labels, b.logits, **masked),
            lw_supcrd(b.student, b.candidates, b.labels, b.logits, **masked, **o),
        ),
        (Hybrid()(*rows), hybrid(*rows, lam=0.3, **weights(1.0, 10.0, 0.07, True, 1.0))),
        (Hybrid(lam=0.8, **o)(*rows), hybrid(*rows, lam=0.8, **o)),
    ]
    for module, function in pairs:
        assert module.shape == ()
        torch.testing.assert_close(module, function.mean(), rtol=2e-6, atol=0)
