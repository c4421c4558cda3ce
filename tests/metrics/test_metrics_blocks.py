"""Logits of many classes are widened a block of rows at a time: the numbers are those of all rows at once, and the
memory is not a multiple of the logits."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from supcrd import metrics
from supcrd.figures.kinds.reliability import reliability
from supcrd.metrics import blocks


def numbers(student, teacher, labels):
    return [
        metrics.top_k_accuracy(student, labels),
        metrics.top_k_accuracy(student, labels, k=3),
        metrics.class_accuracy(student, labels),
        metrics.expected_calibration_error(student, labels),
        metrics.negative_log_likelihood(student, labels),
        metrics.agreement(student, teacher),
        metrics.kl_from_teacher(student, teacher),
        metrics.softness(student),
    ]


@pytest.mark.parametrize("values", [1, 50, 70, 10**9])
def test_the_numbers_do_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch, values: int) -> None:
    torch.manual_seed(0)
    student, teacher, labels = torch.randn(23, 7) * 3, torch.randn(23, 7), torch.randint(7, (23,))
    whole = numbers(student, teacher, labels)
    diagram = reliability(student.numpy(), labels.numpy())
    monkeypatch.setattr(blocks, "VALUES", values)
    monkeypatch.setattr("supcrd.figures.kinds.reliability.VALUES", values)
    assert numbers(student, teacher, labels) == whole
    for one, other in zip(reliability(student.numpy(), labels.numpy()), diagram, strict=True):
        np.testing.assert_array_equal(one, other)


def test_at_ten_thousand_classes_they_are_scipys() -> None:
    """900 rows are three blocks."""
    torch.manual_seed(0)
    student, teacher, labels = torch.randn(900, 10_000), torch.randn(900, 10_000), torch.randint(10_000, (900,))
    assert len(list(blocks.row_blocks(student))) == 3
    p, q = (log_softmax(logits.double().numpy(), axis=1) for logits in (teacher, student))
    assert metrics.kl_from_teacher(student, teacher) == pytest.approx((np.exp(p) * (p - q)).sum(1).mean(), rel=1e-12)
    own = q[np.arange(900), labels.numpy()]
    assert metrics.negative_log_likelihood(student, labels) == pytest.approx(-own.mean(), rel=1e-12)
    top = np.argsort(-student.numpy(), axis=1, kind="stable")[:, :5]
    right = (top == labels.numpy()[:, None]).any(1).mean()
    assert metrics.top_k_accuracy(student, labels, k=5) == pytest.approx(right)
