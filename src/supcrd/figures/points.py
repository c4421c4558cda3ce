"""What a figure reads: a finished run's folder as arrays, checked once, so that no figure has to."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supcrd.base.wording import printable
from supcrd.errors import CheckpointError, RunError
from supcrd.recipe.settings import Recipe
from supcrd.runs.folder import RunFolder

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Pictures:
    """Small images of some of the rows."""

    rows: Integers  # (M,) which rows of the outputs
    images: NDArray[np.uint8]  # (M, H, W, 1 or 3)


@dataclass(frozen=True)
class Points:
    """A finished run as its folder has it: N images of the split measured, C classes, P dimensions of projection."""

    folder: Path
    recipe: Recipe
    evaluation: dict[str, Any]
    history: list[dict[str, Any]]  # rows of metrics.jsonl, by epoch
    class_names: tuple[str, ...]  # (C,)
    labels: Integers  # (N,)
    logits: Floats  # (N, C)
    projections: Floats  # (N, P), as the head gave them
    pictures: Pictures | None = field(default=None)
    color: str = ""  # of its method, #rrggbb, where a page has chosen it among all of its runs

    @property
    def name(self) -> str:
        """The run's name, which is its folder's."""
        return printable(self.folder.name)

    @property
    def unit(self) -> Floats:
        """Projections on the unit sphere, (N, P); a row of zeros, having no direction, stays zero."""
        norm = np.linalg.norm(self.projections, axis=1, keepdims=True)
        return np.asarray(self.projections / np.where(norm > 0, norm, 1), dtype=np.float32)

    @property
    def teacher(self) -> Path | None:
        """The teacher's run folder, if the run has one and it is there."""
        named = self.evaluation.get("teacher")
        teacher = RunFolder(self.folder.parent / named) if named else None
        return teacher.path if teacher is not None and teacher.finished else None


def read_points(folder: str | Path) -> Points:
    """Read a finished run.

    Args:
        folder: a run folder.

    Raises:
        RunError: no run folder, an unfinished run, or a file of it that is missing, damaged or has numbers that are not
            finite; names the file and what is wrong with it.
    """
    return points_of(RunFolder.open(folder))


def points_of(run: RunFolder) -> Points:
    """What a finished run holds; see `read_points`."""
    evaluation, arrays, path = run.evaluation, run.outputs(), run.outputs_file
    labels, logits, projections = (arrays[name] for name in ("labels", "logits", "projections"))
    for name in ("logits", "projections"):
        array = arrays[name]
        if array.ndim != 2 or len(array) != len(labels) or array.dtype.kind != "f":
            raise RunError(
                f"{path}: {name} are {array.dtype} {array.shape}, not a float row for each of {len(labels)} labels"
            )
        bad = ~np.isfinite(array).all(axis=1)
        if bad.any():
            raise RunError(
                f"{path}: {name} of {bad.sum():,} of {len(array):,} images are not finite, the first is image "
                f"{int(bad.argmax())}; the run has diverged, or the file is damaged"
            )
    classes = logits.shape[1]
    if (
        labels.ndim != 1
        or labels.dtype.kind not in "iu"
        or len(labels) == 0
        or not 0 <= labels.min() <= labels.max() < classes
    ):
        raise RunError(f"{path}: labels are no numbers of the {classes} classes of its logits")
    return Points(
        folder=run.path,
        recipe=run.recipe,
        evaluation=evaluation,
        history=run.history,
        class_names=_class_names(run, classes),
        labels=labels.astype(np.int64),
        logits=logits.astype(np.float32),
        projections=projections.astype(np.float32),
        pictures=_pictures(run),
    )


def _class_names(run: RunFolder, classes: int) -> tuple[str, ...]:
    """Those of the model's card, or numbers."""
    names = None
    with contextlib.suppress(CheckpointError):
        names = run.card.class_names
    if names is None or len(names) != classes:
        return tuple(str(number) for number in range(classes))
    return tuple(printable(name) for name in names)


def _pictures(run: RunFolder) -> Pictures | None:
    """None where the run was made before pictures were kept."""
    arrays = run.pictures()
    return None if arrays is None else Pictures(arrays["rows"].astype(np.int64), arrays["images"])
