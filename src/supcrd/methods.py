"""The training methods: (student output, teacher output, labels) -> the terms of the loss, by name.

A method is a module, so that what it learns or remembers is part of its `state_dict`.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from supcrd.losses import CRD, KD, LWSupCRD, SupCon
from supcrd.models import Output
from supcrd.settings import Settings


class CrossEntropyMethod(nn.Module):
    """Cross-entropy of the student's logits with the labels."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, student: Output, teacher: Output | None, labels: Tensor) -> dict[str, Tensor]:
        """Terms: cross_entropy."""
        logits = student.logits.float()
        return {"cross_entropy": functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)}


class KDMethod(nn.Module):
    """(1 - weight) * cross-entropy + weight * KD."""

    def __init__(self, temperature: float = 4.0, weight: float = 0.9) -> None:
        super().__init__()
        self.loss, self.weight = KD(temperature), weight

    def forward(self, student: Output, teacher: Output | None, labels: Tensor) -> dict[str, Tensor]:
        """Terms: cross_entropy and kd, each with its weight."""
        assert teacher is not None
        return {
            "cross_entropy": (1 - self.weight) * functional.cross_entropy(student.logits.float(), labels),
            "kd": self.weight * self.loss(student.logits, teacher.logits),
        }


class SupConMethod(nn.Module):
    """SupCon among the student's projections."""

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        self.loss = SupCon(temperature)

    def forward(self, student: Output, teacher: Output | None, labels: Tensor) -> dict[str, Tensor]:
        """Terms: supcon."""
        return {"supcon": self.loss(student.projections, labels)}


class CRDMethod(nn.Module):
    """CRD of the student's projections to the teacher's."""

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        self.loss = CRD(temperature)

    def forward(self, student: Output, teacher: Output | None, labels: Tensor) -> dict[str, Tensor]:
        """Terms: crd."""
        assert teacher is not None
        return {"crd": self.loss(student.projections, teacher.projections)}


class LWSupCRDMethod(nn.Module):
    """LW-SupCRD of the student's projections to the teacher's."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.loss = LWSupCRD(**settings)

    def forward(self, student: Output, teacher: Output | None, labels: Tensor) -> dict[str, Tensor]:
        """Terms: lw_supcrd."""
        assert teacher is not None
        return {"lw_supcrd": self.loss(student.projections, teacher.projections, labels, teacher.logits)}


class HybridMethod(nn.Module):
    """lam * SupCon + (1 - lam) * LW-SupCRD."""

    def __init__(self, *, lam: float, temperature: float, **settings: Any) -> None:
        super().__init__()
        self.lam = lam
        self.supcon, self.lw_supcrd = SupCon(temperature), LWSupCRD(temperature=temperature, **settings)

    def forward(self, student: Output, teacher: Output | None, labels: Tensor) -> dict[str, Tensor]:
        """Terms: supcon and lw_supcrd, each with its weight."""
        assert teacher is not None
        taught = self.lw_supcrd(student.projections, teacher.projections, labels, teacher.logits)
        return {
            "supcon": self.lam * self.supcon(student.projections, labels),
            "lw_supcrd": (1 - self.lam) * taught,
        }


METHODS: dict[str, type[nn.Module]] = {
    "cross_entropy": CrossEntropyMethod,
    "kd": KDMethod,
    "supcon": SupConMethod,
    "crd": CRDMethod,
    "lw_supcrd": LWSupCRDMethod,
    "hybrid": HybridMethod,
}


def build_method(settings: Settings) -> nn.Module:
    """The module of a recipe's `method` table.

    Example:
        >>> from supcrd.recipe import load
        >>> type(build_method(load("digits-crd").method)).__name__
        'CRDMethod'
    """
    values = settings.model_dump()
    return METHODS[values.pop("name")](**values)
