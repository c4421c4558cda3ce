"""What to be careful about in a comparison: under-trained baselines, other code, threads, teachers, shared machines."""

import contextlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from supcrd.analysis.configurations import number, numbers
from supcrd.errors import RunError
from supcrd.runs.folder import RunFolder

# A baseline may be under-trained where it has not learnt its own images (below the first) and does on unseen ones
# about as well (within the second): then time, not the method, is what it lacks. A network trained to its end is far
# above 90 % on its own small images, or has a gap. Training accuracy is of augmented images, while learning, so it is
# low rather than high: the gap of a trained network can look smaller than it is, hence both conditions.
UNDER_TRAINED = 0.9
UNDER_TRAINED_GAP = 0.05
SHARED = 0.05  # share of a training's seconds, from which on another one beside it counts


def _train_accuracy(run: RunFolder) -> float | None:
    """Of the last epoch: of augmented images, while learning."""
    known = run.evaluation.get("train_accuracy")
    if known is None:  # a run of before it was written there
        with contextlib.suppress(RunError, IndexError):
            known = run.history[-1].get("train_accuracy")
    return float(known) if isinstance(known, int | float) and 0 <= known <= 1 else None


def under_trained(label: str, group: Sequence[RunFolder], split: str) -> tuple[list[str], list[str]]:
    """Warnings and notes on whether a baseline was trained to its end."""
    # of the classifier trained with the encoder, which training accuracy is of; in older runs that is the saved one
    test = numbers(group, "trained_accuracy") or numbers(group, "accuracy")
    train = [_train_accuracy(run) for run in group]
    if test is None or None in train:
        return [], [f"baseline {label}: not all training accuracies are known, so nor is whether it is under-trained"]
    fitted, unseen = (math.fsum(v for v in values if v is not None) / len(group) for values in (train, test.values()))
    if fitted >= UNDER_TRAINED or fitted - unseen >= UNDER_TRAINED_GAP:
        return [], []
    apart = " with the classifier trained along" if test != numbers(group, "accuracy") else ""
    return [
        f"baseline {label} may be under-trained: training accuracy {100 * fitted:.1f} %, {split} accuracy "
        f"{100 * unseen:.1f} %{apart}: it still fits unseen images as well as its own, so longer training would likely "
        "raise it (training accuracy is of augmented images, while learning)"
    ], []


def threads(groups: Mapping[str, Sequence[RunFolder]]) -> list[str]:
    """A warning where runs on a CPU had different numbers of threads, which changes the order in which they add."""
    users: dict[str, list[str]] = {}
    for label, group in groups.items():
        for number in sorted({number for run in group if (number := _threads(run))}):
            users.setdefault(number, []).append(label)
    if len(users) < 2:
        return []
    listed = "; ".join(f"{number} ({_some(labels)})" for number, labels in users.items())
    return [
        f"runs on different numbers of threads: {listed}; sums in another order end in another accuracy "
        "(docs/training.md says how far away), so differences, seed by seed too, are partly the threads'"
    ]


def _threads(run: RunFolder) -> str | None:
    """The number that a run on a CPU began with, and those that it was resumed on; None where it is not known."""
    resumed = run.environment.get("resumed_on_threads")
    numbers = [run.environment.get("threads"), *(resumed if isinstance(resumed, list) else [])]
    on_cpu = str(run.evaluation.get("place", "cpu")).startswith("cpu")
    known = on_cpu and all(isinstance(number, int) for number in numbers)
    return " then ".join(map(str, numbers)) if known else None


class Span(NamedTuple):
    """When and where a run trained."""

    machine: str
    start: float  # seconds since 1970
    end: float


def shared_machine(runs: Iterable[RunFolder]) -> frozenset[RunFolder]:
    """The runs beside which others of these trained on the same machine, so that their seconds are not those of one
    alone.

    As far as their files tell: an epoch's end is the time of `metrics.jsonl`, and the training's seconds lie before it.
    A copy whose files have all the time of the copying says nothing, nor does a machine that is busy with other things.
    """
    spans = {run: span for run in runs if (span := _span(run)) is not None}
    beside = set()
    for run, own in spans.items():
        for other, its in spans.items():
            common = min(own.end, its.end) - max(own.start, its.start)
            if other != run and its.machine == own.machine and common > SHARED * (own.end - own.start):
                beside.add(run)
    return frozenset(beside)


def _span(run: RunFolder) -> Span | None:
    """None where nothing was trained, or it is not known when or where."""
    seconds, known = number(run, "train_seconds"), run.environment
    machine = known.get("machine") or "".join(str(known.get(key, "")) for key in ("platform", "processor", "gpus"))
    try:
        begun, end = run.recipe_file.stat().st_mtime, run.metrics.stat().st_mtime
    except OSError:
        return None
    if not machine or not seconds or end - begun < (1 - SHARED) * seconds:
        return None
    return Span(str(machine), end - seconds, end)


def environments(groups: Mapping[str, Sequence[RunFolder]]) -> list[str]:
    """Notes on runs made by different code, or in one configuration under different teachers' weights."""
    notes = []
    for label, group in groups.items():
        if len({weights for run in group if (weights := _origin(run, "origins", "teacher"))}) > 1:
            notes.append(f"the runs of {label} were taught by teachers of different weights")
    for what, keys, length in (("supcrd commits", ("commit",), 10), ("torch versions", ("packages", "torch"), None)):
        users: dict[str, list[str]] = {}
        for label, group in groups.items():
            for version in sorted({version for run in group if (version := _origin(run, *keys))}):
                users.setdefault(version[:length], []).append(label)
        if len(users) > 1:
            listed = "; ".join(f"{version} ({_some(labels)})" for version, labels in users.items())
            notes.append(f"runs made by different {what}: {listed}")
    return notes


def _origin(run: RunFolder, *keys: str) -> str | None:
    """A text of the run's environment; None where it is not known."""
    value: Any = run.environment
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else None


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels) if len(labels) <= 4 else f"{len(labels)} configurations"
