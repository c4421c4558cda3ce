"""Randomness as a function of what it is for, never of what was drawn before: resuming is then exact."""

import hashlib

import torch
from torch import Tensor


def seed_for(*parts: int | str) -> int:
    """A seed in [0, 2^63) that depends on all `parts` and their order, the same on every machine and version.

    Example:
        >>> seed_for(0, "order", 3) == seed_for(0, "order", 3), seed_for(0, "order", 3) == seed_for(3, "order", 0)
        (True, False)
    """
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def uniform(shape: tuple[int, ...], *parts: int | str) -> Tensor:
    """Numbers in [0, 1), float32 of `shape`, on the CPU: a pure function of `parts`, whatever the device in use.

    Example:
        >>> bool((uniform((2, 3), 0, "crop") == uniform((2, 3), 0, "crop")).all())
        True
    """
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed_for(*parts)))


def permutation(count: int, *parts: int | str) -> Tensor:
    """A permutation of 0..count-1, (count,) int64 on the CPU: a pure function of `parts`.

    Example:
        >>> sorted(permutation(4, 0, "order").tolist())
        [0, 1, 2, 3]
    """
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed_for(*parts)))
