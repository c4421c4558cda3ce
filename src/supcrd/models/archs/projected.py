"""A network whose last map goes through a projector to another width: the student of SimKD."""

from collections import OrderedDict
from typing import Any

from torch import nn

from supcrd.models.names import LAST, PROJECTED
from supcrd.models.taps import PRE, map_shapes, tap_names

REDUCTION = 2
"""Of the projector's inner width."""


def projected(net: nn.Module, width: int, *, in_channels: int, image_size: int) -> nn.Module:
    """The network with a projector before its mean over places, without what it does behind the mean and without the
    layers between its last stage and the mean that it names as its `neck`, as in the authors' code.

    The projector is 1x1, 3x3 and 1x1 convolutions without bias, half as wide inside, each with batch norm and ReLU; its
    output is the map `projected`, and the mean of that the features.

    Args:
        net: a fresh network whose mean over places is its submodule `avgpool`; it is changed.
        width: F, of the new features.
        in_channels: of the images.
        image_size: H = W in pixels.

    Raises:
        ValueError: the network has no such mean.

    Source: Chen et al. 2022 (SimKD), arXiv:2203.14001, with the factor 2 of its experiments. Their code keeps the neck,
    but nothing reads it.
    """
    if not isinstance(getattr(net, "avgpool", None), nn.Module) or not tap_names(net):
        raise ValueError("it has no map that a mean over places makes its features, before which to project")
    changed: Any = net  # attributes that are no submodules
    neck = getattr(net, "neck", ())
    for name in neck:
        setattr(net, name, nn.Identity())
    if neck:
        changed.taps = {name: place for name, place in changed.taps.items() if name.removesuffix(PRE) != LAST}
    channels = map_shapes(net, in_channels, image_size)[tap_names(net)[-1]][0]
    inner = max(1, width // REDUCTION)
    blocks = [*_block(channels, inner, 1), *_block(inner, inner, 3), *_block(inner, width, 1)]
    pooled = OrderedDict(projector=nn.Sequential(*blocks), mean=nn.AdaptiveAvgPool2d(1))
    changed.avgpool = nn.Sequential(pooled)
    if hasattr(net, "projection"):
        changed.projection = nn.Identity()
    changed.taps, changed.feature_dim = {**changed.taps, PROJECTED: "avgpool.projector"}, width
    return net


def _block(channels: int, out: int, size: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, out, size, padding=size // 2, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
