"""Training on what an int8 file computes: the deployed layers of a network with their numbers rounded to 8 bits."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

LEVELS = 64
"""Largest integer of a weight: seven of eight bits, see `supcrd.export.quantise`."""
TOP = 255
"""Largest integer of a layer's inputs, which are unsigned."""
SMALLEST = torch.finfo(torch.float32).tiny
ACTIVATIONS = (nn.Hardswish, nn.SiLU, nn.GELU, nn.Sigmoid, nn.Hardsigmoid, nn.ELU, nn.Tanh)
"""What reads a layer's rounded outputs; a ReLU is one with the layer, and only what it gives is rounded."""
IN_PLACE = (Tensor.add_, Tensor.__iadd__)
ADDITIONS = (torch.add, Tensor.add, Tensor.__add__, *IN_PLACE)


@contextmanager
def rounded_layers(*networks: nn.Module) -> Iterator[None]:
    """Let convolutions and linear layers compute with rounded inputs and weights, as `supcrd export --int8` does.

    Weights have 129 levels for each output channel, the step the channel's largest weight / 64; a batch normalisation
    that is folded into the layer later multiplies weights and step alike. Inputs, of `ACTIVATIONS` and of additions of
    feature maps too, have 256 levels over the range of the batch and 0. The gradient passes as if nothing had been
    rounded (the straight-through estimator).

    Args:
        networks: whose layers round while the context is open. Their parameters and state stay the same.

    Source: Jacob et al. 2018, arXiv:1712.05877, section 3. Differences: inputs have the range of the batch, no moving
        average of ranges, so that there is no state.

    Example:
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> layer.weight.data = torch.tensor([[64.0, 0.4]])
        >>> with rounded_layers(layer):
        ...     layer(torch.tensor([[0.0, 255.0]]))
        tensor([[0.]], grad_fn=<MmBackward0>)
        >>> layer(torch.tensor([[0.0, 255.0]]))
        tensor([[102.]], grad_fn=<MmBackward0>)
    """
    parts = {part for network in networks for part in network.modules()}
    layers = [part for part in parts if isinstance(part, nn.Conv2d | nn.Linear)]
    reading = [*layers, *(part for part in parts if isinstance(part, ACTIVATIONS))]
    handles = [part.register_forward_pre_hook(_inputs) for part in reading]
    weights = {layer: cast(nn.Parameter, layer.weight) for layer in layers}
    try:
        for layer, weight in weights.items():
            layer._parameters["weight"] = cast(nn.Parameter, rounded_weight(weight))  # keeps the order of parameters
        with _Additions():
            yield
    finally:
        for handle in handles:
            handle.remove()
        for layer, weight in weights.items():
            layer._parameters["weight"] = weight


class _Additions(TorchFunctionMode):
    """Rounds what additions of two feature maps, or of tokens, read: a network's shortcuts, which are no modules."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in ADDITIONS and all(isinstance(part, Tensor) and part.ndim >= 3 for part in args[:2]):
            total = torch.add(*map(rounded_input, args[:2]), *args[2:], **(kwargs or {}))
            return args[0].copy_(total) if func in IN_PLACE else total
        return func(*args, **(kwargs or {}))


def rounded_weight(weight: Tensor) -> Tensor:
    """Weights on the levels of their output channels, (channels, ...); the gradient is that of the weights.

    Example:
        >>> rounded_weight(torch.tensor([[64.0, 0.4, -12.6], [0.64, 0.129, 0.0]]))
        tensor([[ 64.0000,   0.0000, -13.0000],
                [  0.6400,   0.1300,   0.0000]])
    """
    steps = weight.detach().flatten(1).abs().amax(dim=1).clamp_min(SMALLEST) / LEVELS
    steps = steps.reshape(-1, *[1] * (weight.ndim - 1))
    return _straight((weight / steps).round() * steps, weight)


def rounded_input(inputs: Tensor) -> Tensor:
    """A layer's inputs on 256 levels over their range and 0.

    Example:
        >>> rounded_input(torch.tensor([0.0, 0.4, 255.0]))
        tensor([  0.,   0., 255.])
    """
    low, high = torch.aminmax(inputs.detach().float())
    low, high = low.clamp_max(0), high.clamp_min(0)
    step = ((high - low) / TOP).clamp_min(SMALLEST)
    zero = (low / step).round()
    return _straight(((inputs / step).round() - zero).clamp(0, TOP).add(zero) * step, inputs)


def _straight(values: Tensor, of: Tensor) -> Tensor:
    """The values, with the gradient of what they were rounded from."""
    return of - (of - values).detach()  # no addition, which may be rounded


def _inputs(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return rounded_input(args[0]), *args[1:]
