"""Weights in and out: supcrd's own files, published checkpoints, and the state of an unfinished training."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supcrd.base.files import replacing, write_json
from supcrd.base.seeding import forked
from supcrd.errors import CheckpointError
from supcrd.models import Model, outside
from supcrd.models.archs.from_timm import whole_keys
from supcrd.models.candidates import Chosen, choose
from supcrd.models.card import CARD, MISSING, WEIGHTS, Card
from supcrd.models.names import ARCHS, NETWORKS, plain
from supcrd.models.naming import counted_keys, keys_of
from supcrd.models.nearest import nearest_arch, renamed_arch
from supcrd.models.published import projector_widths
from supcrd.models.weightfiles import METADATA_KEY, read_safetensors, torch_load

__all__ = ["Card", "has_card", "load_model", "load_state", "save_model", "save_state"]


def save_model(folder: str | Path, model: Model, card: Card) -> Path:
    """Write `model.safetensors`, with the card in its metadata, and `model.json`, the card for people to read.

    The architecture written is the model's own (`model.config()`), not the card's.

    Args:
        folder: exists; older files of these names are replaced atomically.
        model: on any device, in any mode.
        card: see `Card`.

    Returns:
        The path of the weights file, which can be loaded alone.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save

    own: dict[str, Any] = model.config()
    described = replace(card, **{**own, "projector": tuple(own["projector"])}).to_json()
    # Copies: safetensors wants contiguous tensors that share no memory.
    state = {key: tensor.detach().to("cpu", copy=True).contiguous() for key, tensor in model.state_dict().items()}
    folder = Path(folder)
    path = folder / WEIGHTS
    try:
        write_json(folder / CARD, described)
        whole = save(state, metadata={METADATA_KEY: json.dumps(described, allow_nan=False)})
        with replacing(path) as temporary:
            temporary.write_bytes(whole)  # safetensors' own writing makes a file that a kill would leave for ever
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
    default_size: int | None = None,
    state_dict: str | None = None,
    headless: bool = False,
    again: bool = False,
) -> tuple[Model, Card]:
    """Load a model, in eval mode on the CPU. Code in a file never runs.

    Weights from outside run as they were trained: a timm network keeps its own stem, size and normalisation, which are
    those of timm's weights for that architecture unless given. One line of the log states them.

    Args:
        path: a run folder, a safetensors file, or a published PyTorch checkpoint (any other suffix). A safetensors file
            without a card of supcrd's and a checkpoint are a state dict (in a checkpoint alone or under a usual key) in
            one of the layouts of `read_layout`. docs/weights.md has a table.
        arch: for weights from outside whose keys do not determine it; otherwise it is checked.
        num_classes: C, to be checked.
        mean: per channel, for images scaled to 0..1; replaces the card's.
        std: like `mean`; > 0.
        image_size: H = W in pixels, for weights from outside (see `read_layout`); otherwise it is checked.
        default_size: the image size of weights from outside if neither shapes nor timm determine it; 32 if not given.
        state_dict: which state dict of a file that has several: a key of it, `ema` for a moving average, or the first
            part of the keys of one of several networks (student, teacher); the usual one if not given.
        headless: whether an encoder without a classifier is taken. It then gets one that has learnt nothing, of
            `num_classes` (2 if not given), and the card says `classifier="missing"`.
        again: the file was read before: what the log said of it then, whatever the size, it does not say again.

    Returns:
        The model and its card. Weights from outside without a projection head get a fresh one, always the same; their
        card says `projection_trained=False`, and has no normalisation if neither timm nor the caller gives it.

    Raises:
        CheckpointError: the file is missing or damaged, has code in it, is of another architecture or one that cannot
            be determined, or has weights that are not finite.
    """
    path = weights_file(path)
    try:
        card, chosen = _read(path, state_dict)
        state = chosen.state
        if card is None:
            if not again:
                outside.report_choice(path, chosen.name, chosen.others)
            sizes = {"image_size": image_size, "default_size": default_size}
            known = {"arch": arch, "num_classes": num_classes, "headless": headless, **sizes}
            card, state = outside.describe(path, state, mean=mean, std=std, **known)
            if not again:
                outside.report_shortcuts(path, card)
        else:
            for name, wanted in (("arch", arch), ("num_classes", num_classes), ("image_size", image_size)):
                if wanted not in (None, getattr(card, name)):
                    raise CheckpointError(f"{name} is {wanted!r}, but the file's is {getattr(card, name)!r}")
            if card.classifier == MISSING:
                raise CheckpointError("its card says that it has no classifier")
            card = outside.with_statistics(card, mean, std)
        return _build(card, state), card
    except (CheckpointError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def has_card(path: str | Path) -> bool:
    """Whether a model file, or the one in a run folder, has a card of supcrd's.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    path = weights_file(path)
    return path.suffix == ".safetensors" and METADATA_KEY in read_safetensors(path, weights=False)[0]


def weights_file(path: str | Path) -> Path:
    """The file of weights that a path names: itself, or that of a run folder.

    Raises:
        CheckpointError: it is not there.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / WEIGHTS).is_file():
            raise CheckpointError(f"{path} has no {WEIGHTS}: no finished run")
        path = path / WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    return path


