"""Which of the state dicts in a checkpoint is read: the one asked for, or the usual one, and what others there are."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from supcrd.base.wording import choices
from supcrd.errors import CheckpointError
from supcrd.models.standins import Nothing

NESTS = (
    *("state_dict", "model_state_dict", "model_state", "student_state_dict"),
    *("model", "student", "teacher", "net", "network"),
)
"""Under which keys a checkpoint may keep its state dict; of several the first is read."""

AVERAGES = ("state_dict_ema", "model_ema", "ema_state_dict", "model_ema_state_dict", "ema_model", "ema")
"""The same of a moving average of the weights, which is read where it is asked for."""

EMA = "ema"
"""What asks for the moving average, whatever its key."""

PARTS = (
    *("student", "teacher", "model", "net", "network", *AVERAGES, "online", "target", "encoder_q", "encoder_k"),
    *(
        "online_network",
        "target_network",
        "online_encoder",
        "target_encoder",
        "momentum_encoder",
        "backbone",
        "encoder",
    ),
)
"""What the networks of a state dict are called that holds several."""

WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every key."""

DEEPEST = 3  # nests in one another: a pickle may nest without end


class Chosen(NamedTuple):
    """A state dict of a file."""

    state: dict[str, Tensor]
    """with torch's `_metadata` where it has that"""
    name: str
    """its key; "" of a bare state dict"""
    others: tuple[str, ...]
    """keys of the other ones"""


def choose(value: Any, asked: str | None = None) -> Chosen:
    """The state dict that a checkpoint is, or has under a key.

    Args:
        value: what was read of the file.
        asked: a key of the file, the first part of the keys of one of several networks (student, teacher), or `EMA`;
            None for the usual one.

    Raises:
        CheckpointError: there is none, or not the one asked for; something in it is no tensor of weights; it holds
            several networks, and which one is not said.

    Example:
        >>> weights = {"fc.weight": torch.zeros(2, 3)}
        >>> choose({"epoch": 3, "model": weights, "model_ema": weights})[1:]
        ('model', ('model_ema',))
        >>> choose({"epoch": 3, "model": weights, "model_ema": weights}, "ema").name
        'model_ema'
    """
    there = _nested(value, asked)
    if asked is None:
        name = next((key for key in there if key in NESTS), "")
        if there and not name:
            raise CheckpointError(f"it has no other weights than a moving average ({there[0]}); {_ask(EMA)}")
    else:
        name = next((key for key in _meant(asked) if key in there), "")
        if not name:
            return _part(value, asked, there)
    state = _checked(_innermost(value[name] if name else value))
    parts = networks(state)
    if len(parts) > 1:
        raise CheckpointError(f"it holds the weights of {len(parts)} networks ({', '.join(parts)}); {_ask('NAME')}")
    return Chosen(state, name, tuple(key for key in there if key != name))


def networks(state: dict[str, Tensor]) -> list[str]:
    """The networks that the keys of a state dict begin with, where it holds several; only these count that have a
    convolution or patches.

    Example:
        >>> kernel = torch.zeros(8, 3, 3, 3)
        >>> networks({"module.student.conv1.weight": kernel, "module.teacher.conv1.weight": kernel})
        ['student', 'teacher']
    """
    parts: dict[str, None] = {}
    for key, tensor in state.items():
        first = unwrapped(key).partition(".")[0]
        if first in PARTS and tensor.ndim == 4:
            parts[first] = None
    return list(parts)


def unwrapped(key: str) -> str:
    """A key without what DataParallel and torch.compile put before it.

    Example:
        >>> unwrapped("_orig_mod.module.conv1.weight")
        'conv1.weight'
    """
    while key.startswith(WRAPPERS):
        key = key.partition(".")[2]
    return key


def _nested(value: Any, asked: str | None) -> list[str]:
    """Keys under which a state dict may lie, the usual one first."""
    if not isinstance(value, dict):
        return []
    names = dict.fromkeys((*NESTS, *AVERAGES, *(() if asked is None else (asked,))))
    return [key for key in names if _holds_weights(value.get(key))]


def _all_nested(value: Any) -> list[str]:
    """Keys under which there are weights, unusual ones too."""
    keys = value if isinstance(value, dict) else ()
    return [key for key in keys if isinstance(key, str) and _holds_weights(value[key])]


def _holds_weights(value: Any, depth: int = 0) -> bool:
    """Whether it is a dict with tensors, or has one under a usual key: `model` may be a table of settings."""
    if not isinstance(value, dict) or depth == DEEPEST:
        return False
    if any(isinstance(tensor, Tensor) for tensor in value.values()):
        return True
    return any(_holds_weights(value.get(key), depth + 1) for key in NESTS)


def _innermost(value: Any) -> Any:
    """What lies under the usual keys."""
    for _ in range(DEEPEST):
        usual = [key for key in _nested(value, None) if key in NESTS]
        value = value[usual[0]] if usual else value
    return value


def _part(value: Any, asked: str, there: list[str]) -> Chosen:
    """The weights of one of the networks of a state dict."""
    there = list(dict.fromkeys((*there, *_all_nested(value))))
    inner = _innermost(value)
    state = {} if inner is value and there else _checked(inner)  # what lies under unusual keys alone has no parts
    parts = networks(state)
    name = next((part for part in parts if part in _meant(asked)), None)
    if name is None:
        known = list(dict.fromkeys((*there, *parts)))
        what = "moving average of the weights" if asked == EMA else f"state dict {asked!r}"
        has = choices(asked, known).removeprefix("; ") if known else "it is one bare state dict"
        raise CheckpointError(f"it has no {what}; {has}")
    own = {unwrapped(key): tensor for key, tensor in state.items()}
    picked = {key.partition(".")[2]: tensor for key, tensor in own.items() if key.startswith(f"{name}.")}
    return Chosen(picked, name, tuple(part for part in parts if part != name))


def _meant(asked: str) -> tuple[str, ...]:
    """The keys that are meant by what was asked for."""
    return AVERAGES if asked == EMA else (asked,)


def _ask(name: str) -> str:
    return f"--state-dict {name} (teacher.state_dict) reads it"


def _checked(value: Any) -> dict[str, Tensor]:
    """A state dict, of tensors alone."""
    if not isinstance(value, dict) or not value:
        raise CheckpointError(f"no state dict, but {'nothing' if value == {} else type(value).__name__}")
    if all(isinstance(part, Nothing) for part in value.values()):
        raise CheckpointError(f"no state dict, but {', '.join(map(str, value))[:80]}")
    for key, tensor in value.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            if _holds_weights(tensor):
                raise CheckpointError(f"it has weights under {key!r}, which is no usual name; {_ask(str(key))}")
            kind = "an object" if isinstance(tensor, Nothing) else type(tensor).__name__
            raise CheckpointError(f"its state dict has {kind} in place of a tensor at {key!r}")
        # Views of less memory than they show, sparse and quantised tensors are no weights anyone saved.
        dense = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not dense or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CheckpointError(f"{key} is no dense tensor")
    return value
