"""What is wrong with a recipe, said in one line that names the key, its value and what would be right."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from supcrd.base.wording import LONG, choices, misspelt, show
from supcrd.recipe.keys import all_keys, flatten, meant, model_of, own_keys
from supcrd.recipe.meanings import RANGED, field_at, text_of
from supcrd.recipe.settings import METHOD_SETTINGS

LINE = 240  # letters of all phrases together, so that with the recipe's name it is one line
MANY = 4  # methods of a list that goes on with their number
PHRASES = {
    "string_type": "text is right",
    "string_too_short": "it must not be empty",
    "string_pattern_mismatch": "letters, digits and . _ = + - are right, a letter or digit first",
}


def explain(error: ValidationError, table: Mapping[str, Any]) -> str:
    """A phrase for each mistake that validation found in a recipe's table, as many as go into a line."""
    problems = list(_problems(error))
    phrases = list(dict.fromkeys(phrase for problem in problems for phrase in _phrases(problem, table)))
    if len(phrases) == 1 and problems[0]["type"] == "missing" and isinstance(problems[0]["loc"][-1], str):
        return f"{phrases[0]}{_meaning(problems[0]['loc'])}"
    line = phrases[:1]
    for phrase in phrases[1:]:
        if sum(map(len, line)) + len(phrase) > LINE:
            return f"{'; '.join(line)}; and {len(phrases) - len(line)} more"
        line.append(phrase)
    return "; ".join(line)


def _meaning(location: Sequence[int | str]) -> str:
    """What a key is, to stand behind its name; nothing for a table."""
    known = field_at(location)
    if known is None or (text := text_of(known[0])) == "" or model_of(known[0].annotation) is not None:
        return ""
    return f": {text}" if known[1] == "text" else f": {text}; {known[1]}"


def _problems(error: ValidationError) -> Iterator[ErrorDetails]:
    """The problems, without what only follows from another one."""
    for problem in error.errors(include_url=False):
        context = problem.get("ctx", {})
        if problem["type"] != "too_short" or len(problem["input"]) == context.get("actual_length"):
            yield problem  # a list whose values are wrong is too short as well


def _phrases(problem: ErrorDetails, table: Mapping[str, Any]) -> Iterator[str]:
    # the discriminator's value stands in the path behind "method"
    location, value, kind = problem["loc"], problem["input"], problem["type"]
    method = str(location[1]) if len(location) > 1 and location[0] == "method" else None
    key = _named([part for i, part in enumerate(location) if not (i == 1 and method)])
    if method is not None and method not in METHOD_SETTINGS:  # what stands in folders of imported weights
        yield f"unknown method.name = {show(method)}{choices(method, list(METHOD_SETTINGS))}"
    elif location[1:2] == ("classes",):
        names = _at(table, location[:2])
        yield f"{_named(location[:2])} = {show(names)}: two names or more are right, or a text file of them"
    elif kind == "extra_forbidden":
        yield from _unknown(key, value, method, table)
    elif kind == "missing" and isinstance(location[-1], int):
        yield f"{_named(location[:-1])} = {show(value)} has too few values; {location[-1] + 1} or more are right"
    elif kind == "missing":
        yield f"key {key} is missing"
    elif kind == "union_tag_invalid":
        name = value.get("name") if isinstance(value, Mapping) else value
        yield f"unknown method.name = {show(name)}{choices(str(name), list(METHOD_SETTINGS))}"
    elif kind == "union_tag_not_found":
        yield f"key method.name is missing; valid: {', '.join(METHOD_SETTINGS)}"
    elif kind == "value_error":
        # the settings of views do not know in which table they are
        where = f"{key}." if location[:1] in (("augment",), ("views",)) else ""
        yield f"{where}{problem['ctx']['error']}"
    elif kind == "literal_error":
        valid = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
        yield f"{key} = {show(value)}{choices(str(value), valid)}"
    elif kind in ("too_short", "too_long"):
        few, wrong = kind == "too_short", problem["ctx"]["actual_length"]
        least = problem["ctx"]["min_length" if few else "max_length"]
        yield f"{key} = {show(value)} has {wrong} values; {least} or {'more' if few else 'fewer'} are right"
    elif kind in ("model_type", "model_attributes_type", "dict_type"):
        inside = next((known_key for known_key in all_keys() if known_key.startswith(f"{key}.")), f"{key}.KEY")
        yield f"{key} = {show(value)}: it is a table; its keys are written as {inside}"
    elif kind in ("float_type", "int_type") and isinstance(value, str) and _number(value) is not None:
        yield f"{key} = {show(value)} is text; as a number it is written {_number(value)}"
    elif kind in RANGED and (known := field_at(location)) is not None:
        yield f"{key} = {show(value)}: {'a finite number' if kind == 'finite_number' else known[1]} is right"
    elif kind == "tuple_type":
        yield f"{key} = {show(value)}: {_list_like(key, location, value)}"
    else:
        message = PHRASES.get(kind, problem["msg"])
        yield f"{key} = {show(value)}: {message[0].lower()}{message[1:]}"


