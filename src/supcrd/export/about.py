"""What an exported file says of itself, whatever its format."""

import json
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import torch

from supcrd.base.versions import migrate
from supcrd.errors import CheckpointError
from supcrd.export.network import INPUTS, Input
from supcrd.models.card import Card

KEY = "supcrd"
"""Of the entry in a file's metadata."""
VERSION = 1
Precision = Literal["float32", "int8"]


@dataclass(frozen=True, kw_only=True)
class About:
    """The card of the model, and how its network is fed.

    Example:
        >>> card = Card(arch="resnet8", num_classes=2, class_names=("cat", "dog"), mean=(0.5,) * 3, std=(0.25,) * 3)
        >>> about = About(card=card, input="uint8", precision="float32")
        >>> About.from_text(about.to_text()) == about
        True
    """

    card: Card
    input: Input
    """"uint8": pixels of 0 to 255; "float": float32 in 0..1"""
    precision: Precision
    float_layers: tuple[str, ...] = ()
    """layers of an int8 file that compute in float32"""

    def to_text(self) -> str:
        """JSON, with the versions of what wrote it."""
        table = {
            "version": VERSION,
            "card": self.card.to_json(),
            "input": self.input,
            "precision": self.precision,
            "float_layers": list(self.float_layers),
            "written_by": {"supcrd": version("supcrd"), "torch": torch.__version__},
        }
        return json.dumps(table, allow_nan=False)

    @classmethod
    def from_text(cls, text: str) -> "About":
        """What `to_text` wrote.

        Raises:
            CheckpointError: it is damaged, or of a newer version.
        """
        try:
            table: Any = json.loads(text)
        except ValueError as error:
            raise CheckpointError(f"its description is damaged ({error})") from None
        if not isinstance(table, dict):
            raise CheckpointError(f"its description is {type(table).__name__} in place of an object")
        table = migrate(table, "description", VERSION, {}, CheckpointError)
        precision, layers = table.get("precision"), table.get("float_layers")
        if table.get("input") not in INPUTS or precision not in ("float32", "int8") or not isinstance(layers, list):
            raise CheckpointError("its description is damaged: input, precision or float_layers is missing or unknown")
        card = Card.from_json(table.get("card"))
        return cls(card=card, input=table["input"], precision=precision, float_layers=tuple(map(str, layers)))
