"""A term of a loss: its settings, what it reads, and what it gets in a step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeVar

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from supcrd.data.loader import Batch
from supcrd.errors import PluginError
from supcrd.recipe.settings import VIEWS, NonNegative, Settings, Share, Views
from supcrd.registry import Registry
from supcrd.training.world import ALONE, World

HEADS = ("projections", "logits")


class TermSettings(Settings):
    """Settings of every term; a term's own settings derive from it. Unknown keys are refused."""

    weight: NonNegative = 1.0
    """factor of the term in the loss"""
    rise_epochs: NonNegative = 0.0
    """epochs over which the weight rises linearly at the start"""
    fall_epochs: NonNegative = 0.0
    """epochs over which the weight falls linearly to 0 at the end"""
    fall: Share = 0.0
    """the same as a share of all epochs, in place of fall_epochs"""
    teacher: str = "teacher"
    """name of the teacher that it reads"""
    detach: bool = False
    """teaches projection head and classifier only: the encoder gets no gradient (the online probe)"""
    views: Views | None = Field(default=None, json_schema_extra={"range": VIEWS})
    """the views that it reads: names of groups ([views.NAME]), or numbers from 0, group after group; all of them if not
    given"""
    mixed: Literal["refuse", "skip"] = "refuse"
    """what to do with views that mixup or cutmix mixed, for a term that needs the label of every image: refuse the
    recipe, or leave mixed views out of a step"""

    @field_validator("views", mode="before")
    @classmethod
    def _some_views(cls, views: Any) -> Any:
        """One name or number is a list of one."""
        views = (views,) if type(views) in (int, str) else views
        if views is None or (isinstance(views, list | tuple) and views and {type(v) for v in views} <= {int, str}):
            return views
        raise PydanticCustomError("views", f"{VIEWS} are right, such as ['strong', 0]")

    @model_validator(mode="after")
    def _one_fall(self) -> Self:
        if self.fall > 0 and self.fall_epochs > 0:
            raise ValueError(f"fall = {self.fall} and fall_epochs = {self.fall_epochs} say the same: give one of them")
        return self


