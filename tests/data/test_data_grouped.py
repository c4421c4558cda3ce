"""Splits by group: no group on both sides, and as stratified as all subsets of the groups allow."""

from itertools import product

import numpy as np
import pytest
import torch
from sklearn.model_selection import GroupShuffleSplit

from supcrd.data.grouped import grouped


def drawn(seed: int, images: int, groups: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, images - classes)])
    return torch.from_numpy(labels), torch.from_numpy(random.integers(0, groups, images))


def distance(labels: np.ndarray, rows: np.ndarray, fraction: float) -> float:
    """Of the shares that are taken of the classes, from what they should be."""
    shares = [(labels[rows] == name).sum() / (labels == name).sum() for name in np.unique(labels)]
    return float(np.square(np.array(shares) - fraction).sum())


def whole(labels: np.ndarray, rows: np.ndarray) -> bool:
    """Whether both sides have every class."""
    others = np.setdiff1d(np.arange(len(labels)), rows)
    return len(set(labels[rows])) == len(set(labels[others])) == len(set(labels))


@pytest.mark.parametrize("seed", range(8))
def test_it_is_near_the_best_of_all_subsets(seed: int) -> None:
    labels, groups = drawn(seed, 40, 9, 3)
    kept, taken = grouped(labels, groups, fraction=0.3, seed=seed)
    assert not set(groups[kept].tolist()) & set(groups[taken].tolist())
    assert sorted([*kept.tolist(), *taken.tolist()]) == list(range(40))
    array, names = labels.numpy(), np.unique(groups)
    subsets = [np.flatnonzero(np.isin(groups, names[list(map(bool, bits))])) for bits in product((0, 1), repeat=9)]
    best = min((distance(array, rows, 0.3) for rows in subsets if len(rows) and whole(array, rows)), default=None)
    assert (best is not None) == whole(array, taken.numpy())
    if best is not None:
        assert distance(array, taken.numpy(), 0.3) <= best + 0.01


def test_it_is_nearer_than_scikit_learns_split_that_knows_no_labels() -> None:
    labels, groups = drawn(0, 2000, 150, 5)
    _, taken = grouped(labels, groups, fraction=0.2, seed=0)
    ours = distance(labels.numpy(), taken.numpy(), 0.2)
    peer = GroupShuffleSplit(20, test_size=0.2, random_state=0).split(labels, labels, groups)
    assert ours <= min(distance(labels.numpy(), rows, 0.2) for _, rows in peer)
    assert ours < 1e-3


def test_single_groups_are_images() -> None:
    labels = torch.arange(50) % 5
    _, taken = grouped(labels, torch.arange(50), fraction=0.2, seed=3)
    assert labels[taken].bincount().tolist() == [2] * 5


def test_the_seed_and_nothing_else_decides() -> None:
    labels, groups = drawn(1, 300, 30, 3)
    splits = [grouped(labels, groups, fraction=0.2, seed=seed)[1].tolist() for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


def test_groups_to_spare_stay() -> None:
    labels, groups = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 1, 2, 3, 4, 5])
    for seed in range(5):
        kept, _ = grouped(labels, groups, fraction=0.6, seed=seed, spare=2)
        assert labels[kept].bincount().tolist() == [2, 2]
        kept, _ = grouped(labels, groups, fraction=0.6, seed=seed)
        assert labels[kept].bincount().tolist() == [1, 1]


def test_nothing_is_taken_of_nothing() -> None:
    kept, taken = grouped(torch.tensor([0, 1]), torch.tensor([0, 1]), fraction=0, seed=0)
    assert (kept.tolist(), taken.tolist()) == ([0, 1], [])
    with pytest.raises(ValueError, match="fraction"):
        grouped(torch.tensor([0]), torch.tensor([0]), fraction=1, seed=0)
    with pytest.raises(ValueError, match="seed"):
        grouped(torch.tensor([0]), torch.tensor([0]), fraction=0.5, seed=-1)
