"""Recipes: TOML and KEY=VALUE overrides in, a validated `Recipe` out. Every mistake is found here, before any work."""

import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from supcrd.base.versions import migrate
from supcrd.base.wording import nearest, show
from supcrd.errors import RecipeError
from supcrd.models.names import check_name
from supcrd.recipe import paths, plugins
from supcrd.recipe.explain import explain
from supcrd.recipe.keys import flatten, with_defaults
from supcrd.recipe.overrides import merge, overridden
from supcrd.recipe.settings import Recipe, TeacherSettings

# Where a run happens and what shows it, not what it computes: these keys neither name a run nor make it another one.
PLACE_KEYS = ("train.device", "train.tensorboard", "data.folder", "data.workers", "teacher.check", "plugins")
# Tables whose keys are known by their last part in the name of a run folder.
SHORT_TABLES = ("data", "model", "method", "augment", "train")
# Values that name no run where a file does not say them: defaults of keys that came after 0.1 to tables which a recipe
# may get by an override, and what a recipe has by its [objective.NAME] tables.
UNNAMED = {"teacher.compare": False, "method.name": "objective"}


RESOLVED = "recipe.toml"
"""The file of a run folder that has the run's whole recipe."""
VERSION = 2
"""Of recipes that are written; 1 is that of 0.1, and of a recipe that does not say its `version`."""


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
        here = f"; did you mean the file {name}.toml?" if Path(f"{name}.toml").is_file() else ""
        hint = here or nearest(name, builtin_names()) or ";"
        raise RecipeError(f"unknown recipe {show(name)}{hint} `supcrd recipes` lists them")
    text: str = (_builtin() / f"{name}.toml").read_text(encoding="utf-8")
    return text


