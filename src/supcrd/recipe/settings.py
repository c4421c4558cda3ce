"""The keys of a recipe as frozen, validated types. A key that is not here is an error, and so is a wrong type."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from supcrd.base.wording import show

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Channels = Annotated[tuple[float, ...], Field(strict=False, min_length=1, max_length=3)]
Deviations = Annotated[tuple[Positive, ...], Field(strict=False, min_length=1, max_length=3)]
Levels = Annotated[tuple[float, float], Field(strict=False)]
ClassNames = Annotated[tuple[str, ...], Field(strict=False, min_length=2)] | str
Widths = Annotated[tuple[Count, ...], Field(strict=False, min_length=1)]


class Settings(BaseModel):
    """Base of all tables of a recipe: immutable, no unknown keys, no silent conversions, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataSettings(Settings):
    """Which images, and how they are divided and normalised."""

    source: str
    """digits, cifar10, cifar100, npz:PATH, folder:PATH or shards:PATH"""
    folder: str = "data"
    """where CIFAR archives lie, or are downloaded to"""
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """share of train held out, stratified, where the source has no validation split; 0 for none"""
    split_seed: Annotated[int, Field(ge=0)] = 0
    """draws the validation split; apart from `seed`, so that all runs and their teacher share one split"""
    image_size: Annotated[int, Field(ge=8)] | None = None
    """for folder: and shards: sources, the size in pixels that images are brought to"""
    classes: ClassNames | None = None
    """names of the classes in the order of the labels, or a text file of them, one a line: for sources whose labels are
    bare numbers, or to put the classes of others in another order"""
    stream: bool = False
    """for folder: and shards: sources larger than memory: decode each batch when it is needed; needs image_size"""
    levels: Levels | None = None
    """[black, white] of images of 16- or 32-bit integers or floats; told from the train split if not given: see
    docs/data.md"""
    damaged: Literal["refuse", "skip"] = "refuse"
    """what to do with image files that cannot be read: refuse the set, or leave them out"""
    unlabelled: Literal["refuse", "skip"] = "refuse"
    """what to do with images of an npz: source whose label is -1: refuse the set, or leave them out"""
    workers: Count | None = None
    """threads that decode image files; as many as the machine has cores, at most 16, if not given"""
    limit: Annotated[int, Field(ge=2)] | None = None
    """use only so many images of each split, balanced over classes: to try a recipe out"""
    mean: Channels | None = None
    """channel means on the 0..1 scale; measured on the train split if not given"""
    std: Deviations | None = None
    """channel standard deviations likewise"""

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
    """one of `supcrd.models.ARCHS`, or timm:NAME"""
    projector: Widths = (128, 64)
    """widths of the projection head; the last must equal the teacher's for methods that compare the two"""
    pretrained: bool = False
    """start from timm's pretrained weights (timm:NAME only; downloaded by timm)"""
    stem: Literal["low", "native"] | None = None
    """of timm:NAME: low, a stem for small images, or native, the architecture's own, which plain timm needs to run the
    weights; low for images of 32 px or less if not given"""


class AugmentSettings(Settings):
    """How each view of a training image is made; see `supcrd.data.augment.draw`."""

    views: Annotated[int, Field(ge=1, le=8)] = 2
    """independent views of each image in a batch"""
    crop_padding: Annotated[int, Field(ge=0)] = 4
    """pixels of black on each side before a random crop of the original size; 0 for none"""
    flip: Share = 0.5
    """probability of a horizontal flip"""
    brightness: Annotated[float, Field(ge=0)] = 0.2
    """x draws the factor from [max(0, 1 - x), 1 + x]; 0 for none"""
    contrast: Annotated[float, Field(ge=0)] = 0.2
    """likewise"""
    saturation: Annotated[float, Field(ge=0)] = 0.2
    """likewise"""


class FitSettings(Settings):
    """One optimisation: what `training.fit` needs to know."""

    epochs: Annotated[int, Field(ge=0)]
    batch_size: Count = 128
    """images, each of them seen in all its views"""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: Positive = 1e-3
    """peak learning rate"""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """of SGD (Nesterov); the others use their standard betas"""
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    """linear warm-up, in epochs; one_cycle has its own"""
    grad_clip: Positive | None = None
    """largest norm of the gradient; encoder with projection head, classifier and teacher's head each by itself"""


