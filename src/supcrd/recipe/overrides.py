"""Changes of a recipe's table: KEY=VALUE, the value as TOML writes it, else a string."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from supcrd.base.wording import show
from supcrd.errors import RecipeError
from supcrd.recipe import paths
from supcrd.recipe.settings import METHOD_SETTINGS
from supcrd.recipe.types import Settings

LENGTHS = ("epochs", "minutes")
"""Keys of [train] that exclude one another."""
# Keys that take several numbers: 0.5,0.4,0.3 is understood on the command line, as `evaluate --mean` takes it.
NUMBERS = (
    "data.mean", "data.std", "model.projector", "teacher.mean", "teacher.std", "augment.crop_scale",
    "augment.crop_ratio", "augment.blur_sigma", "augment.erasing_scale", "augment.erasing_ratio",
    "method.temperatures", "train.milestones",
)  # fmt: skip


def overridden(table: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A recipe's table with "key.of.recipe=value" applied in turn; `method.name` keeps what means the same there.

    Raises:
        RecipeError: one that is not KEY=VALUE; both train.epochs and train.minutes.

    Example:
        >>> overridden({"train": {"epochs": 1}}, ["train.epochs=2", "data.mean=0.5,0.4,0.3"])
        {'train': {'epochs': 2}, 'data': {'mean': [0.5, 0.4, 0.3]}}
    """
    keys = [override.partition("=")[0].strip() for override in overrides]
    for key in keys:
        if key.endswith("train.epochs") and (other := f"{key.removesuffix('epochs')}minutes") in keys:
            raise RecipeError(f"{key} and {other} exclude one another: give one of them")
    for override in overrides:
        table = _apply(table, override)
    return table


def _apply(table: dict[str, Any], override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key or not all(key.split(".")):
        raise RecipeError(f"override {show(override)} is not KEY=VALUE, such as train.epochs=2")
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        parsed = {}
    value: Any = parsed["value"] if len(parsed) == 1 else text
    own = re.sub(r"^teachers\.[^.]+\.", "teacher.", key)  # the key in its own recipe
    own = re.sub(r"^views\.[^.]+\.", "augment.", re.sub(r"^(teacher\.override\.)+", "", own))
    if own in NUMBERS:
        value = _numbers(value)
    methods = table.get("method")
    if key == "method.name" and isinstance(value, str) and value in METHOD_SETTINGS and isinstance(methods, Mapping):
        table = table | {"method": _of_same_meaning(methods, value)}
    for part in reversed(key.split(".")):
        value = {part: value}
    return merge(table, paths.absolute(value, Path(), f"override {show(override)}"))


def _of_same_meaning(method: Mapping[str, Any], new: str) -> dict[str, Any]:
    """What another method keeps of a table: keys that mean the same in both.

    With another default they do not (a temperature of logits, one of cosines), a weight is each method's own, and so
    are alpha and beta unless one class of settings brought them to both.
    """
    if method.get("name") == new:
        return dict(method)
    before, after = METHOD_SETTINGS.get(str(method.get("name"))), METHOD_SETTINGS[new]
    if before is None:
        return {}
    common = [base.model_fields for base in before.__mro__ if issubclass(base, Settings) and issubclass(after, base)]

    def same(key: str) -> bool:
        old, own = before.model_fields.get(key), after.model_fields.get(key)
        if old is None or own is None or old.default != own.default or key == "weight":
            return False
        return key not in ("alpha", "beta") or any(key in fields for fields in common)

    return {key: value for key, value in method.items() if same(key)}


def _numbers(value: Any) -> Any:
    """One number, or some separated by commas, as a list; anything else as it is."""
    parts = value.split(",") if isinstance(value, str) else [value]
    try:
        return [part if type(part) in (int, float) else _number(part) for part in parts]
    except (TypeError, ValueError):
        return value


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"\s*[+-]?\d+\s*", text) else float(text)


def merge(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables, with the values of `changes` in place of those of the same keys.

    Of train.epochs and train.minutes the one that is given takes the place of the other.

    Example:
        >>> merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}})
        {'a': {'b': 1, 'c': 3}}
        >>> merge({"train": {"epochs": 30, "lr": 0.1}}, {"train": {"minutes": 5}})
        {'train': {'lr': 0.1, 'minutes': 5}}
    """
    merged = dict(table)
    for key, value in changes.items():
        old = merged.get(key)
        if key == "train" and isinstance(old, Mapping) and isinstance(value, Mapping):
            replaced = {other for one, other in (LENGTHS, LENGTHS[::-1]) if one in value}
            old = {name: inner for name, inner in old.items() if name not in replaced}
        merged[key] = merge(old if isinstance(old, Mapping) else {}, value) if isinstance(value, Mapping) else value
    return merged
