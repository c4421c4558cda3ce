"""What `training.fit` optimises: modules that turn a batch into the terms of a loss. All state is in `state_dict()`."""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from supcrd.augment import normalise
from supcrd.data.loader import Batch
from supcrd.models import Model, Output
from supcrd.models.frozen import frozen_encoder


class Normalised(NamedTuple):
    """A model and the channel statistics that its images are normalised with."""

    model: Model
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def prepare(self, images: Tensor, statistics: Tensor | None = None) -> Tensor:
        """What the model is fed of images: all that sees them goes this way.

        Args:
            images: (B, channels, H, W) float in [0, 1], H = W.
            statistics: (2, channels), mean and std on the images' device, where the caller keeps them there.

        Returns:
            (B, channels, S, S), normalised; S is the model's image size, to which images of another are brought by
            bilinear interpolation with antialiasing, on their device.
        """
        size = self.model.image_size
        if images.shape[-2:] != (size, size):
            images = functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
        mean, std = images.new_tensor([self.mean, self.std]) if statistics is None else statistics
        return normalise(images, mean, std)


def same_view(one: Normalised, other: Normalised) -> bool:
    """Whether two models are fed the same tensor of the same images."""
    views = [(subject.mean, subject.std, subject.model.image_size) for subject in (one, other)]
    return views[0] == views[1]


class Step(NamedTuple):
    """What one step gives."""

    terms: dict[str, Tensor]  # scalars whose sum is the loss
    correct: Tensor  # scalar, rows of the batch that the classifier got right


class Distillation(nn.Module):
    """A student that learns by a method, with or without a teacher, and the classifier that reads it.

    The student runs once a step on all views. Where the method does not train the classifier, that is an online probe:
    it learns from detached features by a loss term of its own. The teacher is frozen in eval mode and no part of the
    state; a copy of its projection head learns along where `joint` (the teacher itself stays as it was). Its encoder is
    not run where the batch brings its features along. `reads_logits`: a contrastive method that also has a term on the
    student's logits. `bfloat16`: steps run under autocast to it.
    """

    def __init__(
        self,
        student: Normalised,
        method: nn.Module,
        *,
        contrastive: bool,
        teacher: Normalised | None = None,
        joint: bool = True,
        joint_lr_scale: float = 0.1,
        reads_logits: bool = False,
        bfloat16: bool = False,
    ) -> None:
        super().__init__()
        self.student, self.method, self.contrastive = student.model, method, contrastive
        self.reads_logits = reads_logits
        self._student, self._teacher = [student], [teacher]  # in lists, so that they are no submodules
        self._encoder: list[nn.Module] = []
        self._compiled = False
        self._best: dict[str, Any] = {}
        self.teacher_projector: nn.Module | None = None
        self.joint_lr_scale = joint_lr_scale
        # constants of every step: on the device once, and no part of the state
        self.register_buffer("student_statistics", torch.tensor([student.mean, student.std]), persistent=False)
        if teacher is not None:
            self.register_buffer("teacher_statistics", torch.tensor([teacher.mean, teacher.std]), persistent=False)
            teacher.model.requires_grad_(False).eval()
            # in a list likewise; made where the teacher is, which has to be on its device by now
            self._encoder = [frozen_encoder(teacher.model.encoder, bfloat16=bfloat16)]
            if contrastive:
                self.teacher_projector = copy.deepcopy(teacher.model.projector).requires_grad_(joint)

    def compile_encoders(self, mode: str) -> None:
        """Compile what is run in a step, in place: neither state nor parameters change."""
        for encoder in (self.student.encoder, *self._encoder):
            encoder.compile(mode=mode)
        self._compiled = True

    def remember(self, epoch: int, accuracy: float) -> None:
        """Keep the student's weights, on the CPU, if this accuracy is above all told before; part of the state."""
        if accuracy > self._best.get("accuracy", -1.0):
            weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in self.student.state_dict().items()}
            self._best = {"epoch": epoch, "accuracy": accuracy, "weights": weights}

    @property
    def best(self) -> dict[str, Any]:
        """What was remembered: epoch, accuracy and weights of the student; empty if nothing was."""
        return self._best

    def get_extra_state(self) -> dict[str, Any]:
        """What is remembered travels with the state."""
        return self._best

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """See `get_extra_state`."""
        self._best = state

    def groups(self, lr: float) -> list[dict[str, object]]:
        """Parameter groups for the optimiser."""
        student = self.student
        learned = [*student.encoder.parameters(), *student.projector.parameters(), *self.method.parameters()]
        classifier = list(student.classifier.parameters())
        groups: list[dict[str, object]] = [{"params": learned, "lr": lr}, {"params": classifier, "lr": lr}]
        if self.teacher_projector is not None:
            joint = [p for p in self.teacher_projector.parameters() if p.requires_grad]
            groups += [{"params": joint, "lr": lr * self.joint_lr_scale}] if joint else []
        return groups

    def forward(self, batch: Batch) -> Step:
        """The method's terms, and the online probe's where there is one."""
        if self._compiled:
            # where CUDA graphs are used, their outputs live for one step
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        (student,), (teacher,) = self._student, self._teacher
        images = student.prepare(batch.inputs, self.get_buffer("student_statistics"))
        # where the method's own terms read the logits (an added kd), the classifier teaches the encoder
        apart = self.contrastive and not self.reads_logits
        output: Output = self.student(images, detach_classifier=apart)
        taught = None
        if teacher is not None:
            features = batch.taught
            if features is None:
                if not same_view(teacher, student):
                    images = teacher.prepare(batch.inputs, self.get_buffer("teacher_statistics"))
                with torch.inference_mode():
                    features = self._encoder[0](images)
                features = features.clone()  # out of inference mode: the head that learns along reads it
            taught = self._teach(teacher.model, features)
        terms = self.method(output, taught, batch)
        if self.contrastive:
            logits = output.logits if apart else self.student.classifier(output.features.detach())
            terms["probe"] = functional.cross_entropy(logits.float(), batch.labels)
        return Step(terms, (output.logits.detach().argmax(dim=1) == batch.labels).sum())

    def _teach(self, teacher: Model, features: Tensor) -> Output:
        features = features.float()  # kept ones are in half precision
        with torch.no_grad():
            logits = teacher.classifier(features)
        if self.teacher_projector is None:
            return Output(features, features, logits)
        return Output(features, self.teacher_projector(features), logits)


