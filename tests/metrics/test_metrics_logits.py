"""Accuracy, calibration and fidelity against loops over rows, scikit-learn and values derived by hand."""

import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, recall_score, top_k_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from supcrd.metrics import (
    agreement,
    class_accuracy,
    expected_calibration_error,
    kl_from_teacher,
    knn_accuracy,
    knn_accuracy_estimate,
    negative_log_likelihood,
    top_k_accuracy,
)


def data(rows: int = 200, classes: int = 7, seed: int = 0, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=g)
    logits = scale * torch.randn(rows, classes, generator=g)
    return logits + torch.nn.functional.one_hot(labels, classes), labels


def softmax(row: list[float]) -> list[float]:
    exps = [math.exp(x - max(row)) for x in row]
    return [e / math.fsum(exps) for e in exps]


# --- top-k


@pytest.mark.parametrize("k", [1, 2, 5, 7])
def test_top_k_equals_scikit_learn(k: int) -> None:
    logits, labels = data()
    peer = top_k_accuracy_score(labels.numpy(), logits.numpy(), k=k, labels=range(7)) if k < 7 else 1.0
    assert top_k_accuracy(logits, labels, k=k) == pytest.approx(peer, rel=1e-12)
    if k == 1:
        assert top_k_accuracy(logits, labels) == accuracy_score(labels, logits.argmax(dim=1))


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_top_k_of_ties_takes_the_first_columns(k: int) -> None:
    logits = torch.randint(3, (300, 4), generator=torch.Generator().manual_seed(0)).float()
    labels = torch.randint(4, (300,), generator=torch.Generator().manual_seed(1))
    right = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        right += label in sorted(range(4), key=lambda c: (-row[c], c))[:k]
    assert top_k_accuracy(logits, labels, k=k) == right / 300


def test_a_model_that_says_the_same_of_everything_is_not_right() -> None:
    labels = torch.arange(10)
    assert top_k_accuracy(torch.zeros(10, 10), labels) == 0.1
    assert top_k_accuracy(torch.zeros(10, 10), labels, k=5) == 0.5


def test_top_k_without_an_answer_is_none() -> None:
    logits, labels = data(classes=4)
    assert top_k_accuracy(logits, labels, k=5) is None
    assert top_k_accuracy(logits, labels, k=4) == 1.0
    assert top_k_accuracy(logits[:0], labels[:0]) is None


# --- kNN


def naive_knn(rows: Tensor, labels: Tensor, bank: Tensor, bank_labels: Tensor, classes: int, k: int, t: float) -> float:
    right, others = 0, bank.double().tolist()  # Python's own floats: a tensor for each of them takes seconds
    norms = [math.hypot(*other) for other in others]
    for row, label in zip(rows.double().tolist(), labels.tolist(), strict=True):
        products = [sum(a * b for a, b in zip(row, other, strict=True)) for other in others]
        cosine = [product / (math.hypot(*row) * norm) for product, norm in zip(products, norms, strict=True)]
        nearest = sorted(range(len(cosine)), key=lambda j: -cosine[j])[:k]
        votes = [0.0] * classes
        for j in nearest:
            votes[int(bank_labels[j])] += math.exp((cosine[j] - cosine[nearest[0]]) / t)
        right += votes.index(max(votes)) == label
    return right / len(rows)


@pytest.mark.parametrize("block", [1, 7, 1024])
@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (5, 0.07), (20, 0.07), (20, 1.0), (20, 0.001), (500, 0.3)])
def test_knn_equals_the_loop(k: int, temperature: float, block: int) -> None:
    (rows, labels), (bank, bank_labels) = data(30), data(90, seed=1)
    expected = naive_knn(rows, labels, bank, bank_labels, 9, k, temperature)
    options = {"num_classes": 9, "k": k, "temperature": temperature, "block": block}
    assert knn_accuracy(rows, labels, bank, bank_labels, **options) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("block", "bank_block"), [(5, 1), (7, 3), (1024, 19), (1, 64), (1024, 4096)])
