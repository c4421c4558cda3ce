"""The keys of a recipe as frozen, validated types. A key that is not here is an error, and so is a wrong type.

The tables of `[method]` are in `methods.py`, of optimisations in `fits.py`, what all tables share in `types.py`;
all names can be imported from here.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from supcrd.base.wording import show
from supcrd.recipe.fits import FitSettings, HeadSettings, ProbeSettings, TrainSettings
from supcrd.recipe.methods import (
    CRD,
    DKD,
    KD,
    METHOD_SETTINGS,
    Composed,
    CrossEntropy,
    Hybrid,
    Imported,
    LWSupCRD,
    Method,
    SupCon,
    Taught,
)
from supcrd.recipe.types import (
    BelowOne,
    Channels,
    ClassNames,
    Count,
    Deviations,
    Levels,
    Natural,
    NonNegative,
    Positive,
    Settings,
    Share,
    Widths,
)

__all__ = [
    "CRD", "DKD", "KD", "METHOD_SETTINGS", "Composed", "CrossEntropy", "Hybrid", "Imported", "LWSupCRD", "Method",
    "SupCon", "Taught",
    "BelowOne", "Channels", "ClassNames", "Count", "Deviations", "Levels", "Natural", "NonNegative", "Positive",
    "Settings", "Share", "Widths",
    "AugmentSettings", "DataSettings", "FitSettings", "HeadSettings", "ModelSettings", "ProbeSettings", "Recipe",
    "TeacherSettings", "TrainSettings",
]  # fmt: skip


SOURCES = {
    "digits": "digits",
    "cifar10": "cifar",
    "cifar100": "cifar",
    "npz:PATH": "npz",
    "folder:PATH": "folder",
    "shards:PATH": "shards",
}
"""What `data.source` may be -> the file of `data/sources/` that reads it."""


class DataSettings(Settings):
    """Which images, and how they are divided and normalised."""

    source: str
    """digits, cifar10, cifar100, npz:PATH, folder:PATH, shards:PATH, or NAME:REST of a source of your own"""
    folder: str = "data"
    """folder of the CIFAR archives, which are downloaded to it if missing"""
    validation: BelowOne = 0.1
    """share of the training images held out for validation, class by class, if the source has no validation split; 0
    for none"""
    split_seed: Natural = 0
    """seed of the validation split; separate from `seed`, so that all runs and their teacher share one split"""
    image_size: Annotated[int, Field(ge=8)] | None = None
    """height and width in pixels that images are resized to; for folder: and shards: sources"""
    classes: ClassNames | None = None
    """names of the classes in the order of the labels, or a text file of them, one a line: for sources whose labels are
    bare numbers, or to put the classes of others in another order"""
    stream: bool = False
    """decode each batch when it is needed, for folder: and shards: sources larger than memory; needs image_size"""
    levels: Levels | None = None
    """[black, white] of images of 16- or 32-bit integers or floats; inferred from the train split if not given: see
    docs/data.md"""
    damaged: Literal["refuse", "skip"] = "refuse"
    """what to do with image files that cannot be read: refuse the set, or leave them out"""
    unlabelled: Literal["refuse", "skip"] = "refuse"
    """what to do with images of an npz: source whose label is -1: refuse the set, or leave them out"""
    workers: Count | None = None
    """threads that decode image files; the number of cores, at most 16, if not given"""
    limit: Annotated[int, Field(ge=2)] | None = None
    """use at most this many images of each split, balanced over classes: to try a recipe out"""
    mean: Channels | None = None
    """channel means on the 0..1 scale; measured on the train split if not given"""
    std: Deviations | None = None
    """channel standard deviations on the 0..1 scale; measured on the train split if not given"""

    @model_validator(mode="after")
    def _levels_in_order(self) -> "DataSettings":
        if self.levels is not None and self.levels[0] >= self.levels[1]:
            raise ValueError(f"data.levels = {list(self.levels)}: black must be below white, as in [0, 4095]")
        return self

    @model_validator(mode="after")
    def _mean_and_std(self) -> "DataSettings":
        if (self.mean is None) != (self.std is None):
            missing = "mean" if self.mean is None else "std"
            raise ValueError(f"data.mean and data.std must be given together; data.{missing} is missing")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError(f"data.mean has {len(self.mean)} channels, data.std has {len(self.std)}")
        return self


class ModelSettings(Settings):
    """Which network."""

    arch: str
    """network: one of `supcrd.models.ARCHS`, timm:NAME, or one of your own"""
    projector: Widths = (128, 64)
    """widths of the projection head's layers; the last must equal the teacher's if the two are compared"""
    pretrained: bool = False
    """start from timm's pretrained weights (timm:NAME only; downloaded by timm)"""
    stem: Literal["low", "native"] | None = None
    """of timm:NAME: low, a stem for small images, or native, the architecture's own, which plain timm needs to run the
    weights; low for images of 32 px or less if not given"""


