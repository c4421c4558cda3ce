"""Weights as others store them: which model they belong to, and their names in ours."""

import re
from collections import Counter
from collections.abc import Sequence
from math import isqrt
from typing import Any, NamedTuple

from torch import Tensor

from supcrd.models.archs.cifar_resnet import LAYERS
from supcrd.models.archs.small_resnet import DEPTHS

HEADS = ("final_classifier", "classifier", "fc", "head.fc", "head")
"""What the last linear layer is called where a state dict is not laid out like `Model`'s."""

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


def read_layout(
    state: dict[str, Tensor],
    *,
    arch: str | None = None,
    num_classes: int | None = None,
    image_size: int | None = None,
) -> Layout:
    """Recognise a published state dict.

    Two layouts are known. One is `Model`'s own (`encoder.`, `projector.`, `classifier.`), which is the published
    wrapper's. The other is torchvision's and timm's (`conv1` ... `fc`, or `classifier` or `final_classifier` in its
    place), with or without a projection head under `projection.` or `projector.`; unless it is one of the small
    CIFAR ResNets, it becomes `timm:resnetNN`. Both may have been saved from DataParallel or torch.compile.

    Args:
        state: the state dict; in either layout.
        arch: name it where the keys do not tell; inferred otherwise.
        num_classes: C, if it is to be checked.
        image_size: H = W in pixels; by default what `convnet`'s linear layer needs, 224 for a 7x7 stem, else 32.

    Raises:
        ValueError: a layout that is not known or contradicts the arguments.
    """
    state = {re.sub(r"^(module\.|_orig_mod\.)+", "", key): tensor for key, tensor in state.items()}
    plain = not any(key.startswith("encoder.") for key in state)
    if plain:
        state = _renamed(state)
    if "classifier.weight" not in state:
        raise ValueError("it has no classifier.weight; a model needs an encoder, a projector and a classifier")
    classes = _shape(state, "classifier.weight", 2)[0]
    if num_classes not in (None, classes):
        raise ValueError(f"num_classes is {num_classes}, but its classifier has {classes} classes")
    projector = projector_widths(state)
    config = {
        "num_classes": classes,
        "arch": arch or _infer_arch(state, plain),
        "in_channels": _in_channels(state),
        "image_size": image_size or _image_size(state),
        "projector": list(projector or (128, 64)),
    }
    return Layout(config, state, bool(projector))


def projector_widths(state: dict[str, Tensor]) -> list[int]:
    """Output widths of the linear layers of `projector`, in order; none if there is no projector."""
    layers = [key.split(".")[1] for key in state if re.fullmatch(r"projector\.\d+\.weight", key)]
    return [_shape(state, f"projector.{i}.weight", 2)[0] for i in sorted(layers, key=int)]


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    head = next((head for head in HEADS if f"{head}.weight" in state), None)
    if head is None:
        raise ValueError(f"it has no classifier under any of the names {', '.join(HEADS)}")
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


def _infer_arch(state: dict[str, Tensor], plain: bool) -> str:
    if "encoder.conv.0.weight" in state and "encoder.fc.weight" in state:
        return "convnet"
    blocks = _blocks(state)
    bottleneck = "encoder.layer1.0.conv3.weight" in state
    if len(blocks) == 3 and len(set(blocks)) == 1 and not bottleneck and "encoder.conv1.weight" in state:
        wide = _shape(state, "encoder.layer1.0.conv1.weight", 4)[0] == 64
        name = f"resnet{6 * blocks[0] + 2}" + "x4" * wide
        if name in DEPTHS:
            return name
    name = RESNETS.get((bottleneck, tuple(blocks)), "")
    if not name or "encoder.conv1.weight" not in state:
        raise ValueError("its keys belong to no architecture that supcrd can recognise; give its arch")
    cifar_stem = _shape(state, "encoder.conv1.weight", 4)[-1] == 3
    ours = not plain and cifar_stem and (not bottleneck or "encoder.projection.weight" in state)
    return name if ours else f"timm:{name}"


def _blocks(state: dict[str, Tensor]) -> Sequence[int]:
    """How many blocks `layer1`, `layer2` ... have."""
    found = {tuple(key.split(".")[1:3]) for key in state if key.startswith("encoder.layer")}
    counts = Counter(stage for stage, *_ in found)
    return [counts[stage] for stage in sorted(counts)]


def _in_channels(state: dict[str, Tensor]) -> int:
    first = next((tensor for key, tensor in state.items() if key.startswith("encoder.") and tensor.ndim == 4), None)
    if first is None:
        raise ValueError("its encoder has no convolution")
    return int(first.shape[1])


def _image_size(state: dict[str, Tensor]) -> int:
    if "encoder.conv.0.weight" in state and "encoder.fc.weight" in state:
        return 8 * isqrt(_shape(state, "encoder.fc.weight", 2)[1] // 128)
    conv1 = state.get("encoder.conv1.weight")
    return 224 if conv1 is not None and conv1.shape[-1:] == (7,) else 32


def _shape(state: dict[str, Tensor], key: str, ndim: int) -> tuple[int, ...]:
    if key not in state:
        raise ValueError(f"it has no {key}")
    shape = tuple(state[key].shape)
    if len(shape) != ndim:
        raise ValueError(f"{key} has shape {shape}; it should have {ndim} dimensions")
    return shape
