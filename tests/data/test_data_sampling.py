"""Balanced sampling: counted by hand."""

from collections import Counter

import pytest
import torch

from supcrd.data.images import Split
from supcrd.data.loader import ViewBatches
from supcrd.data.order import index_batches
from supcrd.data.sampling import balanced_order
from supcrd.recipe.settings import AugmentSettings

LABELS = torch.tensor(
    [0, 0, 1, 0, 4, 0, 0, 1, 0, 0, 0, 0, 3, 0, 0, 0, 0, 4] + [0] * 20 + [1] * 6 + [4] * 4 + [3] + [0] * 2
)


def drawn(epoch, seed=0):
    return balanced_order(LABELS, seed=seed, epoch=epoch)


def test_every_class_is_drawn_as_often_as_any_other():
    total = Counter()
    for epoch in range(8):
        order = drawn(epoch)
        counts = Counter(LABELS[order].tolist())
        assert len(order) == 51
        assert sorted(counts) == [0, 1, 3, 4]
        assert set(counts.values()) <= {12, 13}  # 51 / 4
        total += counts
    assert set(total.values()) == {8 * 51 // 4}  # over epochs they take turns


@pytest.mark.parametrize("epochs", [1, 3, 7])
def test_no_image_comes_twice_before_all_of_its_class_have_come(epochs):
    times = Counter(index for epoch in range(epochs) for index in drawn(epoch).tolist())
    for label in (0, 1, 3, 4):
        counts = [times[index] for index in torch.nonzero(label == LABELS).flatten().tolist()]
        assert max(counts) - min(counts) <= 1, label


def test_an_epoch_is_a_function_of_seed_and_epoch():
    assert torch.equal(drawn(5), drawn(5))
    assert not torch.equal(drawn(5), drawn(6))
    assert not torch.equal(drawn(5), drawn(5, seed=1))


def test_balanced_data_give_every_image_once():
    labels = torch.arange(20) % 4
    for epoch in range(3):
        assert sorted(balanced_order(labels, seed=0, epoch=epoch).tolist()) == list(range(20))


def test_more_classes_than_draws_of_each():
    labels = torch.arange(7)
    assert sorted(balanced_order(labels, seed=3, epoch=2).tolist()) == list(range(7))
    skewed = torch.tensor([0] * 2 + [1, 2, 3, 4])
    for epoch in range(6):  # 6 draws for 5 classes
        assert sorted(Counter(skewed[balanced_order(skewed, seed=0, epoch=epoch)].tolist()).values()) == [1, 1, 1, 1, 2]


def test_batches_have_them_and_resume_in_the_middle():
    split = Split(torch.randint(0, 256, (51, 8, 8, 3), dtype=torch.uint8), LABELS)
    cpu = torch.device("cpu")
    batches = ViewBatches(split, AugmentSettings(), batch_size=10, seed=3, device=cpu, sampling="balanced")
    assert batches.steps == 5  # one image is left over
    whole = list(batches.epoch(2))
    order = balanced_order(LABELS, seed=3, epoch=2)
    assert torch.equal(torch.cat([batch.indices for batch in whole]), order[:50])
    assert all(torch.equal(batch.labels, LABELS[batch.indices].repeat(2)) for batch in whole)
    later = list(batches.epoch(2, start=3))
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(whole[3:], later, strict=True))
    plain = ViewBatches(split, AugmentSettings(), batch_size=10, seed=3, device=cpu)
    assert torch.equal(
        torch.cat([batch.indices for batch in plain.epoch(2)]),
        torch.cat(index_batches(51, 10, seed=3, epoch=2)),
    )
