"""What terms that compare feature maps have in common: which maps of student and teacher belong together."""

from typing import ClassVar

from torch import Tensor

from supcrd.errors import RecipeError
from supcrd.models.names import LAST, PROJECTED
from supcrd.models.taps import PRE
from supcrd.recipe.compared import MapKeys
from supcrd.training.objective.checks import check_part
from supcrd.training.objective.term import Context, Reads, Shapes, Step, Term, TermSettings

NO_STAGES = ("stem", LAST, PROJECTED)


class MapSettings(MapKeys, TermSettings):
    """Settings of a term that compares maps."""


def stages(shapes: Shapes) -> tuple[str, ...]:
    """The maps of a network from the first to the last stage: all but its stem's, the one behind its stages, a
    projector's and those before a ReLU.

    Example:
        >>> maps = {"stem": (16, 32, 32), "stage1": (16, 32, 32), "stage2": (32, 16, 16), "stage1:pre": (16, 32, 32)}
        >>> stages(Shapes(features=32, projections=8, logits=10, maps=maps))
        ('stage1', 'stage2')
    """
    return tuple(name for name in shapes.maps if name not in NO_STAGES and not name.endswith(PRE))


def last_map(shapes: Shapes) -> str:
    """The map that a network's features are the mean of, if they are one of a map's; empty of a network without maps.

    Example:
        >>> maps = {"stage1": (16, 32, 32), "stage2": (32, 16, 16)}
        >>> last_map(Shapes(features=32, projections=8, logits=10, maps=maps))
        'stage2'
        >>> last_map(Shapes(features=64, projections=8, logits=10, maps=maps | {"last": (64, 16, 16)}))
        'last'
    """
    return LAST if LAST in shapes.maps else next(reversed(stages(shapes)), "")


class Mapped(Term):
    """A term of pairs of maps: those that its settings name, or those that `usual` takes of the stages of each network.

    `self.pairs` are the names of the maps, (student's, teacher's).
    """

    Settings: ClassVar[type[TermSettings]] = MapSettings
    others: ClassVar[bool] = False
    """whether it compares images with one another"""

    def __init__(self, settings: MapSettings, context: Context) -> None:
        super().__init__(settings, context)
        self.pairs = self.pairs_of(settings, context)

    @property
    def reads(self) -> Reads:  # type: ignore[override]
        """The maps of all pairs."""
        student, teacher = ({f"maps/{pair[side]}" for pair in self.pairs} for side in (0, 1))
        return Reads(student, teacher, others=self.others, labels="none")

    @classmethod
    def usual(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        """The maps that are compared if settings name none, of a network's stages: all of them."""
        return names

    @classmethod
    def pairs_of(cls, settings: TermSettings, context: Context) -> tuple[tuple[str, str], ...]:
        """Which maps are compared.

        Raises:
            RecipeError: a network has no maps, or both have different numbers of them.
        """
        assert isinstance(settings, MapSettings)
        for name in settings.student_maps:
            check_part("it", f"maps/{name}", context.student, "the student")
        names = []
        for whose, given, shapes in (
            ("the student", settings.student_maps, context.student),
            ("the teacher", settings.teacher_maps, context.teachers[settings.teacher]),
        ):
            if not shapes.maps:
                raise RecipeError(f"it compares feature maps, and the network of {whose} names none")
            names.append(given or cls.usual(stages(shapes)))
        student, teacher = names
        if len(student) != len(teacher) or not student:
            raise RecipeError(
                f"maps are compared in pairs, and there are {len(student)} of the student ({', '.join(student)}) and "
                f"{len(teacher)} of the teacher ({', '.join(teacher)}); give student_maps and teacher_maps"
            )
        return tuple(zip(student, teacher, strict=True))

    @classmethod
    def plan(cls, settings: TermSettings, context: Context) -> Reads | None:
        """The maps of all pairs; not known of a teacher that is not there yet, for which the student stands in."""
        assert isinstance(settings, MapSettings)
        if (
            context.teachers[settings.teacher] is context.student
            and settings.student_maps
            and not settings.teacher_maps
        ):
            return None
        pairs = cls.pairs_of(settings, context)
        student, teacher = ({f"maps/{pair[side]}" for pair in pairs} for side in (0, 1))
        return Reads(student, teacher, others=cls.others, labels="none")

    def shapes(self, context: Context) -> list[tuple[tuple[int, int, int], tuple[int, int, int]]]:
        """(channels, height, width) of each pair."""
        ours, theirs = context.student.maps, context.teachers[self.settings.teacher].maps
        for one, other in self.pairs:
            check_part("it", f"maps/{one}", context.student, "the student")
            check_part("it", f"maps/{other}", context.teachers[self.settings.teacher], "the teacher")
        return [(ours[one], theirs[other]) for one, other in self.pairs]

    def maps(self, step: Step) -> list[tuple[Tensor, Tensor]]:
        """The maps of each pair."""
        taught = step.teachers[self.settings.teacher]
        return [(step.student.maps[one], taught.maps[other]) for one, other in self.pairs]
