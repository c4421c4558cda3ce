"""Values derived by hand, limits, labels and peers of each loss. The derivation stands beside the value."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import SupConLoss
from pytorch_metric_learning.reducers import DoNothingReducer
from torch import Tensor

from supcrd.losses import Hybrid, crd, hybrid, kd, lw_supcrd, supcon

EYE = torch.eye(4, dtype=torch.float64)


def is_close(actual: Tensor, *expected: float, relative: float = 1e-12) -> None:
    torch.testing.assert_close(
        actual.double(), torch.tensor(expected, dtype=torch.float64).expand(actual.shape), rtol=relative, atol=0
    )


def random_rows(rows: int, width: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def is_zero_with_zero_gradient(losses: Tensor, *leaves: Tensor) -> None:
    assert losses.eq(0).all()
    losses.sum().backward()
    assert all(leaf.grad is None or leaf.grad.eq(0).all() for leaf in leaves)


# --- SupCon


def test_supcon_by_hand() -> None:
    # Rows e1, e1, e1, e2, e3 of classes 0, 0, 1, 1, 0 at tau = 1/2, so s = 2 for equal rows and 0 for others.
    # Anchor 0: the rest are s = 2, 2, 0, 0; positives rows 1 (s = 2) and 4 (s = 0): ln(2 e^2 + 2) - (2 + 0) / 2.
    # Anchor 2: s = 2, 2, 0, 0; positive row 3 (s = 0): ln(2 e^2 + 2). Anchor 3: all s = 0; ln 4 - 0; so is anchor 4.
    rows = EYE[[0, 0, 0, 1, 2]]
    first = math.log(2 * math.exp(2) + 2)
    is_close(
        supcon(rows, torch.tensor([0, 0, 1, 1, 0]), temperature=0.5), first - 1, first - 1, first, *[math.log(4)] * 2
    )


def test_supcon_of_equal_rows_is_ln_of_the_others() -> None:
    # All s are equal: the softmax over the 6 others is uniform, 1/6 on each positive.
    is_close(supcon(EYE[:1].repeat(7, 1), torch.tensor([0, 0, 1, 1, 1, 2, 2])), math.log(6))


def test_supcon_views_are_rows_of_one_batch() -> None:
    rows, labels = random_rows(12), torch.tensor([3, 1, 3, 2])
    views = rows.reshape(4, 3, 8)
    flat = supcon(rows, torch.tensor([3, 3, 3, 1, 1, 1, 3, 3, 3, 2, 2, 2]))
    assert supcon(views, labels).shape == (4, 3)
    torch.testing.assert_close(supcon(views, labels), flat.reshape(4, 3))
    torch.testing.assert_close(
        supcon(rows[:, None], torch.arange(12) // 2), supcon(rows, torch.arange(12) // 2)[:, None]
    )


@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [5, 5, 5, 5]], ids=["no positives", "one class"])
def test_supcon_is_zero_without_positives_or_negatives(labels: list[int]) -> None:
    rows = random_rows(4).requires_grad_()
    is_zero_with_zero_gradient(supcon(rows, torch.tensor(labels)), rows)


def test_supcon_of_an_anchor_without_positives_is_zero_among_others() -> None:
    rows = random_rows(3).requires_grad_()
    losses = supcon(rows, torch.tensor([4, 4, 9]))
    assert losses[2] == 0
    assert (losses[:2] > 0).all()
    losses[2].backward()
    assert rows.grad is not None
    assert rows.grad.eq(0).all()


def test_supcon_of_one_row_is_zero() -> None:
    rows = random_rows(1).requires_grad_()
    is_zero_with_zero_gradient(supcon(rows, torch.tensor([0])), rows)


@pytest.mark.parametrize("classes", [2, 5, 20])  # of 20 classes some have one row, whose loss is 0 in both
def test_supcon_equals_pytorch_metric_learning(classes: int) -> None:
    rows = random_rows(32)
    labels = torch.randint(classes, (32,), generator=torch.Generator().manual_seed(1))
    for temperature in (0.05, 0.5):
        # The library's own reducer averages over the losses above 0; ours are compared before any reduction.
        peer = SupConLoss(temperature=temperature, reducer=DoNothingReducer())(rows, labels)["loss"]["losses"]
        torch.testing.assert_close(supcon(rows, labels, temperature=temperature), peer, rtol=1e-10, atol=1e-12)
        mean = SupConLoss(temperature=temperature)(rows, labels)
        ours = supcon(rows, labels, temperature=temperature)
        torch.testing.assert_close(ours[ours > 0].mean(), mean, rtol=1e-10, atol=0)


# --- CRD


def test_crd_by_hand() -> None:
    # Student e1, e2; teacher e1, e1, -e2 at tau = 1/2. Anchor 0: s = 2, 2, 0: ln(2 e^2 + 1) - 2.
    # Anchor 1: its own is row 1, s = 0, 0, -2: ln(2 + e^-2).
    teacher = torch.stack([EYE[0], EYE[0], -EYE[1]])
    losses = crd(EYE[:2], teacher, temperature=0.5)
    is_close(losses, math.log(2 * math.exp(2) + 1) - 2, math.log(2 + math.exp(-2)))


def test_crd_of_equal_teachers_is_ln_n() -> None:
    is_close(crd(random_rows(5), EYE.repeat(1, 2)[:1].repeat(9, 1)), math.log(9))


def test_crd_equals_cross_entropy_of_the_diagonal() -> None:
    a, b = random_rows(16), random_rows(20, seed=1)
    cosine = torch.nn.functional.cosine_similarity(a[:, None], b[None], dim=2)
    peer = torch.nn.functional.cross_entropy(cosine / 0.1, torch.arange(16), reduction="none")
    torch.testing.assert_close(crd(a, b, temperature=0.1), peer, rtol=1e-12, atol=1e-14)


def test_crd_of_one_candidate_is_zero() -> None:
    student, teacher = random_rows(1).requires_grad_(), random_rows(1, seed=1).requires_grad_()
    is_zero_with_zero_gradient(crd(student, teacher), student, teacher)


# --- KD


def test_kd_by_hand() -> None:
    # Teacher (3/4, 1/4), student (1/4, 3/4) at T = 1: 3/4 ln 3 - 1/4 ln 3 = ln(3) / 2. At T = 2 with doubled logits
    # the probabilities are the same and T^2 = 4.
    student, teacher = torch.tensor([[0.0, math.log(3)]]).double(), torch.tensor([[math.log(3), 0.0]]).double()
    is_close(kd(student, teacher, temperature=1.0), math.log(3) / 2, relative=1e-7)
    is_close(kd(2 * student, 2 * teacher, temperature=2.0), 2 * math.log(3), relative=1e-7)


def test_kd_is_not_symmetric() -> None:
    # Teacher (1/2, 1/2), student (1/4, 3/4): ln(2)/2 + ln(2/3)/2 = ln(4/3) / 2; the other way it is 0.1308.
    skew = torch.tensor([[0.25, 0.75]], dtype=torch.float64).log()
    is_close(kd(skew, torch.zeros_like(skew), temperature=1.0), math.log(4 / 3) / 2)


def test_kd_of_equal_logits_is_zero_with_zero_gradient() -> None:
    for scale in (1.0, 1e4):
        student = (scale * random_rows(5)).float().requires_grad_()
        is_zero_with_zero_gradient(kd(student, student.detach().clone()), student)


def test_kd_ignores_a_constant_added_to_a_row() -> None:
    a, b = random_rows(5), random_rows(5, seed=1)
    torch.testing.assert_close(kd(a + 7, b - 50 * torch.arange(5)[:, None]), kd(a, b), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_kd_keeps_its_digits_in_float32(temperature: float) -> None:
    # At high temperatures both distributions are nearly uniform and a plain sum of p ln(p/q) loses digits.
    a, b = random_rows(128, 100).float(), random_rows(128, 100, seed=1).float()
    exact = kd(a.double(), b.double(), temperature=temperature)
    torch.testing.assert_close(kd(a, b, temperature=temperature).double(), exact, rtol=1e-6, atol=0)


def test_kd_of_a_certain_teacher_is_cross_entropy() -> None:
    # p = (1, 0, 0): KL = -ln q_0 = ln(1 + e + e^2) for student logits (0, 1, 2); for a student as sure of class 1, 1e4.
    student = torch.tensor([[0.0, 1.0, 2.0], [0.0, 1e4, 0.0]], dtype=torch.float32)
    teacher = torch.tensor([[1e4, 0.0, 0.0]]).repeat(2, 1)
    is_close(kd(student, teacher, temperature=1.0), math.log(1 + math.e + math.e**2), 1e4, relative=1e-6)


# --- Hybrid


def test_hybrid_is_the_weighted_sum_and_its_ends_are_exact() -> None:
    rows, teacher, logits = random_rows(8), random_rows(8, seed=1), random_rows(8, 3, seed=2)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0, 0])
    alone, taught = supcon(rows, labels), lw_supcrd(rows, teacher, labels, logits)
    assert torch.equal(hybrid(rows, teacher, labels, logits, lam=1.0), alone)
    assert torch.equal(hybrid(rows, teacher, labels, logits, lam=0.0), taught)
    for lam in (0.3, 0.5, 0.9):
        mixed = hybrid(rows, teacher, labels, logits, lam=lam)
        torch.testing.assert_close(mixed, lam * alone + (1 - lam) * taught, rtol=1e-12, atol=0)


# --- labels

integers = st.integers(min_value=-(2**63), max_value=2**63 - 1)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(names=st.lists(integers, min_size=3, max_size=3, unique=True))
def test_any_integers_name_the_classes(names: list[int]) -> None:
    rows, teacher, logits = random_rows(7), random_rows(9, seed=1), random_rows(7, 3, seed=2)
    labels, bank = torch.tensor([0, 1, 2, 0, 1, 2, 0]), torch.tensor([2, 2, 1, 0, 0, 1, 0, 1, 2])
    classes = torch.tensor(names)
    assert torch.equal(supcon(rows, classes[labels]), supcon(rows, labels))
    named = lw_supcrd(rows, teacher, classes[labels], logits, candidate_labels=classes[bank], classes=classes)
    assert torch.equal(named, lw_supcrd(rows, teacher, labels, logits, candidate_labels=bank))
    mixed = hybrid(rows, teacher[:7], classes[labels], logits, classes=classes)
    assert torch.equal(mixed, hybrid(rows, teacher[:7], labels, logits))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("count", [10, 200, 300])  # more columns than the narrow types can count
def test_any_type_of_integer_will_do(dtype: torch.dtype, count: int) -> None:
    rows, logits = random_rows(6), random_rows(6, count, seed=1)
    last = min(count, 128) - 1
    labels = torch.tensor([0, last, 5, last, 0, 7])
    expected = lw_supcrd(rows, rows, labels, logits)
    assert torch.equal(lw_supcrd(rows, rows, labels.to(dtype), logits), expected)
    classes = torch.arange(count, dtype=torch.int32)
    assert torch.equal(lw_supcrd(rows, rows, labels.to(dtype), logits, classes=classes), expected)
    assert torch.equal(supcon(rows, labels.to(dtype)), supcon(rows, labels))


def test_classes_say_which_column_is_which() -> None:
    # The columns in another order, and the logits with them, change nothing; without the logits they do.
    rows, logits, labels = random_rows(6), random_rows(6, 4, seed=1), torch.tensor([0, 1, 2, 3, 3, 1])
    order = torch.tensor([2, 0, 3, 1])
    expected = lw_supcrd(rows, rows, labels, logits)
    reordered = lw_supcrd(rows, rows, labels, logits[:, order], classes=order)
    torch.testing.assert_close(reordered, expected, rtol=1e-12, atol=0)
    assert not torch.allclose(lw_supcrd(rows, rows, labels, logits, classes=order), expected, rtol=1e-3)


def test_labels_may_be_a_strided_view(recwarn: pytest.WarningsRecorder) -> None:
    rows, logits, labels = random_rows(3), random_rows(3, 2, seed=1), torch.tensor([5, 0, 7, 0, 5, 0])[::2]
    classes = torch.tensor([7, 5])
    expected = lw_supcrd(rows, rows, labels.clone(), logits, classes=classes)
    assert torch.equal(lw_supcrd(rows, rows, labels, logits, classes=classes), expected)
    assert not recwarn.list


def test_arguments_of_different_precision_meet_in_the_higher_one():
    torch.manual_seed(0)
    low, high, y = torch.randn(8, 4), torch.randn(8, 4, dtype=torch.float64), torch.arange(8) % 3
    logits = torch.randn(8, 3)
    expected = hybrid(low.double(), high, y, logits.double(), temperature=0.5)
    torch.testing.assert_close(hybrid(low, high, y, logits, temperature=0.5).double(), expected, rtol=1e-6, atol=0)
    assert crd(low, high).dtype == torch.float64
    assert crd(low.bfloat16(), low).dtype == torch.float32


def test_hybrid_takes_a_bank_as_function_and_as_module():
    torch.manual_seed(0)
    student, bank, logits = torch.randn(6, 4), torch.randn(20, 4), torch.randn(6, 3)
    labels, bank_labels = torch.arange(6) % 3 * 10, torch.arange(20) % 3 * 10
    classes = torch.tensor([0, 10, 20])
    ours = Hybrid(lam=0.3)(student, bank, labels, logits, candidate_labels=bank_labels, classes=classes)
    plain = hybrid(student, bank, labels, logits, lam=0.3, candidate_labels=bank_labels, classes=classes)
    torch.testing.assert_close(ours, plain.mean())
