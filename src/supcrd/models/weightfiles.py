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
from supcrd.models.standins import stand_ins

METADATA_KEY = "supcrd"
"""The key of the card in the metadata of a safetensors file, and of what is known of a bare state dict in torch's."""


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


def torch_load(path: Path, *, foreign: bool = False) -> Any:
    """What `torch.save` wrote, on the CPU.

    Args:
        path: of the file.
        foreign: read a file that has more than tensors and plain containers, as other code writes it: what
            `supcrd.models.standins` lists is left out.

    Raises:
        CheckpointError: it cannot be read, is damaged, or holds code.
    """
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(stand_ins() if foreign else []):
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
    words: list[str] = []
    try:
        with path.open("rb") as file:
            for operation, argument, _ in pickletools.genops(file):
                if isinstance(argument, str):
                    words.append(argument)
                if operation.name in ("GLOBAL", "INST"):  # the argument is module and name
                    return words[-1].replace(" ", ".")
                if operation.name == "STACK_GLOBAL":
                    return ".".join(words[-2:])
                if operation.name in ("REDUCE", "OBJ", "NEWOBJ"):
                    return "a plain pickle"
    except Exception:  # no pickle at all
        return ""
    return ""
