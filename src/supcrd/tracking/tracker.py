"""What a tracker is, and the trackers of one run: one that fails is left out, and never stops the run."""

import json
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from supcrd import recipe as recipes
from supcrd.base.files import write_json
from supcrd.errors import Paused, RecipeError, one_line
from supcrd.recipe.keys import flatten
from supcrd.recipe.settings import Recipe
from supcrd.runs.folder import RunFolder

logger = logging.getLogger("supcrd")

REASON = 120
"""Letters of a failure that a warning shows."""
LARGEST = 100_000_000
"""Bytes of a model that is sent."""


class Tracker(Protocol):
    """One run as a tracker has it: a function of the run folder, brought up to date whenever the run has more to show.

    A module of this package has a `Tracker` and a function `check()` that refuses, in one line, where its library is
    not installed or cannot be used. A tracker is made when the run begins or is resumed, and then finds what it already
    has. It may raise anything: `Tracking` leaves it out then.
    """

    def epochs(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Bring the metrics to these: rows of metrics.jsonl, whose checkpoint is written. No epoch is there twice."""

    def evaluated(self, evaluation: Mapping[str, Any]) -> None:
        """Show what `evaluation.json` is about to hold."""

    def pictures(self, files: Mapping[str, Path]) -> None:
        """Show figures of the finished run: name -> PNG file, which is removed afterwards."""

    def model(self, files: Sequence[Path]) -> None:
        """Show the finished run's model: its weights and their card, files of the run folder."""

    def close(self, status: str) -> None:
        """End the session: "finished", "interrupted" or "failed"."""


def names(recipe: Recipe) -> tuple[str, ...]:
    """The trackers that a recipe asks for, none of them twice.

    Example:
        >>> names(recipes.load("digits-kd", ["train.tensorboard=true", 'train.track=["mlflow", "tensorboard"]']))
        ('tensorboard', 'mlflow')
    """
    return tuple(dict.fromkeys(("tensorboard",) * recipe.train.tensorboard + recipe.train.track))


def check(recipe: Recipe) -> None:
    """Refuse trackers that cannot be used, before any work.

    Raises:
        RecipeError: a library is not installed or not logged in, or a store does not answer.
    """
    for name in names(recipe):
        _module(name).check()


class Tracking:
    """The trackers of one run. What one of them raises is one warning; it is not asked again in this session.

    Args:
        run: the run's folder, whose recipe is there.
        chosen: names of trackers, see `names`.

    Example:
        >>> with tracked(RunFolder("nowhere", recipes.load("digits-kd"))) as tracking:
        ...     tracking.epochs([{"epoch": 1, "loss": 0.5}])  # of a recipe without trackers: nothing is done
    """

    def __init__(self, run: RunFolder, chosen: Sequence[str]) -> None:
        self.run = run
        self.trackers: dict[str, Tracker] = {}
        for name in chosen:
            with self._guarded(name):
                self.trackers[name] = _module(name).Tracker(run)

    @property
    def drawn(self) -> bool:
        """Whether there are trackers that show figures, and still work."""
        return any(name in self.run.recipe.train.track for name in self.trackers)

    def epochs(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """See `Tracker.epochs`."""
        self._all(lambda tracker: tracker.epochs(rows))

    def evaluated(self, evaluation: Mapping[str, Any]) -> None:
        """See `Tracker.evaluated`."""
        self._all(lambda tracker: tracker.evaluated(evaluation))

    def pictures(self, files: Mapping[str, Path]) -> None:
        """See `Tracker.pictures`."""
        self._all(lambda tracker: tracker.pictures(files))

    def model(self) -> None:
        """See `Tracker.model`; one that is too large for what others pay for, or wait for, stays where it is."""
        files = [file for file in (self.run.weights, self.run.card_file) if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        if size <= LARGEST:
            self._all(lambda tracker: tracker.model(files))
        elif any(name != "tensorboard" for name in self.trackers):
            said = f"{size / 1e6:,.0f} MB, more than the {LARGEST / 1e6:.0f} MB that are sent"
            logger.info("%s: its trackers do not get the model (%s); it is in the run folder", self.run.name, said)

    def close(self, status: str) -> None:
        """See `Tracker.close`."""
        self._all(lambda tracker: tracker.close(status))

    def _all(self, act: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self.trackers.items()):
            with self._guarded(name):
                act(tracker)

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """Drop a tracker that raises, with one warning; a run that took hours must not end by it."""
        try:
            yield
        except Exception as error:  # anything that a library, a network or a disk can do
            self.trackers.pop(name, None)
            reason = one_line(str(error) or type(error).__name__, REASON)
            logger.warning("%s: the tracker %s failed and is left out from here on (%s)", self.run.name, name, reason)


@contextmanager
def tracked(run: RunFolder) -> Iterator[Tracking]:
    """The trackers of a run that begins or is resumed, closed at its end, however it ends.

    Args:
        run: the run's folder, with its recipe.
    """
    tracking = Tracking(run, names(run.recipe))
    status = "failed"
    try:
        yield tracking
        status = "finished"
    except (KeyboardInterrupt, Paused):
        status = "interrupted"
        raise
    finally:
        tracking.close(status)


def missing(name: str) -> RecipeError:
    """The error where a tracker's library is not installed."""
    other = " and train.tensorboard=false" if name == "tensorboard" else ""
    return RecipeError(
        f"the tracker {name} needs its package, which is not installed here; pip install 'supcrd[{name}]', or leave "
        f"{name} out of train.track{other}"
    )


def identity(run: RunFolder) -> str:
    """By what name a tracker knows this run, in all its sessions: drawn once, before anything is sent.

    It lies in the run folder and goes with it, so that a run that is started over is another one to trackers.
    """
    try:
        known = json.loads(run.tracking_file.read_text(encoding="utf-8"))["id"]
        if isinstance(known, str) and known.isalnum():
            return known
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or not ours: a new one
    drawn = secrets.token_hex(8)
    write_json(run.tracking_file, {"id": drawn})
    return drawn


def settings(recipe: Recipe) -> dict[str, Any]:
    """What trackers show of a recipe, key -> value, such as "train.lr": without where the run happens and
    what its teacher's own run shows.

    Example:
        >>> shown = settings(recipes.load("digits-kd"))
        >>> shown["method.name"], "train.device" in shown
        ('kd', False)
    """
    flat = dict(flatten(recipes.to_table(recipe)))
    return {key: value for key, value in flat.items() if key not in recipes.PLACE_KEYS and ".resolved." not in key}


def numbers(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """The single numbers of an evaluation, named as trackers show them.

    Example:
        >>> numbers({"accuracy": 0.5, "split": "test", "class_accuracy": [0.5], "stopped_early": False, "n": 10})
        {'evaluation/accuracy': 0.5, 'evaluation/n': 10}
    """
    single = {key: value for key, value in evaluation.items() if is_number(value)}
    return {f"evaluation/{key}": value for key, value in single.items()}


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, which a curve can show; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def _module(name: str) -> Any:
    """The module of a tracker; its library is not loaded by it."""
    return import_module(f"supcrd.tracking.{name}")
