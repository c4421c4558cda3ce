"""The names of architectures, and an encoder for each."""

from importlib import import_module

import torch

from supcrd.errors import PluginError
from supcrd.models.archs.from_timm import STEMS, Encoder, build_timm, check_timm_name, is_timm_name
from supcrd.models.archs.own import PREFIX
from supcrd.models.names import ARCHS, FILES, NETWORKS, check_name, plain
from supcrd.registry import reason

__all__ = ["ARCHS", "build_encoder", "check_arch"]

MIN_IMAGE_SIZE = 8
"""Pixels: below it the last stage of a net has nothing left to look at."""


def check_arch(name: str) -> None:
    """Refuse a name that is no architecture.

    Args:
        name: one of `ARCHS`; `NAME+WIDTH`, one of these with a projector (see `supcrd.models.archs.projected`);
            `timm:NAME` for a model that timm knows (with or without a `.tag` for its weights), or
            `timm:hf_hub:OWNER/NAME`, which is only looked up when the model is built.

    Raises:
        ValueError: unknown; names the nearest valid one, or the name with `timm:` where only that lacks.

    Example:
        >>> check_arch("resnet8x4")
        >>> check_arch("resnet8x5")
        Traceback (most recent call last):
        ValueError: arch 'resnet8x5' is unknown; the nearest is 'resnet8x4'
    """
    if name.startswith("timm:"):
        check_timm_name(name.removeprefix("timm:"))
    elif name.startswith(PREFIX):
        raise ValueError(
            f"arch {name!r} is a network of its owner's: build supcrd.Model(C, network) and load weights into it, "
            "or register it by @supcrd.arch"
        )
    elif name not in ARCHS and NETWORKS.find(name) is None and is_timm_name(name):
        raise ValueError(f"arch {name!r} is timm's; 'timm:{name}' is right")
    else:
        check_name(name)


def build_encoder(
    arch: str, *, in_channels: int, image_size: int, pretrained: bool, stem: str | None = None
) -> Encoder:
    """A fresh encoder, (B, in_channels, H, W) -> (B, F).

    Raises:
        ValueError: an unknown arch, an image size that it cannot take, pretrained weights that do not exist, or a
            stem that it does not have.
    """
    check_arch(arch)
    if stem not in (None, *STEMS):
        raise ValueError(f"stem is {stem!r}; low or native is right")
    if image_size < MIN_IMAGE_SIZE:
        raise ValueError(f"image_size {image_size} is too small for arch {arch!r}; {MIN_IMAGE_SIZE} is the least")
    if arch.startswith("timm:"):
        name = arch.removeprefix("timm:")
        return build_timm(name, in_channels=in_channels, image_size=image_size, pretrained=pretrained, stem=stem)
    if stem == "native":
        raise ValueError(f"stem 'native': arch {arch!r} has one stem, for small images; only timm:NAME has two")
    if pretrained:
        raise ValueError(f"pretrained is true, but arch {arch!r} has no pretrained weights; only timm:NAME has")
    base, width = plain(arch)
    if width is not None:
        return _projected(arch, base, width, in_channels, image_size)
    if arch not in ARCHS:
        return _of_plugin(arch, in_channels, image_size)
    home = next(file for file, names in FILES.items() if arch in names)
    net = import_module(f"supcrd.models.archs.{home}").make(arch, in_channels, image_size)
    return Encoder(net, net.feature_dim, arch, None, None)


def _projected(arch: str, base: str, width: int, in_channels: int, image_size: int) -> Encoder:
    """A network with a projector to another width."""
    from supcrd.models.archs.projected import projected

    inside = build_encoder(base, in_channels=in_channels, image_size=image_size, pretrained=False)
    try:
        net = projected(inside.net, width, in_channels=in_channels, image_size=image_size)
    except ValueError as error:
        raise ValueError(f"arch {arch!r}: {error}") from None
    return Encoder(net, width, arch, None, None)


def _of_plugin(arch: str, in_channels: int, image_size: int) -> Encoder:
    """A network of the user's own, tried on one image.

    Raises:
        PluginError: it fails, is no module, or its features are not what it says.
    """
    try:
        net = NETWORKS.get(arch)(in_channels=in_channels, image_size=image_size)
        training = net.training
        net.eval()
        with torch.no_grad():
            shape = tuple(net(torch.zeros(1, in_channels, image_size, image_size)).shape)
        net.train(training)
        width = net.feature_dim
    except Exception as error:
        raise PluginError(f"arch {arch!r} fails at {in_channels} x {image_size} px: {reason(error)}") from error
    if shape != (1, width):
        raise PluginError(f"arch {arch!r}: one image gives features {shape}; (1, feature_dim) = (1, {width}) is right")
    return Encoder(net, int(width), arch, None, None)
