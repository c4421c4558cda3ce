"""Weights as others store them: which model they belong to, and their names in ours."""

import re
from collections import Counter
from collections.abc import Sequence
from math import isqrt
from typing import Any, NamedTuple

from torch import Tensor

from supcrd.models.archs import check_arch
from supcrd.models.archs.cifar_resnet import LAYERS
from supcrd.models.archs.from_timm import LOW_RESOLUTION, timm_defaults
from supcrd.models.archs.small_resnet import DEPTHS
from supcrd.models.recognise import fitting_stems, recognise, size_of

SMALL = 32
"""Pixels that a network with a stem for small images is assumed to have been trained on, if nothing says otherwise."""

HEADS = ("final_classifier", "classifier", "fc", "head.fc", "head", "linear")
"""What the last linear layer is called where a state dict is not laid out like `Model`'s."""

FIRST = (
    *("patch_embed.backbone.conv", "patch_embed.backbone.conv1.0", "patch_embed.backbone.stem.conv"),
    *("conv1", "conv1.0", "conv_stem", "patch_embed.proj", "stem.0", "stem.conv", "stem.conv1", "stem.conv1.conv"),
    *("stem.0.conv", "stem.proj", "features.conv0", "features.0", "conv.0"),
)
"""What networks call the convolution that reads the images."""

# (bottleneck blocks, blocks in each of the four stages) -> name
RESNETS: dict[tuple[bool, tuple[int, ...]], str] = {
    **{(name in ("resnet50", "resnet101"), blocks): name for name, blocks in LAYERS.items()},
    (True, (2, 2, 2, 2)): "resnet26",
    (True, (3, 8, 36, 3)): "resnet152",
}


class Layout(NamedTuple):
    """A state dict under `Model`'s names, and the arguments of the `Model` that it fits."""

    config: dict[str, Any]
    state: dict[str, Tensor]
    projection_trained: bool
    """Whether the state dict has a projection head."""
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Mean and std that timm gives this architecture's own weights; None where they are not known."""
    size_known: bool = False
    """Whether the image size was given or is in the shapes, and is not only what is usual."""


def read_layout(
    state: dict[str, Tensor],
    *,
    arch: str | None = None,
    num_classes: int | None = None,
    image_size: int | None = None,
    default_size: int | None = None,
    stem: str | None = None,
) -> Layout:
    """Recognise a published state dict.

    Two layouts are known. One is `Model`'s own (`encoder.`, `projector.`, `classifier.`), which is the published
    wrapper's. The other is torchvision's and timm's (`conv1` ... `fc`, or `classifier` or `final_classifier` in its
    place), with or without a projection head under `projection.` or `projector.`; unless it is one of the small
    CIFAR ResNets, it becomes `timm:resnetNN`. Both may have been saved from DataParallel or torch.compile.

    Any of timm's networks is recognised by its keys and shapes, unless different ones have the same (see
    `supcrd.models.recognise`). They keep their own stem, unless their shapes show the one for small images, or unless
    the state dict is in `Model`'s layout, where a stem that its shapes do not show is what `Model` gives an image of
    this size.

    Args:
        state: the state dict; in either layout.
        arch: to be named if the keys do not determine it; inferred otherwise.
        num_classes: C, if it is to be checked.
        image_size: H = W in pixels; by default what `convnet`'s linear layer or a transformer's position embedding
            needs, what timm says of a network with its own stem (224 of most), else `default_size`.
        default_size: 32 if not given.
        stem: "low" or "native", if it is known and the shapes do not determine it.

    Raises:
        ValueError: a layout that is not known or contradicts the arguments.
    """
    state = {re.sub(r"^(module\.|_orig_mod\.)+", "", key): tensor for key, tensor in state.items()}
    plain = not any(key.startswith("encoder.") for key in state)
    if plain:
        state = _renamed(state)
    if "classifier.weight" not in state:
        raise ValueError(
            f"it has no classifier.weight; a model needs an encoder, a projector and a classifier{keys_of(state)}"
        )
    classes = _shape(state, "classifier.weight", 2)[0]
    if num_classes not in (None, classes):
        raise ValueError(f"num_classes is {num_classes}, but its classifier has {classes} classes")
    default_size = default_size or SMALL
    projector = projector_widths(state)
    channels = _in_channels(state)
    config: dict[str, Any] = {
        "num_classes": classes,
        "in_channels": channels,
        "projector": list(projector or (128, 64)),
    }
    if arch is not None:
        check_arch(arch)
    arch, alike = (arch, (arch,)) if arch is not None else _infer_arch(state, plain, channels, image_size)
    config["arch"] = arch
    if not arch.startswith("timm:"):
        config |= {"image_size": image_size or _image_size(state) or default_size, "stem": None}
        return Layout(config, state, bool(projector))
    encoder = _encoder(state)
    stems = fitting_stems(arch, encoder, channels, image_size or (None if plain else default_size))
    usual = "native" if plain or (image_size or default_size) > LOW_RESOLUTION else "low"
    config["stem"] = next((known for known in (stem, usual, *stems) if known in stems), usual)
    own = [timm_defaults(name) for name in alike] if plain and config["stem"] == "native" else []
    size = image_size or size_of(encoder)
    config["image_size"] = size or (own[0].image_size if own else default_size)
    known = {(defaults.mean, defaults.std) for defaults in own}
    usable = len(known) == 1 and channels == 3
    return Layout(config, state, bool(projector), known.pop() if usable else None, size is not None)


