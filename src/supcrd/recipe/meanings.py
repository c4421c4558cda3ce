"""What each key of a recipe means: its default, its range and its text, read from the settings themselves."""

import json
from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from supcrd.recipe.keys import ROWS, model_of
from supcrd.recipe.settings import METHOD_SETTINGS, Recipe, TeacherSettings, ViewSettings

ONES = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
MANY = {str: "texts", int: "whole numbers", float: "numbers"}
# pydantic's names of mistakes that the range of the key answers.
RANGED = {
    "bool_type", "int_type", "int_from_float", "float_type", "finite_number",
    "greater_than", "greater_than_equal", "less_than", "less_than_equal",
}  # fmt: skip
BOUNDS = ("ge", "gt", "le", "lt", "min_length", "max_length")


class Key(NamedTuple):
    """One key."""

    name: str
    """dotted"""
    default: str
    """as TOML has it; required, or not set"""
    range: str
    meaning: str


class Table(NamedTuple):
    """The keys of one table."""

    title: str
    about: str
    keys: tuple[Key, ...]


def groups(prefix: str = "") -> list[Table]:
    """All keys of a recipe that begin with a prefix, table by table; each method has a table of its own.

    Example:
        >>> [(key.name, key.default, key.range) for group in groups("train.l") for key in group.keys]
        [('train.lr', '0.001', 'a number above 0 and of 1000 or less')]
    """
    every = [group_of(Recipe, "", "(top level)")]
    for name, field in Recipe.model_fields.items():
        inner = model_of(field.annotation)
        if name == "method":
            methods = METHOD_SETTINGS.items()
            every += [group_of(settings, "method", f"method, name = {method!r}") for method, settings in methods]
        elif inner is not None:
            every.append(group_of(inner, name, name))
    chosen = [group._replace(keys=tuple(k for k in group.keys if k.name.startswith(prefix))) for group in every]
    return [group for group in chosen if group.keys]


def group_of(settings: type[BaseModel], prefix: str, title: str) -> Table:
    """The keys of a table, `name` first; of a recipe those outside its tables."""
    fields = sorted(settings.model_fields.items(), key=lambda item: item[0] != "name")
    keys = [
        Key(f"{prefix}.{name}" if prefix else name, shown(field), range_of(field), text_of(field))
        for name, field in fields
        if not (settings is Recipe and (name == "method" or model_of(field.annotation) is not None))
    ]
    return Table(title, " ".join((settings.__doc__ or "").split()), tuple(keys))


