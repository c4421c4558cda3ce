"""Tables of a recipe -> terms, checked before any work, and their weighted sum in a step."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from supcrd.base.wording import nearest, show
from supcrd.data.loader import Batch
from supcrd.errors import PluginError, RecipeError
from supcrd.recipe.meanings import RANGED, field_at
from supcrd.registry import reason
from supcrd.training.objective.checks import check_classes, check_student, check_teacher, check_widths
from supcrd.training.objective.term import TERMS, Context, Reads, Step, Term, TermSettings
from supcrd.training.objective.views import Groups, check_mixed, chosen, enough_labels, groups_of, of_views, with_labels


class Needs(NamedTuple):
    """What all terms together read."""

    student: frozenset[str]
    """by terms that train the encoder"""
    detached: frozenset[str]
    """by terms that train heads only"""
    teachers: Mapping[str, frozenset[str]]
    others: bool
    """whether a term compares images with one another"""

    @property
    def maps(self) -> frozenset[str]:
        """Names of the student's maps."""
        return frozenset(name.removeprefix("maps/") for name in self.student | self.detached if "/" in name)

    @property
    def trains_projector(self) -> bool:
        """Whether the student's projection head is trained."""
        return "projections" in self.student | self.detached

    @property
    def probed(self) -> bool:
        """Whether the classifier is a probe: the encoder gets no gradient from it."""
        return "logits" not in self.student


class Objective(nn.Module):
    """The terms of a loss with their weights.

    Args:
        terms: name -> term, in the order in which they are summed.
        context: with which they were built.
        epochs: of the training, at whose end falling weights are 0.
        views: V, or groups of views.
    """

    def __init__(self, terms: Mapping[str, Term], context: Context, *, epochs: int, views: int | Groups) -> None:
        super().__init__()
        groups = groups_of(views)
        self.all_views = chosen("", TermSettings(), groups)
        self.views = {name: chosen(name, term.settings, groups) for name, term in terms.items()}
        self.terms = nn.ModuleDict(terms)
        self.epochs = epochs
        teachers = {name: term.teachers(term.settings, context) for name, term in terms.items()}
        self.distilled = frozenset(name for name in terms if teachers[name])
        self.needs = needs((term.reads, term.settings, teachers[name]) for name, term in terms.items())

    def forward(self, attached: Step, detached: Step) -> dict[str, Tensor]:
        """Each term times its weight, by name; a term whose weight is 0 in this step is not computed and gives 0, as
        does one that skips mixed views where all of its views are mixed, and one that needs labels where none is there.

        Parameters that only such terms train get no gradient in the step, and the optimiser leaves them unchanged; such
        terms' banks do not change. (Processes that train together have the same weights: they skip the same terms.)

        Args:
            attached: the step with outputs through which the encoder gets a gradient.
            detached: the same step with outputs through which only heads do.

        Raises:
            PluginError: a term's value is not a scalar on this device with a gradient.
        """
        values = {}
        for name, term in self.terms.items():
            assert isinstance(term, Term)
            weight, views = weight_at(term.settings, attached.batch, self.epochs), self.views[name]
            if term.settings.mixed == "skip":
                views = tuple(view for view in views if view not in attached.batch.mixed)
            needs_labels = term.reads.needs_labels
            if weight == 0 or not views or (needs_labels and not enough_labels(term.reads, attached)):
                values[name] = torch.zeros((), device=attached.batch.labels.device)
                continue
            step = detached if term.settings.detach else attached
            if views != self.all_views:
                step = of_views(step, views)
            step = with_labels(step) if needs_labels else step
            value = _checked(name, term, step)
            values[name] = value if weight == 1 else weight * value
        return values


def weight_at(settings: TermSettings, batch: Batch, epochs: int) -> float:
    """The weight of a term in a step: it rises linearly over the first epochs and falls to 0 over the last ones.

    Example:
        >>> at = [Batch(torch.zeros(1), torch.zeros(1), torch.zeros(1), None, e, 0, 1) for e in range(4)]
        >>> [weight_at(TermSettings(weight=2.0, rise_epochs=2, fall_epochs=2), batch, 4) for batch in at]
        [1.0, 2.0, 1.0, 0.0]
    """
    done = batch.epoch + (batch.step + 1) / batch.steps
    rise = min(1.0, done / settings.rise_epochs) if settings.rise_epochs > 0 else 1.0
    span = settings.fall_epochs or settings.fall * epochs
    fall = min(1.0, max(0.0, epochs - done) / span) if span > 0 else 1.0
    return settings.weight * rise * fall


def _checked(name: str, term: Term, step: Step) -> Tensor:
    """A term's value, if it is valid."""
    try:
        value: Any = term(step)
    except (PluginError, RecipeError) as error:
        raise PluginError(f"objective.{name}: {error}") from error
    wrong = ""
    if not isinstance(value, Tensor) or value.ndim != 0:
        wrong = f"gives {f'a tensor {tuple(value.shape)}' if isinstance(value, Tensor) else type(value).__name__}"
    elif value.device != step.batch.labels.device:
        wrong = f"gives a tensor on {value.device}, the batch is on {step.batch.labels.device}"
    elif step.student.learns and not value.requires_grad:
        wrong = "gives a tensor without a gradient"
    if wrong:
        raise PluginError(f"objective.{name} {wrong}; a scalar that the student's outputs have a gradient through is "
                          "right")  # fmt: skip
    result: Tensor = value
    return result


