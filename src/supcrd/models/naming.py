"""Names of weights as others have them: what stands before them, how a block is called, and where the classifier is."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from supcrd.models.candidates import unwrapped
from supcrd.models.torchvision_names import of_torchvision

State = dict[str, Tensor]

PREFIXES = ("model.", "net.", "network.", "encoder.", "backbone.")
"""What stands before the keys of a network that is a part of another module."""

LOSSES = ("criterion", "loss", "loss_fn", "loss_function")
"""Modules beside the network whose weights are left out: those of a loss."""

ROOTS = ("final_classifier", "classifier", "fc", "head", "linear", "output", "last_linear")
"""What the module is called that ends in the classifier."""

HEADS = (*ROOTS[:3], "head.fc", *ROOTS[3:], "head.fc2", "head.classifier.4", "head.classifier.linear", "classif")
"""What the last linear layer is called where it is no part of a sequence of layers, the likeliest first; the last four
are timm's, of a few families."""

PROJECTORS = ("projector", "projection")
"""What the projection head is called: linear layers and ReLUs in turn."""


class Named(NamedTuple):
    """A state dict under the names of `Model`."""

    state: State
    plain: bool
    """whether the network stood alone, and not as the `encoder` of a module like `Model`"""
    classifier: bool
    """whether it has a classifier"""
    archs: tuple[str, ...] = ()
    """those that it may be, where its names say so"""


class HeadError(ValueError):
    """A state dict has no classifier, or one that is no linear layer."""


def readings(state: State) -> Iterator[State]:
    """The ways in which the keys of a file can be meant, the likeliest first.

    What DataParallel and torch.compile add is taken off always; one of `PREFIXES` after the other is, as long as the
    network has it and only heads stand beside. A module like `Model` comes before its parts, else the barest comes
    first.

    Example:
        >>> state = {"model.backbone.module.conv1.weight": Tensor(), "model.fc.weight": Tensor()}
        >>> [list(reading) for reading in readings(state)][0]
        ['conv1.weight', 'fc.weight']
    """
    levels = [{unwrapped(key): tensor for key, tensor in state.items() if unwrapped(key).split(".")[0] not in LOSSES}]
    while (less := _without_prefix(levels[-1])) is not None:
        levels.append(less)
    ours = [level for level in levels if is_ours(level)]
    yield from ours
    yield from (level for level in reversed(levels) if not any(level is other for other in ours))


def _without_prefix(state: State) -> State | None:
    """Without the prefix that the network has; None where it has none."""
    for prefix in PREFIXES:
        trunk = [key for key in state if key.startswith(prefix)]
        beside = [key for key in state if not key.startswith(prefix)]
        if trunk and all(key.partition(".")[0] in (*ROOTS, *PROJECTORS) for key in beside):
            less = {unwrapped(key.removeprefix(prefix)): tensor for key, tensor in state.items()}
            if prefix == "encoder.":
                less = _with_projector(less, beside)
            return less if len(less) == len(state) else None
    return None


def _with_projector(state: State, beside: list[str]) -> State:
    """The layers of `head` as those of a projector: beside an encoder that is what SupContrast calls it."""
    layers = [key for key in beside if re.fullmatch(r"head\.\d+\.(weight|bias)", key)]
    if len({key.split(".")[1] for key in layers}) < 2 or len(layers) < len(beside):
        return state
    return {key.replace("head.", "projector.", 1) if key in layers else key: t for key, t in state.items()}


def is_ours(state: State) -> bool:
    """Whether a state dict has the names of `Model`: an encoder, and a projector or a classifier beside it."""
    firsts = {key.partition(".")[0] for key in state}
    return "encoder" in firsts and bool(firsts & {"projector", "classifier"})


