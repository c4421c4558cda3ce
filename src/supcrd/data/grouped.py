"""Drawing a split that divides no group (patients, films), stratified as well as the groups allow."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

TRIES, STEPS = 64, 8000  # orders that are tried, at most; groups that they have together, about
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

    Cost: O(G C) for G groups and each order; 64 orders of 125 groups, 1 of 8,000: less than a second of 100 classes.

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
    stream, best, least = np.random.PCG64(seed), np.zeros(len(counts), dtype=bool), np.inf
    for _ in range(int(np.clip(STEPS // len(counts), 1, TRIES))):
        order = np.argsort(stream.random_raw(len(counts)), kind="stable")
        chosen, cost = _search(counts, order, fraction, spare)
        if cost < least:
            best, least = chosen, cost
    taken = best[member]
    return torch.from_numpy(np.flatnonzero(~taken)), torch.from_numpy(np.flatnonzero(taken))


def _search(
    counts: NDArray[np.int64], order: NDArray[np.int64], fraction: float, spare: int
) -> tuple[NDArray[np.bool_], float]:
    """The groups that are taken when they are looked at in this order, and what that costs."""
    present = (counts > 0).astype(np.int64)
    images, holders = counts.sum(0), present.sum(0)
    staying = np.minimum(spare, holders - 1).clip(1)  # groups of each class that shall stay
    chosen = np.zeros(len(counts), dtype=bool)
    taken, taken_holders = np.zeros_like(images), np.zeros_like(holders)

    def price(taken: NDArray[np.int64], taken_holders: NDArray[np.int64]) -> float:
        lacking = (taken_holders == 0) + (staying - (holders - taken_holders)).clip(0)
        return float(LACKING * lacking.sum() + np.square(taken / images - fraction).sum())

    cost = price(taken, taken_holders)
    for _ in range(SWEEPS):
        changed = False
        for row in order.tolist():
            sign = -1 if chosen[row] else 1
            after, after_holders = taken + sign * counts[row], taken_holders + sign * present[row]
            new = price(after, after_holders)
            if new < cost:
                chosen[row], taken, taken_holders, cost, changed = sign == 1, after, after_holders, new, True
        if not changed:
            break
    return chosen, cost
