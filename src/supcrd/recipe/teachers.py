"""The recipes of a student's teachers."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from supcrd.errors import RecipeError
from supcrd.recipe.files import read
from supcrd.recipe.identity import run_name
from supcrd.recipe.overrides import merge
from supcrd.recipe.settings import Recipe, TeacherSettings
from supcrd.recipe.tables import check_networks, to_table, validate, with_plugins


def teacher_recipe(student: Recipe, settings: TeacherSettings | None = None) -> Recipe | None:
    """The recipe of the teacher that a student's recipe asks to train first, on the student's data and device.

    `settings` say which one of the student's teachers; that of `[teacher]` if not given.

    The data table is the student's: a teacher that saw the validation images, or other pixels, would spoil the run.

    Raises:
        RecipeError: as `load`, for the teacher's recipe and `teacher.override`.

    Example:
        >>> from supcrd.recipe import load
        >>> teacher_recipe(load("digits-lw-supcrd")).name
        'digits-teacher'
    """
    chain = chain_of(student, settings)
    check_networks(chain)
    return chain[0][1] if chain else None


def needs_teacher(recipe: Recipe, settings: TeacherSettings | None = None) -> bool:
    """Whether a run needs the teacher that `settings` name (`[teacher]` if not given): to learn, or to be compared.

    A finished `teacher.run` is always read: it costs little.

    Example:
        >>> from supcrd.recipe import load
        >>> needs_teacher(load("digits-kd")), needs_teacher(load("digits-supcon"))
        (True, False)
        >>> needs_teacher(load("digits-supcon", ["teacher.compare=true"]))
        True
    """
    settings = settings or recipe.teacher
    return settings is not None and (recipe.method.reads_teacher or settings.compare or settings.run is not None)


def chain_of(student: Recipe, settings: TeacherSettings | None = None) -> list[tuple[str, Recipe]]:
    """The recipe of a student's teacher, of that one's teacher and so on, each with what to call it in a message."""
    chain: list[tuple[str, Recipe]] = []
    named: list[str] = []
    pupil, settings = student, settings or student.teacher
    while settings is not None and settings.recipe is not None:
        if settings.recipe in named:
            circle = " -> ".join(Path(name).name for name in [*named, settings.recipe])
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


def resolved(recipe: Recipe) -> Recipe:
    """The recipe with those of its teachers inside, so that nothing has to be read again."""

    def whole(settings: TeacherSettings) -> TeacherSettings:
        if settings.recipe is None or settings.resolved:
            return settings
        teacher = resolved(_teacher(recipe, settings, settings.recipe)[1])
        return settings.model_copy(update={"resolved": to_table(teacher)})

    changed: dict[str, Any] = {}
    if recipe.teacher is not None:
        changed["teacher"] = whole(recipe.teacher)
    if recipe.teachers:
        changed["teachers"] = {name: whole(settings) for name, settings in recipe.teachers.items()}
    return recipe.model_copy(update=changed)


def unresolved(table: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Without the teachers' recipes that a run folder's recipe holds, where overrides change teachers."""
    if not any(re.match(r"\s*(teacher|teachers\.[^.=]+)\.(recipe|override)\b", override) for override in overrides):
        return table

    def open_again(settings: Any) -> Any:
        return {k: v for k, v in settings.items() if k != "resolved"} if isinstance(settings, Mapping) else settings

    changed = {"teacher": open_again(table["teacher"])} if "teacher" in table else {}
    if isinstance(table.get("teachers"), Mapping):
        changed["teachers"] = {name: open_again(settings) for name, settings in table["teachers"].items()}
    return table | changed


def _teacher(student: Recipe, settings: TeacherSettings, recipe: str) -> tuple[str, Recipe]:
    where = f"teacher.recipe {recipe}"
    if "data" in settings.override:
        raise RecipeError("teacher.override.data: a teacher learns on its student's data; set data.KEY instead")
    if settings.resolved:  # the recipe of a run folder: what it was is all that counts
        inside = validate(settings.resolved, where)
        place = inside.train.model_copy(update={"device": student.train.device})
        return where, inside.model_copy(update={"data": student.data.labelled, "train": place})
    before = read(recipe)
    # images without a label are a student's alone
    student = student.model_copy(update={"data": student.data.labelled})
    table = merge(merge(before, settings.override), {"data": to_table(student)["data"]})
    table = with_plugins(table, recipe)
    result = validate(table, f"{where}{' with teacher.override' if settings.override else ''}")
    place = result.train.model_copy(update={"device": student.train.device})
    result = result.model_copy(update={"data": student.data, "train": place})
    if "name" not in settings.override:
        result = result.model_copy(update={"name": run_name(before, result)})
    return where, result
