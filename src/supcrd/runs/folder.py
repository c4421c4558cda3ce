"""The run folder: one recipe and everything that its run gave. Only this file spells the names of its files.

`recipe.toml` (resolved), `environment.json`, `budget.json` (the epochs that `train.minutes` gave), `metrics.jsonl` (a
line per epoch), `checkpoint.pt` (all state), `model.safetensors` and `model.json`, `outputs.npz`, `pictures.npz`, and
last `evaluation.json`: a run that has it is finished.
"""

import contextlib
import json
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from supcrd import recipe as recipes
from supcrd.base.files import fingerprint, user_path, write_json, write_text
from supcrd.base.versions import migrate
from supcrd.errors import CheckpointError, RunError
from supcrd.models.card import CARD, WEIGHTS, Card
from supcrd.recipe.settings import Recipe
from supcrd.runs.arrays import read_arrays, write_arrays

VERSION = 2
"""Of evaluation.json; 1, which says nothing of it, is that of 0.1. What a run of 0.1 did not measure is missing."""

START = "file of model.checkpoint"
"""What the weights that a student starts from are called among the origins in environment.json."""


class RunFolder:
    """A run folder: paths of its files, and what they hold, each file read once.

    What is read stays as it was read: make a new object to see what another process has written since.

    Args:
        path: the folder; nothing is read before it is asked for.
        recipe: of the run, where the caller has it: where it runs (`train.device`) may differ from the file's.

    Example:
        >>> run = RunFolder("runs/nowhere")
        >>> run.exists, run.finished, run.checkpoint.name
        (False, False, 'checkpoint.pt')
    """

    def __init__(self, path: str | Path, recipe: Recipe | None = None) -> None:
        self.path = path = user_path(path)
        self.evaluation_file = path / "evaluation.json"
        self.recipe_file = path / recipes.RESOLVED
        self.environment_file = path / "environment.json"
        self.budget_file = path / "budget.json"
        self.metrics = path / "metrics.jsonl"
        self.checkpoint = path / "checkpoint.pt"
        self.head = path / "head.pt"  # while the projection head is being fitted
        self.weights = path / WEIGHTS
        self.card_file = path / CARD
        self.outputs_file = path / "outputs.npz"
        self.pictures_file = path / "pictures.npz"
        self.features = path / "cache"  # of the views that its students see
        # TensorBoard reads files that are named so: of the epochs, of the evaluation, of figures
        self.events = path / "tensorboard" / "events.out.tfevents.0.supcrd"
        self.events_end = path / "tensorboard" / "events.out.tfevents.1.supcrd"
        self.events_pictures = path / "tensorboard" / "events.out.tfevents.2.supcrd"
        self.tracking_file = path / "tracking.json"  # by what name trackers know the run
        if recipe is not None:
            self.__dict__["recipe"] = recipe

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """A run folder that is there.

        Raises:
            RunError: there is none; its recipe cannot be read.
        """
        run = cls(path)
        _ = run.recipe
        return run

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunFolder) and self.path.resolve() == other.path.resolve()

    def __hash__(self) -> int:
        return hash(self.path.resolve())

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @property
    def files(self) -> tuple[Path, ...]:
        """All that a run may leave. A folder that is being cleared is no finished run from the first one on, and a run
        folder to the last one."""
        return (
            self.evaluation_file, self.checkpoint, self.budget_file, self.metrics, self.head, self.weights,
            self.card_file, self.outputs_file, self.pictures_file, self.events, self.events_end, self.events_pictures,
            self.tracking_file, self.environment_file, self.recipe_file,
        )  # fmt: skip

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self.recipe_file.is_file()

    @property
    def finished(self) -> bool:
        """Whether the run went to its end: the evaluation is written last."""
        return self.evaluation_file.is_file()

    @property
    def name(self) -> str:
        """The folder's name, which is the run's."""
        return self.path.name

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe, resolved; see `timed` for the epochs of one with `train.minutes`.

        Raises:
            RunError: no run folder, or not UTF-8 text.
            RecipeError: a recipe that this version cannot read.
        """
        if not self.exists:
            raise RunError(f"{self.path} is no run folder: it has no {self.recipe_file.name}")
        try:
            # its networks were known when the run began; figures and tables of runs need no torch to look them up
            text = self.recipe_file.read_text(encoding="utf-8")
            return self.timed(recipes.parse(text, str(self.recipe_file), check_archs=False))
        except UnicodeDecodeError:
            raise RunError(f"{self.recipe_file} is damaged: not UTF-8 text") from None

    @property
    def lacks(self) -> list[str]:
        """The keys of `supcrd.recipe.BEFORE` that its recipe does not have: it was begun before there were these.

        Raises:
            RunError: it cannot be read.
            RecipeError: it is not TOML, or of a newer version.
        """
        try:
            text = self.recipe_file.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise RunError(f"{self.recipe_file} cannot be read: {error.strerror}") from None
        table = recipes.toml(text, str(self.recipe_file))
        return [key for key in recipes.BEFORE if key not in table]

    def timed(self, recipe: Recipe) -> Recipe:
        """A recipe with the epochs that its `train.minutes` were turned into here.

        It is unchanged without minutes, and before the run has begun here: its epochs are then 0.

        Raises:
            RunError: the file that says so is damaged.
        """
        if recipe.train.minutes is None or not self.budget_file.is_file():
            return recipe
        try:
            epochs = json.loads(self.budget_file.read_text(encoding="utf-8"))["epochs"]
            if not isinstance(epochs, int) or epochs < 1:
                raise ValueError(f"epochs = {epochs!r}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.budget_file} cannot be read: {error}") from None
        return recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": epochs})})

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """The numbers of a finished run.

        Raises:
            RunError: the run is not finished, or the file is damaged or written by a newer supcrd.
        """
        path = self.evaluation_file
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read: {error}; is the run finished?") from None
        if not isinstance(values, dict):
            raise RunError(f"{path} holds no JSON object; --force starts the run over")
        return migrate(values, str(path), VERSION, error=RunError)

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """The metrics of all epochs: a row per epoch, with an integer `epoch`.

        Raises:
            RunError: missing or damaged.
        """
        try:
            lines = self.metrics.read_text(encoding="utf-8").splitlines()
            rows = [json.loads(line) for line in lines if line.strip()]
        except (OSError, ValueError) as error:
            raise RunError(f"{self.metrics} cannot be read: {error}") from None
        if not all(isinstance(row, dict) and isinstance(row.get("epoch"), int) for row in rows):
            raise RunError(f"{self.metrics}: a line that is no epoch's metrics")
        return rows

    @property
    def progress(self) -> list[dict[str, Any]]:
        """The history of a run that may be under way, as far as it can be read now: no file yet is no mistake."""
        rows: list[dict[str, Any]] = []
        with contextlib.suppress(OSError, ValueError):
            for line in self.metrics.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                if isinstance(row, dict) and isinstance(row.get("epoch"), int):
                    rows.append(row)
        return rows

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, hardware and origins that the run was begun with; empty where that is not known."""
        try:
            values = json.loads(self.environment_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    @cached_property
    def card(self) -> Card:
        """What `model.json` says of the model, whose weights are not read.

        Raises:
            CheckpointError: missing, damaged, or written by a newer supcrd.
        """
        try:
            return Card.from_json(json.loads(self.card_file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.card_file} cannot be read: {error}") from None
        except CheckpointError as error:
            raise CheckpointError(f"{self.card_file}: {error}") from None

    @property
    def teacher(self) -> "RunFolder | None":
        """The run of its teacher, whether it is still there or not; None where the evaluation names none.

        Raises:
            RunError: as `evaluation`.
        """
        named = self.evaluation.get("teacher")
        return RunFolder(self.path.parent / named) if isinstance(named, str) else None

    def outputs(self) -> dict[str, NDArray[Any]]:
        """labels (N,), logits (N, C) and projections (N, P) of the split measured, as they were written.

        Raises:
            RunError: missing or damaged.
        """
        return read_arrays(self.outputs_file, ("labels", "logits", "projections"))

    def pictures(self) -> dict[str, NDArray[Any]] | None:
        """rows (M,), which of the outputs' images, and images (M, H, W, channels) uint8; None in runs without them.

        Raises:
            RunError: damaged.
        """
        return read_arrays(self.pictures_file, ("rows", "images")) if self.pictures_file.is_file() else None

    def measured_others(self) -> bool:
        """Whether the evaluation is of other weights than lie there: a model was put in the place of the run's own."""
        known = self.evaluation.get("weights")
        return known is not None and self.weights.is_file() and known != fingerprint(self.weights)

    def write_recipe(self, environment: dict[str, Any]) -> None:
        """Write the recipe and the environment: the run has begun."""
        write_text(self.recipe_file, recipes.to_toml(self.recipe))
        self.write_environment(environment)

    def write_environment(self, environment: dict[str, Any]) -> None:
        """Write where the run began and what it is made from."""
        write_json(self.environment_file, environment)

    def write_budget(self, values: dict[str, Any]) -> None:
        """Write what `timed` reads, with how it was found."""
        write_json(self.budget_file, values)

    def clear(self) -> None:
        """Remove what the run has written."""
        for file in self.files:
            file.unlink(missing_ok=True)

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Bring metrics.jsonl to these rows, one JSON object a line, all at once."""
        write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))

    def write_outputs(self, **arrays: NDArray[Any]) -> None:
        """Write what `outputs` reads."""
        write_arrays(self.outputs_file, **arrays)

    def write_pictures(self, **arrays: NDArray[Any]) -> None:
        """Write what `pictures` reads."""
        write_arrays(self.pictures_file, **arrays)

    def write_evaluation(self, values: dict[str, Any]) -> None:
        """Write the evaluation: the run is finished."""
        write_json(self.evaluation_file, {"version": VERSION} | values)
