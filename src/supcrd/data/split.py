"""Drawing a split, and thinning one, by labels alone."""

import numpy as np
import torch
from torch import Tensor

from supcrd.data.images import Split


def stratified(labels: Tensor, *, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Choose the same fraction of every class at random.

    A class of n images gives round(fraction * n), at least one unless fraction is 0, but always keeps one. The choice
    depends on nothing but the arguments.

    Args:
        labels: (N,) int64, any values.
        fraction: share to take, in [0, 1).
        seed: >= 0.

    Returns:
        (kept, taken): int64 indices into `labels`, each ascending, disjoint, together 0..N-1.

    Raises:
        ValueError: fraction outside [0, 1), or a negative seed.

    Example:
        >>> kept, taken = stratified(torch.tensor([0, 0, 0, 0, 1, 1]), fraction=0.5, seed=0)
        >>> len(kept), len(taken)
        (3, 3)
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction must be in [0, 1), not {fraction}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, not {seed}")
    values = labels.numpy()
    # The raw stream of a bit generator is promised to stay the same over numpy versions; shuffles are not.
    order = np.argsort(np.random.PCG64(seed).random_raw(len(values)), kind="stable")
    taken = np.zeros(len(values), dtype=bool)
    shuffled = values[order]
    for value in np.unique(values):
        members = order[shuffled == value]
        wanted = max(round(fraction * len(members)), 1) if fraction > 0 else 0
        taken[members[: min(wanted, len(members) - 1)]] = True
    return torch.from_numpy(np.flatnonzero(~taken)), torch.from_numpy(np.flatnonzero(taken))


def balanced(labels: Tensor, *, limit: int) -> Tensor:
    """Indices of at most `limit` items, as evenly over the classes as they allow.

    Taken are the first item of each class, then the second of each, and so on.

    Args:
        labels: (N,) int64.
        limit: >= 1.

    Returns:
        int64 indices, ascending.

    Example:
        >>> balanced(torch.tensor([0, 0, 0, 1, 1, 2]), limit=4)
        tensor([0, 1, 3, 5])
    """
    values = labels.numpy()
    by_class = np.argsort(values, kind="stable")
    _, starts, counts = np.unique(values[by_class], return_index=True, return_counts=True)
    rank = np.arange(len(values)) - np.repeat(starts, counts)
    return torch.from_numpy(np.sort(by_class[np.argsort(rank, kind="stable")[:limit]]))


def subset(split: Split, indices: Tensor) -> Split:
    """A copy of the chosen images and labels; of streamed images nothing is read."""
    images = split.images[indices] if isinstance(split.images, Tensor) else split.images.subset(indices)
    return Split(images, split.labels[indices], None if split.groups is None else split.groups[indices])
