"""Randomness as a function of what it is for, never of what was drawn before: resuming is then exact."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # figures, which draw by NumPy's generator, do without torch and its half a gigabyte
    from torch import Tensor, device


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


@contextmanager
def forked(where: "device | None" = None) -> Iterator[Callable[[int], None]]:
    """Torch's global generators, to be seeded and drawn from; afterwards they are as they were, whatever happens.

    Layers draw from them (initial weights, dropout), so that they have to be seeded; but they are the caller's, whose
    own draws a library must not repeat.

    Args:
        where: the device in use, whose generator counts beside the CPU's; no other device is touched.

    Yields:
        A function that seeds both.

    Example:
        >>> import torch
        >>> before = torch.get_rng_state()
        >>> with forked() as reseed:
        ...     reseed(0)
        ...     drawn = torch.rand(2)
        >>> torch.equal(torch.get_rng_state(), before)
        True
    """
    import torch

    host = torch.get_rng_state()
    generator = _generator_on(where)
    state = None if generator is None else generator.get_state()

    def reseed(seed: int) -> None:
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every device there is
        if generator is not None:
            generator.manual_seed(seed)

    try:
        yield reseed
    finally:
        torch.set_rng_state(host)
        if generator is not None:
            generator.set_state(state)


def _generator_on(where: "device | None") -> Any:
    """The global generator of a device other than the CPU."""
    import torch

    if where is None or where.type == "cpu":
        return None
    if where.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # before it there are no generators
        return torch.cuda.default_generators[torch.cuda.current_device() if where.index is None else where.index]
    return torch.mps._get_default_mps_generator()
