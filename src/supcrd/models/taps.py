"""Feature maps of an encoder, by name, out of the same pass that gives its features."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

PRE = ":pre"
"""Ends the name of a map that is taken before the ReLU that ends its stage."""


class Encoded(NamedTuple):
    """What an encoder gives."""

    features: Tensor
    """(B, F)"""
    maps: dict[str, Tensor]
    """name -> (B, channels, height, width)"""


class Taps:
    """An encoder that gives some of its maps too; without names it is the encoder itself.

    A network names its maps in an attribute `taps`: name -> the submodule whose output is the map. One that ends in a
    ReLU may also be had before it, as `NAME:pre`, where the submodule (or its last block) has that ReLU as `relu`, or
    is it. A network whose stages end otherwise may name `NAME:pre` itself: the ReLU whose input is the map, such as the
    one that the next stage begins with, or a submodule whose output is the map. timm's networks give `stage1`,
    `stage2`, ... by `forward_intermediates`.

    Args:
        encoder: images (B, channels, H, W) to features (B, F).
        names: of the maps.

    Raises:
        ValueError: the encoder has no map of a name.

    Example:
        >>> from supcrd.models import Model
        >>> encoder = Model(10, "resnet8").encoder
        >>> tap_names(encoder)
        ('stem', 'stage1', 'stage2', 'stage3')
        >>> Taps(encoder, ["stage2"])(torch.zeros(1, 3, 32, 32)).maps["stage2"].shape
        torch.Size([1, 32, 16, 16])
    """

    def __init__(self, encoder: nn.Module, names: Collection[str] = ()) -> None:
        self.encoder, self.names = encoder, tuple(names)
        self._maps: dict[str, Tensor] = {}
        self._hooks: list[RemovableHandle] = []
        known = tap_names(encoder)
        for name in self.names:
            if name.removesuffix(PRE) not in known:
                raise ValueError(f"no map {name!r}; known: {', '.join(known) or 'none'}")
        taps = getattr(encoder, "taps", None)
        if taps is not None:
            for name in self.names:
                place = taps[name] if name in taps else taps[name.removesuffix(PRE)]
                self._hook(name, encoder.get_submodule(place), named=name in taps)
        elif any(name.endswith(PRE) for name in self.names):
            raise ValueError("timm's networks give no map before its ReLU; leave out ':pre'")

    def __call__(self, images: Tensor) -> Encoded:
        """(B, channels, H, W) -> features and maps."""
        if self.names and getattr(self.encoder, "taps", None) is None:
            return self._by_timm(images)
        features: Tensor = self.encoder(images)
        maps = {name: self._maps.pop(name) for name in self.names}
        return Encoded(features, maps)

    def _hook(self, name: str, module: nn.Module, *, named: bool) -> None:
        if not name.endswith(PRE) or (named and not isinstance(module, nn.ReLU)):
            self._hooks.append(module.register_forward_hook(_keep(self._maps, name)))
            return
        relu = _final_relu(module)
        if relu is None:
            raise ValueError(f"map {name!r}: {type(module).__name__} does not end in a ReLU")

        def before(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            # a copy, since the ReLU works in place; of a ReLU that is used several times the last use counts
            self._maps[name] = arguments[0].clone()

        self._hooks.append(relu.register_forward_pre_hook(before))

    def close(self) -> None:
        """Leave the encoder as it was."""
        while self._hooks:
            self._hooks.pop().remove()

    def _by_timm(self, images: Tensor) -> Encoded:
        encoder: Any = self.encoder
        last, every = encoder.forward_intermediates(images, output_fmt="NCHW")
        known = tap_names(encoder)
        return Encoded(encoder.forward_head(last), {name: every[known.index(name)] for name in self.names})


def tap_names(encoder: nn.Module) -> tuple[str, ...]:
    """The maps that an encoder has, in the order of the network; none where it names none."""
    taps: Mapping[str, str] | None = getattr(encoder, "taps", None)
    if taps is not None:
        return tuple(name for name in taps if not name.endswith(PRE))
    if not hasattr(encoder, "forward_intermediates"):
        return ()
    count = len(getattr(encoder, "feature_info", None) or ()) or 1
    return tuple(f"stage{number}" for number in range(1, count + 1))


def map_shapes(encoder: nn.Module, in_channels: int, image_size: int) -> dict[str, tuple[int, int, int]]:
    """Name -> (channels, height, width) of all maps for images of a size, by one pass in eval mode; `NAME:pre` last.

    Example:
        >>> from supcrd.models import Model
        >>> map_shapes(Model(10, "resnet8").encoder, 3, 32)["stage3"]
        (64, 8, 8)
    """
    training = encoder.training
    encoder.eval()
    names = tap_names(encoder)
    taps = Taps(encoder, [*names, *(f"{name}{PRE}" for name in names if _has_pre(encoder, name))])
    try:
        with torch.no_grad():
            maps = taps(torch.zeros(1, in_channels, image_size, image_size)).maps
    finally:
        taps.close()
        encoder.train(training)
    return {name: tuple(part.shape[1:]) for name, part in maps.items()}  # type: ignore[misc]


def _keep(maps: dict[str, Tensor], name: str) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_: nn.Module, __: Any, output: Any) -> None:
        maps[name] = output

    return hook


def _has_pre(encoder: nn.Module, name: str) -> bool:
    """Whether a network of this package or a plug-in has a map before its ReLU; timm's have none."""
    taps: Mapping[str, str] | None = getattr(encoder, "taps", None)
    if taps is None:
        return False
    return f"{name}{PRE}" in taps or _final_relu(encoder.get_submodule(taps[name])) is not None


def _final_relu(module: nn.Module) -> nn.ReLU | None:
    """The ReLU that a submodule ends in."""
    relu = module if isinstance(module, nn.ReLU) else getattr(_last(module), "relu", None)
    return relu if isinstance(relu, nn.ReLU) else None


def _last(module: nn.Module) -> nn.Module:
    """The last block of a stage, or the module itself."""
    return module[-1] if isinstance(module, nn.Sequential) and len(module) else module