def named(state: State, *, headless: bool) -> Named:
    """A state dict under the names of `Model`.

    Args:
        state: one of its `readings`.
        headless: whether an encoder without a classifier is wanted.

    Raises:
        HeadError: it has no classifier, and `headless` is False; its classifier has more layers than one.
    """
    if is_ours(state):
        if "classifier.weight" in state:
            return Named(state, plain=False, classifier=True)
        if headless and not any(key.startswith("classifier.") for key in state):
            return Named(state, plain=False, classifier=False)
        raise HeadError(_more_layers(state, "classifier") or f"it has no classifier.weight{keys_of(state)}")
    state, archs = of_torchvision(_blocks_renamed(state))
    head = classifier_of(state)
    if head is None:
        if not headless:
            raise HeadError(
                "it has no classifier under any of the usual names (fc, linear, ...); evaluate and teacher.checkpoint "
                f"fit one to an encoder{keys_of(state)}"
            )
        root = next((root for root in ROOTS if _more_layers(state, root)), None)
        if root is not None:
            raise HeadError(_more_layers(state, root))
    result: State = {}
    for key, tensor in state.items():
        first, _, rest = key.partition(".")
        if head is not None and key.startswith(f"{head}."):
            result[key.replace(head, "classifier", 1)] = tensor
        elif first in PROJECTORS:
            result[f"projector.{rest}"] = tensor
        else:
            result[f"encoder.{key}"] = tensor
    if head is not None and "classifier.bias" not in result:
        weight = result["classifier.weight"]
        result["classifier.bias"] = weight.new_zeros(weight.shape[:1])  # a linear layer without one
    return Named(result, plain=True, classifier=head is not None, archs=archs)


def classifier_of(state: State) -> str | None:
    """The name of the last linear layer, alone or as the only layer with weights of a sequence such as `fc`.

    Raises:
        HeadError: the sequence has several layers with weights.

    Example:
        >>> classifier_of({"conv1.weight": Tensor(), "classifier.1.weight": Tensor(), "classifier.1.bias": Tensor()})
        'classifier.1'
    """
    head = next((head for head in HEADS if f"{head}.weight" in state), None)
    if head is not None:
        return head
    for root in ROOTS:
        layers = _layers(state, root)
        if layers and (several := _more_layers(state, root)):
            raise HeadError(several)
        if layers:
            return layers[0]
    return None


def _layers(state: State, root: str) -> list[str]:
    """The layers with weights of a sequence."""
    return [key.removesuffix(".weight") for key in state if re.fullmatch(rf"{root}\.\d+\.weight", key)]


def _more_layers(state: State, root: str) -> str:
    """What to say of a head that has several layers; "" of another one."""
    layers = _layers(state, root)
    if len(layers) < 2:
        return ""
    return (
        f"its head has {len(layers)} layers with weights ({', '.join(layers)[:60]}); one linear layer is right: keep "
        "the last as classifier and the others in a network of your own (--plugin, docs/objectives.md)"
    )


def _blocks_renamed(state: State) -> State:
    """Under torchvision's names of a ResNet's blocks."""
    if any(".residual_function." in key for key in state):
        state = {_of_residual_function(key): tensor for key, tensor in state.items()}
    return {re.sub(r"^(layer\d+\.\d+\.)shortcut\.", r"\1downsample.", key): tensor for key, tensor in state.items()}


def _of_residual_function(key: str) -> str:
    """`conv2_x.0.residual_function.0.weight` is `layer1.0.conv1.weight`: a sequence of convolution, norm and ReLU.

    Example:
        >>> _of_residual_function("conv3_x.1.residual_function.4.bias"), _of_residual_function("conv1.1.weight")
        ('layer2.1.bn2.bias', 'bn1.weight')
    """
    key = re.sub(r"^conv1\.([01])\.", lambda place: ("conv1.", "bn1.")[int(place[1])], key)
    key = re.sub(r"^conv([2-5])_x\.", lambda place: f"layer{int(place[1]) - 1}.", key)

    def layer(place: re.Match[str]) -> str:
        number, kind = divmod(int(place[1]), 3)
        return f".{('conv', 'bn', 'relu')[kind]}{number + 1}."

    return re.sub(r"\.residual_function\.(\d+)\.", layer, key)


def counted_keys(keys: Sequence[str], what: str = "", most: int = 2) -> str:
    """How many keys, and the first of them.

    Example:
        >>> counted_keys(["a", "b"], "missing"), counted_keys(list("abcdefg"))
        ('2 keys missing (a, b)', '7 keys (a, b and 5 more)')
    """
    shown = keys[:most]
    more = f" and {len(keys) - len(shown)} more" if len(keys) > len(shown) else ""
    return f"{len(keys)} key{'s' * (len(keys) != 1)}{what and f' {what}'} ({', '.join(shown)}{more})"


def keys_of(state: State) -> str:
    """ "; it has ..." of the keys of a state dict: how many, and the first.

    Example:
        >>> keys_of({"a": Tensor(), "b": Tensor()})
        '; it has 2 keys (a and 1 more)'
    """
    return f"; it has {counted_keys(list(state), most=1)}" if state else "; it has no keys"