class TrainSettings(FitSettings):
    """The main training of a run."""

    epochs: Annotated[int, Field(ge=0)]
    """1 or more; 0 stands in the folder of imported weights only"""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps"""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 autocast where the hardware gains from it"""
    compile: Literal["off", "default", "reduce-overhead"] = "off"
    """torch.compile of student's and teacher's encoder in this mode (reduce-overhead: CUDA graphs); costs a start-up
    of a minute or more and needs a C++ compiler, so it is for long runs: see docs/performance.md"""
    tensorboard: bool = False
    """mirror metrics.jsonl to a TensorBoard event file in the run folder, live; needs supcrd[tensorboard]"""


class HeadSettings(FitSettings):
    """The projection head of a model whose method does not train it: cosine prototypes on frozen features."""

    epochs: Annotated[int, Field(ge=0)] = 10
    """0 leaves the head as it was initialised"""
    temperature: Positive = 0.07


class ProbeSettings(FitSettings):
    """The final linear probe on frozen, cached features, which are standardised first."""

    epochs: Annotated[int, Field(ge=0)] = 50
    """0 for no final probe"""
    batch_size: Count = 512
    lr: Positive = 1e-2
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "cosine", "one_cycle"] = "cosine"


class CrossEntropy(Settings):
    """Cross-entropy with the labels."""

    reads_teacher: ClassVar[bool] = False
    contrastive: ClassVar[bool] = False
    name: Literal["cross_entropy"]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


class KD(Settings):
    """(1 - weight) * cross-entropy + weight * kd."""

    reads_teacher: ClassVar[bool] = True
    contrastive: ClassVar[bool] = False
    name: Literal["kd"]
    temperature: Positive = 4.0
    weight: Share = 0.9
    standardise: bool = False
    """z-score both logits first (Sun et al. 2024); the published weights and temperatures then differ"""


class DKD(Settings):
    """ce_weight * cross-entropy + dkd; see `supcrd.losses.dkd`."""

    reads_teacher: ClassVar[bool] = True
    contrastive: ClassVar[bool] = False
    name: Literal["dkd"]
    alpha: Annotated[float, Field(ge=0)] = 1.0
    """weight of the target class's part"""
    beta: Annotated[float, Field(ge=0)] = 8.0
    """weight of the other classes' part"""
    temperature: Positive = 4.0
    ce_weight: Annotated[float, Field(ge=0)] = 1.0
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    """linear rise of dkd's weight, in epochs (the published runs: 20 of 240)"""
    standardise: bool = False
    """z-score both logits first (Sun et al. 2024)"""


class SupCon(Settings):
    """See `supcrd.losses.supcon`."""

    reads_teacher: ClassVar[bool] = False
    contrastive: ClassVar[bool] = True
    name: Literal["supcon"]
    temperature: Positive = 0.07


class Taught(Settings):
    """What the contrastive methods that read a teacher share."""

    reads_teacher: ClassVar[bool] = True
    contrastive: ClassVar[bool] = True
    bank: Annotated[int, Field(ge=0)] = 0
    """so many rows of a memory bank of the teacher's embeddings, one a training image, are further candidates in every
    step; 0 for no bank"""
    bank_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """share of the old row in the new one"""
    kd_weight: Annotated[float, Field(ge=0)] = 0.0
    """of an added `kd` term, which teaches encoder and classifier; 0 for none"""
    kd_temperature: Positive = 4.0


class CRD(Taught):
    """See `supcrd.losses.crd`."""

    name: Literal["crd"]
    temperature: Positive = 0.07


class LWSupCRD(Taught):
    """See `supcrd.losses.lw_supcrd`."""

    name: Literal["lw_supcrd"]
    alpha: Positive = 1.0
    beta: Positive = 10.0
    temperature: Positive = 0.07
    adaptive: bool = True
    teacher_temperature: Positive = 1.0


class Hybrid(LWSupCRD):
    """See `supcrd.losses.hybrid`."""

    name: Literal["hybrid"]  # type: ignore[assignment]
    lam: Share = 0.3


