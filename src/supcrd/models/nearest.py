"""The built-in architectures that weights fit, or come nearest to, by the keys and shapes of the encoder."""

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from supcrd.base.seeding import forked
from supcrd.errors import PluginError
from supcrd.models.archs import ARCHS, build_encoder
from supcrd.models.names import FILES
from supcrd.models.naming import counted_keys

HALF = 0.5  # below this share of common shapes none is near
COUNTER = "num_batches_tracked"  # of batch norm, which nothing reads and files may lack

Entries = frozenset[tuple[str, tuple[int, ...]]]


class Near(NamedTuple):
    """How much of an architecture a state dict has."""

    arch: str
    common: int
    """keys of the architecture that are there with the right shape"""
    whole: int
    """keys of the architecture"""


def fitting_archs(state: Mapping[str, Tensor], *, in_channels: int, image_size: int) -> tuple[str, ...]:
    """The built-in architectures whose encoder has exactly the keys and shapes of a state dict; batch norm's counters
    may be missing.

    Args:
        state: keys of supcrd's layout, of which those of the encoder count.
        in_channels, image_size: of the images.

    Example:
        >>> from supcrd.models import Model
        >>> fitting_archs(Model(10, "resnet14").state_dict(), in_channels=3, image_size=32)
        ('resnet14',)
    """
    own = _entries(state)
    parts = _parts(own)
    # the networks of a file have the same parts, or more than the first: of most files only that one has to be built
    files = [names for names in FILES.values() if _parts(_built(names[0], in_channels, image_size)) <= parts]
    return tuple(arch for names in files for arch in names if _built(arch, in_channels, image_size) == own)


def nearest_arch(state: Mapping[str, Tensor], *, in_channels: int, image_size: int) -> Near | None:
    """The built-in architecture whose encoder has the most keys and shapes in common with a state dict.

    Args:
        state, in_channels, image_size: as of `fitting_archs`.

    Returns:
        None if fewer than half are common to both.

    Example:
        >>> from supcrd.models import Model
        >>> state = dict(Model(10, "resnet14", in_channels=3, image_size=32).state_dict())
        >>> _ = state.pop("encoder.bn1.bias")
        >>> nearest_arch(state, in_channels=3, image_size=32)
        Near(arch='resnet14', common=74, whole=75)
    """
    own = _entries(state)
    best: tuple[float, Near] | None = None
    for arch in ARCHS:
        theirs = _built(arch, in_channels, image_size)
        common = len(own & theirs)
        likeness = common / max(len(own | theirs), 1)
        if best is None or likeness > best[0]:
            best = (likeness, Near(arch, common, len(theirs)))
    return None if best is None or best[0] < HALF else best[1]


def renamed_arch(state: Mapping[str, Tensor], *, in_channels: int, image_size: int) -> str | None:
    """The built-in architecture that a state dict has all shapes of, under whatever keys; None if there is none.

    Of several (a network within another) it is the one with the most tensors. One with fewer than half of the state
    dict's tensors is none.

    Args:
        state, in_channels, image_size: as of `fitting_archs`.

    Example:
        >>> from supcrd.models import Model
        >>> state = Model(10, "resnet14").encoder.state_dict()
        >>> other = {f"encoder.{i}": tensor for i, tensor in enumerate(state.values())}
        >>> renamed_arch(other, in_channels=3, image_size=32)
        'resnet14'
    """
    own = Counter(shape for _, shape in _entries(state) if shape)  # batch norm's counters are numbers
    best, most = None, HALF * own.total()
    for arch in ARCHS:
        theirs = Counter(shape for _, shape in _built(arch, in_channels, image_size))
        if theirs <= own and theirs.total() > most:
            best, most = arch, theirs.total()
    return best


def difference(state: Mapping[str, Tensor], arch: str, *, in_channels: int, image_size: int) -> str:
    """What keeps a state dict from fitting an architecture: how many keys, and the first ones.

    Args:
        state, in_channels, image_size: as of `fitting_archs`.
        arch: a built-in architecture.

    Example:
        >>> from supcrd.models import Model
        >>> state = dict(Model(10, "resnet14").state_dict())
        >>> del state["encoder.bn1.bias"]
        >>> difference(state, "resnet14", in_channels=3, image_size=32)
        '1 key missing (bn1.bias)'
    """
    own, theirs = dict(_entries(state)), dict(_built(arch, in_channels, image_size))
    differing = [key for key in sorted(theirs) if key in own and own[key] != theirs[key]]
    said = {
        "missing": [key for key in sorted(theirs) if key not in own],
        "unexpected": [key for key in sorted(own) if key not in theirs],
        "of another shape": differing,
    }
    return ", ".join(
        counted_keys([key.removeprefix("encoder.") for key in keys], what) for what, keys in said.items() if keys
    )


def fits(state: Mapping[str, Tensor], arch: str, *, in_channels: int, image_size: int) -> bool:
    """Whether an encoder of a built-in architecture, or of a plug-in's, has exactly the keys and shapes."""
    return _built(arch, in_channels, image_size) == _entries(state)


def _entries(state: Mapping[str, Tensor]) -> Entries:
    return frozenset(
        (key, tuple(tensor.shape))
        for key, tensor in state.items()
        if key.startswith("encoder.") and not key.endswith(COUNTER)
    )


def _parts(entries: Entries) -> frozenset[str]:
    """The modules that an encoder consists of."""
    return frozenset(key.split(".")[1] for key, _ in entries)


@lru_cache(maxsize=256)
def _built(arch: str, in_channels: int, image_size: int) -> Entries:
    """Keys and shapes of an architecture; none where images of this size are not for it."""
    try:
        with forked(), torch.device("meta"):  # shapes only: no memory, and nothing is drawn
            net = build_encoder(arch, in_channels=in_channels, image_size=image_size, pretrained=False).net
    except (ValueError, PluginError):
        return frozenset()
    return _entries({f"encoder.{key}": tensor for key, tensor in net.state_dict().items()})
