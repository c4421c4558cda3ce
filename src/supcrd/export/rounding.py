"""The weights of a network on the grid of an 8-bit file, rounded so that its layers' outputs change least."""

import copy
from collections.abc import Collection, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from supcrd.models.rounded import LEVELS

N = TypeVar("N", bound=nn.Module)

DAMPING = 0.01
"""Of the mean square of the inputs, added to each: the rounding errors of weights with little input stay small."""
WIDEST = 8192
"""Weights of a channel beyond which a layer stays as it is: the products of its inputs would take 0.5 GB and more."""
IMAGES = 4
"""That a layer's inputs are looked at by: nine copies of each, for a kernel of 3 x 3."""
COLUMNS = 128
"""Weights of a channel that are rounded before the others take the sum of their errors."""


def rounded(network: N, batches: Sequence[Tensor], *, but: Collection[str] = ()) -> N:
    """A copy of a network whose convolutions and linear layers have weights of 129 levels for each output channel.

    The step of a channel is its largest weight / 64. Weights are not rounded to the nearest level but one after
    another, each taking up, as far as the inputs of calibration images are correlated, the errors that the rounding of
    earlier ones made in the layer's output. A channel's largest weight keeps its value, so that to round
    the copy to the nearest level is to find the same steps and to change nothing.

    Args:
        network: in eval mode; layers are looked for by type, and one that pads its images otherwise than with zeros,
            that is of a class of its own, or that has more than `WIDEST` weights a channel stays as it is.
        batches: calibration images, as the network takes them. Layers are rounded in the order in which they have
            their names, each on the inputs that the rounded ones before it give.
        but: names of layers that stay as they are.

    Returns:
        The copy, float32.

    Cost: for each layer a pass of the network over all images, and three decompositions of a matrix of n x n for n
    weights a channel.

    Source: Frantar et al. 2023, arXiv:2210.17323 (GPTQ), algorithm 1, with columns in the order of their inputs'
        squares. Difference: the largest weight of a channel is held.

    Example:
        >>> _ = torch.manual_seed(1)
        >>> layer = nn.Sequential(nn.Linear(8, 2))
        >>> images = torch.randn(64, 1) + 0.1 * torch.randn(64, 8)  # inputs that nearly agree with one another
        >>> near = rounded(layer, [images])
        >>> steps = layer[0].weight.abs().amax(dim=1, keepdim=True) / LEVELS
        >>> levels = near[0].weight / steps
        >>> bool((levels - levels.round()).abs().max() < 1e-4)
        True
        >>> nearest = functional.linear(images, (layer[0].weight / steps).round() * steps, layer[0].bias)
        >>> error = lambda outputs: (outputs - layer(images)).square().mean().item()
        >>> error(near(images)) < error(nearest) / 10
        True
    """
    network = copy.deepcopy(network)
    for name, layer in network.named_modules():
        if name not in but and _is_known(layer):
            squares = _squares(layer, network, batches)
            if squares is not None:
                layer.weight.data = _near(layer.weight.detach(), squares).to(layer.weight.dtype)
    return network


def _is_known(layer: nn.Module) -> bool:
    if type(layer) is nn.Conv2d:
        plain = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        return plain and layer.weight[0].numel() <= WIDEST
    return type(layer) is nn.Linear and layer.in_features <= WIDEST


def _squares(layer: nn.Module, network: nn.Module, batches: Sequence[Tensor]) -> Tensor | None:
    """X X^T of a layer's inputs, (groups, n, n) float64 for n weights a channel.

    None for a layer that never runs, or whose inputs are too large for float32.
    """
    total: Tensor | None = None

    def add(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        nonlocal total
        for some in torch.split(args[0].detach().float(), IMAGES):
            inputs = _columns(layer, some)
            product = (inputs @ inputs.mT).double()
            total = product if total is None else total + product

    handle = layer.register_forward_pre_hook(add)
    try:
        with torch.no_grad():
            for batch in batches:
                network(batch)
    finally:
        handle.remove()
    return total if total is None or total.isfinite().all() else None


def _columns(layer: nn.Module, inputs: Tensor) -> Tensor:
    """What each weight of a channel is multiplied with, (groups, n, places)."""
    if isinstance(layer, nn.Linear):
        return inputs.reshape(1, -1, inputs.shape[-1]).mT
    assert isinstance(layer, nn.Conv2d)
    assert not isinstance(layer.padding, str)
    patches = functional.unfold(inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    count, rows, places = patches.shape
    grouped = patches.reshape(count, layer.groups, rows // layer.groups, places)
    return grouped.permute(1, 2, 0, 3).reshape(layer.groups, rows // layer.groups, count * places)


def _near(weight: Tensor, squares: Tensor) -> Tensor:
    """The weights on the grid of their channels, in the weight's shape; `squares` as `_squares` gives them."""
    groups, count = squares.shape[:2]
    rest = weight.double().reshape(groups, len(weight) // groups, count).clone()
    step = rest.abs().amax(dim=2, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / LEVELS
    mean = squares.diagonal(dim1=1, dim2=2).mean(dim=1).clamp_min(torch.finfo(torch.float32).tiny)
    squares = squares + torch.diag_embed((DAMPING * mean)[:, None].expand(groups, count))
    order = squares.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True, stable=True)
    squares = squares.gather(1, order[:, :, None].expand_as(squares)).gather(2, order[:, None].expand_as(squares))
    rest = rest.gather(2, order[:, None].expand_as(rest))
    held = rest.abs() >= LEVELS * step
    right = rest.clone()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(squares))
    passed_on = torch.linalg.cholesky(inverse, upper=True)
    for start in range(0, count, COLUMNS):
        block = slice(start, min(start + COLUMNS, count))
        errors = _round(rest, right, held, step, passed_on, block)
        rest[:, :, block.stop :] -= errors @ passed_on[:, block, block.stop :]
    return rest.gather(2, order.argsort(dim=1)[:, None].expand_as(rest)).reshape(weight.shape)


def _round(rest: Tensor, right: Tensor, held: Tensor, step: Tensor, passed_on: Tensor, block: slice) -> Tensor:
    """Round the weights of a block in place: the errors that later ones have to take up, (groups, channels, block)."""
    errors = torch.empty_like(rest[:, :, block])
    for number, column in enumerate(range(block.start, block.stop)):
        here = slice(column, column + 1)
        wanted = rest[:, :, here]
        level = (wanted / step).round().clamp(-LEVELS, LEVELS)
        value = torch.where(held[:, :, here], right[:, :, here], level * step)
        error = (wanted - value) / passed_on[:, here, here]
        rest[:, :, column + 1 : block.stop] -= error @ passed_on[:, here, column + 1 : block.stop]
        rest[:, :, here] = value
        errors[:, :, number : number + 1] = error
    return errors
