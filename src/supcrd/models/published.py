"""Weights as others store them: which model they belong to, and their names in ours."""

import re
from collections import Counter
from collections.abc import Sequence
from math import isqrt
from typing import Any, NamedTuple

from torch import Tensor

from supcrd.models.archs import ARCHS, check_arch
from supcrd.models.archs.cifar_resnet import LAYERS
from supcrd.models.archs.from_timm import LOW_RESOLUTION, ends_in_convolution, timm_defaults
from supcrd.models.naming import Named, keys_of, named, readings
from supcrd.models.nearest import difference, fits, fitting_archs, nearest_arch, renamed_arch
from supcrd.models.recognise import fitting_stems, recognise, size_of

SMALL = 32
"""Pixels that a network with a stem for small images is assumed to have been trained on, if nothing says otherwise."""

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
    classifier: bool = True
    """Whether the state dict has a classifier; `config` says 2 classes where it has none."""


def read_layout(
    state: dict[str, Tensor],
    *,
    arch: str | None = None,
    num_classes: int | None = None,
    image_size: int | None = None,
    default_size: int | None = None,
    stem: str | None = None,
    headless: bool = False,
) -> Layout:
    """Recognise a published state dict.

    Two layouts are known. One is `Model`'s own (`encoder.`, `projector.`, `classifier.`), which is the published
    wrapper's. The other is that of a network alone (`conv1` ... `fc`, or another of `supcrd.models.naming.HEADS`), with
    or without a projection head under `projection.` or `projector.`. Prefixes are taken off where the rest then fits
    (see `supcrd.models.naming.readings`), and the blocks of a ResNet may be called as in the usual CIFAR repositories.

    A network alone is one of the small CIFAR ResNets, one of supcrd's others, or timm's: any of timm's networks is
    recognised by its keys and shapes, unless different ones have the same (see `supcrd.models.recognise`). Those of
    timm keep their own stem, unless their shapes show the one for small images, or unless the state dict is in
    `Model`'s layout, where a stem that its shapes do not show is what `Model` gives an image of this size.

    Args:
        state: the state dict; in either layout.
        arch: to be named if the keys do not determine it; inferred otherwise.
        num_classes: C, if it is to be checked.
        image_size: H = W in pixels; by default what `convnet`'s linear layer or a transformer's position embedding
            needs, what timm says of a network with its own stem (224 of most), else `default_size`.
        default_size: 32 if not given.
        stem: "low" or "native", if it is known and the shapes do not determine it.
        headless: whether an encoder without a classifier is taken.

    Raises:
        ValueError: a layout that is not known or contradicts the arguments.
    """
    if arch is not None:
        check_arch(arch)
    problems: list[ValueError] = []
    layouts: list[Layout] = []
    for reading in readings(state):
        try:
            known = named(reading, headless=headless)
            layout = _of(known, arch, num_classes, image_size, default_size or SMALL, stem)
        except ValueError as error:
            problems.append(error)
            continue
        if arch is None or _fit(layout):
            return layout
        layouts.append(layout)
    if layouts:  # of the architecture that was named, though not all keys are
        return layouts[0]
    raise problems[0]


def _of(
    known: Named,
    arch: str | None,
    num_classes: int | None,
    image_size: int | None,
    default_size: int,
    stem: str | None,
) -> Layout:
    """The layout of a state dict in one of its readings."""
    state, plain = known.state, known.plain
    convolution = plain and known.classifier and state["classifier.weight"].shape[2:] == (1, 1)
    classes = _shape(state, "classifier.weight", 4 if convolution else 2)[0] if known.classifier else num_classes or 2
    if num_classes not in (None, classes):
        raise ValueError(f"num_classes is {num_classes}, but its classifier has {classes} classes")
    projector = projector_widths(state)
    channels = _in_channels(state)
    config: dict[str, Any] = {
        "num_classes": classes,
        "in_channels": channels,
        "projector": list(projector or (128, 64)),
    }
    if arch is None:
        arch, alike = _infer_arch(known, channels, image_size, default_size)
    else:
        alike = (arch,)
    config["arch"] = arch
    if convolution:
        state = _of_pooled(state, arch)
    layout = Layout(config, state, bool(projector), classifier=known.classifier)
    if not arch.startswith("timm:"):
        config |= {"image_size": image_size or _image_size(state) or default_size, "stem": None}
        return layout
    encoder = _encoder(state)
    stems = fitting_stems(arch, encoder, channels, image_size or (None if plain else default_size))
    usual = "native" if plain or (image_size or default_size) > LOW_RESOLUTION else "low"
    config["stem"] = next((one for one in (stem, usual, *stems) if one in stems), usual)
    own = [timm_defaults(name) for name in alike] if plain and config["stem"] == "native" else []
    size = image_size or size_of(encoder)
    config["image_size"] = size or (own[0].image_size if own else default_size)
    statistics = {(defaults.mean, defaults.std) for defaults in own}
    usable = len(statistics) == 1 and channels == 3
    return layout._replace(statistics=statistics.pop() if usable else None, size_known=size is not None)


