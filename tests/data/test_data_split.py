import numpy as np
import pytest
import torch

from supcrd.data.split import balanced, stratified


def naive_taken(labels: list[int], fraction: float, seed: int) -> list[int]:
    """The definition: in each class, the items with the smallest random keys."""
    keys = np.random.PCG64(seed).random_raw(len(labels)).tolist()
    taken = []
    for label in set(labels):
        members = sorted((keys[i], i) for i in range(len(labels)) if labels[i] == label)
        count = min(max(round(fraction * len(members)), 1), len(members) - 1) if fraction else 0
        taken += [i for _, i in members[:count]]
    return sorted(taken)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.25, 0.5, 0.99])
@pytest.mark.parametrize("seed", [0, 1])
def test_stratified_equals_its_definition(fraction: float, seed: int) -> None:
    labels = [*np.random.default_rng(seed).integers(-3, 9, 200).tolist(), 77]  # 77: a class of one
    kept, taken = stratified(torch.tensor(labels), fraction=fraction, seed=seed)
    assert taken.tolist() == naive_taken(labels, fraction, seed)
    assert sorted(kept.tolist() + taken.tolist()) == list(range(201))
    assert {labels[i] for i in kept} == set(labels)


def test_stratified_takes_exact_counts_from_unequal_classes() -> None:
    labels = torch.tensor([0] * 100 + [1] * 34 + [2] * 7 + [3])
    _, taken = stratified(labels, fraction=0.3, seed=5)
    assert labels[taken].bincount(minlength=4).tolist() == [30, 10, 2, 0]


def test_stratified_is_random_and_lasting() -> None:
    labels = torch.zeros(12, dtype=torch.int64)
    choices = {tuple(stratified(labels, fraction=0.5, seed=seed)[1].tolist()) for seed in range(20)}
    assert len(choices) > 15
    # NumPy's manual prints default_rng(0).random(): 0.64, 0.27, 0.041, 0.017, 0.81, 0.91, ...; the twelfth is 0.0027.
    assert stratified(labels, fraction=0.25, seed=0)[1].tolist() == [2, 3, 11]


@pytest.mark.parametrize(("fraction", "seed"), [(1.0, 0), (-0.1, 0), (float("nan"), 0), (0.1, -1)])
def test_stratified_refuses_impossible_values(fraction: float, seed: int) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        stratified(torch.zeros(3, dtype=torch.int64), fraction=fraction, seed=seed)


def naive_balanced(labels: list[int], limit: int) -> list[int]:
    """Take turns over the classes until the limit is reached."""
    queues = {label: [i for i in range(len(labels)) if labels[i] == label] for label in sorted(set(labels))}
    chosen: list[int] = []
    while len(chosen) < min(limit, len(labels)):
        for queue in queues.values():
            if queue and len(chosen) < limit:
                chosen.append(queue.pop(0))
    return sorted(chosen)


@pytest.mark.parametrize("limit", [1, 2, 3, 10, 37, 60, 1000])
def test_balanced_equals_taking_turns(limit: int) -> None:
    labels = np.random.default_rng(3).choice([0, 2, 5], 60, p=[0.7, 0.2, 0.1]).tolist()
    assert balanced(torch.tensor(labels), limit=limit).tolist() == naive_balanced(labels, limit)


def test_every_class_of_two_or_more_gives_one() -> None:
    labels = torch.tensor([0] * 2 + [1] * 4 + [2] * 30 + [3])
    _, taken = stratified(labels, fraction=0.1, seed=0)  # round(0.2) = round(0.4) = 0
    assert labels[taken].bincount(minlength=4).tolist() == [1, 1, 3, 0]
    assert len(stratified(labels, fraction=0.0, seed=0)[1]) == 0
