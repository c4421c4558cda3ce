"""The refitted classifier against scikit-learn's logistic regression, and on features that nothing can be made of."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from supcrd.training.logistic import PENALTIES, logistic_path, standardisation


def drawn(rows: int = 300, width: int = 12, classes: int = 4, spread: float = 2.0) -> tuple[Tensor, Tensor]:
    """Overlapping classes in features of different sizes."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(rows) % classes
    centres = torch.randn(classes, width, generator=generator)
    features = centres[labels] + spread * torch.randn(rows, width, generator=generator)
    return features * torch.logspace(-3, 3, width) + torch.linspace(-5, 5, width), labels


@pytest.mark.parametrize("penalty", [1.0, 1e-2, 1e-4])
def test_as_scikit_learn_fits_it(penalty, monkeypatch):
    monkeypatch.setattr("supcrd.training.logistic.GRADIENT", 1e-8)
    monkeypatch.setattr("supcrd.training.logistic.ROWS", 77)  # blocks, the last one smaller
    features, labels = drawn()
    x = features.double().numpy()
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    peer = LogisticRegression(C=1 / (len(z) * penalty), tol=1e-9, max_iter=10_000).fit(z, labels.numpy())
    *_, fitted = logistic_path(features, labels, 4, [1.0, penalty])  # from a warm start
    mean, std = x.mean(axis=0), x.std(axis=0)
    weight = fitted.linear.weight.double().numpy() * std
    bias = fitted.linear.bias.double().numpy() + fitted.linear.weight.double().numpy() @ mean
    np.testing.assert_allclose(weight, peer.coef_, atol=2e-4 * np.abs(peer.coef_).max())
    np.testing.assert_allclose(bias, peer.intercept_ - peer.intercept_.mean(), atol=1e-3)
    ours = torch.softmax(fitted.linear.logits(features), dim=1).numpy()
    np.testing.assert_allclose(ours, peer.predict_proba(z), atol=1e-4)


def test_standardisation_by_hand(monkeypatch):
    monkeypatch.setattr("supcrd.training.logistic.ROWS", 50)
    features, _ = drawn()
    mean, std = standardisation(features)
    np.testing.assert_allclose(mean.numpy(), features.double().numpy().mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std.numpy(), features.double().numpy().std(axis=0), rtol=1e-12)


def test_the_same_again_to_the_bit():
    one, other = (list(logistic_path(*drawn(), 4)) for _ in range(2))
    assert [fitted.penalty for fitted in one] == list(PENALTIES)
    for a, b in zip(one, other, strict=True):
        assert all(torch.equal(*pair) for pair in zip(a.linear, b.linear, strict=True))


def test_a_temperature_leaves_the_classes():
    features, labels = drawn()
    (fitted,) = logistic_path(features, labels, 4, [1e-3])
    cooled = fitted.linear.divided(3.0)
    plain, divided = fitted.linear.logits(features), cooled.logits(features)
    torch.testing.assert_close(divided, plain / 3, rtol=0, atol=1e-3)
    assert torch.equal(divided.argmax(dim=1), plain.argmax(dim=1))


def test_classes_without_images_are_never_the_answer():
    features, labels = drawn(classes=3)
    (fitted,) = logistic_path(features, 2 * labels, 6, [1e-3])  # 1, 3 and 5 are missing
    logits = fitted.linear.logits(features)
    assert set(logits.argmax(dim=1).tolist()) <= {0, 2, 4}
    assert torch.equal(logits[:, 1::2], torch.full((300, 3), -math.log(301)))
    torch.testing.assert_close(logits[:, ::2].mean(dim=1), torch.zeros(300), atol=1e-4, rtol=0)
    (alone,) = logistic_path(features, labels, 3, [1e-3])  # and change nothing for the others
    torch.testing.assert_close(logits[:, ::2], alone.linear.logits(features), rtol=0, atol=1e-3)


@pytest.mark.parametrize("rows", [1, 5])
def test_a_single_class(rows):
    features, _ = drawn()
    for fitted in logistic_path(features[:rows], torch.full((rows,), 2), 3):
        assert fitted.linear.finite
        assert (fitted.linear.logits(features).argmax(dim=1) == 2).all()


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e15, 1e30])
def test_features_of_any_size_and_constant_ones(scale):
    features, labels = drawn(spread=0.5)
    features = torch.cat([features, torch.full((300, 1), 0.1), torch.zeros(300, 1)], dim=1) * scale
    for fitted in logistic_path(features, labels, 4, PENALTIES[:7]):
        assert fitted.linear.finite
    assert torch.equal(fitted.linear.weight[:, -2:], torch.zeros(4, 2))
    assert (fitted.linear.logits(features).argmax(dim=1) == labels).float().mean() > 0.95


def test_what_float32_cannot_standardise_is_not_finite():
    labels = torch.arange(8) % 2
    (fitted,) = logistic_path(labels[:, None] * 1e-42, labels, 2, [1.0])
    assert not fitted.linear.finite
    (fitted,) = logistic_path(torch.where(labels[:, None] == 0, 3e38, -3e38), labels, 2, [1.0])
    assert fitted.linear.finite
