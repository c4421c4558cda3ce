"""DKD and the standardisation of logits: values derived by hand, limits, and numbers as extreme as floats allow."""

import math

import pytest
import torch
from torch import Tensor

from supcrd.losses import DKD, KD, dkd, kd, standardise


def random_rows(rows: int, width: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def is_close(actual: Tensor, *expected: float, relative: float = 1e-12) -> None:
    torch.testing.assert_close(
        actual.double(), torch.tensor(expected, dtype=torch.float64).expand(actual.shape), rtol=relative, atol=0
    )


# --- DKD


def test_dkd_by_hand() -> None:
    # T = 1, label 2. Teacher (3/8, 1/8, 1/2), student (1/6, 1/6, 2/3).
    # TCKD: 1/2 ln(3/4) + 1/2 ln(3/2) = ln(9/8) / 2. NCKD: p' = (3/4, 1/4), q' = (1/2, 1/2): 3/4 ln(3/2) - 1/4 ln 2.
    teacher, student = torch.tensor([[3 / 8, 1 / 8, 1 / 2], [1 / 6, 1 / 6, 2 / 3]], dtype=torch.float64).log()[:, None]
    label, target, other = torch.tensor([2]), math.log(9 / 8) / 2, 0.75 * math.log(1.5) - 0.25 * math.log(2)
    for alpha, beta in ((1.0, 8.0), (1.0, 0.0), (0.0, 1.0), (0.3, 0.5)):
        loss = dkd(student, teacher, label, alpha=alpha, beta=beta, temperature=1.0)
        is_close(loss, alpha * target + beta * other)
        # with logits three times as large T = 3 gives the same probabilities
        is_close(dkd(3 * student, 3 * teacher, label, alpha=alpha, beta=beta, temperature=3.0), 9 * loss.item())


def test_dkd_defaults_are_the_papers() -> None:
    rows = random_rows(5), random_rows(5, seed=1), torch.arange(5)
    assert torch.equal(dkd(*rows), dkd(*rows, alpha=1.0, beta=8.0, temperature=4.0))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dkd_with_the_weight_that_kd_gives_is_kd(temperature: float) -> None:
    # KL(p, q) = TCKD + (1 - p_t) NCKD, section 3.1 of the paper.
    student, teacher, labels = 3 * random_rows(40, 10), 3 * random_rows(40, 10, seed=1), torch.arange(40) % 10
    one, other = (
        dkd(student, teacher, labels, alpha=1.0 - b, beta=float(b), temperature=temperature) for b in (False, True)
    )
    rest = 1 - (teacher / temperature).softmax(dim=1).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(one + rest * other, kd(student, teacher, temperature=temperature), rtol=1e-11, atol=0)


def test_dkd_of_two_classes_is_kd_whatever_beta() -> None:
    student, teacher, labels = random_rows(9, 2), random_rows(9, 2, seed=1), torch.arange(9) % 2
    is_zero = dkd(student, teacher, labels, alpha=0.0, beta=8.0)
    assert is_zero.eq(0).all()
    torch.testing.assert_close(dkd(student, teacher, labels), kd(student, teacher), rtol=1e-10, atol=0)


def test_dkd_of_equal_logits_is_zero_with_zero_gradient() -> None:
    for scale in (1.0, 1e4):
        student = (scale * random_rows(5)).float().requires_grad_()
        loss = dkd(student, student.detach().clone(), torch.arange(5))
        assert loss.eq(0).all()
        loss.sum().backward()
        assert student.grad is not None
        assert student.grad.eq(0).all()


def test_dkd_ignores_a_constant_added_to_a_row() -> None:
    a, b, labels = random_rows(5), random_rows(5, seed=1), torch.arange(5)
    shifted = dkd(a + 7, b - 50 * torch.arange(5)[:, None], labels)
    torch.testing.assert_close(shifted, dkd(a, b, labels), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("count", [10, 300])  # more columns than the narrow types can count
def test_dkd_takes_any_type_of_integer(dtype: torch.dtype, count: int) -> None:
    a, b, labels = random_rows(3, count), random_rows(3, count, seed=1), torch.tensor([0, 9, 5])
    assert torch.equal(dkd(a, b, labels.to(dtype)), dkd(a, b, labels))


@pytest.mark.parametrize("parts", [(1.0, 0.0), (0.0, 1.0), (1.0, 8.0)])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dkd_keeps_its_digits_in_float32(parts: tuple[float, float], temperature: float) -> None:
    a, b, labels = random_rows(128, 100).float(), random_rows(128, 100, seed=1).float(), torch.arange(128) % 100
    options = {"alpha": parts[0], "beta": parts[1], "temperature": temperature}
    exact = dkd(a.double(), b.double(), labels, **options)
    torch.testing.assert_close(dkd(a, b, labels, **options).double(), exact, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("sure", [0.0, 3.0, 15.0, 20.0, 40.0, 80.0])
@pytest.mark.parametrize("less", [0.5, 2.0, 10.0, 100.0])
def test_tckd_of_a_teacher_that_is_sure_keeps_its_digits(sign: float, sure: float, less: float) -> None:
    # Two classes of log-odds m (teacher) and m - less (student), or both negative. With p = 1 / (1 + e^m), the less
    # probable class's, and q likewise: p ln(p / q) + ln(1 - p) - ln(1 - q) and so on, here with log1p in float64.
    def logs(margin: float) -> tuple[float, float]:
        soft = math.log1p(math.exp(-abs(margin))) + max(-margin, 0)  # -ln sigmoid(margin)
        return -soft, -soft - margin

    (log_p, log_not_p), (log_q, log_not_q) = logs(sure), logs(sure - less)
    # both terms are known to a relative 1e-15; where they cancel, the error is that of the larger
    terms = math.exp(log_p) * (log_p - log_q), math.exp(log_not_p) * (log_not_p - log_not_q)
    student, teacher = torch.tensor([[sign * (sure - less), 0.0]]), torch.tensor([[sign * sure, 0.0]])
    loss = dkd(student, teacher, torch.tensor([0]), temperature=1.0)
    torch.testing.assert_close(loss.item(), sum(terms), rtol=3e-6, atol=1e-14 * max(map(abs, terms)))


def log_sum(values: list[float]) -> float:
    return max(values) + math.log(math.fsum(math.exp(v - max(values)) for v in values))


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e3, 1e4])
@pytest.mark.parametrize("temperature", [1e-3, 1.0, 4.0, 1e3])
def test_dkd_of_extreme_logits_keeps_its_value_and_its_gradient(scale: float, temperature: float) -> None:
    # The truth in log space, in Python floats. d loss / d student: T (alpha (q_t - p_t)) for the label's own logit, and
    # T (alpha (p_t - q_t) q'_c + beta (q'_c - p'_c)) for another's.
    student, teacher = ((scale * random_rows(12, 4, seed=n)).float() for n in (0, 1))
    student[0], teacher[1] = scale * torch.tensor([1.0, -1, -1, -1]), scale * torch.tensor([-1.0, 1, -1, -1])
    labels = torch.arange(12) % 4
    expected, slopes = [], []
    for y, *pair in zip(labels.tolist(), teacher.tolist(), student.tolist(), strict=True):
        logs = []  # ln p_t, ln(1 - p_t), ln p'_c
        for row in pair:
            z = [x / temperature for x in row]
            rest = log_sum([x for c, x in enumerate(z) if c != y])
            logs.append((z[y] - log_sum(z), rest - log_sum(z), [x - rest for x in z]))
        (p, not_p, others), (q, not_q, guesses) = logs
        target = math.exp(p) * (p - q) + math.exp(not_p) * (not_p - not_q)
        other = math.fsum(math.exp(a) * (a - b) for c, (a, b) in enumerate(zip(others, guesses, strict=True)) if c != y)
        expected.append(temperature**2 * (target + 8 * other))
        gap = math.exp(q) - math.exp(p)
        slopes.append(
            [
                temperature * (gap if c == y else -gap * math.exp(b) + 8 * (math.exp(b) - math.exp(a)))
                for c, (a, b) in enumerate(zip(others, guesses, strict=True))
            ]
        )
    student.requires_grad_()
    loss = dkd(student, teacher, labels, temperature=temperature)
    loss.sum().backward()
    truth = torch.tensor(expected, dtype=torch.float64)
    # p and q, of which NCKD takes differences, are rounded, to 6e-8 each, and then weighed by 8 T^2
    torch.testing.assert_close(loss.double(), truth, rtol=1e-5, atol=8 * 1e-7 * temperature**2)
    assert student.grad is not None
    slope = torch.tensor(slopes, dtype=torch.float64)
    torch.testing.assert_close(student.grad.double(), slope, rtol=1e-4, atol=1e-6 * temperature)


def test_close_logits_of_1e4_differ_by_what_they_differ() -> None:
    # float32 steps by 1/1024 at 1e4; divided by T = 3 first, the difference of 1/2 would lose its fourth digit.
    near = torch.tensor([[1.0, 0.5, 0.0]])
    loss = dkd(near * 0, near, torch.tensor([1]), temperature=3.0)
    torch.testing.assert_close(dkd(near * 0 + 1e4, near + 1e4, torch.tensor([1]), temperature=3.0), loss)


def test_a_nan_is_never_made_a_number() -> None:
    rows, bad, labels = torch.randn(3, 4), torch.randn(3, 4), torch.arange(3)
    bad[1, 2] = torch.nan
    for loss in (dkd(bad, rows, labels), dkd(rows, bad, labels), standardise(bad).sum(dim=1)):
        assert loss.isnan().tolist() == [False, True, False]


# --- standardisation


def test_standardise_by_hand() -> None:
    # Mean 5, squared differences 9, 1, 1, 0, 0, 4, 16, 1 over 8: variance 4.
    row = torch.tensor([[2.0, 4, 4, 4, 5, 5, 7, 9]])
    expected = torch.tensor([[-1.5, -0.5, -0.5, -0.5, 0, 0, 1, 2]])
    torch.testing.assert_close(standardise(row), expected, rtol=0, atol=1e-6)


def test_standardise_is_the_official_ones_but_for_its_standard_deviation() -> None:
    rows = random_rows(5, 10)
    sample = (rows - rows.mean(dim=1, keepdim=True)) / rows.std(dim=1, keepdim=True)  # divides by C - 1
    torch.testing.assert_close(standardise(rows) * math.sqrt(9 / 10), sample, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e4, 1e30])
