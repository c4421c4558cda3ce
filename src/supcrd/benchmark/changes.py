"""What `--set` changes: KEY=VALUE for all runs, CONFIGURATION:KEY=VALUE for those of one, or of the teacher."""

from collections.abc import Sequence
from typing import NamedTuple

from supcrd.base.wording import choices, show
from supcrd.errors import RecipeError

TEACHER = "teacher"
TAKEN = {
    "data.source": "--data", "model.arch": "the pair", "seed": "--seeds", "train.epochs": "--view-epochs",
    "train.device": "--devices", "teacher.run": "--teacher", "teacher.checkpoint": "--teacher",
    "teacher.recipe": "--teacher", "teacher.timm": "--teacher",
}  # fmt: skip
"""Keys that have a place of their own."""
BUDGET = "all configurations have the same view-epochs"
REFUSED = {
    "train.minutes": BUDGET,
    "train.patience": BUDGET,
    "train.ema": "the weights of the last epoch are what is reported",
    "method.name": "it is what differs between the configurations",
    "objective": "it is what differs between the configurations",
    "teachers": "a pair has one teacher",
    "name": "runs are named after pair, configuration and seed",
}
"""Keys that the students of a benchmark cannot have otherwise, and why."""
OF_TEACHERS = ("train.epochs", "train.minutes", "train.patience", "train.ema")
"""Of all these, what a teacher may have."""


class Change(NamedTuple):
    """A change of the runs of one configuration, or of all where `where` is empty."""

    where: str
    override: str

    @property
    def key(self) -> str:
        """Of the recipe."""
        return self.override.partition("=")[0].strip()


def read_changes(texts: Sequence[str], names: Sequence[str]) -> list[Change]:
    """What a user's `--set` mean, in their order.

    Args:
        texts: KEY=VALUE or CONFIGURATION:KEY=VALUE.
        names: of the configurations.

    Raises:
        RecipeError: neither; an unknown configuration; a key that a benchmark cannot have changed.

    Example:
        >>> read_changes(["train.lr=0.1", "kd:method.weight=0.5"], ["kd"])
        [Change(where='', override='train.lr=0.1'), Change(where='kd', override='method.weight=0.5')]
    """
    return [_read(text, names) for text in texts]


def chosen(changes: Sequence[Change], name: str) -> list[str]:
    """The overrides of a configuration: those of all first.

    Example:
        >>> chosen([Change("kd", "seed=1"), Change("", "seed=2"), Change("at", "seed=3")], "kd")
        ['seed=2', 'seed=1']
    """
    return [
        change.override for change in sorted(changes, key=lambda one: one.where != "") if change.where in ("", name)
    ]


def _read(text: str, names: Sequence[str]) -> Change:
    before, equals, _ = text.partition("=")
    where, colon, key = (part.strip() for part in before.rpartition(":"))
    if not equals or not key or (colon and not where):
        raise RecipeError(f"--set {show(text)} is not KEY=VALUE, such as train.lr=0.1, or CONFIGURATION:KEY=VALUE")
    known = [*names, TEACHER]
    if where and where not in known:
        raise RecipeError(f"--set {show(text)}: {show(where)} is no configuration here{choices(where, known)}")
    for part in (key, key.partition(".")[0]):
        if where == TEACHER and part in OF_TEACHERS:
            continue
        if part in TAKEN:
            raise RecipeError(f"--set {key}: it cannot be set here; {TAKEN[part]} says it")
        if part in REFUSED:
            raise RecipeError(f"--set {key}: it cannot be set here; {REFUSED[part]}")
    if where and key.partition(".")[0] == "data":
        raise RecipeError(f"--set {show(text)}: all runs of a benchmark have the same images; {key}=VALUE is for all")
    if not where and key.startswith("method."):
        raise RecipeError(f"--set {key}: methods have keys of their own; METHOD:{key}=VALUE sets it for one")
    return Change(where, text[len(before.rpartition(":")[0]) + len(colon) :])
