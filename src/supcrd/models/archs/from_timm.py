"""timm's models as encoders, with a low-resolution stem where the images are small."""

import contextlib
import dataclasses
import logging
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from supcrd.models.archs import hub

LOW_RESOLUTION = 32
"""Pixels: at this size and below, a stem made for ImageNet would throw most of the image away."""

HUB = ("hf_hub:", "hf-hub:")

logger = logging.getLogger("supcrd")


STEMS = ("native", "low")
"""An architecture's own stem, and one for small images in its place."""


class Encoder(NamedTuple):
    """An encoder, the width F of its output, its name, its pretrained weights' classifier if any, and its stem."""

    net: nn.Module
    feature_dim: int
    arch: str
    classifier: nn.Linear | None
    """None too where one linear layer of the features is not what the weights' own logits are"""
    stem: str | None


class Defaults(NamedTuple):
    """What timm says of the images that an architecture was trained on."""

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def timm_defaults(arch: str) -> Defaults:
    """The input of a timm architecture's weights (timm's `pretrained_cfg`; the hub's, for a hub name).

    Example:
        >>> timm_defaults("timm:vit_tiny_patch16_224")
        Defaults(image_size=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    """
    import timm

    name = arch.removeprefix("timm:")
    config: dict[str, Any] = {}
    if name.startswith(HUB):
        with hub.patient():
            config = timm.models.load_model_config_from_hf(name[len(HUB[0]) :])[0]
    elif (known := timm.models.get_pretrained_cfg(name)) is not None:
        config = dataclasses.asdict(known)
    mean, std = config.get("mean", timm.data.IMAGENET_DEFAULT_MEAN), config.get("std", timm.data.IMAGENET_DEFAULT_STD)
    return Defaults(int(config.get("input_size", (3, 224, 224))[-1]), tuple(mean), tuple(std))


def ends_in_convolution(arch: str) -> bool:
    """Whether the classifier of a timm architecture is a convolution of what was pooled.

    Example:
        >>> ends_in_convolution("timm:resnetv2_18"), ends_in_convolution("timm:resnet18")
        (True, False)
    """
    return isinstance(_whole(arch).get_classifier(), nn.Conv2d)


def whole_keys(arch: str) -> frozenset[str]:
    """Keys of a timm architecture with its own classifier.

    Example:
        >>> "head_dist.linear.weight" in whole_keys("timm:levit_128s")
        True
    """
    return frozenset(_whole(arch).state_dict())


def _whole(arch: str) -> Any:
    import timm

    with torch.device("meta"):
        return timm.create_model(arch.removeprefix("timm:"))


def check_timm_name(name: str) -> None:
    """Refuse a name that timm does not know; a hub name only has its form checked.

    Raises:
        ValueError: names the nearest valid one.
    """
    import timm

    if name.startswith(HUB):
        if "/" not in name.strip("/"):
            raise ValueError(f"arch 'timm:{name}' names no model; a hub name is timm:hf_hub:OWNER/NAME")
        return
    known = timm.list_models()
    architecture = name.partition(".")[0]
    if architecture in known and "." in name:
        known = list(timm.models.get_arch_pretrained_cfgs(architecture)) or [architecture]
    if name not in known:
        nearest = get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise ValueError(f"arch 'timm:{name}' is unknown to timm; the nearest is 'timm:{nearest}'")


def is_timm_name(name: str) -> bool:
    """Whether timm has an architecture of this name, with or without a `.tag` for its weights."""
    import timm

    return bool(timm.is_model(name))


def build_timm(name: str, *, in_channels: int, image_size: int, pretrained: bool, stem: str | None = None) -> Encoder:
    """Build timm's model `name` without its classifier, with its own stem or one for small images.

    With the low-resolution stem ResNets get a 3x3 stride-1 `conv1` (pretrained weights: the centre 3x3 of their kernel;
    a deep stem only loses its stride) and no max-pool; nets with a `conv_stem` (EfficientNet, MobileNet) lose its
    stride; transformers get patches of 4 px (pretrained weights: timm resamples them). For others none is known. What
    was done is logged.

    Args:
        stem: "native", "low", or None for low at 32 px or less, where one is known.

    Returns:
        The encoder. Its `arch` is the name given, except that a hub model of a plain architecture goes by that
        architecture's name, so that its saved weights can be rebuilt without the hub. Its `stem` is what it has.

    Raises:
        ValueError: timm cannot build it, cannot get its weights, it cannot take images of this size, or it has no
            such stem.
    """
    wanted = stem or ("low" if image_size <= LOW_RESOLUTION else "native")
    try:
        with hub.patient() if pretrained or name.startswith(HUB) else contextlib.nullcontext():
            net, did = _create(name, in_channels, image_size, pretrained, wanted)
            arch = _offline_name(name)
        net_class = type(net).__name__
        image = torch.rand(1, in_channels, image_size, image_size, generator=torch.Generator().manual_seed(0))
        head, logits = (_linear(net.get_classifier()), _output(net, image)) if pretrained else (None, image)
        net.reset_classifier(0)
        features = _output(net, image)
        if features.ndim != 2:
            raise ValueError(f"its features have shape {tuple(features.shape)}, not (B, F)")
        classifier = head if head is not None and _gives(head, features, logits) else None
    except Exception as error:  # timm and the hub raise errors of any kind: they become one line for the user
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"arch 'timm:{name}' does not work for {image_size} px images: {reason}") from error
    if stem == "low" and not did:
        raise ValueError(f"stem 'low': none for small images is known for 'timm:{name}'; native is right")
    if wanted == "low":
        logger.info(
            "timm:%s at %d px: %s", name, image_size, did or f"{net_class} left as it is, no low-resolution stem known"
        )
    return Encoder(net, features.shape[1], arch, classifier, "low" if did else "native")


