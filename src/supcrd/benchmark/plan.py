"""What `supcrd benchmark` trains: for each pair every method and the ladder of cross-entropy, each with every seed.

All configurations have the same view-epochs (epochs x student views an image), batch size, optimiser and schedule.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from supcrd.base.wording import choices, show
from supcrd.benchmark import published
from supcrd.benchmark.changes import TEACHER, Change, chosen, read_changes
from supcrd.benchmark.pairs import Pair
from supcrd.benchmark.protocol import BASE, KD, LADDER, VIEW_EPOCHS, WARMUP, train, views_of
from supcrd.benchmark.teachers import read_teachers, trained_first
from supcrd.errors import RecipeError
from supcrd.recipe.overrides import overridden
from supcrd.recipe.settings import METHOD_SETTINGS, Recipe
from supcrd.recipe.tables import check_networks, validate, with_plugins
from supcrd.recipe.teachers import chain_of, resolved

ALWAYS = (*LADDER, KD)
"""What every benchmark has beside the methods asked for."""
REUSES = "simkd"
"""The method whose student needs a projector to the teacher's width."""

Groups = dict[str, list[Recipe]]
"""By configuration, a recipe for every seed."""


@dataclass(frozen=True)
class Plan:
    """Recipes by pair and configuration."""

    view_epochs: int
    groups: dict[Pair, Groups]

    @property
    def recipes(self) -> list[Recipe]:
        """All of them; seed by seed, so that an interrupted benchmark has pairs of runs to compare."""
        rows = [row for groups in self.groups.values() for row in zip(*groups.values(), strict=True)]
        by_seed = sorted(rows, key=lambda row: row[0].seed)  # stable: the pairs stay in order
        return [recipe for row in by_seed for recipe in row]

    def without(self, left_out: Mapping[Pair, Mapping[str, str]]) -> "Plan":
        """The plan without some configurations of a pair."""
        rest = {
            pair: {name: group for name, group in groups.items() if name not in left_out.get(pair, {})}
            for pair, groups in self.groups.items()
        }
        return Plan(self.view_epochs, rest)

    def changed(self, change: Callable[[Recipe], Recipe]) -> "Plan":
        """The plan with every recipe as a function makes it."""
        groups = {
            pair: {name: [change(recipe) for recipe in group] for name, group in groups.items()}
            for pair, groups in self.groups.items()
        }
        return Plan(self.view_epochs, groups)


def plan(
    pairs: Sequence[Pair],
    *,
    methods: Sequence[str] = (),
    view_epochs: int = VIEW_EPOCHS,
    seeds: int = 3,
    data: str = "cifar100",
    teachers: Sequence[str] = (),
    changes: Sequence[str] = (),
    devices: Sequence[str] = (),
) -> Plan:
    """The recipes of a benchmark.

    Args:
        pairs: of `pairs.read_pairs`.
        methods: names of `supcrd methods`; none for all of them. The ladder and plain KD are there in any case.
        view_epochs: epochs x student views an image, >= 1, of every student; epochs of a teacher that is trained first.
        seeds: of each configuration, >= 1: 0, 1, ...
        data: a data source, as `data.source`.
        teachers: as of `teachers.read_teachers`; those of other architectures are trained first.
        changes: as of `changes.read_changes`.
        devices: where the runs compute, in turn, as `train.device`; none for the best one that there is.

    Raises:
        RecipeError: an unknown method, key, network or teacher; a value out of range; view-epochs that are no multiple
            of the views of a configuration.

    Example:
        >>> made = plan([Pair("resnet14", "resnet8")], methods=["rkd"], view_epochs=4, seeds=1, data="digits")
        >>> [recipe.name.partition("_")[2] for recipe in made.recipes]
        ['cross_entropy', 'cross_entropy-strong', 'cross_entropy-cutmix', 'kd', 'rkd']
    """
    if seeds < 1:
        raise RecipeError(f"--seeds {seeds} is not right; 1 or more is")
    if view_epochs < 1:
        raise RecipeError(f"--view-epochs {view_epochs} is not right; 1 or more is, as {VIEW_EPOCHS}")
    names = configurations(methods)
    wanted, known = read_changes(changes, names), read_teachers(teachers, pairs)
    in_vain = [change.override for change in wanted if change.where == TEACHER]
    if in_vain and all(pair.teacher in known for pair in pairs):
        raise RecipeError(f"--set {TEACHER}:{in_vain[0]}: no teacher is trained here, all are by --teacher")
    groups: dict[Pair, Groups] = {}
    for pair in pairs:
        groups[pair] = {}
        by = known.get(pair.teacher) or trained_first(pair, data, view_epochs, wanted)
        common = {"data": {"source": data}, "teacher": by, "head": {"epochs": 0}, "classifier": "trained"}
        for name in names:
            draft = _recipe(common, pair, name, 1, wanted)
            epochs = epochs_in(view_epochs, draft.view_count, name)
            first = _recipe(common, pair, name, epochs, wanted)
            groups[pair][name] = [_seeded(first, seed) for seed in range(seeds)]
    return _placed(Plan(view_epochs, groups), devices)


