"""What a figure reads: a finished run's folder as arrays, checked once, so that no figure has to."""

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from supcrd.errors import RunError
from supcrd.recipe.settings import Recipe
from supcrd.runs.folder import load_run

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

    @property
    def name(self) -> str:
        """The run's name, which is its folder's."""
        return self.folder.name

    @property
    def unit(self) -> Floats:
        """Projections on the unit sphere, (N, P); a row of zeros, having no direction, stays zero."""
        norm = np.linalg.norm(self.projections, axis=1, keepdims=True)
        return np.asarray(self.projections / np.where(norm > 0, norm, 1), dtype=np.float32)

    @property
    def teacher(self) -> Path | None:
        """The teacher's run folder, if the run has one and it is there."""
        named = self.evaluation.get("teacher")
        folder = self.folder.parent / named if named else None
        return folder if folder is not None and (folder / "evaluation.json").is_file() else None


def read_points(folder: str | Path) -> Points:
    """Read a finished run.

    Args:
        folder: a run folder.

    Raises:
        RunError: no run folder, an unfinished run, or a file of it that is missing, damaged or has numbers that are not
            finite; names the file and what is wrong with it.
    """
    run = load_run(folder)
    evaluation = run.evaluation()
    path = run.folder / "outputs.npz"
    arrays = _arrays(path, ("labels", "logits", "projections"))
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
        folder=run.folder,
        recipe=run.recipe,
        evaluation=evaluation,
        history=_history(run.folder / "metrics.jsonl"),
        class_names=_class_names(run.folder / "model.json", classes),
        labels=labels.astype(np.int64),
        logits=logits.astype(np.float32),
        projections=projections.astype(np.float32),
        pictures=_pictures(run.folder / "pictures.npz"),
    )


def _arrays(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path) as held:
            missing = [name for name in names if name not in held.files]
            if missing:
                raise RunError(f"{path} has no {', '.join(missing)}; it is no file of a finished run")
            return {name: held[name] for name in names}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} cannot be read: {error}; is the run finished?") from None


def _history(path: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}") from None
    if not all(isinstance(row, dict) and isinstance(row.get("epoch"), int) for row in rows):
        raise RunError(f"{path}: a line that is no epoch's metrics")
    return rows


def _class_names(path: Path, classes: int) -> tuple[str, ...]:
    """Those of the model's card, or numbers."""
    try:
        names = json.loads(path.read_text(encoding="utf-8")).get("class_names")
    except (OSError, ValueError, AttributeError):
        names = None
    if not isinstance(names, list) or len(names) != classes:
        return tuple(str(number) for number in range(classes))
    return tuple(map(str, names))


def _pictures(path: Path) -> Pictures | None:
    """None where the run was made before pictures were kept."""
    if not path.is_file():
        return None
    arrays = _arrays(path, ("rows", "images"))
    return Pictures(arrays["rows"].astype(np.int64), arrays["images"])