def create(name: str, in_channels: int, image_size: int, *, stem: str) -> tuple[Any, str]:
    """A fresh network without its classifier, and the stem that it has got: native where no low one is known."""
    net, did = _create(name, in_channels, image_size, False, stem)
    return net, "low" if did else "native"


def _create(name: str, in_channels: int, image_size: int, pretrained: bool, stem: str) -> tuple[Any, str]:
    import timm

    low = stem == "low"
    sizes: list[dict[str, Any]] = [{"img_size": image_size}, {}]
    if low:
        sizes.insert(0, {"img_size": image_size, "patch_size": 4})
    # A net without patches refuses `patch_size` by TypeError, one without a fixed size `img_size` too.
    classes: dict[str, Any] = {} if pretrained else {"num_classes": 0}
    for size in sizes:
        try:
            net = timm.create_model(name, pretrained=pretrained, in_chans=in_channels, **classes, **size)
        except (TypeError, RuntimeError, AssertionError) as error:
            failure = error
            continue
        if not low:
            return net, ""
        return net, "patches of 4 px" if "patch_size" in size else _low_resolution_stem(net, keep=pretrained)
    if not (pretrained and low and name.startswith(HUB) and isinstance(failure, RuntimeError)):
        raise failure
    # Hub weights trained on small images fit the low-resolution stem, and not the architecture as timm has it.
    net = timm.create_model(name, in_chans=in_channels)
    did = _low_resolution_stem(net, keep=False)
    net.load_state_dict(timm.models.load_state_dict_from_hf(name[len(HUB[0]) :], weights_only=True))
    return net, f"{did}, as in the hub's weights"


def _low_resolution_stem(net: Any, *, keep: bool) -> str:
    """Change the stem of `net` and say how; "" where none is known. `keep`: its weights are worth keeping."""
    if hasattr(net, "conv_stem"):
        net.conv_stem.stride = (1, 1)
        return "conv_stem at stride 1"
    if not all(hasattr(net, part) for part in ("conv1", "maxpool", "layer1")):
        return ""
    net.maxpool = nn.Identity()
    old: Any = net.conv1
    if isinstance(old, nn.Sequential):
        old[0].stride = (1, 1)  # type: ignore[assignment]
        return "deep conv1 at stride 1, no max-pool"
    net.conv1 = nn.Conv2d(old.in_channels, old.out_channels, 3, padding=1, bias=old.bias is not None)
    if not keep:
        return "3x3 stride-1 conv1, no max-pool"
    edge = (old.kernel_size[0] - 3) // 2
    state = old.state_dict()
    state["weight"] = state["weight"][:, :, edge : edge + 3, edge : edge + 3]
    net.conv1.load_state_dict(state)
    return "3x3 stride-1 conv1 (the centre of its pretrained kernel), no max-pool"


def _output(net: nn.Module, image: Tensor) -> Tensor:
    training = net.training
    net.eval()  # batch norm neither uses nor changes its statistics
    with torch.no_grad():
        output: Tensor = net(image)
    net.train(training)
    return output


def _linear(head: Any) -> nn.Linear | None:
    """A classifier, or the last layer of a whole head, as a linear layer; None if it is something else."""
    last = getattr(head, "fc", getattr(head, "linear", head))
    if isinstance(last, nn.Conv2d) and last.kernel_size == (1, 1):  # of what was pooled
        linear = nn.Linear(last.in_channels, last.out_channels, bias=last.bias is not None)
        state = {key: tensor.flatten(1) if key == "weight" else tensor for key, tensor in last.state_dict().items()}
        linear.load_state_dict(state)
        return linear
    return last if isinstance(last, nn.Linear) else None


def _gives(head: nn.Linear, features: Tensor, logits: Tensor) -> bool:
    """Whether this layer of a network's features gives its own logits: some have a norm between, or a second head."""
    if features.shape[1] != head.in_features or logits.shape != (1, head.out_features):
        return False
    with torch.no_grad():
        return bool((head(features) - logits).abs().max() <= 1e-3 * logits.abs().max())


def _offline_name(name: str) -> str:
    if not name.startswith(HUB):
        return f"timm:{name}"
    import timm

    _, architecture, arguments = timm.models.load_model_config_from_hf(name[len(HUB[0]) :])
    return f"timm:{name}" if arguments else f"timm:{architecture}"