def shown(field: FieldInfo) -> str:
    """A default as TOML has it; required, or not set."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "default" in extra:
        return str(extra["default"])
    if field.is_required():
        return "required"
    if field.default is None:
        return "not set"
    if isinstance(field.default, BaseModel):
        return "as [head]"
    return json.dumps(list(field.default) if isinstance(field.default, tuple) else field.default)


def text_of(field: FieldInfo) -> str:
    """The meaning of a key, in one line."""
    return " ".join((field.description or "").split())


def range_of(field: FieldInfo) -> str:
    """Which values a key can have, as a phrase that "is right" can follow.

    Example:
        >>> from supcrd.recipe.settings import DataSettings, FitSettings
        >>> range_of(DataSettings.model_fields["validation"]), range_of(FitSettings.model_fields["optimizer"])
        ('a number of 0 or more and below 1', 'adam, adamw or sgd')
        >>> range_of(DataSettings.model_fields["std"])
        '1 to 3 numbers of 0.0001 to 1000'
    """
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "range" in extra:
        return str(extra["range"])
    return _range(field.annotation, field.metadata)


def field_at(location: Sequence[int | str], model: type[BaseModel] = Recipe) -> tuple[FieldInfo, str] | None:
    """The field at a place in a recipe, and the range of the value there; None where the place is in no known table.

    Args:
        location: as pydantic names places: the name of a method or teacher behind `method` and `teachers`, the number
            of a value behind the key of a list.
        model: the table that the place is in.

    Example:
        >>> field_at(("method", "kd", "temperature"))[1], field_at(("data", "std", 1))[1]
        ('a number of 0.001 to 1000', 'a number of 0.0001 to 1000')
    """
    name, rest = str(location[0]) if location else "", location[1:]
    if name not in model.model_fields:
        return None
    field = model.model_fields[name]
    inner = model_of(field.annotation)
    if model is Recipe and name == "method":
        inner, rest = METHOD_SETTINGS.get(str(rest[0])) if rest else None, rest[1:]
    elif model is Recipe and name in ROWS:
        inner, rest = (TeacherSettings if name == "teachers" else ViewSettings), rest[1:]
    if not rest:
        return field, range_of(field)
    if isinstance(rest[0], int):
        lists = [option for option, _ in _options(field.annotation, field.metadata) if get_origin(option) is tuple]
        return (field, _range(get_args(lists[0])[0], ())) if lists else None
    return field_at(rest, inner) if inner is not None else None


def is_default(recipe: Recipe, key: str, value: Any) -> bool:
    """Whether a value of a recipe's table is the one that the key has where nothing is said; False for keys without.

    Args:
        recipe: that the value is of; its method decides what the keys of `method` are.
        key: dotted.
        value: as `to_table` gives it.

    Example:
        >>> from supcrd.recipe import load
        >>> recipe = load("digits-kd")
        >>> is_default(recipe, "data.validation", 0.1), is_default(recipe, "train.epochs", 60)
        (True, False)
    """
    parts = key.split(".")
    where = ["method", recipe.method.name, *parts[1:]] if parts[0] == "method" else parts
    field, _ = field_at(where) or (None, "")
    if field is None or field.is_required():
        return False
    default = field.default
    return bool(value == (list(default) if isinstance(default, tuple) else default))


def _options(annotation: Any, constraints: Sequence[Any]) -> list[tuple[Any, list[Any]]]:
    """The types of a union, None left out, each with its constraints."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        bounds = [part for one in more for part in (one.metadata if isinstance(one, FieldInfo) else [one])]
        return _options(inner, [*constraints, *bounds])
    if get_origin(annotation) in (Union, UnionType):
        return [typed for option in get_args(annotation) for typed in _options(option, constraints)]
    return [] if annotation is NoneType else [(annotation, list(constraints))]


def _range(annotation: Any, constraints: Sequence[Any]) -> str:
    return ", or ".join(_range_of_one(option, bounds) for option, bounds in _options(annotation, constraints))


def _range_of_one(annotation: Any, constraints: Sequence[Any]) -> str:
    bounds = {name: getattr(one, name) for one in constraints for name in BOUNDS if hasattr(one, name)}
    if get_origin(annotation) is Literal:
        names = [str(name) for name in get_args(annotation)]
        return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    if get_origin(annotation) is tuple:
        ((inner, within),) = _options(get_args(annotation)[0], ())
        least, most = bounds.get("min_length", 0), bounds.get("max_length")
        number = f"{least} to {most} " if most is not None else f"{least} or more " if least > 1 else ""
        return f"{number}{MANY.get(inner, 'values')}{_bounds(within)}"
    if get_origin(annotation) is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "a table"
    return f"{ONES.get(annotation, 'any value')}{_bounds(constraints)}"


def _end(number: float) -> str:
    """Of a range, without the rounding of large whole numbers."""
    return str(int(number)) if isinstance(number, int) or (number.is_integer() and abs(number) < 1e9) else f"{number:g}"


def _bounds(constraints: Sequence[Any]) -> str:
    """What stands behind "a number"."""
    bounds = {name: getattr(one, name) for one in constraints for name in BOUNDS if hasattr(one, name)}
    if "ge" in bounds and "le" in bounds:
        return f" of {_end(bounds['ge'])} to {_end(bounds['le'])}"
    parts = [f"above {_end(bounds['gt'])}"] if "gt" in bounds else []
    parts += [f"of {_end(bounds['ge'])} or more"] if "ge" in bounds else []
    parts += [f"below {_end(bounds['lt'])}"] if "lt" in bounds else []
    parts += [f"of {_end(bounds['le'])} or less"] if "le" in bounds else []
    return f" {' and '.join(parts)}" if parts else ""
