"""The keys of a recipe as frozen, validated types. A key that is not here is an error, and so is a wrong type.

The tables of `[method]` are in `methods.py`, of optimisations in `fits.py`, of images in `inputs.py`, of their views in
`views.py`, of student and teachers in `networks.py`, what all tables share in `types.py`; all names can be imported
from here.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from supcrd.base.wording import show
from supcrd.recipe.fits import FitSettings, HeadSettings, ProbeSettings, TrainSettings
from supcrd.recipe.inputs import SOURCES, DataSettings
from supcrd.recipe.methods import (
    CRD,
    DKD,
    KD,
    METHOD_SETTINGS,
    Composed,
    CrossEntropy,
    Hybrid,
    Imported,
    Joint,
    LWSupCRD,
    Method,
    SupCon,
    Taught,
)
from supcrd.recipe.networks import ModelSettings, TeacherSettings
from supcrd.recipe.types import (
    VIEWS,
    BelowOne,
    Channels,
    ClassNames,
    Count,
    Deviations,
    Factor,
    Levels,
    Natural,
    NonNegative,
    Pixels,
    Positive,
    Rate,
    Rows,
    Seed,
    Settings,
    Share,
    Temperature,
    Views,
    Widths,
)
from supcrd.recipe.views import AugmentSettings, ViewSettings

__all__ = [
    "CRD", "DKD", "KD", "METHOD_SETTINGS", "Composed", "CrossEntropy", "Hybrid", "Imported", "Joint", "LWSupCRD",
    "Method", "SupCon", "Taught",
    "BelowOne", "Channels", "ClassNames", "Count", "Deviations", "Factor", "Levels", "Natural", "NonNegative", "Pixels",
    "Positive", "Rate", "Rows", "Seed", "VIEWS", "Settings", "Share", "Temperature", "Views", "Widths",
    "SOURCES", "AugmentSettings", "DataSettings", "FitSettings", "HeadSettings", "ModelSettings", "ProbeSettings",
    "Recipe", "TeacherSettings", "TrainSettings", "ViewSettings",
]  # fmt: skip


class Recipe(Settings):
    """One run: one model trained by one method."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._=+-]*$",
            json_schema_extra={"default": "the file's name", "range": "letters, digits and . _ = + -"},
        ),
    ]
    """name of the run folder"""
    seed: Seed = 0
    """seed of initial weights, order of images and augmentation"""
    data: DataSettings
    """the images"""
    model: ModelSettings
    """the network"""
    method: Method
    """the loss, one of the presets; `objective` takes its place"""
    augment: AugmentSettings = AugmentSettings()
    """the views of training images"""
    views: dict[str, ViewSettings] = Field(default={})
    """groups of views by name, in place of `augment`, each with its keys; see docs/views.md"""
    train: TrainSettings
    """the main training"""
    head: HeadSettings = HeadSettings()
    """the training of a projection head that the method leaves untrained"""
    probe: ProbeSettings = ProbeSettings()
    """the final linear probe"""
    classifier: Literal["trained", "refit", "best"] = "best"
    """classifier of the saved model: as it was trained; refitted on the frozen features and calibrated; or whichever of
    the two is better on validation, calibrated (without validation images as it was trained); see docs/classifier.md"""
    plugins: tuple[str, ...] = Field(default=(), strict=False)
    """files (relative to the recipe) and modules with your own terms, networks and data sources; their code runs"""
    objective: dict[str, dict[str, Any]] = Field(default={})
    """terms of the loss, one table each, in place of `method`; see docs/objectives.md"""
    teachers: dict[str, TeacherSettings] = Field(default={})
    """further teachers by name, each with the keys of `teacher`"""
    teacher: TeacherSettings | None = None
    """the teacher, needed by kd, dkd, crd, lw_supcrd and hybrid; the others are compared with it if teacher.compare is
    true"""

    @model_validator(mode="before")
    @classmethod
    def _composed(cls, table: Any) -> Any:
        if isinstance(table, dict) and table.get("objective") and "method" not in table:
            return table | {"method": {"name": "objective"}}
        return table

    @property
    def all_teachers(self) -> dict[str, TeacherSettings]:
        """Name -> teacher, that of `[teacher]` first."""
        return ({"teacher": self.teacher} if self.teacher is not None else {}) | self.teachers

    @property
    def view_groups(self) -> dict[str, AugmentSettings]:
        """Name -> settings of the groups of views, in the order of the views; without groups `augment` is the one."""
        return dict(self.views) or {"augment": self.augment}

    @property
    def view_count(self) -> int:
        """V, views of an image in a batch."""
        return sum(group.views for group in self.view_groups.values())

    @property
    def first_views(self) -> AugmentSettings:
        """The first group without mixup and cutmix: its views fit projection heads, which need hard labels."""
        return next(iter(self.view_groups.values())).unmixed

    @model_validator(mode="after")
    def _views(self) -> "Recipe":
        if self.views and self.augment != AugmentSettings():
            raise ValueError(
                f"[augment] and [views.{next(iter(self.views))}] exclude one another: groups have the keys of [augment]"
            )
        for name, group in self.view_groups.items():
            if group.crop == "whole" and not self.data.stream:
                key = f"views.{name}" if self.views else name
                raise ValueError(
                    f"{key}.crop = 'whole' cuts pictures as they are decoded, batch by batch; "
                    "data.stream = true is right"
                )
        cached = [name for name, teacher in self.all_teachers.items() if teacher.cache]
        mixed = [name for name, group in self.view_groups.items() if group.mixes]
        if cached and mixed and self.method.reads_teacher:
            key = "teacher.cache" if cached == ["teacher"] else f"teachers.{cached[0]}.cache"
            raise ValueError(
                f"{key} = {self.all_teachers[cached[0]].cache}: mixup and cutmix make images that depend on the batch, "
                "and a cache has features of single images; 0 is right"
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        method = self.method
        if "teacher" in self.teachers and self.teacher is not None:
            raise ValueError("two teachers have one name: [teacher] is [teachers.teacher]")
        if self.train.epochs < 1 and self.train.minutes is None and not isinstance(method, Imported):
            raise ValueError(f"train.epochs = {self.train.epochs}: 1 or more is right")
        if isinstance(method, Composed) != bool(self.objective):
            raise ValueError(
                "[method] and [objective.NAME] exclude one another: give one of them"
                if self.objective
                else "method.name = 'objective' needs [objective.NAME] tables"
            )
        if method.reads_teacher and self.teacher is None and not isinstance(method, Composed):
            raise ValueError(
                f"method.name = {method.name!r} reads a teacher; "
                "set one of teacher.recipe, teacher.run, teacher.checkpoint and teacher.timm"
            )
        if method.contrastive and self.train.batch_size < 2:
            raise ValueError(
                f"train.batch_size = {self.train.batch_size}: method {method.name} compares images of a batch; "
                "it needs 2 or more"
            )
        if self.data.block and self.train.sampling == "balanced":
            raise ValueError(
                f"data.block = {self.data.block} and train.sampling = 'balanced' both say in which order images come; "
                "give one of them"
            )
        if self.train.batch_size * self.view_count < 2:
            raise ValueError("train.batch_size = 1 and augment.views = 1: batch normalisation needs 2 rows or more")
        if self.model.stem == "native" and not self.model.arch.startswith("timm:"):
            raise ValueError(
                f"model.stem = 'native': {self.model.arch!r} has one stem, for small images; only timm:NAME has two"
            )
        if self.model.pretrained and not self.model.arch.startswith("timm:"):
            raise ValueError(
                f"model.pretrained = true: only timm:NAME has pretrained weights, not {show(self.model.arch)}"
            )
        return self