@pytest.mark.parametrize("shift", [0.0, 1.0, -1e3])
def test_place_and_scale_do_not_matter(scale: float, shift: float) -> None:
    rows = random_rows(5).float()
    z = standardise(scale * (rows + shift))
    torch.testing.assert_close(z, standardise(rows), rtol=0, atol=1e-6 * (1 + abs(shift)))
    torch.testing.assert_close(z.mean(dim=1), torch.zeros(5), rtol=0, atol=1e-6)
    torch.testing.assert_close(z.square().mean(dim=1), torch.ones(5), rtol=1e-5, atol=0)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e4, 1e30, 1e-30])
def test_equal_logits_give_zeros_with_zero_gradient(value: float) -> None:
    # The mean of a hundred 0.1s is not 0.1 in float32: what is left of the row must not be blown up.
    logits = torch.full((3, 100), value)
    logits[1, 0] += 1 + abs(value)
    logits.requires_grad_()
    z = standardise(logits)
    assert z[[0, 2]].eq(0).all()
    assert z[1].isfinite().all()
    (z * torch.randn(3, 100)).sum().backward()
    assert logits.grad is not None
    assert logits.grad[[0, 2]].eq(0).all()
    assert logits.grad[1].isfinite().all()


def test_one_column_and_two() -> None:
    assert standardise(torch.tensor([[3.0], [5.0]])).eq(0).all()
    assert standardise(torch.tensor([[3.0, 5.0], [1e4, -1e4]])).tolist() == [[-1, 1], [1, -1]]


@pytest.mark.parametrize("loss", [KD(standardise=True), DKD(standardise=True)])
def test_a_student_need_not_match_the_size_of_its_teachers_logits(loss: torch.nn.Module) -> None:
    teacher, labels = random_rows(6), (torch.arange(6),) if isinstance(loss, DKD) else ()
    assert loss(0.01 * teacher + 5, teacher, *labels) < 1e-14
    assert loss(teacher * 0, teacher, *labels) > 0.1


def test_gradient_of_standardise() -> None:
    rows = (100 * random_rows(4, 5) + 30).requires_grad_()
    assert torch.autograd.gradcheck(standardise, (rows,))
    assert torch.autograd.gradgradcheck(standardise, (rows,))