class HeadFit(nn.Module):
    """A projection head on a frozen encoder: cross-entropy on the cosine to bias-free class prototypes.

    The prototypes are dropped afterwards.

    Source: the reference's "cosine probe" (protocol, step 2).
    """

    def __init__(self, subject: Normalised, *, temperature: float) -> None:
        super().__init__()
        model = subject.model
        self._subject, self.temperature = [subject], temperature
        self.projector = model.projector
        self.prototypes = nn.Linear(model.projection_dim, model.num_classes, bias=False)
        self.register_buffer("statistics", torch.tensor([subject.mean, subject.std]), persistent=False)

    def groups(self, lr: float) -> list[dict[str, object]]:
        """Parameter groups for the optimiser."""
        return [{"params": list(self.parameters()), "lr": lr}]

    def forward(self, batch: Batch) -> Step:
        """The one term, head."""
        (subject,) = self._subject
        subject.model.encoder.eval()
        with torch.no_grad():
            features = subject.model.encoder(subject.prepare(batch.inputs, self.get_buffer("statistics")))
        points = functional.normalize(self.projector(features).float(), dim=1)
        with torch.autocast(points.device.type, enabled=False):
            cosine = points @ functional.normalize(self.prototypes.weight, dim=1).T
        loss = functional.cross_entropy(cosine / self.temperature, batch.labels)
        return Step({"head": loss}, (cosine.detach().argmax(dim=1) == batch.labels).sum())


class ProbeFit(nn.Module):
    """A linear classifier on cached features."""

    def __init__(self, feature_dim: int, num_classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(feature_dim, num_classes)

    def groups(self, lr: float) -> list[dict[str, object]]:
        """Parameter groups for the optimiser."""
        return [{"params": list(self.parameters()), "lr": lr}]

    def forward(self, batch: Batch) -> Step:
        """The one term, probe."""
        logits = self.classifier(batch.inputs).float()
        loss = functional.cross_entropy(logits, batch.labels)
        return Step({"probe": loss}, (logits.detach().argmax(dim=1) == batch.labels).sum())
