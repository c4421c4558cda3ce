"""Candidate teachers side by side: how right they are, and how much their outputs say beyond the class they name."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from supcrd.analysis.configurations import check_same_data, gather
from supcrd.errors import SupcrdError
from supcrd.runs.folder import RunFolder

CERTAIN = 0.05  # share of ln C: below, the mean output is nearly one-hot
LITERATURE = (
    "accuracy: a more accurate teacher is often the better one, but not always: a much larger network can be too far "
    "from its student, which an earlier epoch of it is not (Cho & Hariharan 2019, arXiv:1910.01348); a teacher whose "
    "size is between the two can help (Mirzadeh et al. 2020, arXiv:1902.03393)",
    "entropy: what a teacher teaches beyond the labels is what it gives to the wrong classes (Hinton et al. 2015, "
    "arXiv:1503.02531); where that is nearly nothing, a higher temperature of kd shows it",
    "ratio: of the second largest logit to the largest, each less the mean: near 1 the teacher sees two likely classes",
    "spread: of a row's logits. Where teacher and student differ in it, kd on z-scored logits (standardise = true) "
    "compares only their shape (Sun et al. 2024, arXiv:2403.01427)",
)
"""What the literature says of each column."""


@dataclass(frozen=True)
class Candidate:
    """A trained model as a teacher: shares in 0..1, entropy in nats."""

    run: str
    arch: str
    method: str
    parameters: int | None
    accuracy: float
    accuracy_rank: int
    """1 is the most accurate"""
    ece: float | None
    entropy: float
    softness_rank: int
    """1 is the one of the highest entropy"""
    ratio: float
    spread: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Candidates:
    """Candidate teachers, the most accurate first."""

    split: str
    images: int
    classes: int
    rows: tuple[Candidate, ...]
    literature: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)


def candidates(folders: Sequence[str | Path]) -> Candidates:
    """Rank finished runs as teachers, by accuracy and by the softness of their outputs.

    Args:
        folders: run folders, or folders of run folders, of which all finished runs are taken.

    Raises:
        RunError: no run, an unfinished or damaged one; runs of different data or splits; outputs that are missing.
        SupcrdError: outputs with fewer than two classes, or that are not finite.
    """
    runs, notes = gather(folders)
    runs = list(dict.fromkeys([*runs, *(teacher for run in runs if (teacher := run.teacher) and teacher.finished)]))
    notes = [note for note in notes if not note.startswith("teachers of others")]  # here they are what is wanted
    check_same_data(runs)
    measured = [(run, *_measured(run)) for run in runs]
    by_accuracy = sorted((float(run.evaluation["accuracy"]) for run, *_ in measured), reverse=True)
    by_entropy = sorted((soft.entropy for _, soft, _ in measured), reverse=True)
    classes = measured[0][2]
    rows = [
        Candidate(
            run=str(run.path),
            arch=run.recipe.model.arch,
            method=run.recipe.method.name,
            parameters=run.evaluation.get("parameters"),
            accuracy=float(run.evaluation["accuracy"]),
            accuracy_rank=1 + by_accuracy.index(float(run.evaluation["accuracy"])),
            ece=run.evaluation.get("ece"),
            entropy=soft.entropy,
            softness_rank=1 + by_entropy.index(soft.entropy),
            ratio=soft.ratio,
            spread=soft.spread,
            notes=tuple(_notes(run, soft.entropy, classes)),
        )
        for run, soft, classes in measured
    ]
    rows.sort(key=lambda row: (row.accuracy_rank, row.softness_rank))
    first = runs[0].evaluation
    return Candidates(str(first["split"]), int(first["n"]), classes, tuple(rows), LITERATURE, tuple(notes))


def _measured(run: RunFolder) -> tuple[Any, int]:
    """The softness of a run's outputs, and the number of classes."""
    import torch

    from supcrd.metrics import softness

    logits = torch.from_numpy(run.outputs()["logits"])
    if logits.ndim != 2 or len(logits) == 0 or logits.shape[1] < 2 or not bool(logits.isfinite().all()):
        raise SupcrdError(f"{run.path}: its outputs are no finite logits of two classes or more")
    return softness(logits), logits.shape[1]


def _notes(run: RunFolder, entropy: float, classes: int) -> list[str]:
    """What to be careful about with this teacher."""
    notes = []
    if getattr(run.recipe.method, "label_smoothing", 0.0) > 0:
        notes.append(
            "trained with label smoothing, which can take from the outputs what distillation needs "
            "(Müller et al. 2019, arXiv:1906.02629; Shen et al. 2021, arXiv:2104.00676, find it less harmful)"
        )
    if entropy < CERTAIN * math.log(classes):
        notes.append("nearly one-hot: teaches little beyond the labels at temperature 1")
    return notes
