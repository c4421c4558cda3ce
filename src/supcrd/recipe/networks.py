"""The keys of `[model]` and `[teacher]`: which network learns, and from which."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from supcrd.recipe.fits import HeadSettings
from supcrd.recipe.types import Channels, ClassNames, Deviations, Name, Pixels, Rate, Settings, Widths


class ModelSettings(Settings):
    """Which network."""

    arch: str
    """network: convnet; resnet8, resnet14, resnet20, resnet32, resnet44, resnet56, resnet110; resnet8x4, resnet14x4,
    resnet20x4, resnet32x4; resnet20-a, resnet32-a, resnet44-a, resnet56-a, resnet110-a; resnet18, resnet34, resnet50,
    resnet101, resnet50-2048; wrn-16-1, wrn-16-2, wrn-40-1, wrn-40-2, wrn-28-4, wrn-28-10; vgg8, vgg11, vgg13, vgg16,
    vgg19; mobilenetv2; shufflenetv1; shufflenetv2; timm:NAME; or one of your own. See docs/networks.md. NAME+WIDTH has
    SimKD's projector to so many features (docs/terms.md)"""
    projector: Widths = (128, 64)
    """widths of the projection head's layers; the last must equal the teacher's if the two are compared"""
    pretrained: bool = False
    """start from timm's pretrained weights (timm:NAME only; downloaded by timm)"""
    checkpoint: Name | None = None
    """start from weights of one's own: a run folder, or a file as for teacher.checkpoint, of the same arch; the
    classifier starts anew where its classes are others (docs/weights.md). Not together with pretrained"""
    state_dict: Name | None = None
    """which state dict of a `checkpoint` that has several, as teacher.state_dict"""
    stem: Literal["low", "native"] | None = None
    """of timm:NAME: low, a stem for small images, or native, the architecture's own, which plain timm needs to run the
    weights; that of `checkpoint`, else low for images of 32 px or less, if not given"""

    @model_validator(mode="after")
    def _one_start(self) -> "ModelSettings":
        if self.checkpoint is not None and self.pretrained:
            raise ValueError(
                "model.checkpoint and model.pretrained = true are both weights to start from; give one of them"
            )
        if self.state_dict is not None and self.checkpoint is None:
            raise ValueError("model.state_dict is for model.checkpoint, which is not given")
        return self


OUTSIDE = ("checkpoint", "timm")
"""Where weights from elsewhere come from, whose file may not say how its images were normalised."""


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
    """path of weights: a .safetensors or .pth of this package, the reference, timm, torchvision or one of the usual
    repositories (docs/weights.md)"""
    state_dict: str | None = None
    """which state dict of a `checkpoint` that has several: a key of the file, ema for a moving average, or what stands
    before the keys of one of several networks, such as student; the usual one if not given"""
    timm: str | None = None
    """timm model with pretrained weights, such as resnet50.a1_in1k or hf_hub:OWNER/NAME; where its classes are others
    than the data's and `classes` does not name them, a classifier is fitted to its features of the training images"""
    arch: str | None = None
    """network of `checkpoint`, as model.arch; needed only if the names of its weights leave it open"""
    classes: ClassNames | None = None
    """names of the teacher's outputs in order, or a text file of them, one a line; those of its card if not given"""
    image_size: Pixels | None = None
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
    joint_lr_scale: Rate = 0.1
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
        if self.state_dict is not None and self.checkpoint is None:
            raise ValueError(f"teacher.state_dict is for teacher.checkpoint, but the teacher is by teacher.{given[0]}")
        kinds = {"arch": ("checkpoint",), "image_size": OUTSIDE, "mean": OUTSIDE, "std": OUTSIDE}
        for key, right in kinds.items():
            if getattr(self, key) is not None and given[0] not in right:
                places = " and ".join(f"teacher.{name}" for name in right)
                raise ValueError(f"teacher.{key} is for {places}, but the teacher is by teacher.{given[0]}")
        if (self.mean is None) != (self.std is None):
            missing = "mean" if self.mean is None else "std"
            raise ValueError(f"teacher.mean and teacher.std must be given together; teacher.{missing} is missing")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise ValueError(f"teacher.mean has {len(self.mean)} channels, teacher.std has {len(self.std)}")
        return self