class AugmentSettings(Settings):
    """How each view of a training image is made; see `supcrd.data.augment.draw`."""

    views: Annotated[int, Field(ge=1, le=8)] = 2
    """independent views of each image in a batch"""
    crop_padding: Natural = 4
    """pixels of black added to each side before a random crop of the original size; 0 for none"""
    flip: Share = 0.5
    """probability of a horizontal flip"""
    brightness: NonNegative = 0.2
    """strength x: brightness is multiplied by a factor drawn from [max(0, 1 - x), 1 + x]; 0 for none"""
    contrast: NonNegative = 0.2
    """strength of the random change of contrast, as for brightness; 0 for none"""
    saturation: NonNegative = 0.2
    """strength of the random change of saturation, as for brightness; 0 for none"""


class TeacherSettings(Settings):
    """Where the teacher comes from: exactly one of recipe, run, checkpoint and timm."""

    recipe: str | None = None
    """recipe of the teacher, name or path, which is trained first on the same data; its run folder is beside the
    student's"""
    override: dict[str, Any] = Field(default={})
    """tables of keys that replace those of `recipe`, such as override.train.epochs"""
    resolved: dict[str, Any] = Field(default={})
    """the whole recipe that `recipe` and `override` come to; written by supcrd: a run folder needs no other file"""
    run: str | None = None
    """path of a finished run folder"""
    checkpoint: str | None = None
    """path of weights: a .safetensors or .pth of this package, the reference, timm or torchvision"""
    timm: str | None = None
    """timm model with pretrained weights for exactly these classes, such as hf_hub:OWNER/NAME"""
    arch: str | None = None
    """network of `checkpoint`; needed only if the names of its weights leave it open"""
    classes: ClassNames | None = None
    """names of the teacher's outputs in order, or a text file of them, one a line; those of its card if not given"""
    image_size: Annotated[int, Field(ge=8)] | None = None
    """pixels that the weights of `checkpoint` or `timm` expect, to which the student's views are resized; what the file
    says or timm knows of the network if not given"""
    mean: Channels | None = None
    """channel means on the 0..1 scale that the weights of `checkpoint` or `timm` expect; if not given, timm's for a
    network with its own stem, else the student's"""
    std: Deviations | None = None
    """channel standard deviations on the 0..1 scale, given together with mean"""
    head: HeadSettings = HeadSettings()
    """how to train a projection head for weights of `checkpoint` or `timm` that lack one"""
    joint: bool = True
    """train a copy of the teacher's projection head with the student's loss"""
    joint_lr_scale: Positive = 0.1
    """learning rate of that copy, as a multiple of the student's"""
    compare: bool = False
    """prepare the teacher, to compare with, even if the method does not read it"""
    check: bool = True
    """measure the teacher on the student's validation images first; an accuracy at chance, or far below its own, is an
    error"""
    cache: Annotated[int, Field(ge=0, le=1000)] = 0
    """reuse the augmented views of this many epochs cyclically: the teacher's features of these views are computed once
    for all runs and kept in its run folder; 0: new views in every epoch, and the teacher runs in every step"""

    @model_validator(mode="after")
    def _one_source(self) -> "TeacherSettings":
        given = [key for key in ("recipe", "run", "checkpoint", "timm") if getattr(self, key) is not None]
        if len(given) != 1:
            what = " and ".join(f"teacher.{key}" for key in given) or "none"
            raise ValueError(f"the teacher needs one of teacher.recipe, .run, .checkpoint and .timm, got {what}")
        if self.override and self.recipe is None:
            raise ValueError(
                f"teacher.override changes the recipe of teacher.recipe, but the teacher is by teacher.{given[0]}"
            )
        if (self.mean is None) != (self.std is None):
            missing = "mean" if self.mean is None else "std"
            raise ValueError(f"teacher.mean and teacher.std must be given together; teacher.{missing} is missing")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError(f"teacher.mean has {len(self.mean)} channels, teacher.std has {len(self.std)}")
        return self


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
    seed: Natural = 0
    """seed of initial weights, order of images and augmentation"""
    data: DataSettings
    """the images"""
    model: ModelSettings
    """the network"""
    method: Method
    """the loss, one of the seven presets; `objective` takes its place"""
    augment: AugmentSettings = AugmentSettings()
    """the views of training images"""
    train: TrainSettings
    """the main training"""
    head: HeadSettings = HeadSettings()
    """the training of a projection head that the method leaves untrained"""
    probe: ProbeSettings = ProbeSettings()
    """the final linear probe"""
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

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        method = self.method
        if "teacher" in self.teachers and self.teacher is not None:
            raise ValueError("two teachers have one name: [teacher] is [teachers.teacher]")
        if self.train.epochs < 1 and not isinstance(method, Imported):
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
        if self.train.batch_size * self.augment.views < 2:
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
