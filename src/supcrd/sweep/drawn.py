"""Values of a search's trial, drawn by Optuna."""

import json
from typing import Any

from supcrd.base.seeding import seed_for
from supcrd.sweep.space import Range, SearchSettings, rounded


def sampler(optuna: Any, settings: SearchSettings, number: int, key: str) -> Any:
    """A sampler for one value of one trial: what it draws depends on these and on the trials that have ended.

    One sampler for all of a process would go on from where that process was, and begin anew in the next.

    Args:
        optuna: the package.
        settings: of the search.
        number: of the trial, from 0.
        key: whose value is drawn; empty for what is drawn before the first.
    """
    seed = seed_for("search", settings.seed, number, key) % 2**32
    if settings.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=settings.startup)


def draw(trial: Any, key: str, one: Range | list[Any]) -> Any:
    """The value of a key in a trial of Optuna's; the one that it has, if it was drawn before."""
    if not isinstance(one, Range):
        return one[labels(one).index(trial.suggest_categorical(key, labels(one)))]
    if type(one.low) is int and type(one.high) is int:
        return trial.suggest_int(key, one.low, one.high, log=one.log, step=one.step or 1)
    return rounded(trial.suggest_float(key, one.low, one.high, log=one.log, step=one.step), one)


def labels(values: list[Any]) -> list[str | int | float | bool]:
    """What stands for the values of a list in Optuna's storage, which takes no lists and tables.

    Example:
        >>> labels([1, [2, 3]])
        [1, '[2, 3]']
    """
    return [value if isinstance(value, str | int | float | bool) else json.dumps(value) for value in values]