def configurations(methods: Sequence[str]) -> list[str]:
    """The ladder, KD and the methods asked for, or all of them, each once.

    Raises:
        RecipeError: a name that is no method.
    """
    valid = list(METHOD_SETTINGS)
    for name in methods:
        if name not in valid and name not in LADDER:
            raise RecipeError(f"--methods {show(name)} is no method{choices(name, valid)}")
    return list(dict.fromkeys([*ALWAYS, *(methods or valid)]))


def epochs_in(view_epochs: int, views: int, name: str) -> int:
    """The epochs of a student that sees an image `views` times in each.

    Raises:
        RecipeError: it is no whole number.

    Example:
        >>> epochs_in(240, 2, "crd")
        120
        >>> epochs_in(241, 2, "crd")
        Traceback (most recent call last):
        supcrd.errors.RecipeError: --view-epochs 241: crd has 2 views an image; a multiple is right, as 240 or 242
    """
    epochs, rest = divmod(view_epochs, views)
    if rest:
        below, above = views * epochs, views * (epochs + 1)
        near = f"{below} or {above}" if epochs else str(above)
        raise RecipeError(
            f"--view-epochs {view_epochs}: {name} has {views} views an image; a multiple is right, as {near}"
        )
    return epochs


def _recipe(common: dict[str, Any], pair: Pair, name: str, epochs: int, changes: Sequence[Change]) -> Recipe:
    """The recipe of a configuration with seed 0, with its teacher's inside; every network that is named is known.

    Raises:
        RecipeError: an unknown key or network, a wrong type or an impossible value.
    """
    arch = f"{pair.student}+{_width(pair.teacher)}" if name == REUSES else pair.student
    method: dict[str, Any] = {"name": BASE if name in LADDER else name} | published.settings(pair, name)
    if name in WARMUP:
        method["warmup_epochs"] = WARMUP[name] * epochs
    own = {
        "name": f"{pair.stem}_{name}",
        "model": {"arch": arch},
        "method": method,
        "augment": views_of(name),
        "train": train(pair.student, epochs),
    }
    where = f"{pair.key}, {name}"
    recipe = validate(with_plugins(overridden(common | own, chosen(changes, name)), "benchmark"), where)
    check_networks([(where, recipe), *chain_of(recipe)])
    return resolved(recipe)


@functools.cache
def _width(arch: str) -> int:
    """Features of a network."""
    import torch  # takes seconds, and only one method needs it

    from supcrd.base.seeding import forked
    from supcrd.models.archs import build_encoder

    with forked(), torch.device("meta"):  # without memory, and nothing is drawn
        encoder = build_encoder(arch, in_channels=3, image_size=32, pretrained=False)
    return encoder.feature_dim


def _seeded(recipe: Recipe, seed: int) -> Recipe:
    name = f"{recipe.name}_seed={seed}" if seed else recipe.name
    return recipe.model_copy(update={"seed": seed, "name": name})


def _placed(planned: Plan, devices: Sequence[str]) -> Plan:
    """The plan with the runs on devices in turn, in the order in which they are begun."""
    if not devices:
        return planned
    places = {recipe.name: devices[number % len(devices)] for number, recipe in enumerate(planned.recipes)}

    def placed(recipe: Recipe) -> Recipe:
        return recipe.model_copy(update={"train": recipe.train.model_copy(update={"device": places[recipe.name]})})

    return planned.changed(placed)