def _read(path: Path, asked: str | None) -> tuple[Card | None, Chosen]:
    """The card, if the file has one, and the weights."""
    if path.suffix != ".safetensors":
        return None, choose(torch_load(path, foreign=True), asked)
    metadata, state = read_safetensors(path)
    if METADATA_KEY not in metadata:
        return None, choose(state, asked)
    if asked is not None:
        raise CheckpointError(f"it has no state dict {asked!r}: a model of supcrd's has one alone")
    try:
        card = json.loads(metadata[METADATA_KEY])
    except ValueError as error:
        raise CheckpointError("the supcrd card in its metadata is no JSON") from error
    return Card.from_json(card), Chosen(state, "", ())


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write the state that a training resumes from: tensors, numbers, strings and plain containers of them.

    Raises:
        CheckpointError: `path` cannot be written; an older file there is left unchanged.
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
        CheckpointError: the file is missing, truncated, or not of that kind.
    """
    try:
        state = torch_load(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: {type(state).__name__} in place of a training's state")
    return state


def _build(card: Card, state: dict[str, Tensor]) -> Model:
    """The model of `card` with the weights `state`; the random generator is left unchanged."""
    for key, tensor in state.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise CheckpointError(f"{key} has values that are not finite")
        if tensor.is_complex():  # a network would take the real part alone
            raise CheckpointError(f"{key} has complex values; real ones are right")
    # sizes are compared first, so that a wrong card cannot build a network of any size
    unprojected = not card.projection_trained and not any(key.startswith("projector.") for key in state)
    widths = list(card.projector) if unprojected else projector_widths(state)
    if "classifier.weight" in state and state["classifier.weight"].shape[:1] != (card.num_classes,):
        raise CheckpointError(f"its card says {card.num_classes} classes, its classifier does not")
    if widths != list(card.projector):
        raise CheckpointError(f"its card says projector {list(card.projector)}, its weights say {widths}")
    _check_plugin(card)
    with forked() as reseed:
        reseed(0)  # so that a head that the weights lack is always the same
        model = Model(
            card.num_classes,
            card.arch,
            in_channels=card.in_channels,
            image_size=card.image_size,
            projector=card.projector,
            stem=card.stem,
        )
    skipped = ("projector.",) * unprojected + ("classifier.",) * (card.classifier == MISSING)
    expected = {key: tensor for key, tensor in model.state_dict().items() if not key.startswith(skipped)}
    _compare(card, expected, state)
    model.load_state_dict({key: tensor for key, tensor in state.items() if key in expected}, strict=False)
    return model.eval()


def _check_plugin(card: Card) -> None:
    """Refuse a network that needs a plug-in, and name it: weights must not decide which code runs."""
    arch = plain(card.arch)[0]
    if arch.startswith("timm:") or arch in ARCHS or NETWORKS.find(arch) is not None:
        return
    named = [Path(name).name for name in (card.recipe or {}).get("plugins", ())]
    if named:
        raise CheckpointError(
            f"its arch {card.arch!r} is not one of supcrd's; the plug-in that has it ({', '.join(named)} when it was "
            "trained) has to be given: --plugin FILE"
        )


def _compare(card: Card, expected: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    """Refuse weights that do not fit; step counters of batch norm may be missing, since nothing reads them."""
    counter = "num_batches_tracked"
    differing = [
        f"{key} {tuple(state[key].shape)} in place of {tuple(expected[key].shape)}"
        for key in expected
        if key in state and state[key].shape != expected[key].shape
    ]
    problems = {
        "missing": [key for key in expected if key not in state and not key.endswith(counter)],
        "unexpected": [key for key in state if key not in expected and not key.endswith(counter)],
    }
    alone = not any(problems.values())
    only_more = card.arch.startswith("timm:") and not problems["missing"] and not differing
    most = 1 if problems["missing"] and problems["unexpected"] else 2  # all of it has to fit a line
    described = [counted_keys(keys, what, most) for what, keys in problems.items() if keys]
    if differing:  # named where nothing else is wrong
        one = f"{len(differing)} key{'s' * (len(differing) > 1)} of another shape"
        described.append(counted_keys(differing, "of another shape") if alone else one)
    if described:
        sizes = {"in_channels": card.in_channels, "image_size": card.image_size}
        near, hint = nearest_arch(state, **sizes), ""
        if near is None and (renamed := renamed_arch(state, **sizes)) is not None:
            hint = f"; its shapes are those of {renamed}, under other keys"
        elif near is not None and near.arch != card.arch:
            hint = f"; nearest by shapes is {near.arch} ({near.common} of its {near.whole} keys)"
        elif problems["missing"] and not problems["unexpected"]:
            hint = keys_of(state)
        elif only_more and {key.removeprefix("encoder.") for key in problems["unexpected"]} <= whole_keys(card.arch):
            hint = "; its own classifier is not one linear layer: without these keys one is fitted"
        raise CheckpointError(f"its weights do not fit arch {card.arch!r}: {'; '.join(described)}{hint}")
