"""What a term reads, compared with what student, teachers and a batch have; said before any work."""

from collections.abc import Mapping

from supcrd.errors import PluginError, RecipeError
from supcrd.models.taps import PRE
from supcrd.training.objective.term import HEADS, Reads, Shapes, Term, TermSettings

OUTPUTS = ("features", "projections", "logits")


def check_student(name: str, reads: Reads, settings: TermSettings, student: Shapes) -> None:
    """Refuse a term that reads of the student what is not there, or is detached and reads no head.

    Raises:
        RecipeError: as said.
    """
    for part in reads.student:
        check_part(f"objective.{name}", part, student, "the student")
    if settings.detach and not set(HEADS) & set(reads.student):
        raise RecipeError(
            f"objective.{name}.detach = true: it reads no head (projections or logits), so nothing would learn"
        )


def check_classes(name: str, kind: type[Term], settings: TermSettings, classes: int) -> None:
    """Refuse z-scores of two logits, which are always 1 and -1 and have no gradient.

    Raises:
        RecipeError: as said.
    """
    if classes == 2 and getattr(settings, "standardise", getattr(kind, "standardise", False)):
        raise RecipeError(
            f"objective.{name}: z-scores of the logits of two classes are always 1 and -1, and teach nothing; plain "
            "logits, as in kd, are right"
        )


def check_teacher(name: str, reads: Reads, teacher: str, shapes: Shapes) -> None:
    """Refuse a term that reads of a teacher what is not there.

    Raises:
        RecipeError: as said.
    """
    for part in reads.teacher:
        check_part(f"objective.{name}", part, shapes, f"the teacher {teacher}")


def check_widths(name: str, reads: Reads, teacher: str, ours: int, theirs: int) -> None:
    """Refuse a term that compares projections of different widths.

    Raises:
        RecipeError: the widths differ.
    """
    if "projections" in reads.student and "projections" in reads.teacher and ours != theirs:
        whose = "the teacher's" if teacher == "teacher" else f"that of the teacher {teacher}"
        raise RecipeError(
            f"objective.{name}: model.projector ends in {ours} dimensions, {whose} in {theirs}; they are compared and "
            "must be equal"
        )


def check_part(where: str, part: str, shapes: Shapes, network: str) -> None:
    """Refuse an output that a network does not have; `where` and `network` name term and network in the message.

    Raises:
        RecipeError: a map that it lacks.
        PluginError: a name of no output.
    """
    kind, _, name = part.partition("/")
    if kind == "maps":
        if name not in shapes.maps:
            known = ", ".join(known for known in shapes.maps if not known.endswith(PRE)) or "none"
            if name.removesuffix(PRE) in shapes.maps:
                known += f", but {name.removesuffix(PRE)} does not end in a ReLU before which it could be read"
            raise RecipeError(f"{where} reads the map {name!r}, which {network} lacks; it has {known}")
    elif part not in OUTPUTS:
        raise PluginError(f"{where} reads {part!r}; {', '.join(OUTPUTS)} or maps/NAME is right")


def check_unlabelled(
    source: str, terms: Mapping[str, tuple[Reads, TermSettings]], *, labelled: int, images: int, batch_size: int
) -> None:
    """Refuse training images without a label from which no term learns, or so many that terms with labels have too few.

    Args:
        source: `data.unlabelled`.
        terms: name -> what it reads, and its settings.
        labelled: training images with a label.
        images: with those without.
        batch_size: B; a batch has its share of both, rounded (`supcrd.data.sampling.interleaved`).

    Raises:
        RecipeError: as said.
    """
    used = {name: reads for name, (reads, settings) in terms.items() if settings.weight > 0}
    if all(reads.needs_labels for reads in used.values()):
        raise RecipeError(
            f"data.unlabelled = {source}: every term of the objective needs labels ({', '.join(used)}), so nothing "
            "would learn from these images; a term that reads a teacher's outputs alone, such as kd, is right"
        )
    have = min(batch_size, images) * labelled // images
    for name, reads in used.items():
        needed = 0 if not reads.needs_labels else 2 if reads.others else 1
        if have < needed:
            raise RecipeError(
                f"train.batch_size = {batch_size}: {have} of its images may have a label ({labelled:,} of {images:,} "
                f"training images have one), and objective.{name} needs {needed}; "
                f"{-(-needed * images // labelled):,} or more is right"
            )
