"""Randomness as a function of what it is for, never of what was drawn before: resuming is then exact."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # figures, which draw by NumPy's generator, do without torch and its half a gigabyte
    from torch import Tensor


def seed_for(*parts: int | str) -> int:
    """A seed in [0, 2^63) that depends on all `parts` and their order, the same on every machine and version.

    Example:
        >>> seed_for(0, "order", 3) == seed_for(0, "order", 3), seed_for(0, "order", 3) == seed_for(3, "order", 0)
        (True, False)
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*parts: int | str) -> np.random.Generator:
    """NumPy's generator, seeded by `seed_for(*parts)`.

    Example:
        >>> sorted(generator(0, "figure").permutation(4).tolist())
        [0, 1, 2, 3]
    """
    return np.random.default_rng(seed_for(*parts))


def uniform(shape: tuple[int, ...], *parts: int | str) -> "Tensor":
    """Numbers in [0, 1), float32 of `shape`, on the CPU: a pure function of `parts`, whatever the device in use.

    Example:
        >>> bool((uniform((2, 3), 0, "crop") == uniform((2, 3), 0, "crop")).all())
        True
    """
    import torch

    return torch.rand(shape, generator=torch.Generator().manual_seed(seed_for(*parts)))


def permutation(count: int, *parts: int | str) -> "Tensor":
    """A permutation of 0..count-1, (count,) int64 on the CPU: a pure function of `parts`.

    Example:
        >>> sorted(permutation(4, 0, "order").tolist())
        [0, 1, 2, 3]
    """
    import torch

    return torch.randperm(count, generator=torch.Generator().manual_seed(seed_for(*parts)))
