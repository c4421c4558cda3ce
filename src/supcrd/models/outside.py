"""Weights from outside: which network they belong to, and how it was trained to see."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from supcrd.base.seeding import forked
from supcrd.errors import CheckpointError
from supcrd.models import Model, check_arch
from supcrd.models.archs.from_timm import LOW_RESOLUTION, timm_defaults
from supcrd.models.card import MISSING, Card
from supcrd.models.published import read_layout
from supcrd.models.weightfiles import METADATA_KEY

Statistics = Sequence[float] | None

logger = logging.getLogger("supcrd")

OPTION_A = "-a"  # ends the names of those small ResNets


def load_timm(
    name: str,
    *,
    num_classes: int,
    in_channels: int,
    mean: Statistics = None,
    std: Statistics = None,
    image_size: int | None = None,
) -> tuple[Model, Card]:
    """A timm model with its pretrained weights, as it was trained; timm downloads them where they are not cached.

    Args:
        name: as timm has it, such as resnet50.a1_in1k or hf_hub:OWNER/NAME.
        num_classes: C.
        in_channels: of the images.
        mean, std, image_size: in place of timm's own.

    Returns:
        The model and its card, which says so where the classifier is not theirs (`MISSING`): where they have other
        classes, or logits that no linear layer of the features gives. Hub weights that fit only the stem for small
        images get that one, at 32 px or what their configuration says.

    Raises:
        CheckpointError: timm does not know it, its weights cannot be had, or it cannot take images of this size.
    """
    arch = f"timm:{name}"

    def build(size: int, stem: str) -> Model:
        with forked() as reseed:
            reseed(0)  # what the weights lack is always the same
            return Model(num_classes, arch, in_channels=in_channels, image_size=size, pretrained=True, stem=stem)

    try:
        check_arch(arch)
        try:
            own = timm_defaults(arch)
        except Exception as error:  # the hub raises errors of any kind
            raise ValueError(f"{arch} cannot be had: {' '.join(str(error).split())[:200]}") from error
        try:
            model = build(image_size or own.image_size, "native")
        except ValueError:
            if not name.startswith("hf"):
                raise
            model = build(image_size or min(own.image_size, LOW_RESOLUTION), "low")
        lacks = _lacks(model.pretrained_classes, num_classes)
        config = model.config()
        config |= {"projector": tuple(config["projector"]), "classifier": MISSING if lacks else None}
        card = Card(**config, projection_trained=False)
        if in_channels == len(own.mean):
            card = replace(card, mean=own.mean, std=own.std)
        card = with_statistics(card, mean, std)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    if lacks:
        logger.warning("%s: its classifier is left out, since %s", arch, lacks)
    report(arch, card)
    return model, card


def _lacks(classes: int | None, wanted: int) -> str:
    """Why the classifier of pretrained weights is of no use; "" if it is."""
    if classes is None:
        return "its logits are not one linear layer of its features (several heads, or a norm between)"
    return "" if classes == wanted else f"it has {classes} classes, and {wanted} are wanted"


def describe(
    path: Path, state: dict[str, Tensor], *, mean: Statistics = None, std: Statistics = None, **known: Any
) -> tuple[Card, dict[str, Tensor]]:
    """The card of weights that have none, and the weights under our names; what a timm network is taken for is logged.

    Args:
        path: of the file.
        state: its state dict.
        mean, std: in place of timm's own.
        known: arch, num_classes, image_size, default_size and headless, as of `read_layout`.

    Raises:
        ValueError: the layout is not known.
    """
    about = getattr(state, "_metadata", None)  # where an export leaves what a plain state dict has no place for
    about = about.get(METADATA_KEY) if isinstance(about, dict) else None
    stem = about.get("stem") if isinstance(about, dict) else None
    try:
        layout = read_layout(state, stem=stem, **known)
    except ValueError as error:
        if path.suffix != ".safetensors":
            raise
        raise ValueError(f"it has no supcrd card in its metadata, and as weights from outside {error}") from error
    own_mean, own_std = layout.statistics or (None, None)
    more: dict[str, Any] = {"projection_trained": layout.projection_trained, "mean": own_mean, "std": own_std}
    more["classifier"] = None if layout.classifier else MISSING
    card = with_statistics(
        Card.from_json({**Card(arch="", num_classes=2).to_json(), **layout.config, **more}), mean, std
    )
    if card.arch.startswith("timm:"):
        report(path, card, size_guessed=not layout.size_known, statistics_guessed=mean is None and std is None)
    return card, layout.state


def with_statistics(card: Card, mean: Statistics, std: Statistics) -> Card:
    """The card with these in place of its own, where they are given."""
    return replace(card, mean=card.mean if mean is None else tuple(mean), std=card.std if std is None else tuple(std))


def report_choice(path: Path, name: str, others: Sequence[str]) -> None:
    """Say which state dict of a file is read, where it holds several."""
    if others:
        logger.warning("%s holds %s too: %s is read; --state-dict (teacher.state_dict, model.state_dict) "
                       "asks for another", path, " and ".join(others), name or "the outermost")  # fmt: skip


def report_shortcuts(path: Path, card: Card) -> None:
    """Say which shortcuts a network is taken to have, where they have no weights that would tell."""
    if card.arch.endswith(OPTION_A):
        logger.info("%s: %s, whose shortcuts have no weights: every second pixel, channels of zeros on both sides",
                    path, card.arch)  # fmt: skip


def report(name: object, card: Card, *, size_guessed: bool = False, statistics_guessed: bool = False) -> None:
    """Say in one line how weights from outside are read: a warning where that is only what is usual for the network."""
    guessed = ["size"] * size_guessed + ["normalisation"] * (statistics_guessed and card.mean is not None)
    logger.log(
        logging.WARNING if guessed else logging.INFO,
        "%s: %s with %s, %d px, %s%s",
        name,
        card.arch,
        "its own stem" if card.stem == "native" else "the stem for small images",
        card.image_size,
        f"mean {_list(card.mean)}, std {_list(card.std)}" if card.mean and card.std else "normalisation not known",
        f" (the usual {' and '.join(guessed)}: the file does not say)" if guessed else "",
    )


def _list(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)