def load(recipe: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe, apply overrides and validate it, its teacher's recipe included.

    Args:
        recipe: the name of a built-in recipe, or the path of a TOML file (which has a slash or ends in .toml).
        overrides: "key.of.recipe=value", the value as TOML writes it, else a string; several numbers may be written as
            0.5,0.4,0.3. `method.name=...` keeps those keys of the old method that the new one has too. They may give
            what the recipe lacks.

    Returns:
        The recipe; its name is the file's, with what the overrides changed, unless they give a `name`.

    Raises:
        RecipeError: a file that is missing or no TOML; an unknown key (the nearest valid one is named); a wrong type or
            an impossible value.

    Example:
        >>> load("digits-lw-supcrd", ["method.beta=5"]).name
        'digits-lw-supcrd_beta=5'
    """
    before = read(recipe)
    table = _with_plugins(overridden(_unresolved(before, overrides), overrides), recipe)
    result = _validate(table, f"recipe {recipe}")
    if not any(override.partition("=")[0].strip() == "name" for override in overrides):
        result = result.model_copy(update={"name": run_name(before, result)})
    # all keys are checked before the first network: timm, which knows the names of its own, brings torch
    taught = [each for settings in result.all_teachers.values() for each in _teachers(result, settings)]
    _check_networks([(f"recipe {recipe}", result), *taught])
    return _resolved(result)


def read(recipe: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """The table of a recipe with its name and overrides, as it is written: nothing of it is checked.

    Raises:
        RecipeError: a file that is missing or no TOML, an override that is not KEY=VALUE.
    """
    table, stem = _read(recipe)
    return overridden({"name": stem} | paths.absolute(table, _folder(recipe), f"recipe {recipe}"), overrides)


def _unresolved(table: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Without the teachers' recipes that a run folder's recipe holds, where overrides change teachers."""
    if not any(re.match(r"\s*(teacher|teachers\.[^.=]+)\.(recipe|override)\b", override) for override in overrides):
        return table

    def open_again(settings: Any) -> Any:
        return {k: v for k, v in settings.items() if k != "resolved"} if isinstance(settings, Mapping) else settings

    changed = {"teacher": open_again(table["teacher"])} if "teacher" in table else {}
    if isinstance(table.get("teachers"), Mapping):
        changed["teachers"] = {name: open_again(settings) for name, settings in table["teachers"].items()}
    return table | changed


def _resolved(recipe: Recipe) -> Recipe:
    """The recipe with those of its teachers inside, so that nothing has to be read again."""

    def whole(settings: TeacherSettings) -> TeacherSettings:
        if settings.recipe is None or settings.resolved:
            return settings
        teacher = _resolved(_teacher(recipe, settings, settings.recipe)[1])
        return settings.model_copy(update={"resolved": to_table(teacher)})

    changed: dict[str, Any] = {}
    if recipe.teacher is not None:
        changed["teacher"] = whole(recipe.teacher)
    if recipe.teachers:
        changed["teachers"] = {name: whole(settings) for name, settings in recipe.teachers.items()}
    return recipe.model_copy(update=changed)


def teacher_recipe(student: Recipe, settings: TeacherSettings | None = None) -> Recipe | None:
    """The recipe of the teacher that a student's recipe asks to train first, on the student's data and device.

    `settings` say which one of the student's teachers; that of `[teacher]` if not given.

    The data table is the student's: a teacher that saw the validation images, or other pixels, would spoil the run.

    Raises:
        RecipeError: as `load`, for the teacher's recipe and `teacher.override`.

    Example:
        >>> teacher_recipe(load("digits-lw-supcrd")).name
        'digits-teacher'
    """
    chain = _teachers(student, settings)
    _check_networks(chain)
    return chain[0][1] if chain else None


def _teachers(student: Recipe, settings: TeacherSettings | None = None) -> list[tuple[str, Recipe]]:
    """The recipe of a student's teacher, of that one's teacher and so on, each with what to call it in a message."""
    chain: list[tuple[str, Recipe]] = []
    named: list[str] = []
    pupil, settings = student, settings or student.teacher
    while settings is not None and settings.recipe is not None:
        if settings.recipe in named:
            circle = " -> ".join([*named, settings.recipe])
            raise RecipeError(f"teacher.recipe {settings.recipe} is its own teacher: {circle}")
        named.append(settings.recipe)
        chain.append(_teacher(pupil, settings, settings.recipe))
        pupil = chain[-1][1]
        settings = pupil.teacher
    for pupil, (_, teacher) in zip([student, *(recipe for _, recipe in chain)], chain, strict=False):
        if teacher.name == pupil.name:
            raise RecipeError(
                f"name = {teacher.name!r} is that of its teacher; give another name=... or teacher.override.name"
            )
    return chain


def _teacher(student: Recipe, settings: TeacherSettings, recipe: str) -> tuple[str, Recipe]:
    where = f"teacher.recipe {recipe}"
    if "data" in settings.override:
        raise RecipeError("teacher.override.data: a teacher learns on its student's data; set data.KEY instead")
    if settings.resolved:  # the recipe of a run folder: what it was is all that counts
        inside = _validate(settings.resolved, where)
        place = inside.train.model_copy(update={"device": student.train.device})
        return where, inside.model_copy(update={"data": student.data, "train": place})
    before = read(recipe)
    table = merge(merge(before, settings.override), {"data": to_table(student)["data"]})
    table = _with_plugins(table, recipe)
    result = _validate(table, f"{where}{' with teacher.override' if settings.override else ''}")
    place = result.train.model_copy(update={"device": student.train.device})
    result = result.model_copy(update={"data": student.data, "train": place})
    if "name" not in settings.override:
        result = result.model_copy(update={"name": run_name(before, result)})
    return where, result


def needs_teacher(recipe: Recipe, settings: TeacherSettings | None = None) -> bool:
    """Whether a run needs the teacher that `settings` name (`[teacher]` if not given): to learn, or to be compared.

    A finished `teacher.run` is always read: it costs little.

    Example:
        >>> needs_teacher(load("digits-kd")), needs_teacher(load("digits-supcon"))
        (True, False)
        >>> needs_teacher(load("digits-supcon", ["teacher.compare=true"]))
        True
    """
    settings = settings or recipe.teacher
    return settings is not None and (recipe.method.reads_teacher or settings.compare or settings.run is not None)


def to_table(recipe: Recipe) -> dict[str, Any]:
    """The recipe as nested dicts of TOML's types, keys that are not set left out."""
    table: dict[str, Any] = recipe.model_dump(mode="json", exclude_none=True)
    return table


def to_toml(recipe: Recipe) -> str:
    """The whole recipe, defaults included, as TOML text that `load` reads back."""
    return tomli_w.dumps({"version": VERSION} | to_table(recipe))


def parse(text: str, where: str, *, check_archs: bool = True) -> Recipe:
    """Validate the TOML text of a whole recipe (as `to_toml` writes it).

    Without `check_archs` its networks are taken as known, which does without torch, and its plug-ins are not run.
    """
    recipe = _validate(_toml(text, where), f"recipe {where}")
    if check_archs:
        plugins.load(recipe.plugins, Path())
        _check_networks([(f"recipe {where}", recipe)])
    return recipe


def differences(old: Recipe, new: Recipe) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ, key -> (old, new); None where a key is not set. Where a run happens does not count.

    Example:
        >>> differences(load("digits-crd"), load("digits-crd", ["seed=3", "train.device=cpu", "name=x"]))
        {'seed': (0, 3)}
    """
    return _changed(dict(flatten(to_table(old))), dict(flatten(to_table(new))))


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = [key for key in {**before, **after} if key not in PLACE_KEYS and key != "name" and ".resolved." not in key]
    return {key: (before.get(key), after.get(key)) for key in keys if not paths.same(before.get(key), after.get(key))}


def run_name(original: Mapping[str, Any], changed: Recipe) -> str:
    """The original's name and what was changed: readable, and the same whenever the recipe is the same.

    Args:
        original: the table that `read` gave; it may lack what only the changes said.
        changed: the recipe that came of it.

    Example:
        >>> run_name(read("digits-crd"), load("digits-crd", ["seed=3"]))
        'digits-crd_seed=3'
    """
    parts = [str(original["name"])]
    before, after = with_defaults(original), dict(flatten(to_table(changed)))
    for key, (_, value) in sorted(_changed(before, after).items()):
        if value is None:
            continue  # a key that the new method does not have; the method's name says it
        if key in UNNAMED and key not in before and value == UNNAMED[key]:
            continue
        short = key.split(".", 1)[1] if key.split(".")[0] in SHORT_TABLES else key
        if isinstance(value, str):  # of a path its last part, which is what people know it by
            shown = re.sub(r"\.(npz|toml|pth|pt|safetensors)$", "", re.split("[/:]", value.rstrip("/"))[-1])
        else:
            shown = f"{value:.12g}" if isinstance(value, float) else show(value, 60)
        parts.append(f"{short}={re.sub(r'[^A-Za-z0-9.+-]+', '-', shown) or 'none'}")
    name = "_".join(parts)
    if len(name) <= 120:  # file systems allow 255 bytes
        return name
    return f"{name[:100]}_{hashlib.blake2b(name.encode(), digest_size=5).hexdigest()}"


def _builtin() -> Any:
    return resources.files("supcrd.recipe") / "builtin"


def _read(recipe: str | Path) -> tuple[dict[str, Any], str]:
    text = str(recipe)
    if not text.endswith(".toml") and "/" not in text:
        return _toml(builtin_text(text), text), text
    path = Path(text).expanduser()
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        inside = path / RESOLVED
        hint = f"; did you mean {inside}?" if inside.is_file() else ""  # of a run folder
        raise RecipeError(f"recipe {text} cannot be read: {reason}{hint}") from None
    return _toml(content, text), re.sub(r"[^A-Za-z0-9._=+-]+", "-", path.stem)


def _with_plugins(table: dict[str, Any], recipe: str | Path) -> dict[str, Any]:
    """The table, its plug-ins read and named by absolute paths: what they register may be named in it."""
    names = table.get("plugins")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return table  # nothing there, or validation says what is wrong
    return table | {"plugins": [plugin.name for plugin in plugins.load(names, _folder(recipe))]}


def _folder(recipe: str | Path) -> Path:
    """What paths in a recipe are relative to: its file's folder; where the command is given, for a built-in one."""
    text = str(recipe)
    return Path(text).expanduser().parent if text.endswith(".toml") or "/" in text else Path()


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also an integer of thousands of digits, endless nesting
        raise RecipeError(f"{where} is not TOML: {error}") from None
    return migrate(table, where, VERSION, error=RecipeError)


def _validate(table: dict[str, Any], where: str) -> Recipe:
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        raise RecipeError(f"{where}: {explain(error, table)}") from None


def _check_networks(chain: Sequence[tuple[str, Recipe]]) -> None:
    """Refuse what is no architecture; timm's names, for which torch has to be loaded, last.

    Args:
        chain: what each recipe is called in a message, and the recipe.
    """
    named = [(where, "model.arch", recipe.model.arch) for where, recipe in chain]
    for where, recipe in chain:
        taught = {"teacher" if name == "teacher" else f"teachers.{name}": t for name, t in recipe.all_teachers.items()}
        named += [(where, f"{table}.arch", settings.arch) for table, settings in taught.items() if settings.arch]
    for where, key, arch in sorted(named, key=lambda each: each[2].startswith("timm:")):
        try:
            if arch.startswith("timm:"):
                from supcrd.models import check_arch

                check_arch(arch)
            else:
                check_name(arch)
        except ValueError as error:
            raise RecipeError(f"{where}: {key}: {error}") from None
