"""What a search has found so far: its trials, how many there were, and which one was chosen by what."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from supcrd.base.files import write_json
from supcrd.sweep.space import Range, Search, rounded

SUMMARY = "search.json"
MEASURE = "validation_accuracy"
STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


def folder_of(search: Search, out: Path) -> Path:
    """The folder of a search, beside its runs."""
    return out / f"{search.name}.search"


class Trial(NamedTuple):
    """What became of a trial."""

    number: int
    run: str | None
    """its run folder; None where its values make no recipe"""
    state: str
    """complete, pruned, failed or running"""
    epochs: int
    """after which its validation accuracy was looked at for the last time"""
    value: float | None
    """validation accuracy: of the model that it gave, or of its last epoch if it was pruned"""
    values: dict[str, Any]
    """what was drawn"""
    reason: str | None
    """why it failed"""


def trials_of(search: Search, study: Any) -> list[Trial]:
    """All trials of Optuna's study, by number."""

    def shown(key: str, value: Any) -> Any:
        one = search.space[key]
        return rounded(value, one) if isinstance(one, Range) and isinstance(value, float) else value

    return [
        Trial(
            one.number,
            one.user_attrs.get("run"),
            STATES.get(one.state.name, "running"),
            max(one.intermediate_values, default=0),
            one.value,
            {key: shown(key, value) for key, value in one.params.items()},
            one.user_attrs.get("reason"),
        )
        for one in study.trials
    ]


def summary(search: Search, trials: Sequence[Trial]) -> dict[str, Any]:
    """How many trials there were, by what one was chosen, and which.

    The first of those with the highest validation accuracy, among the trials that came to their end. That accuracy is
    the largest of many and so an optimistic one of its run: its test accuracy is not.
    """
    settings = search.settings
    done = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    best = max(done, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)
    counts = {state: sum(trial.state == state for trial in trials) for state in (*STATES.values(), "running")}
    how = {"sampler": settings.sampler, "pruner": settings.pruner, "seed": settings.seed, "chosen_by": MEASURE}
    chosen = None
    if best is not None:
        chosen = {"number": best.number, "run": best.run, MEASURE: best.value, "values": best.values}
    return {"name": search.name, "asked": settings.trials, "trials": len(trials), **counts, **how, "best": chosen}


def write_summary(search: Search, out: Path, result: dict[str, Any]) -> None:
    """Keep a summary beside the study."""
    write_json(folder_of(search, out) / SUMMARY, result)


def in_words(result: Mapping[str, Any]) -> list[str]:
    """How many trials there were, and how one was chosen.

    Args:
        result: of `summary`.

    Example:
        >>> in_words({"trials": 3, "complete": 1, "pruned": 2, "failed": 0, "sampler": "tpe", "pruner": "halving",
        ...           "seed": 0, "best": {"number": 2, "run": "a", "validation_accuracy": 0.5}})[0]
        '3 trials: 1 complete, 2 pruned, 0 failed (sampler tpe, pruner halving, seed 0).'
    """
    counts = ", ".join(f"{result[state]} {state}" for state in ("complete", "pruned", "failed"))
    how = ", ".join(f"{key} {result[key]}" for key in ("sampler", "pruner", "seed"))
    lines = [f"{result['trials']} trials: {counts} ({how})."]
    best = result["best"]
    if best is not None:
        lines.append(
            f"Chosen by the validation accuracy, without the test split: trial {best['number']}, {best['run']}, "
            f"{best['validation_accuracy']:.2%}. The best of {result['trials']} is an optimistic figure; the run's "
            "test accuracy is not."
        )
    return lines
