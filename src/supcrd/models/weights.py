"""Weights in and out: supcrd's own files, published checkpoints, and the state of an unfinished training."""

import json
import pickle
import pickletools
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supcrd.base.files import replacing, write_json
from supcrd.errors import CheckpointError
from supcrd.models import Model
from supcrd.models.card import Card
from supcrd.models.names import ARCHS, NETWORKS
from supcrd.models.published import projector_widths, read_layout

__all__ = ["Card", "load_model", "load_state", "save_model", "save_state"]

WEIGHTS, CARD = "model.safetensors", "model.json"
METADATA_KEY = "supcrd"
"""The key of the card in the metadata of a safetensors file."""

NESTS = ("state_dict", "model_state_dict", "student_state_dict", "model", "student", "teacher", "net", "network")
"""Under which keys a published checkpoint may keep its state dict."""


def save_model(folder: Path, model: Model, card: Card) -> Path:
    """Write `model.safetensors`, with the card in its metadata, and `model.json`, the card to be read by people.

    The architecture written is the model's own (`model.config()`), whatever the card says of it.

    Args:
        folder: there already; older files of these names are replaced, each at once.
        model: on any device, in any mode.
        card: see `Card`.

    Returns:
        The path of the weights, which need nothing else to be loaded.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    own: dict[str, Any] = model.config()
    described = replace(card, **{**own, "projector": tuple(own["projector"])}).to_json()
    # Copies: safetensors wants contiguous tensors that share no memory.
    state = {key: tensor.detach().to("cpu", copy=True).contiguous() for key, tensor in model.state_dict().items()}
    path = folder / WEIGHTS
    try:
        write_json(folder / CARD, described)
        with replacing(path) as temporary:
            save_file(state, temporary, metadata={METADATA_KEY: json.dumps(described, allow_nan=False)})
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be written: {error}") from error
    return path


def load_model(
    path: str | Path,
    *,
    arch: str | None = None,
    num_classes: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    image_size: int | None = None,
) -> tuple[Model, Card]:
    """Load a model, in eval mode on the CPU. No code in a file is ever run.

    Args:
        path: a run folder, a safetensors file of supcrd's, or a published PyTorch checkpoint (any other suffix): a
            state dict, alone or under a usual key, in one of the layouts of `read_layout`.
        arch: for a published checkpoint whose keys do not tell; otherwise it is checked.
        num_classes: C, to be checked.
        mean: per channel, for images scaled to 0..1; takes the place of the card's. Published files have none.
        std: like `mean`; > 0.
        image_size: H = W in pixels, for a published checkpoint (see `read_layout`); otherwise it is checked.

    Returns:
        The model and its card. A published checkpoint without a projection head gets a fresh one, always the same;
        its card says `projection_trained=False`.

    Raises:
        CheckpointError: nothing there, damaged, holding code, of another architecture, or with weights that are not
            finite.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / WEIGHTS).is_file():
            raise CheckpointError(f"{path} has no {WEIGHTS}: no finished run")
        path = path / WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    try:
        if path.suffix == ".safetensors":
            card, state = _read_safetensors(path)
            for name, wanted in (("arch", arch), ("num_classes", num_classes), ("image_size", image_size)):
                if wanted not in (None, getattr(card, name)):
                    raise CheckpointError(f"{name} is {wanted!r}, but the file's is {getattr(card, name)!r}")
        else:
            layout = read_layout(
                _state_dict(_torch_load(path)), arch=arch, num_classes=num_classes, image_size=image_size
            )
            state = layout.state
            card = Card.from_json(
                {
                    **Card(arch="", num_classes=2).to_json(),
                    **layout.config,
                    "projection_trained": layout.projection_trained,
                }
            )
        card = replace(
            card, mean=card.mean if mean is None else tuple(mean), std=card.std if std is None else tuple(std)
        )
        return _build(card, state), card
    except (CheckpointError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write everything that a training needs to go on: tensors, numbers, strings and plain containers of them.

    Raises:
        CheckpointError: `path` cannot be written; what stood there before stays.
    """
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:
        reason = error.__context__ if isinstance(error.__context__, OSError) else error  # torch hides a full disk
        raise CheckpointError(f"{path} cannot be written: {reason}") from error


def load_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote, onto the CPU.

    Raises:
        CheckpointError: missing, truncated, or no such file.
    """
    try:
        state = _torch_load(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: {type(state).__name__} in place of a training's state")
    return state


def _build(card: Card, state: dict[str, Tensor]) -> Model:
    """The model of `card` with the weights `state`; the random generator is left as it was."""
    for key, tensor in state.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise CheckpointError(f"{key} has values that are not finite")
    # The sizes are compared first, so that a wrong card cannot have a giant built.
    headless = not card.projection_trained and not any(key.startswith("projector.") for key in state)
    widths = list(card.projector) if headless else projector_widths(state)
    if "classifier.weight" in state and state["classifier.weight"].shape[:1] != (card.num_classes,):
        raise CheckpointError(f"its card says {card.num_classes} classes, its classifier does not")
    if widths != list(card.projector):
        raise CheckpointError(f"its card says projector {list(card.projector)}, its weights say {widths}")
    _check_plugin(card)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # a projection head that the weights lack is always the same
        model = Model(
            card.num_classes,
            card.arch,
            in_channels=card.in_channels,
            image_size=card.image_size,
            projector=card.projector,
        )
    skipped = ("projector.",) if headless else ()
    expected = {key: tensor for key, tensor in model.state_dict().items() if not key.startswith(skipped)}
    _compare(card.arch, expected, state)
    model.load_state_dict({key: tensor for key, tensor in state.items() if key in expected}, strict=False)
    return model.eval()


def _check_plugin(card: Card) -> None:
    """Say which plug-in a network needs: the weights of a stranger must not name code that then runs."""
    if card.arch.startswith("timm:") or card.arch in ARCHS or NETWORKS.find(card.arch) is not None:
        return
    named = [Path(name).name for name in (card.recipe or {}).get("plugins", ())]
    which = f" ({', '.join(named)} when it was trained)" if named else ""
    raise CheckpointError(
        f"its arch {card.arch!r} is none of supcrd's; the plug-in that brings it{which} has to be given: --plugin FILE"
    )


def _compare(arch: str, expected: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    """Refuse weights that do not fit; batch norm's step counters are not asked for, since nothing reads them."""
    counter = "num_batches_tracked"
    differing = [
        f"{key} {tuple(state[key].shape)} in place of {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    problems = {
        "missing": [key for key in expected if key not in state and not key.endswith(counter)],
        "unexpected": [key for key in state if key not in expected and not key.endswith(counter)],
        "of another shape": differing,
    }
    told = [
        f"{len(keys)} keys {what} ({', '.join(keys[:3])}{', ...' * (len(keys) > 3)})"
        for what, keys in problems.items()
        if keys
    ]
    if told:
        raise CheckpointError(f"its weights do not fit arch {arch!r}: {'; '.join(told)}")


def _read_safetensors(path: Path) -> tuple[Card, dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
    except (SafetensorError, OSError, UnicodeError) as error:
        raise CheckpointError(f"damaged, truncated or no safetensors file ({error})") from error
    if METADATA_KEY not in metadata:
        raise CheckpointError("it has no supcrd card in its metadata, so its architecture is not known")
    try:
        card = json.loads(metadata[METADATA_KEY])
    except ValueError as error:
        raise CheckpointError("the supcrd card in its metadata is no JSON") from error
    return Card.from_json(card), state


def _torch_load(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of foreign pickles before it refuses them
            return torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise CheckpointError(f"cannot be read: {error.strerror}") from error
    except Exception as error:  # torch raises whatever the bytes lead it to
        code = _code_in(path, error)
        if code:
            raise CheckpointError(f"it holds code ({code}), refused; save the bare state_dict instead") from error
        raise CheckpointError("empty, truncated or no PyTorch checkpoint") from error


def _code_in(path: Path, error: Exception) -> str:
    """What a file that torch refused would have called, as far as can be told without running it; "" if nothing."""
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


def _state_dict(value: Any) -> dict[str, Tensor]:
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
    return dict(value)
