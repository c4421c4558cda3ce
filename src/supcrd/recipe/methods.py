"""The methods that `[method]` can name: a table of keys for each."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self, Union

from pydantic import Field, model_validator

from supcrd.recipe.compared import COMPARED, Compared
from supcrd.recipe.types import VIEWS, BelowOne, Factor, NonNegative, Rows, Settings, Share, Temperature, Views


class CrossEntropy(Settings):
    """Cross-entropy with the labels."""

    reads_teacher: ClassVar[bool] = False
    contrastive: ClassVar[bool] = False
    name: Literal["cross_entropy"]
    """the method"""
    label_smoothing: BelowOne = 0.0
    """share of the target that is spread over all classes"""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: rarer classes count more in the loss, each by N / (classes * its training images)"""


class KD(Settings):
    """(1 - weight) * cross-entropy + weight * kd; see `supcrd.losses.kd`."""

    reads_teacher: ClassVar[bool] = True
    contrastive: ClassVar[bool] = False
    name: Literal["kd"]
    """the method"""
    temperature: Temperature = 4.0
    """divides both logits before the softmax"""
    weight: Share = 0.9
    """share of kd in the loss; the rest is cross-entropy"""
    standardise: bool = False
    """z-score both logits first (Sun et al. 2024); the published weights and temperatures then differ"""


class DKD(Settings):
    """ce_weight * cross-entropy + dkd; see `supcrd.losses.dkd`."""

    reads_teacher: ClassVar[bool] = True
    contrastive: ClassVar[bool] = False
    name: Literal["dkd"]
    """the method"""
    alpha: NonNegative = 1.0
    """weight of the target class's part"""
    beta: NonNegative = 8.0
    """weight of the other classes' part"""
    temperature: Temperature = 4.0
    """divides both logits before the softmax"""
    ce_weight: NonNegative = 1.0
    """weight of the added cross-entropy"""
    warmup_epochs: NonNegative = 0.0
    """linear rise of dkd's weight, in epochs (the published runs: 20 of 240)"""
    standardise: bool = False
    """z-score both logits first (Sun et al. 2024)"""


class SupCon(Settings):
    """Supervised contrastive learning; see `supcrd.losses.supcon`."""

    reads_teacher: ClassVar[bool] = False
    contrastive: ClassVar[bool] = True
    name: Literal["supcon"]
    """the method"""
    temperature: Temperature = 0.07
    """divides cosine similarities"""


class Taught(Settings):
    """What the contrastive methods that read a teacher share."""

    reads_teacher: ClassVar[bool] = True
    contrastive: ClassVar[bool] = True
    bank: Rows = 0
    """rows of a memory bank of the teacher's embeddings (one row a training image) that are further candidates in
    every step, at most the number of training images; 0 for no bank"""
    bank_momentum: BelowOne = 0.5
    """share of the old row in the new one"""
    kd_weight: NonNegative = 0.0
    """weight of an added `kd` term, which teaches encoder and classifier; 0 for none"""
    kd_temperature: Temperature = 4.0
    """divides both logits in the added `kd` term"""


class CRD(Taught):
    """Contrastive representation distillation; see `supcrd.losses.crd`."""

    name: Literal["crd"]
    """the method"""
    temperature: Temperature = 0.07
    """divides cosine similarities"""


class LWSupCRD(Taught):
    """Supervised CRD, weighted by the teacher's confidence; see `supcrd.losses.lw_supcrd`."""

    name: Literal["lw_supcrd"]
    """the method"""
    alpha: Factor = 1.0
    """weight of the pull; inside the logarithm only beta / alpha matters"""
    beta: Factor = 10.0
    """weight of the push"""
    temperature: Temperature = 0.07
    """divides cosine similarities"""
    adaptive: bool = True
    """push less where the teacher is sure: beta / (p(y) + 0.5)"""
    teacher_temperature: Temperature = 1.0
    """divides the teacher's logits before the softmax that weighs"""


class Hybrid(LWSupCRD):
    """lam * supcon + (1 - lam) * lw_supcrd; see `supcrd.losses.hybrid`."""

    name: Literal["hybrid"]  # type: ignore[assignment]
    """the method"""
    lam: Share = 0.3
    """share of supcon in the loss (the reference's lambda); the rest is lw_supcrd"""


