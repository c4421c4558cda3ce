"""What `supcrd distil` trains: an undistilled student and distilled ones, with equal budgets, each with every seed."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supcrd.base.files import user_path
from supcrd.base.wording import show
from supcrd.errors import RecipeError
from supcrd.recipe.files import builtin_names
from supcrd.recipe.overrides import merge, overridden
from supcrd.recipe.settings import Recipe
from supcrd.recipe.tables import check_networks, validate, with_plugins
from supcrd.recipe.teachers import chain_of, resolved
from supcrd.runs.folder import RunFolder

UNDISTILLED = "undistilled"
METHODS: dict[str, dict[str, Any]] = {"dist": {}, "joint": {"contrast_weight": 0.5}, "kd": {"weight": 0.5}}
"""What distils: presets of `[method]`, after which configurations are called, with what differs from their defaults.
The first one is the default. It was chosen on validation, where the others were measured too: docs/best-student.md."""
DEFAULT = next(iter(METHODS))
OF_TWO = "joint"
"""The default for two classes, of which correlations within an image are always 1 or -1: dist has half of its loss."""
OF_TWO_MIXED = "kd"
"""That where views mix images, which the contrastive term of `joint` does not read."""
VIEWS = {"views": 1}
"""Of an image in an epoch: at equal view-epochs a second one costs half of the steps (docs/best-student.md)."""
START = ("pretrained", "checkpoint", "state_dict")
"""Keys of `[model]` that say which weights a student starts from: they are of its architecture, not of a teacher's."""
TRAIN = {"batch_size": 128, "lr": 3e-3, "weight_decay": 5e-4, "optimizer": "adamw", "schedule": "one_cycle"}


@dataclass(frozen=True)
class Plan:
    """Recipes by configuration, the undistilled student's first; each list has a recipe for every seed."""

    configurations: dict[str, list[Recipe]]
    note: str = ""
    """what is done with the teacher that was given and not asked for, in a line; empty for nothing"""

    @property
    def recipes(self) -> list[Recipe]:
        """All of them; seed by seed, so that an interrupted command has pairs to compare."""
        return [recipe for row in zip(*self.configurations.values(), strict=True) for recipe in row]

    @property
    def undistilled(self) -> list[list[Recipe]]:
        """The undistilled student's, a list for each rate."""
        return [group for name, group in self.configurations.items() if is_undistilled(name)]

    @property
    def distilled(self) -> Recipe:
        """The first of a distilled student."""
        return next(group[0] for name, group in self.configurations.items() if not is_undistilled(name))


def is_undistilled(name: str) -> bool:
    """Whether a configuration of this name is the undistilled student at some rate."""
    return name == UNDISTILLED or name.startswith(f"{UNDISTILLED}-lr-")


def plan(
    data: str,
    teacher: str,
    student: str,
    *,
    epochs: int | None = 60,
    minutes: float | None = None,
    seeds: int = 1,
    methods: Sequence[str] = (DEFAULT,),
    rates: Sequence[str] = (),
    overrides: Sequence[str] = (),
    auto: str = "resnet18",
    more: float = 1.0,
) -> Plan:
    """The recipes of a distillation.

    Args:
        data: a data source, as `data.source`.
        teacher: a run folder, a file of weights, timm:NAME, a recipe (built-in or a path), or auto: trained first, for
            as many epochs.
        student: an architecture.
        epochs: of each student, >= 1; None: not known yet, they train for `minutes`.
        minutes: of the training of one student, and of a teacher by auto, in place of epochs.
        seeds: of each configuration, >= 1: 0, 1, ...
        methods: of `METHODS`; for two classes `OF_TWO` is right.
        rates: learning rates, as text: each configuration is trained at each of them, and named after it where there
            are several; 3e-3 if empty. A teacher by auto has that in any case.
        overrides: KEY=VALUE changes of every recipe, such as data.image_size=64.
        auto: the architecture that teacher = "auto" means (`auto.auto_teacher` chooses one).
        more: steps of an epoch with the images of `data.unlabelled` over those without, >= 1 (`budget.more_steps`).
            Only distilled students see these images; the undistilled one has so many times the epochs.

    Raises:
        RecipeError: an unknown method, key, network or teacher; a value out of range.

    Example:
        >>> made = plan("digits", "auto", "resnet8", epochs=2, seeds=2)
        >>> [recipe.name for recipe in made.recipes]
        ['undistilled', 'dist', 'undistilled_seed=1', 'dist_seed=1']
        >>> made.recipes[1].teacher.resolved["model"]["arch"]
        'resnet18'
    """
    if seeds < 1:
        raise RecipeError(f"--seeds {seeds} is not right; 1 or more is")
    unknown = [name for name in methods if name not in METHODS]
    if unknown or not methods:
        raise RecipeError(f"--methods {', '.join(unknown) or 'none'} is not right; {', '.join(METHODS)} are known")
    _check_changes(overrides)
    _check_rates(rates, overrides)
    common: dict[str, Any] = {"data": {"source": data}, "model": {"arch": student}, "train": dict(TRAIN)}
    if not any(override.strip().startswith("views.") for override in overrides):  # groups of views are in its place
        common["augment"] = dict(VIEWS)
    common = with_plugins(overridden(common, overrides), "distil")
    long = {"epochs": epochs} if epochs is not None else {"minutes": minutes}
    teacher_long = long if minutes is None else {"minutes": minutes}
    # with compare the undistilled student's agreement with the teacher is known too
    learns = common | {"train": common["train"] | teacher_long}
    by = merge(_teacher(teacher, learns, auto, methods), common.get("teacher", {})) | {"compare": True}
    named = {UNDISTILLED: {"name": "cross_entropy"}} | {name: {"name": name} | METHODS[name] for name in methods}
    groups: dict[str, list[Recipe]] = {}
    for (kind, method), rate in itertools.product(named.items(), rates or (None,)):
        name = f"{kind}-lr-{rate}" if len(rates) > 1 else kind
        train = common["train"] | long | ({} if rate is None else {"lr": float(rate)})
        table = common | {"train": train, "method": method, "teacher": by}
        if kind == UNDISTILLED:
            table = _with_labels(table, more)
        groups[name] = [
            _recipe(table | {"name": f"{name}_seed={seed}" if seed else name, "seed": seed}) for seed in range(seeds)
        ]
    return Plan(groups, _note(teacher, by))


