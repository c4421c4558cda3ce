"""SimKD: the teacher's classifier is reused, and the student's features learn to be those it reads."""

from typing import ClassVar

from torch import Tensor

from supcrd import losses
from supcrd.errors import RecipeError
from supcrd.losses.pairs import same_size
from supcrd.models.names import PROJECTED
from supcrd.training.objective.term import Context, Reads, Step, Term, TermSettings, term
from supcrd.training.objective.terms.mapped import last_map


@term("simkd")
class SimKD(Term):
    """Squared error (`supcrd.losses.fitnet`) of the student's projected map to the teacher's last one, whose classifier
    is the student's too, and stays as it is.

    The projector belongs to the network: `model.arch = "resnet8+256"` is a resnet8 with the paper's projector to 256
    channels, those of the teacher's last map. So its parameters are saved, loaded and counted with the model. The
    larger map is pooled to the smaller. Differences to the paper's code: a larger student's map is pooled behind the
    projector, there before it; `classifier = "best"` may save a refitted classifier where validation says that it is
    better, and `classifier = "trained"` keeps the teacher's.
    """

    class Settings(TermSettings):
        """Settings of `simkd`."""

    paper: ClassVar[str] = "Chen et al. 2022, arXiv:2203.14001"
    reuses_classifier: ClassVar[bool] = True

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        self.map = last_map(context.teachers[settings.teacher])

    @property
    def reads(self) -> Reads:  # type: ignore[override]
        """The two maps; logits, so that they are there to count right answers."""
        return Reads({"logits", f"maps/{PROJECTED}"}, {f"maps/{self.map}"}, labels="none")

    @classmethod
    def plan(cls, settings: TermSettings, context: Context) -> Reads | None:
        """Refuse networks whose features are not those of the teacher's classifier."""
        student, teacher = context.student, context.teachers[settings.teacher]
        name = last_map(teacher)
        if not name:
            raise RecipeError("it reads the teacher's last feature map, and the network of the teacher names none")
        if teacher is not student and teacher.maps[name][0] != teacher.features:
            raise RecipeError(
                f"the teacher's classifier reads {teacher.features} features that are not the mean of its last map, of "
                f"{teacher.maps[name][0]} channels, so a student cannot reuse it"
            )
        if PROJECTED not in student.maps or (teacher is not student and student.features != teacher.features):
            wanted = teacher.features if teacher is not student else "the teacher's features"
            raise RecipeError(
                f"the student has {student.features} features and needs a projector to the teacher's: "
                f"model.arch = 'NAME+{wanted}' brings it"
            )
        return Reads({"logits", f"maps/{PROJECTED}"}, {f"maps/{name}"}, labels="none")

    def forward(self, step: Step) -> Tensor:
        """Mean over the rows, in squared units of the maps."""
        pair = same_size(step.student.maps[PROJECTED], step.teachers[self.settings.teacher].maps[self.map])
        return losses.fitnet(*pair).mean()