class Joint(LWSupCRD):
    """Cross-entropy through the encoder + `kd` or `dist` + a contrastive term, whose weight falls to 0 at the end."""

    name: Literal["joint"]  # type: ignore[assignment]
    """the method"""
    ce_weight: NonNegative = 1.0
    """weight of cross-entropy, which teaches encoder and classifier"""
    label_smoothing: BelowOne = 0.0
    """share of the target of cross-entropy that is spread over all classes"""
    class_weights: Literal["none", "balanced"] = "none"
    """of cross-entropy; balanced: rarer classes count more, each by N / (classes * its training images)"""
    logits: Literal["kd", "dist"] = "kd"
    """the term of logits: `kd`, or `dist` (Huang et al. 2022) with the weight, temperature and fall of kd_*"""
    kd_weight: NonNegative = 1.0
    """weight of the term of logits, which teaches encoder and classifier; 0 for none"""
    standardise: bool = False
    """z-score both logits of the `kd` term first (Sun et al. 2024)"""
    contrast: Literal["lw_supcrd", "crd", "supcon", "none"] = "lw_supcrd"
    """the contrastive term; alpha, beta, adaptive and teacher_temperature are of lw_supcrd, bank and bank_momentum of
    lw_supcrd and crd"""
    contrast_weight: NonNegative = 1.0
    """weight of the contrastive term"""
    contrast_views: Views | None = Field(default=None, json_schema_extra={"range": VIEWS})
    """the views that the contrastive term reads, as `views` of a term; all of them if not given"""
    contrast_mixed: Literal["refuse", "skip"] = "refuse"
    """what the contrastive term does with mixed views, as `mixed` of a term"""
    contrast_fall: Share = 0.2
    """share of the training, at its end, over which the weight of the contrastive term falls to 0"""
    kd_fall: Share = 0.0
    """the same for the weight of the term of logits"""

    @model_validator(mode="after")
    def _standardised_kd(self) -> Self:
        if self.standardise and self.logits != "kd":
            raise ValueError(f"method.standardise = true is for method.logits = 'kd'; {self.logits!r} needs none")
        return self

    @property
    def reads_teacher(self) -> bool:  # type: ignore[override]
        """Whether a term reads one."""
        return self.kd_weight > 0 or (self.contrast in ("lw_supcrd", "crd") and self.contrast_weight > 0)

    @property
    def contrastive(self) -> bool:  # type: ignore[override]
        """Whether a term compares images with one another."""
        return self.contrast != "none" and self.contrast_weight > 0


class Imported(Settings):
    """Weights from elsewhere, brought into a run folder as a teacher; nothing is trained by it."""

    reads_teacher: ClassVar[bool] = False
    contrastive: ClassVar[bool] = False
    name: Literal["imported"]
    """the method"""
    weights: str
    """file or timm model that they came from"""
    fingerprint: str = ""
    """hash of the file"""


class Composed(Settings):
    """The method of a recipe whose terms are `[objective.NAME]` tables."""

    reads_teacher: ClassVar[bool] = True  # the teachers that such a recipe has are there to be read
    contrastive: ClassVar[bool] = False
    name: Literal["objective"]
    """the method"""


_Own = CrossEntropy | KD | DKD | SupCon | CRD | LWSupCRD | Hybrid | Joint | Imported | Composed
if TYPE_CHECKING:
    Method = _Own | Compared
else:  # those of `compared` are made from a table, which type checkers do not see
    Method = Annotated[Union[(_Own, *COMPARED.values())], Field(discriminator="name")]
METHOD_SETTINGS: dict[str, type[Settings]] = {
    "cross_entropy": CrossEntropy,
    "kd": KD,
    "dkd": DKD,
    "supcon": SupCon,
    "crd": CRD,
    "lw_supcrd": LWSupCRD,
    "hybrid": Hybrid,
    "joint": Joint,
    **COMPARED,
}
"""What a recipe can ask for; a folder of imported weights has a method of its own, `Imported`."""