class Reads(NamedTuple):
    """What a term reads. From it follows which heads are trained, which teachers run and which maps are collected.

    Names are `features`, `projections`, `logits`, and `maps/NAME` (`maps/NAME:pre`: before its final ReLU).

    Example:
        >>> Reads({"projections"}, {"projections", "logits"}, others=True).others
        True
    """

    student: frozenset[str] | set[str] = frozenset()
    teacher: frozenset[str] | set[str] = frozenset()
    others: bool = False
    """whether it compares images with one another: 2 or more are needed, and rows are gathered over processes"""
    labels: Literal["none", "soft", "hard"] = "hard"
    """what it takes labels for: hard, one class an image, so that mixed images must not reach it; soft, a mixed image
    counts for both of its classes (`Batch.shares`, `Batch.partner_labels`); none: it is given images without a label
    too (`data.unlabelled`), which others do not see"""
    unlabelled: bool = False
    """whether it is given those although it takes no mixed images"""

    @property
    def needs_labels(self) -> bool:
        """Whether images without a label must not reach it."""
        return self.labels != "none" and not self.unlabelled


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """Widths of a network's outputs: F, P, C, and (channels, height, width) of its maps."""

    features: int
    projections: int
    logits: int
    maps: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a term may use when it is built.

    Attributes:
        classes: C.
        labels: (N,) int64, of the training images with a label; indices of those without are N and more.
        student: shapes of the student's outputs.
        teachers: name -> shapes of a teacher's outputs.
        seed: of the run.
    """

    classes: int
    labels: Tensor
    student: Shapes
    teachers: Mapping[str, Shapes] = field(default_factory=dict)
    seed: int = 0


class Outputs:
    """A network's outputs for V B images: only those that a term reads.

    Attributes:
        features: (V B, F).
        projections: (V B, P), not normalised.
        logits: (V B, C).
        maps: name -> (V B, channels, height, width).

    Raises:
        PluginError: an output that no term's `reads` names.

    Example:
        >>> import torch
        >>> Outputs(features=torch.zeros(2, 3)).features.shape
        torch.Size([2, 3])
        >>> Outputs(features=torch.zeros(2, 3)).logits
        Traceback (most recent call last):
        supcrd.errors.PluginError: logits are not there: the `reads` of the term does not name them
    """

    def __init__(
        self,
        *,
        features: Tensor | None = None,
        projections: Tensor | None = None,
        logits: Tensor | None = None,
        maps: Mapping[str, Tensor] | None = None,
    ) -> None:
        self._parts = {"features": features, "projections": projections, "logits": logits}
        self.maps: Mapping[str, Tensor] = maps or {}

    @property
    def features(self) -> Tensor:
        """(V B, F)."""
        return self._part("features")

    @property
    def projections(self) -> Tensor:
        """(V B, P)."""
        return self._part("projections")

    @property
    def logits(self) -> Tensor:
        """(V B, C)."""
        return self._part("logits")

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Outputs":
        """Outputs by name, maps as `maps/NAME`."""
        maps = {name.removeprefix("maps/"): part for name, part in tensors.items() if "/" in name}
        return cls(**{name: part for name, part in tensors.items() if "/" not in name}, maps=maps)

    def tensors(self) -> dict[str, Tensor]:
        """All that there are, by name, maps as `maps/NAME`."""
        parts = {name: part for name, part in self._parts.items() if part is not None}
        return parts | {f"maps/{name}": part for name, part in self.maps.items()}

    def has(self, name: str) -> bool:
        """Whether there are features, projections or logits, by name."""
        return self._parts[name] is not None

    @property
    def learns(self) -> bool:
        """Whether any of them requires a gradient."""
        return any(part is not None and part.requires_grad for part in (*self._parts.values(), *self.maps.values()))

    def rows(self, index: Tensor) -> "Outputs":
        """The outputs of some rows, index (M,) int64."""
        chosen = {name: None if part is None else part[index] for name, part in self._parts.items()}
        return Outputs(**chosen, maps={name: part[index] for name, part in self.maps.items()})

    def _part(self, name: str) -> Tensor:
        part = self._parts[name]
        if part is None:
            raise PluginError(f"{name} are not there: the `reads` of the term does not name them")
        return part


@dataclass(frozen=True)
class Step:
    """One step, as a term sees it.

    Attributes:
        batch: labels (V B,), indices (B,), epoch, step, steps; of mixed views partner_labels, shares, mixed. View after
            view.
        student: the student's outputs.
        teachers: name -> a teacher's outputs.
        world: the processes that train together.
    """

    batch: Batch
    student: Outputs
    teachers: Mapping[str, Outputs] = field(default_factory=dict)
    world: World = ALONE


class Term(nn.Module):
    """One term of a loss. Adapters are its parameters, banks its buffers: both are trained, saved and resumed.

    A subclass declares its `Settings` and what it `reads` (a class attribute, or a property if it depends on settings),
    takes what it needs from the context when it is built, and returns a scalar from `forward`: the mean over this
    process's rows. Its weight is applied outside; in a step in which the weight is 0 the term is not called.

    Example:
        >>> from supcrd.training.objective.term import Reads, Term
        >>> import torch
        >>> class Shrink(Term):
        ...     reads = Reads({"features"})
        ...     def forward(self, step):
        ...         return step.student.features.float().square().mean()
        >>> shapes = Shapes(features=3, projections=2, logits=2)
        >>> context = Context(classes=2, labels=torch.tensor([0, 1]), student=shapes)
        >>> term = Shrink(TermSettings(), context)
        >>> batch = Batch(torch.zeros(2, 1), torch.tensor([0, 1]), torch.tensor([0, 1]))
        >>> term(Step(batch, Outputs(features=torch.ones(2, 3))))
        tensor(1.)
    """

    Settings: ClassVar[type[TermSettings]] = TermSettings
    paper: ClassVar[str] = ""
    """authors, year and number of the paper, for `supcrd methods`"""
    reuses_classifier: ClassVar[bool] = False
    """whether the student's classifier is its teacher's, and stays so"""
    reads: Reads = Reads()

    def __init__(self, settings: TermSettings, context: Context) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, step: Step) -> Tensor:
        """The term of a step, () float32."""
        raise NotImplementedError

    @classmethod
    def teachers(cls, settings: TermSettings, context: Context) -> tuple[str, ...]:
        """Names of the teachers that it reads; override it if `reads` is a property."""
        return () if isinstance(cls.reads, Reads) and not cls.reads.teacher else (settings.teacher,)

    @classmethod
    def plan(cls, settings: TermSettings, context: Context) -> Reads | None:
        """What it reads, before it is built and before a teacher is trained; None if only the term itself knows.

        Override it if `reads` is a property, and to refuse with a RecipeError what cannot work: shapes of a teacher
        that is not there yet are those of the student, if its recipe does not say them.
        """
        return cls.reads if isinstance(cls.reads, Reads) else None


T = TypeVar("T", bound=type[Term])
TERMS: Registry[type[Term]] = Registry("term", "supcrd.terms", builtin="supcrd.training.objective.terms")


def term(name: str) -> Callable[[T], T]:
    """Register a term under a name, so that `[objective.NAME]` in a recipe means it.

    Raises:
        PluginError: the name is taken.

    Example:
        >>> @term("example-of-a-term")
        ... class Nothing(Term):
        ...     reads = Reads({"features"})
        >>> TERMS.get("example-of-a-term") is Nothing
        True
    """

    def register(kind: T) -> T:
        TERMS.add(name, kind)
        return kind

    return register
