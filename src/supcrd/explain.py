"""What is wrong with a recipe, said in one line that names the key, its value and what would be right."""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from types import UnionType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from supcrd.settings import METHOD_SETTINGS, Recipe


def explain(error: ValidationError) -> Iterator[str]:
    """A phrase for each mistake that validation found."""
    for problem in error.errors(include_url=False):
        # the discriminator's value stands in the path behind "method"
        path = [str(part) for i, part in enumerate(problem["loc"]) if not (i == 1 and problem["loc"][0] == "method")]
        key, value, kind = ".".join(path), show(problem["input"]), problem["type"]
        if kind == "extra_forbidden":
            yield f"unknown key {key} = {value}{nearest(key, _valid_keys(problem['loc']))}"
        elif kind == "missing":
            yield f"key {key} is missing"
        elif kind == "union_tag_invalid":
            name = problem["input"].get("name") if isinstance(problem["input"], dict) else problem["input"]
            valid = list(METHOD_SETTINGS)
            yield f"unknown method.name = {show(name)}{nearest(str(name), valid)} Valid: {', '.join(valid)}"
        elif kind == "union_tag_not_found":
            yield f"key method.name is missing; valid: {', '.join(METHOD_SETTINGS)}"
        elif kind == "value_error":
            yield str(problem["ctx"]["error"])
        elif kind == "literal_error":
            valid = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
            yield f"{key} = {value}{nearest(str(problem['input']), valid)} Valid: {', '.join(valid)}"
        else:
            message = problem["msg"]
            yield f"{key} = {value}: {message[0].lower()}{message[1:]}"


def _valid_keys(location: Sequence[Any]) -> list[str]:
    """The keys beside the one at `location`, dotted; and all others behind them, for a key under the wrong table."""
    table: Any = Recipe
    for part in location[:-1]:
        fields = table.model_fields if isinstance(table, type) and issubclass(table, BaseModel) else {}
        if part in METHOD_SETTINGS and location[0] == "method":
            table = METHOD_SETTINGS[part]
        elif part in fields:
            table = _model_of(fields[part].annotation)
    prefix = ".".join(str(p) for i, p in enumerate(location[:-1]) if not (i == 1 and location[0] == "method"))
    near = [f"{prefix}.{field}" if prefix else field for field in table.model_fields]
    return near + [key for key in all_keys() if key not in near]


def all_keys() -> list[str]:
    """Every key that a recipe can have, dotted; those of all methods together."""
    keys = list(_keys_of(Recipe, ""))
    methods = {f"method.{field}" for settings in METHOD_SETTINGS.values() for field in settings.model_fields}
    return sorted({*keys, *methods}, key=lambda key: (not key.startswith("train."), key))


def _keys_of(table: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in table.model_fields.items():
        inner = _model_of(field.annotation)
        if inner is not None and name != "method":
            yield from _keys_of(inner, f"{prefix}{name}.")
        elif name != "method":
            yield f"{prefix}{name}"


def _model_of(annotation: Any) -> type[BaseModel] | None:
    options: Iterable[Any] = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)


def nearest(value: str, valid: Sequence[str]) -> str:
    """ "; did you mean X?" of the valid name most like `value`, or nothing where none is like it."""
    last = value.rsplit(".", 1)[-1]
    by_last = {key.rsplit(".", 1)[-1]: key for key in reversed(valid)}  # the first of equal ones stays
    if last in by_last:
        return f"; did you mean {by_last[last]}?"
    close = difflib.get_close_matches(value, valid, n=1, cutoff=0.6)
    close = close or [by_last[key] for key in difflib.get_close_matches(last, by_last, n=1, cutoff=0.6)]
    return f"; did you mean {close[0]}?" if close else ""


def show(value: Any) -> str:
    """A value as a recipe has it, cut where it is long."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
