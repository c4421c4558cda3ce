"""What `training.fit` optimises: modules that turn a batch into the terms of a loss. All state is in `state_dict()`."""

import copy
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from supcrd.base.home import own_compiled_code
from supcrd.data.loader import Batch
from supcrd.models.normalised import Normalised
from supcrd.models.rounded import rounded_layers
from supcrd.models.taps import Taps
from supcrd.training.ema import MovingAverage
from supcrd.training.objective.build import Objective
from supcrd.training.objective.term import Outputs, Term
from supcrd.training.objective.term import Step as TermStep
from supcrd.training.passed import Passed
from supcrd.training.teacher import FrozenTeacher, Teaching, reuse_classifier
from supcrd.training.world import ALONE, World

__all__ = ["Distillation", "HeadFit", "Normalised", "ProbeFit", "Step"]


class Step(NamedTuple):
    """The result of one step."""

    terms: dict[str, Tensor]  # scalars whose sum is the loss
    correct: Tensor  # scalar, number of rows that the classifier predicts correctly


class Distillation(nn.Module):
    """A student with its objective, and jointly trained copies of the teachers' projection heads.

    In a step the student's encoder runs once on all views. Its heads run if a term reads them: on features through
    which the encoder gets a gradient, on detached features, or on both. Of a teacher the module holds frozen copies of
    the parts that run; they move between devices with it and are not in its state. A teacher's encoder does not run if
    the batch has its features.

    Args:
        student: model and normalisation.
        objective: what it learns from.
        teachers: name -> teacher; those that no term reads do not run.
        bfloat16: steps run under autocast to bfloat16.
        ema: decay of a moving average of the student's weights, which `fit` has to update; 0 for none.
        quantize: in a step the student's encoder and classifier compute as an int8 file does.
        world: the processes that train together.
    """

    def __init__(
        self,
        student: Normalised,
        objective: Objective,
        teachers: Mapping[str, Teaching] | None = None,
        *,
        bfloat16: bool = False,
        ema: float = 0.0,
        quantize: bool = False,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self._quantize = quantize
        self.student, self.objective, self.world = student.model, objective, world
        needs = objective.needs
        self._subject = [student]  # in lists and dicts, so that they are not submodules
        self._encoder = [Taps(student.model.encoder, sorted(needs.maps))]
        read = {name: teaching for name, teaching in (teachers or {}).items() if name in needs.teachers}
        self._teachers = {
            name: FrozenTeacher(teaching, needs.teachers[name], bfloat16=bfloat16) for name, teaching in read.items()
        }
        self.heads = nn.ModuleDict()
        for name, teaching in read.items():
            if "projections" in needs.teachers[name]:
                self.heads[name] = copy.deepcopy(teaching.subject.model.projector).requires_grad_(teaching.joint)
        for term in objective.terms.values():
            assert isinstance(term, Term)
            if term.reuses_classifier:
                reuse_classifier(student.model, read[term.settings.teacher].subject)
        self._scales = {name: teaching.joint_lr_scale for name, teaching in read.items()}
        self._compiled = False
        self.average = MovingAverage(student.model, decay=ema) if ema > 0 else None
        self._best: dict[str, Any] = {}
        # constants: copied to the device once, and not in the state
        self.register_buffer("student_statistics", torch.tensor([student.mean, student.std]), persistent=False)

    @property
    def frozen_encoders(self) -> list[nn.Module]:
        """The teachers' encoders, which are not in the state."""
        return [teacher.encoder for teacher in self._teachers.values() if teacher.encoder is not None]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the teachers together with the module."""
        for teacher in self._teachers.values():
            teacher._apply(fn, recurse)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    @property
    def teachers(self) -> tuple[str, ...]:
        """Names of the teachers that are read."""
        return tuple(self._teachers)

    def learns(self, name: str) -> bool:
        """Whether an output of `Passed.tensors` that is a teacher's has a gradient: its jointly trained projections."""
        teacher, _, part = name.partition("//")
        head = self.heads[teacher] if part == "projections" and teacher in self.heads else nn.Identity()
        return any(p.requires_grad for p in head.parameters())

    @property
    def steady(self) -> bool:
        """Whether every parameter gets a gradient in every step: no head is unread, and no term is left out."""
        settings = [term.settings for term in self.objective.terms.values() if isinstance(term, Term)]
        left_out = any(s.weight == 0 or s.fall > 0 or s.fall_epochs > 0 or s.mixed == "skip" for s in settings)
        return self.objective.needs.trains_projector and not left_out

    @property
    def distilled(self) -> frozenset[str]:
        """Names of the terms that read a teacher."""
        return self.objective.distilled

    def compile_encoders(self, mode: str) -> None:
        """Compile the encoders that run in a step, in place; state and parameters stay the same.

        Raises:
            RunError: the folder for the compiled code, which runs, is one that others can write to.
        """
        own_compiled_code()
        for encoder in (self.student.encoder, *self.frozen_encoders):
            encoder.compile(mode=mode)
        self._compiled = True

    def remember(self, epoch: int, accuracy: float, *, ema: bool = False) -> None:
        """Keep a CPU copy of the student's weights if this accuracy is above all earlier ones; part of the state.

        `ema`: the student has the moving average in place of its own weights.
        """
        if accuracy > self._best.get("accuracy", -1.0):
            weights = {name: tensor.detach().to("cpu", copy=True) for name, tensor in self.student.state_dict().items()}
            self._best = {"epoch": epoch, "accuracy": accuracy, "weights": weights} | ({"ema": True} if ema else {})

    @property
    def best(self) -> dict[str, Any]:
        """What was remembered: epoch, accuracy and weights of the student, and `ema` if they are the moving average;
        empty before the first call."""
        return self._best

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load a state of this version or of 0.1."""
        return super().load_state_dict(_renamed(state_dict, self.state_dict()), strict, assign)

    def get_extra_state(self) -> dict[str, Any]:
        """What is remembered travels with the state."""
        return self._best

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """See `get_extra_state`."""
        self._best = state

    def groups(self, lr: float) -> list[dict[str, object]]:
        """Parameter groups for the optimiser: encoder, projection head and terms; classifier; teachers' heads."""
        student = self.student
        learned = [*student.encoder.parameters(), *student.projector.parameters(), *self.objective.parameters()]
        groups: list[dict[str, object]] = [
            {"params": learned, "lr": lr},
            {"params": list(student.classifier.parameters()), "lr": lr},
        ]
        for name, head in self.heads.items():
            joint = [p for p in head.parameters() if p.requires_grad]
            groups += [{"params": joint, "lr": lr * self._scales[name]}] if joint else []
        return groups

    def forward(self, batch: Batch) -> Step:
        """The weighted terms of a step, and the number of rows that the classifier predicts correctly."""
        return self.judged(batch, self.passed(batch))

    def passed(self, batch: Batch) -> Passed:
        """What the networks make of a batch."""
        if self._compiled:
            # outputs of CUDA graphs live for one step
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        needs = self.objective.needs
        images = self._subject[0].prepare(batch.inputs, self.get_buffer("student_statistics"))
        taught = {name: self._taught(name, batch, images) for name in self._teachers}
        with rounded_layers(self.student.encoder, self.student.classifier) if self._quantize else nullcontext():
            features, maps = self._encoder[0](images)
            attached = self._heads(features, needs.student, maps)
            apart = {name: part.detach() for name, part in maps.items()}
            detached = self._heads(features.detach(), needs.detached, apart)
        return Passed(attached, detached, taught)

    def judged(self, batch: Batch, passed: Passed) -> Step:
        """The terms of what the networks made of a batch."""
        attached, detached, taught = passed
        terms = self.objective(
            TermStep(batch, attached, taught, self.world), TermStep(batch, detached, taught, self.world)
        )
        logits = (attached if attached.has("logits") else detached).logits.detach()
        return Step(terms, (logits.argmax(dim=1) == batch.labels).sum())

    def _heads(self, features: Tensor, read: Collection[str], maps: Mapping[str, Tensor]) -> Outputs:
        """The outputs of the student that terms read."""
        student = self.student
        logits = student.classifier(features) if "logits" in read else None
        projections = student.projector(features) if "projections" in read else None
        return Outputs(features=features, projections=projections, logits=logits, maps=maps)

    def _taught(self, name: str, batch: Batch, normalised: Tensor) -> Outputs:
        """The outputs of a teacher that terms read."""
        teacher, cached = self._teachers[name], batch.taught.get(name) if batch.taught else None
        if cached is not None:
            features, maps = cached, dict[str, Tensor]()
        else:
            features, maps = teacher.encode(batch.inputs, self._subject[0].view, normalised)
        features = features.float() if features.element_size() < 4 else features  # cached ones have half precision
        with torch.no_grad():
            logits = teacher.classifier(features) if "logits" in teacher.reads else None
        projections = self.heads[name](features) if name in self.heads else None
        return Outputs(features=features, projections=projections, logits=logits, maps=maps)


def _renamed(state: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A state with the present names: in 0.1 the only teacher's head and the method's only bank had fixed names."""
    places = {
        r"^teacher_projector\.": "heads.teacher.",
        **{rf"^method\.(lw_supcrd\.)?bank\.{part}$": key for part in ("rows", "written") for key in own
           if key.endswith(f"bank.{part}")},
    }  # fmt: skip
    renamed = {}
    for key, value in state.items():
        for old, new in places.items():
            key = re.sub(old, new, key)
        renamed[key] = value
    return renamed


class HeadFit(nn.Module):
    """A projection head on a frozen encoder: cross-entropy on the cosine to bias-free class prototypes.

    The prototypes are discarded afterwards.

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