def keys_of(state: dict[str, Tensor]) -> str:
    """ "; it has ..." of the keys of a state dict: how many, and the first.

    Example:
        >>> keys_of({"a": Tensor(), "b": Tensor()})
        '; it has 2 keys (a, ...)'
    """
    keys = list(state)
    return f"; it has {len(keys)} keys ({keys[0]}{', ...' * (len(keys) > 1)})" if keys else "; it has no keys"


def projector_widths(state: dict[str, Tensor]) -> list[int]:
    """Output widths of the linear layers of `projector`, in order; none if there is no projector."""
    layers = [key.split(".")[1] for key in state if re.fullmatch(r"projector\.\d+\.weight", key)]
    return [_shape(state, f"projector.{i}.weight", 2)[0] for i in sorted(layers, key=int)]


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    head = next((head for head in HEADS if f"{head}.weight" in state), None)
    if head is None:
        raise ValueError(f"it has no classifier under any of the names {', '.join(HEADS)}{keys_of(state)}")
    renamed = {}
    for key, tensor in state.items():
        if key.startswith(f"{head}."):
            key = key.replace(head, "classifier", 1)
        elif key.startswith("projection."):
            key = key.replace("projection", "projector", 1)
        elif not key.startswith("projector."):
            key = f"encoder.{key}"
        renamed[key] = tensor
    return renamed


def _encoder(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix("encoder."): tensor for key, tensor in state.items() if key.startswith("encoder.")}


def _infer_arch(
    state: dict[str, Tensor], plain: bool, in_channels: int, image_size: int | None
) -> tuple[str, tuple[str, ...]]:
    """The architecture, and all of timm's that compute the same."""
    if "encoder.conv.0.weight" in state and "encoder.fc.weight" in state:
        return "convnet", ()
    blocks = _blocks(state)
    bottleneck = "encoder.layer1.0.conv3.weight" in state
    if len(blocks) == 3 and len(set(blocks)) == 1 and not bottleneck and "encoder.conv1.weight" in state:
        wide = _shape(state, "encoder.layer1.0.conv1.weight", 4)[0] == 64
        name = f"resnet{6 * blocks[0] + 2}" + "x4" * wide
        if name in DEPTHS:
            return name, ()
    name = RESNETS.get((bottleneck, tuple(blocks)), "")
    if name and "encoder.conv1.weight" in state:
        cifar_stem = _shape(state, "encoder.conv1.weight", 4)[-1] == 3
        if not plain and cifar_stem and (not bottleneck or "encoder.projection.weight" in state):
            return name, ()
        if fitting_stems(f"timm:{name}", _encoder(state), in_channels, image_size):  # and no wide or grouped one
            return f"timm:{name}", (f"timm:{name}",)
    try:
        return recognise(_encoder(state), in_channels=in_channels, image_size=image_size)
    except ValueError as error:
        raise ValueError(f"{error}{keys_of(_encoder(state) if plain else state)}") from None


def _blocks(state: dict[str, Tensor]) -> Sequence[int]:
    """How many blocks `layer1`, `layer2` ... have."""
    blocks = {tuple(key.split(".")[1:3]) for key in state if key.startswith("encoder.layer")}
    counts = Counter(stage for stage, *_ in blocks)
    return [counts[stage] for stage in sorted(counts)]


def _in_channels(state: dict[str, Tensor]) -> int:
    """Of the convolution that reads the images; not the first in the file, since safetensors sorts its keys."""
    encoder = _encoder(state)
    named = [encoder[f"{name}.weight"] for name in FIRST if f"{name}.weight" in encoder]
    kernels = [tensor for tensor in (*named, *encoder.values()) if tensor.ndim == 4]
    if not kernels:
        raise ValueError(f"its keys are of no known architecture: no convolution{keys_of(state)}")
    if not named and any(kernel.shape[1] == 3 for kernel in kernels):
        return 3
    return int(kernels[0].shape[1])


def _image_size(state: dict[str, Tensor]) -> int | None:
    if "encoder.conv.0.weight" in state and "encoder.fc.weight" in state:
        return 8 * isqrt(_shape(state, "encoder.fc.weight", 2)[1] // 128)
    return None


def _shape(state: dict[str, Tensor], key: str, ndim: int) -> tuple[int, ...]:
    if key not in state:
        raise ValueError(f"it has no {key}")
    shape = tuple(state[key].shape)
    if len(shape) != ndim:
        raise ValueError(f"{key} has shape {shape}; it should have {ndim} dimensions")
    return shape
