"""The names of architectures, apart from the networks: a recipe is checked without torch."""

from collections.abc import Callable
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any

from supcrd.base.wording import show
from supcrd.errors import PluginError
from supcrd.registry import Registry

FILES = {
    "convnet": ("convnet",),
    "cifar_resnet": ("resnet18", "resnet34", "resnet50", "resnet101", "resnet50-2048"),
    "small_resnet": (
        *(f"resnet{depth}" for depth in (8, 14, 20, 32, 44, 56, 110)),
        *(f"resnet{depth}x4" for depth in (8, 14, 20, 32)),
        *(f"resnet{depth}-a" for depth in (20, 32, 44, 56, 110)),
    ),
    "wide_resnet": ("wrn-16-1", "wrn-16-2", "wrn-40-1", "wrn-40-2", "wrn-28-4", "wrn-28-10"),
    "vgg": ("vgg8", "vgg11", "vgg13", "vgg16", "vgg19"),
    "mobilenet": ("mobilenetv2",),
    "shufflenet_v1": ("shufflenetv1",),
    "shufflenet_v2": ("shufflenetv2",),
}
"""Files of `archs/`, each with `make(arch, in_channels, image_size)`, and the architectures that it makes."""
ARCHS: tuple[str, ...] = tuple(name for names in FILES.values() for name in names)
"""Every built-in architecture's name; timm's are `timm:NAME`, a plug-in's what it says."""

LAST = "last"
"""The map whose mean over places is the features, of a network in which more than a mean follows its last stage."""
PROJECTED = "projected"
"""The map of a network with a projector, `NAME+WIDTH` (see `supcrd.models.archs.projected`)."""

INDEX = "timm_index.csv"
"""Beside this file: every architecture's signature, so that few of timm's 1,300 have to be built to be compared. Made
by `python benchmarks/timm_index.py`; what a later timm adds is found once that has been run again."""


@cache
def timm_index() -> dict[str, tuple[int, int]]:
    """timm's architectures -> their signature (`supcrd.models.recognise.signature`); timm is not loaded.

    Example:
        >>> "resnet50" in timm_index(), "resnet5O" in timm_index()
        (True, False)
    """
    text = (resources.files("supcrd.models") / INDEX).read_text(encoding="utf-8")
    rows = [line.split(",") for line in text.splitlines()]
    return {name: (int(tensors), int(numbers)) for name, tensors, numbers in rows}


Make = Callable[..., Any]
NETWORKS: Registry[Make] = Registry("arch", "supcrd.archs")
"""Architectures of plug-ins: name -> `make(*, in_channels, image_size)`, a module with `feature_dim`."""


def arch(name: str) -> Callable[[Make], Make]:
    """Register a function that makes an encoder, so that `model.arch = "NAME"` means it.

    The function takes `in_channels` and `image_size` (pixels) by name and gives a `torch.nn.Module` that maps images
    (B, in_channels, H, W) to features (B, F), with F as its attribute `feature_dim`; maps by an attribute `taps` where
    it has any (see `supcrd.models.taps`).

    Raises:
        PluginError: the name is taken.

    Example:
        >>> @arch("example-of-an-arch")
        ... def make(*, in_channels, image_size):
        ...     raise NotImplementedError
        >>> check_name("example-of-an-arch")
    """

    def register(make: Make) -> Make:
        if name in ARCHS or name.startswith("timm:"):
            raise PluginError(f"arch {name!r} is supcrd's own; give it another name")
        return NETWORKS.add(name, make)

    return register


def plain(name: str) -> tuple[str, int | None]:
    """An architecture's name without its projector, and the projector's width.

    Example:
        >>> plain("resnet8+256"), plain("resnet8"), plain("timm:a+1")
        (('resnet8', 256), ('resnet8', None), ('timm:a+1', None))
    """
    base, plus, width = name.rpartition("+")
    if not plus or name.startswith("timm:") or not width.isdecimal() or int(width) < 1:
        return name, None
    return base, int(width)


def check_name(name: str) -> None:
    """Refuse a name that is neither one of `ARCHS`, with or without a projector `+WIDTH`, nor a plug-in's.

    Raises:
        ValueError: unknown; names the nearest valid one.
        PluginError: the entry point of that name fails.

    Example:
        >>> check_name("resnet8x5")
        Traceback (most recent call last):
        ValueError: arch 'resnet8x5' is unknown; the nearest is 'resnet8x4'
    """
    name = plain(name)[0]
    if name not in ARCHS and NETWORKS.find(name) is None:
        nearest = get_close_matches(name, [*ARCHS, *NETWORKS], n=1, cutoff=0.0)[0]
        raise ValueError(f"arch {show(name)} is unknown; the nearest is {nearest!r}")
