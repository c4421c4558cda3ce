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
    """The trial of a teacher: its accuracy on images of its student."""

    accuracy: float
    split: str  # validation, or train without a validation split
    n: int
    chance: float  # the accuracy of always giving the most frequent class
    reordered: float | None = None  # the accuracy in the best order of its outputs; None for too few images to tell


@dataclass
class Teacher:
    """A teacher that is ready: its outputs are the classes of the student's data, in their order."""

    subject: Normalised | None
    """the whole model; None after `let_go`"""
    folder: Path
    weights: str
    """fingerprint of the file in the folder"""
    order: tuple[int, ...]
    """indices of its outputs among those of the model in the folder"""
    tried: Tried
    projection_trained: bool = True

    def whole(self) -> Normalised:
        """The model, on the CPU unless it was moved; after `let_go` it is read from its folder again.

        Raises:
            RunError: the weights in the folder have changed.
            CheckpointError: the folder has no weights.
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
        """Release the model: a training runs a folded copy of its encoder, and one in memory is enough."""
        self.subject = None