@pytest.mark.parametrize("k", [1, 4, 20, 90])
def test_knn_equals_the_loop_whatever_the_blocks(k: int, block: int, bank_block: int) -> None:
    (rows, labels), (bank, bank_labels) = data(30), data(90, seed=1)
    expected = naive_knn(rows, labels, bank, bank_labels, 9, k, 0.2)
    options = {"num_classes": 9, "k": k, "temperature": 0.2, "block": block, "bank_block": bank_block}
    assert knn_accuracy(rows, labels, bank, bank_labels, **options) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("k", [1, 2, 5, 16, 60])
def test_knn_of_equal_cosines_takes_the_first_rows(k: int) -> None:
    # Four entries of +-1 and the rest 0: norms are 2 and cosines multiples of 1/4 exactly, nearly all of them shared.
    g = torch.Generator().manual_seed(0)
    every = torch.stack([torch.randperm(6, generator=g)[:4] for _ in range(300)])
    signs = 2.0 * torch.randint(2, (300, 4), generator=g) - 1
    points = torch.zeros(300, 6).scatter_(1, every, signs)
    (rows, bank), labels = points.split([100, 200]), torch.randint(5, (300,), generator=g)
    # Weights are powers of 1/e, no sum of which is another but for the same ones: tied in float32 is tied in float64.
    expected = naive_knn(rows, labels[:100], bank, labels[100:], 5, k, 0.25)
    for block, bank_block in ((1024, 4096), (50, 3), (100, 16), (1024, 77)):
        options = {"num_classes": 5, "k": k, "temperature": 0.25, "block": block, "bank_block": bank_block}
        assert knn_accuracy(rows, labels[:100], bank, labels[100:], **options) == pytest.approx(expected, rel=1e-12)


def test_knn_equals_scikit_learn() -> None:
    (rows, labels), (bank, bank_labels) = data(300, scale=1.0), data(400, seed=1, scale=1.0)

    def weights(distance: np.ndarray) -> np.ndarray:
        return np.exp(-distance / 0.07)

    for k, weight, temperature in ((1, "uniform", 0.07), (20, weights, 0.07), (9, "uniform", 1e6)):
        peer = KNeighborsClassifier(k, metric="cosine", weights=weight).fit(bank, bank_labels)
        score = peer.score(rows.numpy(), labels.numpy())
        ours = knn_accuracy(rows, labels, bank, bank_labels, num_classes=7, k=k, temperature=temperature)
        # With equal weights a vote can be tied but for rounding; one row of 300 may then go either way.
        assert ours == pytest.approx(score, abs=1e-12 if temperature == 0.07 else 0.02)


def test_knn_by_hand() -> None:
    # Cosines 0.8 (class 0) and twice 0.6 (class 1): at T = 1 the two outvote the one, 2 e^-0.2 > 1; at 0.1 not.
    bank, bank_labels = torch.tensor([[0.8, 0.6], [0.6, 0.8], [0.6, -0.8]]), torch.tensor([0, 1, 1])
    row, label = torch.tensor([[3.0, 0.0]]), torch.tensor([1])
    for temperature, expected in ((1.0, 1.0), (0.1, 0.0)):
        result = knn_accuracy(row, label, bank, bank_labels, num_classes=2, k=3, temperature=temperature)
        assert result == expected
    assert knn_accuracy(row, label, bank, bank_labels, num_classes=2, k=1, temperature=1.0) == 0.0


@pytest.mark.parametrize("temperature", [1e-3, 1e-2])
def test_knn_far_from_its_bank_still_votes(temperature: float) -> None:
    # Cosines -0.5 (class 1) and -0.9 (class 0): exp(-1.5 / 0.001) is 0 in float32, and so would be every vote.
    bank = torch.tensor([[-0.5, 0.75**0.5], [-0.9, 0.19**0.5]])
    options = {"num_classes": 2, "k": 2, "temperature": temperature}
    assert knn_accuracy(torch.tensor([[1.0, 0.0]]), torch.tensor([1]), bank, torch.tensor([1, 0]), **options) == 1.0