def _named(path: Sequence[int | str]) -> str:
    """A key as people write it: dotted, and cut where it is long; of a list the number of its value before it."""
    key = _cut(".".join(part for part in path if isinstance(part, str)))
    number = next((part for part in path if isinstance(part, int)), None)
    return key if number is None else f"value {number + 1} of {key}"


def _at(table: Mapping[str, Any], path: Sequence[int | str]) -> Any:
    inner: Any = table
    for part in path:
        inner = inner[part]
    return inner


def _unknown(key: str, value: Any, method: str | None, table: Mapping[str, Any]) -> Iterator[str]:
    """What to say of a key that is none; of a table that is none, for each of its keys."""
    if method is not None:
        yield _unknown_of_method(key.removeprefix("method."), value, method)
        return
    for path, inner in [(key, value)] if not isinstance(value, Mapping) else flatten(value, f"{key}."):
        hint = meant(path, table)
        phrase = f"unknown key {_cut(path)} = {show(inner)}"
        prefix, _, last = path.rpartition(".")
        holders = _methods_with(last)
        if holders and (hint is None or (hint.rpartition(".")[2] != last and not hint.startswith(f"{prefix}."))):
            yield f"{phrase}; method.{last} is a key of {_list(holders)}"  # not of this recipe's method
        else:
            yield phrase if hint is None else f"{phrase}; did you mean {hint}?"


def _unknown_of_method(key: str, value: Any, method: str) -> str:
    own = own_keys(METHOD_SETTINGS[method])
    others = _methods_with(key)
    if not others:
        table = {"method": {"name": method}}
        hint = misspelt(key, own)
        hint = f"method.{hint}" if hint else meant(f"method.{key}", table)
        if hint:
            return f"unknown key method.{key} = {show(value)}; did you mean {hint}?"
    has = f"{_list(others)} {'has' if len(others) == 1 else 'have'} it; " if others else ""
    valid = f"{method}'s {'is' if len(own) == 1 else 'are'} {', '.join(own)}"
    return f"method {method} has no key {_cut(key, 50)} = {show(value, 50)} ({has}{valid})"


def _methods_with(key: str) -> list[str]:
    return [name for name, settings in METHOD_SETTINGS.items() if key != "name" and key in settings.model_fields]


def _cut(key: str, most: int = LONG) -> str:
    return key if len(key) <= most else f"{key[: most - 3]}..."


def _list(names: Sequence[str]) -> str:
    """Names as people write them, long lists cut."""
    names = [*names[:MANY], f"{len(names) - MANY} more"] if len(names) > MANY + 2 else names
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _list_like(key: str, location: Sequence[int | str], value: Any) -> str:
    """What is right where a list is, with an example of it."""
    known = field_at(location)
    if known is None or "number" in known[1]:
        return "numbers are right, such as [0.5, 0.25] in a file, or 0.5,0.25 on the command line"
    example = json.dumps(value if isinstance(value, str) and 0 < len(value) <= LONG else "a", ensure_ascii=False)
    return f"a list is right, such as [{example}]; on the command line in quotes, as '{key}=[{example}]'"


def _number(text: str) -> float | int | None:
    try:
        number = float(text)
    except ValueError:
        return None
    if number != number or abs(number) == float("inf"):
        return None
    return int(number) if re.fullmatch(r"[+-]?\d+", text.strip()) else number
