"""The objective of a run: checked before any teacher is trained, built when all teachers are ready."""

from collections.abc import Mapping, Sequence
from typing import Any

from supcrd import recipe as recipes
from supcrd.base.seeding import forked, seed_for
from supcrd.data import ImageSet
from supcrd.errors import RecipeError
from supcrd.jobs.network import new_student
from supcrd.jobs.taught import TEACHER, Teacher
from supcrd.models.normalised import Normalised
from supcrd.recipe.settings import Recipe
from supcrd.training.objective import presets
from supcrd.training.objective.build import Needs, Objective, Planned, build, needs, planned, reads_maps, settings_of
from supcrd.training.objective.checks import check_teacher, check_unlabelled, check_widths
from supcrd.training.objective.term import Context, Reads, Shapes, Term, TermSettings
from supcrd.training.processes import started
from supcrd.training.teacher import check_reuse, shapes_of


def tables(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """The objective of a recipe: its own tables, or those of its method."""
    return recipe.objective or presets.tables(recipe.method)


def check_objective(recipe: Recipe, student: Normalised, images: ImageSet) -> None:
    """Refuse, before a teacher is trained, terms that cannot work with any teacher.

    Raises:
        RecipeError: as `make_objective`, except for what a teacher that is there lacks.
    """
    for name, group in recipe.view_groups.items():
        if group.cutout >= images.image_size:
            key = "augment" if not recipe.views else f"views.{name}"
            raise RecipeError(
                f"{key}.cutout = {group.cutout}: the images have {images.image_size} px a side; fewer are right"
            )
    ours = shapes_of(student, maps=reads_maps(tables(recipe)))
    wanted = [name for name, settings in recipe.all_teachers.items() if recipes.needs_teacher(recipe, settings)]
    to_train = {name: recipes.teacher_recipe(recipe, settings) for name, settings in recipe.all_teachers.items()}
    exact = {
        name: _shapes_to_come(teacher, images)
        for name, teacher in to_train.items()
        if ours.maps and name in wanted and teacher is not None
    }
    context = _context(recipe, images, ours, dict.fromkeys(wanted, ours) | exact)
    method = None if recipe.objective else recipe.method.name
    terms = planned(tables(recipe), context, views=recipe.view_groups, method=method)
    for name, teacher in to_train.items():
        for term in terms:
            if teacher is not None and term.kind.reuses_classifier and name in term.teachers:
                _check_reuse(term.name, _network_to_come(teacher, images))
        if teacher is not None and not _trains_head(teacher):
            for term in terms:
                if term.reads is not None and name in term.teachers and "projections" in term.reads.teacher:
                    raise RecipeError(_no_head(recipe, name, teacher.name))
        for term in terms:
            if name in exact and term.reads is not None and name in term.teachers:
                check_teacher(term.name, term.reads, name, exact[name])
        if teacher is not None and teacher.model.projector[-1] != ours.projections:
            for term in terms:
                if term.reads is not None and name in term.teachers:
                    check_widths(term.name, term.reads, name, ours.projections, teacher.model.projector[-1])
    _check_dot(recipe, terms)
    known = [(term.reads, term.settings, term.teachers) for term in terms if term.reads is not None]
    if len(known) == len(terms):
        _check_needs(needs(known), recipe)
        _check_shown(recipe, images, {term.name: (term.reads, term.settings) for term in terms if term.reads})


def _shapes_to_come(teacher: Recipe, images: ImageSet) -> Shapes:
    """The shapes of a teacher that is not yet trained; its weights do not matter."""
    return shapes_of(_network_to_come(teacher, images), maps=True)


def _network_to_come(teacher: Recipe, images: ImageSet) -> Normalised:
    drawn = teacher.model.model_copy(update={"pretrained": False, "checkpoint": None})
    return new_student(teacher.model_copy(update={"model": drawn}), images)


def _check_reuse(term: str, teacher: Normalised) -> None:
    """Refuse a teacher whose classifier a term cannot give to the student."""
    try:
        check_reuse(teacher.model)
    except RecipeError as error:
        raise RecipeError(f"objective.{term}: {error}") from None


def make_objective(recipe: Recipe, student: Normalised, images: ImageSet, teachers: Mapping[str, Teacher]) -> Objective:
    """The terms of a recipe, ready for training.

    Raises:
        RecipeError: terms that cannot work with this student, these teachers or this batch size.
    """
    wanted = tables(recipe)
    maps = reads_maps(wanted)
    known = {name: shapes_of(teacher.whole(), maps=maps) for name, teacher in teachers.items()}
    context = _context(recipe, images, shapes_of(student, maps=maps), known)
    with forked() as reseed:
        reseed(seed_for("terms", recipe.seed))  # adapters of terms
        objective = build(wanted, context, epochs=recipe.train.epochs, views=recipe.view_groups)
    terms = {name: part for name, part in objective.terms.items() if isinstance(part, Term)}
    for name, term in terms.items():
        if term.reuses_classifier:
            _check_reuse(name, teachers[term.settings.teacher].whole())
    _check_needs(objective.needs, recipe)
    _check_shown(recipe, images, {name: (term.reads, term.settings) for name, term in terms.items()})
    for name, teacher in teachers.items():
        if "projections" in objective.needs.teachers.get(name, ()) and not teacher.projection_trained:
            raise RecipeError(_no_head(recipe, name, str(teacher.folder)))
    return objective


def _trains_head(teacher: Recipe) -> bool:
    """Whether a training leaves a trained projection head, as far as that can be told before it."""
    if teacher.head.epochs > 0 or teacher.plugins:  # whose terms may not be read yet
        return True
    of = [(kind.reads, settings) for kind, settings in settings_of(tables(teacher)).values() if settings.weight > 0]
    return any(not isinstance(reads, Reads) or "projections" in reads.student for reads, _ in of)


def _no_head(recipe: Recipe, name: str, teacher: str) -> str:
    """What is said of a teacher whose projection head is not trained, and what mends it."""
    settings, key = recipe.all_teachers[name], name if name == TEACHER else f"teachers.{name}"
    if settings.run is not None:
        remedy = f"train it with head.epochs=10, or give its weights as {key}.checkpoint, for which one is fitted"
    else:
        remedy = f"{key}.{'override.' if settings.recipe is not None else ''}head.epochs=10 trains one"
    return f"the teacher {teacher} has no trained projection head, which {recipe.method.name} reads; {remedy}"


def _context(recipe: Recipe, images: ImageSet, student: Shapes, teachers: Mapping[str, Shapes]) -> Context:
    assert images.train is not None
    labels, classes = images.train.labels, images.num_classes
    return Context(classes=classes, labels=labels, student=student, teachers=teachers, seed=recipe.seed)


def _check_dot(recipe: Recipe, terms: Sequence[Planned]) -> None:
    """Refuse DOT where the encoder gets one of its two gradients only."""
    attached = [term for term in terms if term.settings.weight > 0 and not term.settings.detach]
    if recipe.train.dot > 0 and len({bool(term.teachers) for term in attached}) == 1:
        reads = "reads a teacher" if attached[0].teachers else "reads no teacher"
        raise RecipeError(
            f"train.dot = {recipe.train.dot:g}: every term that teaches the encoder {reads} "
            f"({', '.join(term.name for term in attached)}), and DOT tells task and distillation apart; it is for "
            "objectives with both, such as kd"
        )


def _check_shown(recipe: Recipe, images: ImageSet, terms: Mapping[str, tuple[Reads, TermSettings]]) -> None:
    """Refuse images without a label that these terms, or so many processes, cannot use."""
    if images.unlabelled is None or images.train is None:
        return
    counts = {"labelled": len(images.train), "images": len(images.shown)}
    check_unlabelled(images.unlabelled.source, terms, batch_size=recipe.train.batch_size, **counts)
    processes = started()[1]
    if processes > 1 and recipe.train.shards == 1:
        raise RecipeError(
            f"data.unlabelled with {processes} processes: each has a loss of its own, and another number of labels; "
            f"train.shards = {processes}, which has one loss over the whole batch, is right"
        )


def _check_needs(needs: Needs, recipe: Recipe) -> None:
    for name, parts in needs.teachers.items():
        mapped, settings = sorted(part for part in parts if part.startswith("maps/")), recipe.all_teachers.get(name)
        if mapped and settings is not None and settings.cache > 0:
            key = name if name == TEACHER else f"teachers.{name}"
            raise RecipeError(
                f"{key}.cache = {settings.cache}: it has features, but no maps ({mapped[0]} of teacher {name}); 0 is "
                "right"
            )
    if needs.others and recipe.train.batch_size < 2:
        raise RecipeError(
            f"train.batch_size = {recipe.train.batch_size}: the objective compares images of a batch; 2 or more are "
            "needed"
        )
    if "logits" not in needs.student | needs.detached:
        raise RecipeError(
            "no term of the objective reads the student's logits, so its classifier would not learn; "
            "[objective.probe] with term = 'cross_entropy' and detach = true teaches it alone"
        )