class Imported(Settings):
    """Weights from elsewhere, brought into a run folder as a teacher; nothing is trained by it."""

    reads_teacher: ClassVar[bool] = False
    contrastive: ClassVar[bool] = False
    name: Literal["imported"]
    weights: str
    """file or timm model that they came from"""
    fingerprint: str = ""
    """of the file"""


class TeacherSettings(Settings):
    """Where the teacher comes from: exactly one of recipe, run, checkpoint and timm."""

    recipe: str | None = None
    """a recipe to train first, on the same data; its run folder stands beside the student's"""
    override: dict[str, Any] = {}
    """tables of keys that replace those of `recipe`, e.g. override.train.epochs"""
    resolved: dict[str, Any] = {}
    """the whole recipe that `recipe` and `override` come to; written by supcrd: a run folder needs no other file"""
    run: str | None = None
    """a finished run folder"""
    checkpoint: str | None = None
    """weights: a .safetensors or .pth of this package, the reference, timm or torchvision"""
    timm: str | None = None
    """a timm model with pretrained weights for exactly these classes, e.g. hf_hub:OWNER/NAME"""
    arch: str | None = None
    """of `checkpoint`, where its keys do not tell"""
    classes: ClassNames | None = None
    """names of its outputs in order, or a text file of them, one a line; those of its own card if not given"""
    image_size: Annotated[int, Field(ge=8)] | None = None
    """pixels that the weights of `checkpoint` or `timm` expect, to which the student's views are resized; what the file
    says or timm knows of the network if not given"""
    mean: Channels | None = None
    """normalisation that the weights of `checkpoint` or `timm` expect; if not given, timm's for a network with its own
    stem, else the student's"""
    std: Deviations | None = None
    head: HeadSettings = HeadSettings()
    """for weights of `checkpoint` or `timm` without a trained projection head"""
    joint: bool = True
    """train a copy of the teacher's projection head with the student's loss"""
    joint_lr_scale: Positive = 0.1
    """its learning rate over the student's"""
    compare: bool = False
    """train or import the teacher for a method that does not read it, too, to compare with"""
    check: bool = True
    """try the teacher on the student's validation images first: far below its own accuracy, or at chance, is an
    error"""
    cache: Annotated[int, Field(ge=0, le=1000)] = 0
    """views come from so many epochs in turn, the teacher's features of them being computed once for all runs and kept
    in its run folder; 0: new views in every epoch, and the teacher runs in every step"""

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


class Composed(Settings):
    """The method of a recipe whose terms are `[objective.NAME]` tables."""

    reads_teacher: ClassVar[bool] = True  # the teachers that such a recipe has are there to be read
    contrastive: ClassVar[bool] = False
    name: Literal["objective"]


Method = Annotated[
    CrossEntropy | KD | DKD | SupCon | CRD | LWSupCRD | Hybrid | Imported | Composed, Field(discriminator="name")
]
METHOD_SETTINGS: dict[str, type[Settings]] = {
    "cross_entropy": CrossEntropy,
    "kd": KD,
    "dkd": DKD,
    "supcon": SupCon,
    "crd": CRD,
    "lw_supcrd": LWSupCRD,
    "hybrid": Hybrid,
}
"""What a recipe can ask for; a folder of imported weights has a method of its own, `Imported`."""


class Recipe(Settings):
    """One run: one model trained by one method."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9][A-Za-z0-9._=+-]*$")]
    """of the run folder"""
    seed: Annotated[int, Field(ge=0)] = 0
    """initial weights, order of images, augmentation"""
    data: DataSettings
    model: ModelSettings
    method: Method
    augment: AugmentSettings = AugmentSettings()
    train: TrainSettings
    head: HeadSettings = HeadSettings()
    probe: ProbeSettings = ProbeSettings()
    plugins: tuple[str, ...] = Field(default=(), strict=False)
    """files (beside the recipe) and modules with terms, networks and data sources of one's own; their code runs"""
    objective: dict[str, dict[str, Any]] = {}
    """the terms of the loss, a table each, in place of `method`; see docs/objectives.md"""
    teachers: dict[str, TeacherSettings] = {}
    """further teachers by name, each with the keys of `teacher`"""
    teacher: TeacherSettings | None = None
    """read by kd, dkd, crd, lw_supcrd and hybrid; with the others compared with, where teacher.compare asks for it"""

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
