"""The cross-entropy term: label smoothing and class weights, against torch, scikit-learn and formulas by hand."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from supcrd.data.loader import Batch
from supcrd.recipe.settings import CrossEntropy, TrainSettings
from supcrd.training.objective import presets
from supcrd.training.objective.build import build
from supcrd.training.objective.term import Context, Outputs, Shapes, Step
from supcrd.training.objective.terms.cross_entropy import balanced_weights
from supcrd.training.plan import plan

C, B = 5, 12
TRAIN = torch.tensor([0] * 20 + [1] * 7 + [2] * 3 + [4])  # class 3 has no image


def term(**settings):
    shapes = Shapes(features=4, projections=4, logits=C)
    tables = presets.tables(CrossEntropy(name="cross_entropy", **settings))
    return build(tables, Context(classes=C, labels=TRAIN, student=shapes), epochs=1, views=1)


def value(objective, logits, labels):
    step = Step(Batch(logits, labels, torch.arange(len(labels))), Outputs(logits=logits))
    return objective(step, step)["cross_entropy"]


def logits():
    return torch.randn(B, C, generator=torch.Generator().manual_seed(0)).requires_grad_()


LABELS = torch.tensor([0, 1, 2, 4] * 3)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_smoothing_is_the_formula_by_hand_and_torchs(smoothing):
    """Target (1 - s) one-hot + s / C; Szegedy et al. 2016, section 7."""
    given = logits()
    ours = value(term(label_smoothing=smoothing), given, LABELS)
    target = (1 - smoothing) * np.eye(C)[LABELS.numpy()] + smoothing / C
    scores = given.detach().double().numpy()
    log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    assert ours.item() == pytest.approx(-(target * log_p).sum(axis=1).mean(), rel=1e-6)
    assert torch.equal(ours, functional.cross_entropy(given, LABELS, label_smoothing=smoothing))


def test_balanced_weights_are_scikit_learns():
    theirs = compute_class_weight("balanced", classes=np.array([0, 1, 2, 4]), y=TRAIN.numpy())
    ours = balanced_weights(TRAIN, C)
    np.testing.assert_allclose(ours[[0, 1, 2, 4]].numpy(), theirs, rtol=1e-6)
    assert ours[3] == 0
    even = balanced_weights(torch.arange(12) % 3, 3)
    assert even.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_weights_are_torchs_weighted_mean(smoothing):
    given = logits()
    ours = value(term(class_weights="balanced", label_smoothing=smoothing), given, LABELS)
    weights = balanced_weights(TRAIN, C)
    theirs = functional.cross_entropy(given, LABELS, weight=weights, label_smoothing=smoothing)
    assert torch.equal(ours, theirs)
    if smoothing == 0:  # by hand: each class counts as much as any other
        log_p = torch.log_softmax(given.detach().double(), dim=1)
        w = weights.double()[LABELS]
        assert ours.item() == pytest.approx((-(w * log_p[range(B), LABELS]).sum() / w.sum()).item(), rel=1e-6)
    ours.backward()
    assert given.grad.isfinite().all()


def test_weights_are_not_in_the_state():
    assert term(class_weights="balanced").state_dict().keys() == term().state_dict().keys()


@pytest.mark.parametrize(("weights", "parts"), [("none", False), ("balanced", True)])
def test_parts_of_a_batch_have_one_sum_of_class_weights(weights, parts):
    """With `train.accumulate` the loss is then computed over the whole batch, not in each of its parts."""
    objective, settings = term(class_weights=weights), TrainSettings(epochs=1, batch_size=12, accumulate=3)
    assert (plan(settings, others=objective.needs.others, on_gpu=False).together is not None) == parts
