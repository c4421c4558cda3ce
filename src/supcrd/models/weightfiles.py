"""Files of weights that others may have written: read without ever running what is in them."""

import pickle
import pickletools
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supcrd.errors import CheckpointError

METADATA_KEY = "supcrd"
"""The key of the card in the metadata of a safetensors file, and of what is known of a bare state dict in torch's."""

NESTS = ("state_dict", "model_state_dict", "student_state_dict", "model", "student", "teacher", "net", "network")
"""Under which keys a published checkpoint may keep its state dict."""


def read_safetensors(path: Path, *, weights: bool = True) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata of a safetensors file, and its tensors where they are asked for.

    Raises:
        CheckpointError: it cannot be read, or is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()} if weights else {}  # noqa: SIM118 (it is no dict)
    except (SafetensorError, OSError, UnicodeError) as error:
        raise CheckpointError(f"damaged, truncated or no safetensors file ({error})") from error
    return metadata, state


def torch_load(path: Path) -> Any:
    """What `torch.save` wrote, on the CPU.

    Raises:
        CheckpointError: it cannot be read, is damaged, or holds code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of foreign pickles before it refuses them
            return torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise CheckpointError(f"cannot be read: {error.strerror}") from error
    except Exception as error:  # damaged bytes make torch raise errors of any kind
        code = _code_in(path, error)
        if code:
            raise CheckpointError(f"it holds code ({code}), refused; save the bare state_dict instead") from error
        raise CheckpointError("empty, truncated or no PyTorch checkpoint") from error


def _code_in(path: Path, error: Exception) -> str:
    """What a file that torch refused would have called, as far as can be seen without running it; "" if nothing."""
    named = re.search(r"GLOBAL (\S+)|(TorchScript)|unrecognized function (.+)", str(error))
    if named:
        return next(name for name in named.groups() if name)
    if not isinstance(error, pickle.UnpicklingError):
        return ""
    try:
        with path.open("rb") as file:
            for operation, _, _ in pickletools.genops(file):
                if operation.name in ("GLOBAL", "STACK_GLOBAL", "INST", "REDUCE", "OBJ", "NEWOBJ"):
                    return "a plain pickle"
    except Exception:  # no pickle at all
        return ""
    return ""


def state_dict(value: Any) -> dict[str, Tensor]:
    """The state dict that a checkpoint is, or has under a usual key, with torch's `_metadata` where it has that.

    Raises:
        CheckpointError: there is none, or something in it is no tensor of weights.
    """
    for _ in range(3):  # a pickle may nest without end
        nested = [value[key] for key in NESTS if isinstance(value, dict) and isinstance(value.get(key), dict)]
        value = nested[0] if nested else value
    if not isinstance(value, dict) or not value:
        raise CheckpointError(f"no state dict, but {'nothing' if value == {} else type(value).__name__}")
    for key, tensor in value.items():
        if not isinstance(key, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(f"its state dict has {type(tensor).__name__} in place of a tensor at {key!r}")
        # Views of less memory than they show, sparse and quantised tensors are no weights anyone saved.
        dense = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not dense or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CheckpointError(f"{key} is no dense tensor")
    return value
