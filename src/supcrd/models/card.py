"""The card of a model: what its weights need beside themselves."""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from supcrd.base.versions import migrate
from supcrd.errors import CheckpointError

WEIGHTS, CARD = "model.safetensors", "model.json"
"""The files of a saved model."""
VERSION = 3
"""Of cards that are written; 1, which says nothing of it, is that of 0.1; 2 knows no temperature."""

MISSING = "missing"
"""The classifier of an encoder that came without one; what is saved has one that was fitted."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a model's weights need beside themselves: how to rebuild the network, feed it and name its answers.

    Raises:
        ValueError: a field that cannot be right; names it and its value.

    Example:
        >>> card = Card(arch="resnet8", num_classes=2, class_names=("cat", "dog"), mean=(0.5,) * 3, std=(0.25,) * 3)
        >>> Card.from_json(card.to_json()) == card
        True
    """

    arch: str
    num_classes: int
    in_channels: int = 3
    image_size: int = 32
    """H = W in pixels."""
    projector: tuple[int, ...] = (128, 64)
    class_names: tuple[str, ...] | None = None
    """One for each class, in the order of the logits."""
    mean: tuple[float, ...] | None = None
    """One for each channel, of images scaled to 0..1."""
    std: tuple[float, ...] | None = None
    """Like `mean`; > 0."""
    projection_trained: bool = True
    """False where the projection head is fresh, because the weights came without one."""
    recipe: dict[str, Any] | None = None
    evaluation: dict[str, Any] | None = None
    """What was measured of it: split and n; accuracy, and those of both classifiers (trained_accuracy, refit_accuracy);
    probe_accuracy; ece, and ece_before its temperature; None where nothing was."""
    warnings: tuple[str, ...] = ()
    """What is wrong with it as far as its run could tell, a line each."""
    stem: str | None = None
    """Of a timm network: "low", one for small images in place of the architecture's own, or "native", its own. None for
    other networks, which have one; and in cards of 0.1: then low up to 32 px, as `supcrd.models.Model` has it."""
    levels: tuple[float, ...] | None = None
    """(black, white) of the deep images (16- or 32-bit integers, floats) that it learnt from; None: it saw none."""
    classifier: str | None = None
    """Which classifier it has: "trained" with the encoder, "refit" on its frozen features, or `MISSING`; None: not
    known."""
    temperature: float | None = None
    """That its weights are divided by, to be calibrated; None: they are not."""

    def __post_init__(self) -> None:
        names, mean, std = self.class_names, self.mean, self.std
        channels, classes = self.in_channels, self.num_classes
        right = {
            "arch": isinstance(self.arch, str),
            "num_classes": _is_count(classes) and classes > 1,
            "in_channels": _is_count(channels),
            "image_size": _is_count(self.image_size),
            "projector": len(self.projector) > 0 and all(map(_is_count, self.projector)),
            "class_names": names is None or (len(names) == classes and all(isinstance(name, str) for name in names)),
            "mean": mean is None or (len(mean) == channels and all(map(_is_number, mean))),
            "std": std is None or (len(std) == channels and all(_is_number(x) and x > 0 for x in std)),
            "projection_trained": isinstance(self.projection_trained, bool),
            "recipe": self.recipe is None or isinstance(self.recipe, dict),
            "evaluation": self.evaluation is None or isinstance(self.evaluation, dict),
            "warnings": isinstance(self.warnings, tuple) and all(isinstance(line, str) for line in self.warnings),
            "stem": self.stem in (None, "low", "native"),
            "levels": self.levels is None or _are_levels(self.levels),
            "classifier": self.classifier in (None, "trained", "refit", MISSING),
            "temperature": self.temperature is None or (_is_number(self.temperature) and self.temperature > 0),
        }
        for name, well in right.items():
            if not well:
                value = f"{getattr(self, name)!r:.80}"
                raise ValueError(f"{name} is {value}; wrong for {classes!r} classes and {channels!r} channels")

    def to_json(self) -> dict[str, Any]:
        """The card as JSON has it, with the version of its format."""
        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {"version": VERSION} | values

    @classmethod
    def from_json(cls, value: Any) -> "Card":
        """The card that `to_json` wrote, in this version or an older one.

        Raises:
            CheckpointError: no such card: a key that is unknown, missing or of an impossible value; one that a newer
                supcrd wrote.
        """
        if not isinstance(value, dict):
            raise CheckpointError(f"card: {type(value).__name__} in place of an object")
        value = migrate(value, "card", VERSION, {1: _from_0_1, 2: _from_2}, CheckpointError)
        names = {field.name for field in fields(cls)}
        for what, odd in (("unknown", value.keys() - names), ("missing", names - value.keys())):
            if odd:
                raise CheckpointError(f"card: {what} key {min(odd)!r}")
        try:
            parts: dict[str, Any] = {k: tuple(part) if isinstance(part, list) else part for k, part in value.items()}
            return cls(**parts)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"card: {error}") from error


def _from_0_1(card: dict[str, Any]) -> dict[str, Any]:
    """Cards of 0.1 lack four fields, whose defaults say what was so then."""
    return {"evaluation": None, "warnings": [], "stem": None, "levels": None} | card


def _from_2(card: dict[str, Any]) -> dict[str, Any]:
    """Their classifiers are as they were trained, or as they came from outside."""
    return {"classifier": None, "temperature": None} | card


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _are_levels(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value)) and value[0] < value[1]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