def test_knn_without_rows_or_bank_is_none() -> None:
    rows, labels = data(5)
    assert knn_accuracy(rows[:0], labels[:0], rows, labels, num_classes=7) is None
    assert knn_accuracy(rows, labels, rows[:0], labels[:0], num_classes=7) is None


# --- calibration


def naive_ece(logits: Tensor, labels: Tensor, bins: int) -> float:
    total = 0.0
    rows = [(max(p := softmax(r)), p.index(max(p)) == y) for r, y in zip(logits.double().tolist(), labels, strict=True)]
    for b in range(1, bins + 1):
        inside = [(c, right) for c, right in rows if (b - 1) / bins < c <= b / bins]
        if inside:
            confidence = math.fsum(c for c, _ in inside) / len(inside)
            accuracy = sum(bool(right) for _, right in inside) / len(inside)
            total += len(inside) / len(rows) * abs(accuracy - confidence)
    return total


@pytest.mark.parametrize("bins", [1, 2, 10, 15, 100])
@pytest.mark.parametrize("scale", [0.1, 2.0, 30.0])
def test_ece_equals_the_loop(bins: int, scale: float) -> None:
    logits, labels = data(scale=scale)
    assert expected_calibration_error(logits, labels, bins=bins) == pytest.approx(
        naive_ece(logits, labels, bins), rel=1e-9
    )


def test_ece_by_hand() -> None:
    # Confidences 0.9 right, 0.9 wrong | 0.6 right: 15 bins hold 0.9 in (13/15, 14/15], 0.6 in (8/15, 9/15].
    # 2/3 |1/2 - 0.9| + 1/3 |1 - 0.6| = 0.4. In one bin: |2/3 - 0.8| = 2/15.
    logits = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]]).log()
    labels = torch.tensor([0, 1, 1])
    assert expected_calibration_error(logits, labels) == pytest.approx(0.4, abs=1e-7)
    assert expected_calibration_error(logits, labels, bins=1) == pytest.approx(2 / 15, abs=1e-7)


def test_ece_puts_an_edge_into_the_bin_below() -> None:
    # Confidence exactly 1/2 (wrong) and about 0.7 (right) in halves: (0, 1/2] and (1/2, 1]: (1/2 + 0.3) / 2 = 0.4;
    # in one bin they would cancel to |1/2 - 0.6| = 0.1.
    logits = torch.tensor([[0.0, 0.0], [math.log(7), math.log(3)]])
    assert expected_calibration_error(logits, torch.tensor([1, 0]), bins=2) == pytest.approx(0.4, abs=1e-7)


def test_ece_limits() -> None:
    sure = 1e4 * torch.eye(3)
    assert expected_calibration_error(sure, torch.arange(3)) == 0.0
    assert expected_calibration_error(sure, torch.tensor([1, 2, 0])) == 1.0
    assert expected_calibration_error(torch.zeros(4, 4), torch.arange(4)) == pytest.approx(0.0, abs=1e-15)
    assert expected_calibration_error(sure[:0], torch.arange(0)) is None


def test_nll_equals_scikit_learn_and_keeps_its_digits() -> None:
    logits, labels = data()
    probabilities = [softmax(row) for row in logits.double().tolist()]
    peer = log_loss(labels.numpy(), probabilities, labels=range(7))
    assert negative_log_likelihood(logits, labels) == pytest.approx(peer, rel=1e-12)
    # A certain model: -ln p = ln(1 + e^-30), which float32 rounds to 0; wrong by 1e4 it is 1e4.
    sure = torch.tensor([[30.0, 0.0]])
    assert negative_log_likelihood(sure, torch.tensor([0])) == pytest.approx(math.exp(-30), rel=1e-2)
    assert negative_log_likelihood(torch.tensor([[1e4, 0.0]]), torch.tensor([1])) == 1e4
    assert negative_log_likelihood(logits[:0], labels[:0]) is None


