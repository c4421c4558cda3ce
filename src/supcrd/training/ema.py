"""An exponential moving average of a model's weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage(nn.Module):
    """The average of a model's weights and batch-norm statistics over the steps of its training.

    After step t (from 0) each of them is d * average + (1 - d) * weight, d = min(decay, (1 + t) / (10 + t)), so that
    the first weights, which are random, are soon forgotten. Counters (whole numbers) are copied. The averages are
    buffers: they are saved and resumed with the module that holds them, and not trained.

    Args:
        model: what is averaged; it is not a part of this module.
        decay: in [0, 1).

    Cost: another copy of the model, and one pass over the weights a step.
    Source: Polyak & Juditsky 1992, SIAM J. Control Optim. 30(4); Tarvainen & Valpola 2017, arXiv:1703.01780, section 2;
    the rise of the decay is that of TensorFlow's ExponentialMovingAverage (`num_updates`).

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(model.weight)
        >>> average = MovingAverage(model, decay=0.9)
        >>> for step in range(2):
        ...     _ = nn.init.ones_(model.weight)
        ...     average.update(step)
        >>> with average.in_place():
        ...     round(model.weight.item(), 4)  # 1 - 1/10 * 2/11
        0.9818
        >>> model.weight.item()
        1.0
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), not {decay}")
        self.decay, self._model = decay, [model]  # in a list, so that it is not a submodule
        self._names = {name.replace(".", "-"): name for name in model.state_dict()}  # a buffer's name has no dot
        for own, name in self._names.items():
            self.register_buffer(own, model.state_dict()[name].detach().clone())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step` of the optimiser, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        pairs = [(average, weight.detach()) for average, weight in self._pairs()]
        floating = [pair for pair in pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([average for average, _ in floating], [weight for _, weight in floating], 1 - decay)
        for average, weight in pairs:
            if not average.is_floating_point():
                average.copy_(weight)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the averages; afterwards its own weights, unchanged to the bit."""
        own = [weight.detach().clone() for _, weight in self._pairs()]
        self.give()
        try:
            yield
        finally:
            for (_, weight), value in zip(self._pairs(), own, strict=True):
                weight.detach().copy_(value)

    def give(self) -> None:
        """Replace the model's weights by the averages."""
        for average, weight in self._pairs():
            weight.detach().copy_(average)

    def _pairs(self) -> list[tuple[Tensor, Tensor]]:
        """(average, weight) of everything in the model's state; the weights are those in use, not copies."""
        state = self._model[0].state_dict()
        return [(self.get_buffer(own), state[name]) for own, name in self._names.items()]
