"""Recipes: TOML and KEY=VALUE overrides in, a validated `Recipe` out. Every mistake is found here, before any work."""

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from supcrd.errors import RecipeError
from supcrd.explain import explain, nearest, show
from supcrd.settings import METHOD_SETTINGS, Recipe, TeacherSettings

# Where a run happens and what shows it, not what it computes: these keys neither name a run nor make it another one.
PLACE_KEYS = ("train.device", "train.tensorboard", "data.folder", "data.workers", "teacher.check")
# Tables whose keys are known by their last part in the name of a run folder.
SHORT_TABLES = ("data", "model", "method", "augment", "train")


def builtin_names() -> list[str]:
    """Names of the recipes that ship with the package, sorted.

    Example:
        >>> "digits-lw-supcrd" in builtin_names()
        True
    """
    return sorted(file.name.removesuffix(".toml") for file in _builtin().iterdir() if file.name.endswith(".toml"))


def builtin_text(name: str) -> str:
    """The TOML text of a built-in recipe.

    Raises:
        RecipeError: there is none of that name.
    """
    if name not in builtin_names():
        raise RecipeError(f"unknown recipe {name!r}{nearest(name, builtin_names())}; `supcrd recipes` lists them")
    text: str = (_builtin() / f"{name}.toml").read_text(encoding="utf-8")
    return text