def _of_pooled(state: dict[str, Tensor], arch: str) -> dict[str, Tensor]:
    """With a linear layer in place of timm's 1x1 convolution of pooled features.

    Others' may be followed by a ReLU and pooling (SqueezeNet), or by none (segmentation).
    """
    if not (arch.startswith("timm:") and ends_in_convolution(arch)):
        raise ValueError(
            f"its classifier is a 1x1 convolution, unlike that of {arch}; a linear layer (C, F) of the pooled features "
            "is right"
        )
    return state | {"classifier.weight": state["classifier.weight"].flatten(1)}


def _fit(layout: Layout) -> bool:
    """Whether the encoder has exactly the keys and shapes of its architecture."""
    arch, channels, size = (layout.config[key] for key in ("arch", "in_channels", "image_size"))
    if arch.startswith("timm:"):
        return bool(fitting_stems(arch, _encoder(layout.state), channels, size))
    return fits(layout.state, arch, in_channels=channels, image_size=size)


def projector_widths(state: dict[str, Tensor]) -> list[int]:
    """Output widths of the linear layers of `projector`, in order; none if there is no projector."""
    layers = [key.split(".")[1] for key in state if re.fullmatch(r"projector\.\d+\.weight", key)]
    return [_shape(state, f"projector.{i}.weight", 2)[0] for i in sorted(layers, key=int)]


def _encoder(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix("encoder."): tensor for key, tensor in state.items() if key.startswith("encoder.")}


def _infer_arch(
    known: Named, in_channels: int, image_size: int | None, default_size: int
) -> tuple[str, tuple[str, ...]]:
    """The architecture, and all of timm's that compute the same."""
    state, encoder = known.state, _encoder(known.state)
    for name in known.archs:
        if fitting_stems(name, encoder, in_channels, image_size):
            return name, (name,)
    if "encoder.conv.0.weight" in state and "encoder.fc.weight" in state:
        return "convnet", ()
    blocks = _blocks(state)
    bottleneck = "encoder.layer1.0.conv3.weight" in state
    if len(blocks) == 3 and len(set(blocks)) == 1 and not bottleneck and "encoder.conv1.weight" in state:
        wide = _shape(state, "encoder.layer1.0.conv1.weight", 4)[0] == 64
        shortcuts = any(".downsample." in key for key in state)
        name = f"resnet{6 * blocks[0] + 2}" + ("x4" if wide else "" if shortcuts else "-a")
        if name in ARCHS:
            return name, ()
    name = RESNETS.get((bottleneck, tuple(blocks)), "")
    if name and "encoder.conv1.weight" in state:
        cifar_stem = _shape(state, "encoder.conv1.weight", 4)[-1] == 3
        if not known.plain and cifar_stem and (not bottleneck or "encoder.projection.weight" in state):
            return name, ()
        if fitting_stems(f"timm:{name}", encoder, in_channels, image_size):  # and no wide or grouped one
            return f"timm:{name}", (f"timm:{name}",)
    sizes = {"in_channels": in_channels, "image_size": image_size or default_size}
    ours = fitting_archs(state, **sizes)
    if len(ours) > 1:
        raise ValueError(f"its weights fit {', '.join(ours)}; say which by its arch (--arch or teacher.arch)")
    if ours:
        return ours[0], ()
    try:
        return recognise(encoder, in_channels=in_channels, image_size=image_size)
    except ValueError as error:
        raise ValueError(f"{_nearer(state, sizes) or error}{keys_of(encoder if known.plain else state)}") from None


def _nearer(state: dict[str, Tensor], sizes: dict[str, int]) -> str:
    """What to say of weights that have most of a built-in architecture; "" if there is none."""
    near, unknown = nearest_arch(state, **sizes), "its keys are of no known architecture"
    if near is None:
        renamed = renamed_arch(state, **sizes)
        return f"{unknown}; its shapes are those of {renamed}, under other keys" if renamed else ""
    return f"{unknown}; the nearest is {near.arch}, with {difference(state, near.arch, **sizes)}"


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