def settings_of(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[type[Term], TermSettings]]:
    """The terms that tables name, with their settings validated: every mistake is reported here.

    Raises:
        RecipeError: an unknown term or key (the nearest is named), or an invalid value.
    """
    terms = {}
    for name, table in tables.items():
        values = dict(table)
        kind = TERMS.get(str(values.pop("term", name)))
        try:
            settings = kind.Settings.model_validate(values)
        except ValidationError as error:
            raise RecipeError("; ".join(_problems(name, kind, error))) from None
        terms[name] = (kind, settings)
    if not any(settings.weight > 0 for _, settings in terms.values()):
        raise RecipeError("the objective has no term with a weight above 0: nothing would be learnt")
    return terms


def _problems(name: str, kind: type[Term], error: ValidationError) -> Iterable[str]:
    for problem in error.errors(include_url=False):
        key, value = ".".join(map(str, problem["loc"])), show(problem["input"])
        if problem["type"] == "extra_forbidden":
            known = list(kind.Settings.model_fields)
            hint = nearest(key, known) or f"; it has {', '.join(known)}"
            yield f"unknown key objective.{name}.{key} = {value}{hint}"
        else:
            place = field_at(problem["loc"], kind.Settings) if problem["type"] in RANGED else None
            message = f"{place[1]} is right" if place is not None else problem["msg"]
            yield f"objective.{name}.{key} = {value}: {message[0].lower()}{message[1:]}"


def reads_maps(tables: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a term may read a map, for which the shapes of all maps are needed; a kind may leave it open."""
    kinds = [kind for kind, _ in settings_of(tables).values()]
    known = [kind.reads for kind in kinds if isinstance(kind.reads, Reads)]
    return len(known) < len(kinds) or any("/" in part for reads in known for part in (*reads.student, *reads.teacher))


class Planned(NamedTuple):
    """A term that is checked and not yet built."""

    name: str
    kind: type[Term]
    settings: TermSettings
    teachers: tuple[str, ...]
    """that it reads"""
    reads: Reads | None
    """None if that depends on the term itself"""


def planned(
    tables: Mapping[str, Mapping[str, Any]], context: Context, *, views: int | Groups, method: str | None = None
) -> list[Planned]:
    """The terms that tables name, with all checks that are possible before they are built.

    Args:
        tables: name -> table of a term, as in `[objective.NAME]`.
        context: what the terms may know; of teachers that are not yet trained the names are enough.
        views: V, per image, or groups of views by name.
        method: that the tables are those of; None where they are the recipe's own.

    Raises:
        RecipeError: an unknown term, key, teacher, view or group, a map that the student lacks, a detached term that
            reads no head, mixed views for a term that needs the label of every image.
    """
    terms, groups = [], groups_of(views)
    for name, (kind, settings) in settings_of(tables).items():
        chosen(name, settings, groups)
        teachers = kind.teachers(settings, context)
        for teacher in teachers:
            if teacher not in context.teachers:
                raise RecipeError(
                    f"objective.{name} reads the teacher {teacher!r}; the recipe has "
                    f"{', '.join(context.teachers) or 'none'}, and [teachers.{teacher}] would bring it"
                )
        check_classes(name, kind, settings, context.classes)
        try:
            reads = kind.plan(settings, context)
        except RecipeError as error:
            raise RecipeError(f"objective.{name}: {error}") from None
        if reads is not None:
            check_student(name, reads, settings, context.student)
            check_mixed(name, reads, settings, groups, method=method)
        terms.append(Planned(name, kind, settings, teachers, reads))
    return terms


def build(tables: Mapping[str, Mapping[str, Any]], context: Context, *, epochs: int, views: int | Groups) -> Objective:
    """The objective of a recipe.

    Args:
        tables, context, views: see `planned`.
        epochs: of the training.

    Raises:
        RecipeError: as `planned`; a map that a teacher lacks; projections of different widths.
        PluginError: a term that fails when it is built.
    """
    terms: dict[str, Term] = {}
    for name, kind, settings, teachers, known in planned(tables, context, views=views):
        try:
            terms[name] = kind(settings, context)
        except RecipeError as error:
            raise RecipeError(f"objective.{name}: {error}") from None
        except Exception as error:  # a plug-in's code can raise anything
            raise PluginError(f"objective.{name} cannot be made: {reason(error)}") from error
        reads = terms[name].reads
        if known is None:
            check_student(name, reads, settings, context.student)
            check_mixed(name, reads, settings, groups_of(views))
        for teacher in teachers:
            check_teacher(name, reads, teacher, context.teachers[teacher])
            check_widths(name, reads, teacher, context.student.projections, context.teachers[teacher].projections)
    return Objective(terms, context, epochs=epochs, views=views)


def needs(parts: Iterable[tuple[Reads, TermSettings, tuple[str, ...]]]) -> Needs:
    """What all terms together read; `parts`: per term what it reads, its settings and the names of its teachers."""
    attached: set[str] = set()
    detached: set[str] = set()
    teachers: dict[str, frozenset[str]] = {}
    others = False
    for reads, settings, read in parts:
        if settings.weight > 0:  # else it is never computed: a head that it alone reads is not trained
            (detached if settings.detach else attached).update(reads.student)
            others = others or reads.others
        for teacher in read:
            teachers[teacher] = teachers.get(teacher, frozenset()) | frozenset(reads.teacher)
    return Needs(frozenset(attached), frozenset(detached), teachers, others)