def load(recipe: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, apply overrides and validate it, its teacher's recipe included.

    Args:
        recipe: the name of a built-in recipe, or the path of a TOML file (which has a slash or ends in .toml).
        overrides: "key.of.recipe=value", the value as TOML writes it, else a string. `method.name=...` keeps those keys
            of the old method that the new one has too.

    Returns:
        The recipe; its name is the file's, with what the overrides changed, unless they give a `name`.

    Raises:
        RecipeError: a file that is missing or no TOML; an unknown key (the nearest valid one is named); a wrong type or
            an impossible value.

    Example:
        >>> load("digits-lw-supcrd", ["method.beta=5"]).name
        'digits-lw-supcrd_beta=5'
    """
    table, stem = _read(recipe)
    original = _validate({"name": stem} | table, str(recipe))
    changed = {"name": stem} | table
    for override in overrides:
        changed = _apply(changed, override)
    result = _validate(changed, str(recipe))
    if not any(override.partition("=")[0].strip() == "name" for override in overrides):
        result = result.model_copy(update={"name": run_name(original, result)})
    teacher_recipe(result)
    return result


def teacher_recipe(
    student: Recipe, settings: TeacherSettings | None = None, *, chain: tuple[str, ...] = ()
) -> Recipe | None:
    """The recipe of the teacher that a student's recipe asks to train first, on the student's data and device.

    `settings` say which one of the student's teachers; that of `[teacher]` if not given.

    The data table is the student's: a teacher that saw the validation images, or other pixels, would spoil the run.

    Raises:
        RecipeError: as `load`, for the teacher's recipe and `teacher.override`.

    Example:
        >>> teacher_recipe(load("digits-lw-supcrd")).name
        'digits-teacher'
    """
    settings = settings or student.teacher
    if settings is None or settings.recipe is None:
        return None
    named = settings.recipe
    if named in chain:
        raise RecipeError(f"teacher.recipe {named} is its own teacher: {' -> '.join((*chain, named))}")
    if "data" in settings.override:
        raise RecipeError("teacher.override.data: a teacher learns on its student's data; set data.KEY instead")
    where = f"teacher.recipe {named}"
    table, stem = _read(named)
    original = _validate({"name": stem} | table, where)
    changed = _merge({"name": stem} | table, settings.override)
    result = _validate(changed, f"{where} with teacher.override")
    place = result.train.model_copy(update={"device": student.train.device})
    result = result.model_copy(update={"data": student.data, "train": place})
    if "name" not in settings.override:
        result = result.model_copy(update={"name": run_name(original, result)})
    if result.teacher is not None and result.teacher.recipe is not None:
        teacher_recipe(result, chain=(*chain, named))  # a chain of teachers is checked to its end
    if result.name == student.name:
        raise RecipeError(
            f"name = {student.name!r} is that of its teacher; give another name=... or teacher.override.name"
        )
    return result


def needs_teacher(recipe: Recipe, settings: TeacherSettings | None = None) -> bool:
    """Whether a run needs a teacher of its (that of `[teacher]` if none is given): its method reads it, or it compares.

    A finished `teacher.run` is always read: it costs little.
    """
    settings = settings or recipe.teacher
    return settings is not None and (recipe.method.reads_teacher or settings.compare or settings.run is not None)


def to_table(recipe: Recipe) -> dict[str, Any]:
    """The recipe as nested dicts of TOML's types, keys that are not set left out."""
    table: dict[str, Any] = recipe.model_dump(mode="json", exclude_none=True)
    return table


def to_toml(recipe: Recipe) -> str:
    """The whole recipe, defaults included, as TOML text that `load` reads back."""
    return tomli_w.dumps(to_table(recipe))


def parse(text: str, where: str, *, check_archs: bool = True) -> Recipe:
    """Validate the TOML text of a whole recipe (as `to_toml` writes it).

    Without `check_archs` its networks are taken as known, which does without torch.
    """
    return _validate(_toml(text, where), where, check_archs=check_archs)


def differences(old: Recipe, new: Recipe) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ, key -> (old, new); None where a key is not set. Where a run happens does not count.

    Example:
        >>> differences(load("digits-crd"), load("digits-crd", ["seed=3", "train.device=cpu", "name=x"]))
        {'seed': (0, 3)}
    """
    before, after = dict(flatten(to_table(old))), dict(flatten(to_table(new)))
    keys = [key for key in {**before, **after} if key not in PLACE_KEYS and key != "name"]
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def run_name(original: Recipe, changed: Recipe) -> str:
    """The original's name and what was changed: readable, and the same whenever the recipe is the same."""
    parts = [original.name]
    for key, (_, value) in sorted(differences(original, changed).items()):
        if value is None:
            continue  # a key that the new method does not have; the method's name says it
        short = key.split(".", 1)[1] if key.split(".")[0] in SHORT_TABLES else key
        if isinstance(value, str):  # of a path its last part, which is what people know it by
            shown = re.sub(r"\.(npz|toml|pth|pt|safetensors)$", "", re.split("[/:]", value.rstrip("/"))[-1])
        else:
            shown = f"{value:.12g}" if isinstance(value, float) else show(value)
        parts.append(f"{short}={re.sub(r'[^A-Za-z0-9.+-]+', '-', shown) or 'none'}")
    name = "_".join(parts)
    if len(name) <= 120:  # file systems allow 255 bytes
        return name
    return f"{name[:100]}_{hashlib.blake2b(name.encode(), digest_size=5).hexdigest()}"


def _builtin() -> Any:
    return resources.files("supcrd") / "recipes"


def _read(recipe: str | Path) -> tuple[dict[str, Any], str]:
    text = str(recipe)
    if not text.endswith(".toml") and "/" not in text:
        return _toml(builtin_text(text), text), text
    path = Path(text).expanduser()
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise RecipeError(f"recipe {text} cannot be read: {reason}") from None
    return _toml(content, text), re.sub(r"[^A-Za-z0-9._=+-]+", "-", path.stem)


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also an integer of thousands of digits, endless nesting
        raise RecipeError(f"{where} is not TOML: {error}") from None


def _apply(table: dict[str, Any], override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key or not all(key.split(".")):
        raise RecipeError(f"override {override!r} is not KEY=VALUE, such as train.epochs=2")
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        parsed = {}
    value: Any = parsed["value"] if len(parsed) == 1 else text
    if key == "method.name" and isinstance(value, str) and value in METHOD_SETTINGS and "method" in table:
        shared = METHOD_SETTINGS[value].model_fields
        table = table | {"method": {k: v for k, v in table["method"].items() if k in shared}}
    for part in reversed(key.split(".")):
        value = {part: value}
    return _merge(table, value)


def _merge(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(table)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old if isinstance(old, Mapping) else {}, value) if isinstance(value, Mapping) else value
    return merged


def flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of nested tables, dotted, with their values.

    Example:
        >>> dict(flatten({"seed": 0, "train": {"epochs": 2}}))
        {'seed': 0, 'train.epochs': 2}
    """
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _validate(table: dict[str, Any], where: str, *, check_archs: bool = True) -> Recipe:
    try:
        recipe = Recipe.model_validate(table)
    except ValidationError as error:
        raise RecipeError(f"recipe {where}: " + "; ".join(explain(error))) from None
    if not check_archs:
        return recipe
    from supcrd.models import check_arch  # brings torch, which reading runs and listing recipes do not need

    for key, arch in (("model.arch", recipe.model.arch), ("teacher.arch", recipe.teacher and recipe.teacher.arch)):
        if arch:
            try:
                check_arch(arch)
            except ValueError as error:
                raise RecipeError(f"recipe {where}: {key}: {error}") from None
    return recipe
