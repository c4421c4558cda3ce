"""A teacher that is ready to teach."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from supcrd.base.files import fingerprint
from supcrd.data.classes import pick_outputs
from supcrd.errors import CheckpointError, RunError
from supcrd.models.normalised import Normalised
from supcrd.models.weights import load_model
from supcrd.runs.folder import RunFolder

TEACHER = "teacher"
"""The name of the teacher of `[teacher]`; those of `[teachers.NAME]` have their own."""


class Tried(NamedTuple):
    """How a teacher did on images of its student."""

    accuracy: float
    split: str  # validation, or train where there is none
    n: int
    chance: float  # the accuracy of always giving the most frequent class


@dataclass
class Teacher:
    """A teacher ready to teach: its outputs are the classes of the student's data, in their order."""

    subject: Normalised | None
    """the whole model; None where it was let go"""
    folder: Path
    weights: str
    """fingerprint of the file in the folder"""
    order: tuple[int, ...]
    """which outputs of the model in the folder these are"""
    tried: Tried
    projection_trained: bool = True

    def whole(self) -> Normalised:
        """The model, on the CPU unless it was moved; read from its folder again where it was let go.

        Raises:
            RunError: the folder holds other weights by now.
            CheckpointError: it holds none.
        """
        if self.subject is None:
            model, card = load_model(self.folder)
            if fingerprint(RunFolder(self.folder).weights) != self.weights:
                raise RunError(f"the weights in {self.folder} were changed while its student was trained; the same "
                               "command with --force starts the student over")  # fmt: skip
            if card.mean is None or card.std is None:
                raise CheckpointError(f"{self.folder}: the teacher's card has no normalisation")
            self.subject = Normalised(pick_outputs(model, self.order), card.mean, card.std)
        return self.subject

    def let_go(self) -> None:
        """Drop the model: a training runs a folded copy of its encoder, and two of them need not be in memory."""
        self.subject = None
