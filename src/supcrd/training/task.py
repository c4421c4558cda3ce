"""What `training.fit` optimises: modules that turn a batch into the terms of a loss. All state is in `state_dict()`."""

import copy
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from supcrd.data.loader import Batch
from supcrd.models.normalised import Normalised
from supcrd.models.taps import Taps
from supcrd.training.objective.build import Objective
from supcrd.training.objective.term import Outputs
from supcrd.training.objective.term import Step as TermStep
from supcrd.training.teacher import FrozenTeacher, Teaching
from supcrd.training.world import ALONE, World

__all__ = ["Distillation", "HeadFit", "Normalised", "ProbeFit", "Step"]


class Step(NamedTuple):
    """What one step gives."""

    terms: dict[str, Tensor]  # scalars whose sum is the loss
    correct: Tensor  # scalar, rows of the batch that the classifier got right


class Distillation(nn.Module):
    """A student with its objective, and copies of the teachers' projection heads that learn along.

    The student's encoder runs once a step on all views, and of its heads those that some term reads: on features that
    teach the encoder, on detached ones, or on both. Of teachers it holds what is run, frozen copies that go to its
    device with it and are no part of the state; an encoder is not run where the batch brings its features along.

    Args:
        student: model and normalisation.
        objective: what it learns.
        teachers: name -> teacher; those that no term reads are not run.
        bfloat16: steps run under autocast to it.
        world: the processes that train together.
    """

    def __init__(
        self,
        student: Normalised,
        objective: Objective,
        teachers: Mapping[str, Teaching] | None = None,
        *,
        bfloat16: bool = False,
        world: World = ALONE,
    ) -> None:
        super().__init__()
        self.student, self.objective, self.world = student.model, objective, world
        needs = objective.needs
        self._subject = [student]  # in lists and dicts, so that they are no submodules
        self._encoder = [Taps(student.model.encoder, sorted(needs.maps))]
        read = {name: teaching for name, teaching in (teachers or {}).items() if name in needs.teachers}
        self._teachers = {
            name: FrozenTeacher(teaching, needs.teachers[name], bfloat16=bfloat16) for name, teaching in read.items()
        }
        self.heads = nn.ModuleDict()
        for name, teaching in read.items():
            if "projections" in needs.teachers[name]:
                self.heads[name] = copy.deepcopy(teaching.subject.model.projector).requires_grad_(teaching.joint)
        self._scales = {name: teaching.joint_lr_scale for name, teaching in read.items()}
        self._compiled = False
        self._best: dict[str, Any] = {}
        # constants of every step: on the device once, and no part of the state
        self.register_buffer("student_statistics", torch.tensor([student.mean, student.std]), persistent=False)

    @property
    def frozen_encoders(self) -> list[nn.Module]:
        """The teachers' encoders, which are no part of the state."""
        return [teacher.encoder for teacher in self._teachers.values() if teacher.encoder is not None]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Teachers go along wherever the module is moved."""
        for teacher in self._teachers.values():
            teacher._apply(fn, recurse)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def compile_encoders(self, mode: str) -> None:
        """Compile what is run in a step, in place: neither state nor parameters change."""
        for encoder in (self.student.encoder, *self.frozen_encoders):
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

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Of this version or of 0.1."""
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
        """The terms of a step, each with its weight, and how many rows the classifier got right."""
        if self._compiled:
            # where CUDA graphs are used, their outputs live for one step
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        needs = self.objective.needs
        images = self._subject[0].prepare(batch.inputs, self.get_buffer("student_statistics"))
        features, maps = self._encoder[0](images)
        taught = {name: self._taught(name, batch, images) for name in self._teachers}
        attached = self._heads(features, needs.student, maps)
        apart = {name: part.detach() for name, part in maps.items()}
        detached = self._heads(features.detach(), needs.detached, apart)
        terms = self.objective(
            TermStep(batch, attached, taught, self.world), TermStep(batch, detached, taught, self.world)
        )
        logits = (attached if attached.has("logits") else detached).logits.detach()
        return Step(terms, (logits.argmax(dim=1) == batch.labels).sum())

    def _heads(self, features: Tensor, read: Collection[str], maps: Mapping[str, Tensor]) -> Outputs:
        """What terms read of the student."""
        student = self.student
        logits = student.classifier(features) if "logits" in read else None
        projections = student.projector(features) if "projections" in read else None
        return Outputs(features=features, projections=projections, logits=logits, maps=maps)

    def _taught(self, name: str, batch: Batch, normalised: Tensor) -> Outputs:
        """What terms read of a teacher."""
        teacher, kept = self._teachers[name], batch.taught.get(name) if batch.taught else None
        if kept is not None:
            features, maps = kept, dict[str, Tensor]()
        else:
            features, maps = teacher.encode(batch.inputs, self._subject[0].view, normalised)
        features = features.float()  # kept ones are in half precision
        with torch.no_grad():
            logits = teacher.classifier(features) if "logits" in teacher.reads else None
        projections = self.heads[name](features) if name in self.heads else None
        return Outputs(features=features, projections=projections, logits=logits, maps=maps)


def _renamed(state: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A state under today's names: in 0.1 the only teacher's head and the method's only bank had fixed places."""
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
