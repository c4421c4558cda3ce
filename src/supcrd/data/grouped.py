"""Drawing a split that divides no group (patients, films), stratified as well as the groups allow."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supcrd.base.wording import show
from supcrd.errors import DataError

TRIES, WORK = 64, 10**6  # orders that are tried, at most; numbers that they look at together, about
SWEEPS = 4  # over the groups, of one order
LACKING = 1e6  # what a class without images on one side counts, beside squared differences of shares


def grouped(labels: Tensor, groups: Tensor, *, fraction: float, seed: int, spare: int = 1) -> tuple[Tensor, Tensor]:
    """Choose groups at random so that about the same fraction of every class is taken.

    Of several random orders the best result is given: groups are taken or put back, one after another, as long as that
    brings every class onto both sides and then lowers sum_c (taken_c / n_c - fraction)^2 over the classes c, of n_c
    images. A search by hand, not a published one; what scikit-learn's StratifiedGroupKFold does for folds.

    Args:
        labels: (N,) int64 in 0..C-1.
        groups: (N,) int64, any values.
        fraction: share to take, in [0, 1).
        seed: >= 0.
        spare: groups of every class that shall stay, where there are so many: 2 if another split is to be drawn.

    Returns:
        (kept, taken): int64 indices into `labels`, each ascending, disjoint, together 0..N-1; no group in both. A class
        with images of one group is on one side only.

    Raises:
        ValueError: fraction outside [0, 1), or a negative seed.

    Cost: O(G C) for G groups and each order, of which there are 64 if G C <= 15,625, else fewer; 1,000 groups of 10
        classes take about 0.2 s.

    Example:
        >>> kept, taken = grouped(torch.tensor([0, 0, 1, 1]), torch.tensor([7, 8, 7, 8]), fraction=0.5, seed=0)
        >>> len(kept), len(taken)
        (2, 2)
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction must be in [0, 1), not {fraction}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, not {seed}")
    everything = torch.arange(len(labels))
    if fraction == 0 or len(labels) == 0:
        return everything, everything[:0]
    _, member = np.unique(groups.numpy(), return_inverse=True)
    counts = np.zeros((int(member.max()) + 1, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(counts, (member, labels.numpy()), 1)
    counts = counts[:, counts.sum(0) > 0]
    # The raw stream of a bit generator is promised to stay the same over numpy versions; shuffles are not.
    tries = int(np.clip(WORK // counts.size, 1, TRIES))
    orders = np.argsort(np.random.PCG64(seed).random_raw((tries, len(counts))), axis=1, kind="stable")
    chosen, costs = _search(counts, orders, fraction, spare)
    best = chosen[int(costs.argmin())]
    taken = best[member]
    return torch.from_numpy(np.flatnonzero(~taken)), torch.from_numpy(np.flatnonzero(taken))


def _search(
    counts: NDArray[np.int64], orders: NDArray[np.int64], fraction: float, spare: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which groups are taken (T, G) when they are looked at in each of T orders (T, G), and what that costs (T,)."""
    present = (counts > 0).astype(np.int64)
    images, holders = counts.sum(0), present.sum(0)
    staying = np.minimum(spare, holders - 1).clip(1)  # groups of each class that shall stay
    tries = np.arange(len(orders))
    chosen = np.zeros(orders.shape, dtype=bool)
    taken, taken_holders = np.zeros((2, len(orders), len(images)), dtype=np.int64)

    def price(taken: NDArray[np.int64], taken_holders: NDArray[np.int64]) -> NDArray[np.float64]:
        lacking = (taken_holders == 0) + (staying - holders + taken_holders).clip(0)
        costs: NDArray[np.float64] = LACKING * lacking.sum(1) + np.square(taken / images - fraction).sum(1)
        return costs

    costs = price(taken, taken_holders)
    for _ in range(SWEEPS):
        changed = False
        for rows in orders.T:
            sign = np.where(chosen[tries, rows], -1, 1)[:, None]
            after, after_holders = taken + sign * counts[rows], taken_holders + sign * present[rows]
            new = price(after, after_holders)
            better = new < costs
            if better.any():
                chosen[tries[better], rows[better]] ^= True
                taken[better], taken_holders[better], costs[better] = after[better], after_holders[better], new[better]
                changed = True
        if not changed:
            break
    return chosen, costs


def numbered(groups: Mapping[str, Sequence[str]], source: object) -> dict[str, Tensor]:
    """Names of groups as numbers, the same in all splits.

    Args:
        groups: split -> the group of each image.
        source: for messages.

    Returns:
        split -> (N,) int64.

    Raises:
        DataError: a group in two splits.

    Example:
        >>> numbered({"train": ["b", "a", "b"], "test": ["c"]}, "npz:x.npz")
        {'train': tensor([1, 0, 1]), 'test': tensor([2])}
    """
    number = {name: place for place, name in enumerate(sorted({name for names in groups.values() for name in names}))}
    first: dict[str, str] = {}
    for split, names in groups.items():
        for name in set(names):
            if first.setdefault(name, split) != split:
                raise DataError(
                    f"{source}: data.groups: group {show(name)} is in {first[name]} and in {split}; a group in one "
                    "split only is right"
                )
    return {split: torch.tensor([number[name] for name in names]) for split, names in groups.items()}
