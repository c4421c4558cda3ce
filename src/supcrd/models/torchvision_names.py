"""torchvision's MobileNets under timm's names: the same networks, so that each weight has one place."""

import re
from collections.abc import Iterator

from torch import Tensor

State = dict[str, Tensor]

V2, V3 = "conv", "block"
"""What the sequence of a block's layers is called in MobileNetV2 and V3."""

ARCHS = {
    V2: tuple(f"timm:mobilenetv2_{width}" for width in ("100", "140", "050", "035", "075", "110d", "120d")),
    V3: tuple(f"timm:mobilenetv3_{size}_{width}" for size in ("large", "small") for width in ("100", "075", "050")),
}
"""timm's networks that they may be; those called `tf_` pad in another way."""

EPSILON, TIMMS = 1e-3, 1e-5
"""Of the batch norms of MobileNetV3, torchvision's and timm's."""


def of_torchvision(state: State) -> tuple[State, tuple[str, ...]]:
    """A state dict of torchvision's MobileNetV2 or V3 as timm has it, and the architectures that it may fit.

    Two things are not a matter of names. V3's batch norms have another epsilon; since a norm divides by
    sqrt(variance + epsilon), the difference is added to the variances, and the outputs are the same. The first layer of
    its head is a convolution of one place in timm's.

    Args:
        state: keys as torchvision has them; others are given back as they are, with no architectures.

    Example:
        >>> of_torchvision({"conv1.weight": Tensor()})
        ({'conv1.weight': tensor([])}, ())
    """
    kind = next((kind for kind in (V2, V3) if f"features.1.{kind}.0.0.weight" in state), None)
    if kind is None or "features.0.0.weight" not in state:
        return state, ()
    last = max(int(key.split(".")[1]) for key in state if re.match(r"features\.\d{1,2}\.", key))
    names = {"features.0.0": "conv_stem", "features.0.1": "bn1"}
    if kind == V2:
        names |= {f"features.{last}.0": "conv_head", f"features.{last}.1": "bn2", "classifier.1": "classifier"}
    else:
        names |= {"classifier.0": "conv_head", "classifier.3": "classifier"}
    stage, place, width = 0, 0, 0
    for number in range(1, last + (kind == V3)):
        layers = dict(_layers(state, f"features.{number}", kind, alone=number == last))
        out = _width(state, layers)
        if number > 1:  # blocks of one width are one stage; the last convolution of V3 is one of its own
            stage, place = (stage, place + 1) if out == width and number != last else (stage + 1, 0)
        width = out
        names |= {theirs: f"blocks.{stage}.{place}.{timms}" for theirs, timms in layers.items()}
    result: State = {}
    for key, tensor in state.items():
        module, _, parameter = key.rpartition(".")
        if module not in names:
            return state, ()
        result[f"{names[module]}.{parameter}"] = _value(tensor, names[module], parameter, kind)
    return result, ARCHS[kind]


def _value(tensor: Tensor, module: str, parameter: str, kind: str) -> Tensor:
    if kind == V3 and parameter == "running_var":
        return tensor + (EPSILON - TIMMS)
    if kind == V3 and module == "conv_head" and parameter == "weight" and tensor.ndim == 2:
        return tensor[:, :, None, None]
    return tensor


def _layers(state: State, block: str, kind: str, *, alone: bool) -> Iterator[tuple[str, str]]:
    """The layers of a block: torchvision's name and timm's."""
    if alone:
        yield from ((f"{block}.0", "conv"), (f"{block}.1", "bn1"))
        return
    inside = f"{block}.{kind}"
    convolutions = sorted({key.rsplit(".", 1)[0] for key in state if _is_convolution(key, state, inside)})
    called = ("conv_pw", "conv_dw", "conv_pwl") if len(convolutions) == 3 else ("conv_dw", "conv_pw")
    for number, (theirs, timms) in enumerate(zip(convolutions, called, strict=False), 1):
        yield theirs, timms
        yield _norm_behind(theirs), f"bn{number}"
    for squeeze in sorted({key.split(".fc1.")[0] for key in state if key.startswith(inside) and ".fc1." in key}):
        yield from ((f"{squeeze}.fc1", "se.conv_reduce"), (f"{squeeze}.fc2", "se.conv_expand"))


def _is_convolution(key: str, state: State, inside: str) -> bool:
    return re.fullmatch(rf"{re.escape(inside)}(\.\d){{1,2}}\.weight", key) is not None and state[key].ndim == 4


def _norm_behind(convolution: str) -> str:
    """`...conv.0.0` is followed by `...conv.0.1`, and `...conv.2`, which stands alone, by `...conv.3`."""
    before, _, number = convolution.rpartition(".")
    return f"{before}.{int(number) + 1}"


def _width(state: State, layers: dict[str, str]) -> int:
    """Channels that a block gives: those of its last convolution."""
    for timms in ("conv_pwl", "conv_pw", "conv"):
        theirs = next((key for key, name in layers.items() if name == timms), None)
        if theirs is not None and f"{theirs}.weight" in state:
            return sum(state[f"{theirs}.weight"].shape[:1])  # a scalar has none
    return 0
