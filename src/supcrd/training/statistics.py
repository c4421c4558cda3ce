"""The running statistics of batch normalisation where a batch is computed in parts."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def tracked(modules: Iterable[nn.Module]) -> list[_BatchNorm]:
    """Those batch normalisations among modules that are training and keep running statistics."""
    norms = (module for module in modules if isinstance(module, _BatchNorm))
    return [norm for norm in norms if norm.training and norm.running_mean is not None]


class PartStatistics:
    """Statistics of parts, which change the running ones once a step, and not once a part.

    The new ones are (1 - momentum) old + momentum (mean over the parts, each with the weight of its images).

    Args:
        norms: of `tracked`.

    Example:
        >>> norm = nn.BatchNorm1d(1)
        >>> statistics = PartStatistics(tracked([norm]))
        >>> parts = []
        >>> for rows in (torch.tensor([[0.0], [2.0]]), torch.tensor([[4.0], [8.0]])):
        ...     with statistics.apart():
        ...         _ = norm(rows)
        ...     parts.append(statistics.last())
        >>> statistics.update(torch.stack(parts), [2, 2])
        >>> norm.running_mean, norm.running_var, norm.num_batches_tracked  # 0.1 (1 + 6) / 2, 0.9 + 0.1 (2 + 8) / 2
        (tensor([0.3500]), tensor([1.4000]), tensor(1))
    """

    def __init__(self, norms: Sequence[_BatchNorm]) -> None:
        self.norms = list(norms)
        self._momenta = [norm.momentum for norm in self.norms]
        self._before = [tuple(buffer.clone() for buffer in (*running(norm), counter(norm))) for norm in self.norms]

    @contextmanager
    def apart(self) -> Iterator[None]:
        """In here forward passes leave a part's own statistics in place of the running ones."""
        for norm in self.norms:
            norm.momentum = 1.0
        try:
            yield
        finally:
            for norm, momentum in zip(self.norms, self._momenta, strict=True):
                norm.momentum = momentum

    def last(self) -> Tensor:
        """Those of the part that was computed last, (M,): of each whether it ran, then means and variances."""
        ran = [counter(norm) != count for norm, (*_, count) in zip(self.norms, self._before, strict=True)]
        buffers = [buffer for norm in self.norms for buffer in running(norm)]
        return torch.cat([torch.stack(ran).float(), *buffers]) if buffers else torch.zeros(0)

    @torch.no_grad()
    def update(self, parts: Tensor, images: Sequence[int]) -> None:
        """Take the statistics of all parts of the step, (P, M), of so many images each."""
        if not self.norms:
            return
        mean = torch.zeros_like(parts[0])
        for row, part in zip(parts, images, strict=True):  # in their order: the sum is the same wherever it is made
            mean += row * (part / sum(images))
        sizes = [len(buffer) for norm in self.norms for buffer in running(norm)]
        new = iter(torch.split(mean[len(self.norms) :], sizes))
        ran = (mean[: len(self.norms)] > 0).float()
        for norm, (*old, count), momentum, share in zip(self.norms, self._before, self._momenta, ran, strict=True):
            counter(norm).copy_(count + share.to(count.dtype))
            share = share / (count + 1) if momentum is None else share * momentum
            for buffer, before in zip(running(norm), old, strict=True):
                buffer.copy_(torch.lerp(before, next(new), share))


def running(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """The running mean and variance of one of `tracked`, (C,)."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean, norm.running_var


def counter(norm: _BatchNorm) -> Tensor:
    """How many batches one of `tracked` has seen, ()."""
    assert norm.num_batches_tracked is not None
    return norm.num_batches_tracked