def _with_labels(table: dict[str, Any], more: float) -> dict[str, Any]:
    """The table of a student that learns from labels alone, for as many steps as the others."""
    data, train = dict(table["data"]), dict(table["train"])
    if data.get("unlabelled") != "skip":
        data.pop("unlabelled", None)
    if train.get("epochs") is not None:
        train["epochs"] = round(more * train["epochs"])
    return table | {"data": data, "train": train}


TAKEN = {
    "data.source": "--data", "model.arch": "--student", "seed": "--seeds", "train.epochs": "--epochs",
    "train.minutes": "--minutes",
}  # fmt: skip
"""Keys that have an option."""


def _check_changes(overrides: Sequence[str]) -> None:
    """Refuse a change of what differs between the configurations, or has an option."""
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key in TAKEN:
            raise RecipeError(f"{key} has an option of its own: {TAKEN[key]}")
        if key.partition(".")[0] in ("name", "method", "objective", "teachers"):
            raise RecipeError(
                f"{key} cannot be changed here: it differs between the runs; write a recipe, and use train and compare"
            )


def _check_rates(rates: Sequence[str], overrides: Sequence[str]) -> None:
    """Refuse what is no rate, or twice the same."""
    for rate in rates:
        try:
            right = 0 < float(rate) < math.inf
        except ValueError:
            right = False
        if not right:
            raise RecipeError(f"--lr {show(rate)} is not right; a number above 0 is, or several by commas")
    if len({float(rate) for rate in rates}) < len(rates):
        raise RecipeError(f"--lr {','.join(rates)} has a rate twice")
    if rates and any(override.partition("=")[0].strip() == "train.lr" for override in overrides):
        raise RecipeError(f"--lr {','.join(rates)} and train.lr exclude one another: give one of them")


def _recipe(table: dict[str, Any]) -> Recipe:
    """The recipe of a table, with its teachers' inside; every network that is named is known.

    Raises:
        RecipeError: an unknown key or network, a wrong type or an impossible value.
    """
    recipe = validate(table, "distil")
    check_networks([("distil", recipe), *chain_of(recipe)])
    return resolved(recipe)


def _teacher(teacher: str, student: dict[str, Any], auto: str, methods: Sequence[str]) -> dict[str, Any]:
    """The `[teacher]` table that a user's word for a teacher means; `student` is the table of a student's recipe.

    A finished run whose projection head was not trained is brought in as weights, which get a head, where `methods`
    read projections.

    Raises:
        RecipeError: nothing of that name.
    """
    path = user_path(teacher)
    if teacher == "auto":
        augment = student.get("augment", {}) | VIEWS
        own = {"name": f"teacher-{auto}", "method": {"name": "cross_entropy"}, "augment": augment}
        inside = {key: student[key] for key in ("data", "train", "plugins") if key in student}
        inside["train"] = {key: value for key, value in inside["train"].items() if key != "quantize"}
        model = {key: value for key, value in student["model"].items() if key not in START}
        return {"recipe": teacher, "resolved": inside | own | {"model": model | {"arch": auto}}}
    if teacher.startswith("timm:"):
        return {"timm": teacher.removeprefix("timm:")}
    run = RunFolder(path)
    if run.exists:
        headless = "joint" in methods and run.finished and not run.card.projection_trained
        return {"checkpoint" if headless else "run": str(path)}
    if path.is_file() and path.suffix != ".toml":
        return {"checkpoint": str(path)}
    if path.is_file() or teacher in builtin_names():
        return {"recipe": teacher}
    raise RecipeError(
        f"--teacher {show(teacher)} is none of: auto, a run folder, a file of weights, timm:NAME, a recipe (looked for "
        f"from {Path.cwd()})"
    )


def _note(teacher: str, by: dict[str, Any]) -> str:
    """That a run is taken as weights."""
    given = by.get("checkpoint")
    if given is None or not RunFolder(Path(given)).exists:
        return ""
    return (
        f"--teacher {teacher}: its projection head is not trained; a copy of it in the folder of --out gets one, "
        "fitted on its frozen features"
    )