# --- fidelity


def test_agreement_equals_the_loop() -> None:
    (a, _), (b, _) = data(scale=1.0), data(scale=1.0, seed=1)
    b = b + 0.8 * a
    same = [x.index(max(x)) == y.index(max(y)) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert 0.2 < sum(same) / len(same) < 0.9
    assert agreement(a, b) == sum(same) / len(same)
    assert agreement(a, 3 * a + 1) == 1.0
    assert agreement(a[:0], b[:0]) is None


def test_kl_equals_the_loop() -> None:
    (student, _), (teacher, _) = data(), data(seed=1)
    total = 0.0
    for s, t in zip(student.double().tolist(), teacher.double().tolist(), strict=True):
        total += math.fsum(p * math.log(p / q) for p, q in zip(softmax(t), softmax(s), strict=True))
    assert kl_from_teacher(student, teacher) == pytest.approx(total / len(student), rel=1e-12)
    assert kl_from_teacher(student, student) == 0.0
    assert kl_from_teacher(student[:0], teacher[:0]) is None


def test_kl_by_hand() -> None:
    # Teacher (3/4, 1/4), student (1/4, 3/4): ln(3) / 2; teacher (1, 0) to float64's last digit, student a half: ln 2.
    student = torch.tensor([[0.25, 0.75]], dtype=torch.float64).log()
    assert kl_from_teacher(student, -student) == pytest.approx(math.log(3) / 2, rel=1e-12)
    assert kl_from_teacher(torch.zeros(1, 2), torch.tensor([[1e4, 0.0]])) == pytest.approx(math.log(2), rel=1e-12)
    assert kl_from_teacher(torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 1e4]])) == 1e4


def test_a_nan_is_never_right():
    nan = float("nan")
    logits = torch.tensor([[nan, nan, nan], [nan, 1.0, 0.0], [2.0, nan, 1.0], [3.0, 2.0, 1.0]])
    assert top_k_accuracy(logits, torch.tensor([0, 0, 2, 0])) == 0.25


def test_class_accuracy_is_sklearns_recall():
    logits, labels = torch.randn(300, 7), torch.randint(0, 6, (300,)) // 2 * 2  # classes 0, 2 and 4 only
    found = class_accuracy(logits, labels)
    predicted = logits.argmax(dim=1)
    assert found.counts == np.bincount(labels, minlength=7).tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # predictions of classes that no label has
        peer = balanced_accuracy_score(labels, predicted)
    assert found.balanced == pytest.approx(peer, rel=1e-12)
    recalls = recall_score(labels, predicted, labels=range(7), average=None, zero_division=np.nan)
    assert [np.nan if share is None else share for share in found.accuracies] == pytest.approx(recalls, nan_ok=True)
    known = [(share, n) for share, n in zip(found.accuracies, found.counts, strict=True) if share is not None]
    assert len(known) == 3
    assert sum(share * n for share, n in known) / 300 == pytest.approx(top_k_accuracy(logits, labels), rel=1e-12)


def test_class_accuracy_without_rows():
    assert class_accuracy(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64)) == ([None, None], [0, 0], None)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_knn_refuses_what_has_no_neighbours(bad):
    rows, labels = torch.randn(50, 4), torch.arange(50) % 2
    broken = rows.clone()
    broken[37, 2] = bad
    for queries, bank, said in ((broken, rows, "features: row 37 holds"), (rows, broken, "bank: row 37 holds")):
        with pytest.raises(ValueError, match=said):
            knn_accuracy(queries, labels, bank, labels, num_classes=2, block=10, bank_block=8)
    with pytest.raises(ValueError, match="bank: row 37 holds NaN or infinity"):
        knn_accuracy_estimate(rows, labels, broken, labels, num_classes=2, sample=5)
