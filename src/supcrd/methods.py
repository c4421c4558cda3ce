"""The training methods: (student output, teacher output, batch) -> the terms of the loss, by name.

A method is a module, so that what it learns or remembers is part of its `state_dict`.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from supcrd.bank import Bank
from supcrd.data.loader import Batch
from supcrd.losses import CRD, DKD, KD, LWSupCRD, SupCon, kd
from supcrd.models import Output
from supcrd.settings import Settings


class CrossEntropyMethod(nn.Module):
    """Cross-entropy of the student's logits with the labels."""

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, student: Output, teacher: Output | None, batch: Batch) -> dict[str, Tensor]:
        """Terms: cross_entropy."""
        logits = student.logits.float()
        return {"cross_entropy": functional.cross_entropy(logits, batch.labels, label_smoothing=self.label_smoothing)}


class KDMethod(nn.Module):
    """(1 - weight) * cross-entropy + weight * KD."""

    def __init__(self, temperature: float = 4.0, weight: float = 0.9, standardise: bool = False) -> None:
        super().__init__()
        self.loss, self.weight = KD(temperature, standardise=standardise), weight

    def forward(self, student: Output, teacher: Output | None, batch: Batch) -> dict[str, Tensor]:
        """Terms: cross_entropy and kd, each with its weight."""
        assert teacher is not None
        return {
            "cross_entropy": (1 - self.weight) * functional.cross_entropy(student.logits.float(), batch.labels),
            "kd": self.weight * self.loss(student.logits, teacher.logits),
        }


class DKDMethod(nn.Module):
    """ce_weight * cross-entropy + DKD, whose weight rises over the first epochs."""

    def __init__(self, *, ce_weight: float, warmup_epochs: float, **settings: Any) -> None:
        super().__init__()
        self.loss, self.ce_weight, self.warmup_epochs = DKD(**settings), ce_weight, warmup_epochs

    def forward(self, student: Output, teacher: Output | None, batch: Batch) -> dict[str, Tensor]:
        """Terms: cross_entropy and dkd, each with its weight."""
        assert teacher is not None
        done = batch.epoch + (batch.step + 1) / batch.steps
        rise = min(1.0, done / self.warmup_epochs) if self.warmup_epochs > 0 else 1.0
        return {
            "cross_entropy": self.ce_weight * functional.cross_entropy(student.logits.float(), batch.labels),
            "dkd": rise * self.loss(student.logits, teacher.logits, batch.labels),
        }


class SupConMethod(nn.Module):
    """SupCon among the student's projections."""

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        self.loss = SupCon(temperature)

    def forward(self, student: Output, teacher: Output | None, batch: Batch) -> dict[str, Tensor]:
        """Terms: supcon."""
        return {"supcon": self.loss(student.projections, batch.labels)}


class AddedKD(NamedTuple):
    """weight * KD beside a contrastive loss, which teaches encoder and classifier; nothing at weight 0."""

    weight: float
    temperature: float

    def terms(self, student: Output, teacher: Output) -> dict[str, Tensor]:
        """Terms: kd with its weight, or none."""
        if self.weight == 0:
            return {}
        return {"kd": self.weight * kd(student.logits, teacher.logits, temperature=self.temperature).mean()}


def candidates(bank: Bank | None, teacher: Output, batch: Batch) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The batch's teacher rows and, after them, those drawn from a bank; all labels and which rows are valid.

    The bank then takes the batch in. Without one: the teacher's rows, None and None.
    """
    own = teacher.projections
    if bank is None:
        return own, None, None
    drawn = bank.draw(batch)
    bank.update(batch, own)
    here = torch.ones(len(own), dtype=torch.bool, device=own.device)
    return (
        torch.cat([own, drawn.rows.to(own.dtype)]),
        torch.cat([batch.labels, drawn.labels]),
        torch.cat([here, drawn.valid]),
    )


class CRDMethod(nn.Module):
    """CRD of the student's projections to the teacher's."""

    def __init__(
        self, temperature: float = 0.07, kd_weight: float = 0.0, kd_temperature: float = 4.0, bank: Bank | None = None
    ) -> None:
        super().__init__()
        self.loss, self.kd, self.bank = CRD(temperature), AddedKD(kd_weight, kd_temperature), bank

    def forward(self, student: Output, teacher: Output | None, batch: Batch) -> dict[str, Tensor]:
        """Terms: crd, and kd where it has a weight."""
        assert teacher is not None
        rows, _, valid = candidates(self.bank, teacher, batch)
        terms = {"crd": self.loss(student.projections, rows, valid)}
        return terms | self.kd.terms(student, teacher)


class LWSupCRDMethod(nn.Module):
    """LW-SupCRD of the student's projections to the teacher's."""

    def __init__(
        self, *, kd_weight: float = 0.0, kd_temperature: float = 4.0, bank: Bank | None = None, **settings: Any
    ) -> None:
        super().__init__()
        self.loss, self.kd, self.bank = LWSupCRD(**settings), AddedKD(kd_weight, kd_temperature), bank

    def forward(self, student: Output, teacher: Output | None, batch: Batch) -> dict[str, Tensor]:
        """Terms: lw_supcrd, and kd where it has a weight."""
        assert teacher is not None
        rows, labels, valid = candidates(self.bank, teacher, batch)
        loss = self.loss(student.projections, rows, batch.labels, teacher.logits, candidate_labels=labels, valid=valid)
        return {"lw_supcrd": loss} | self.kd.terms(student, teacher)


class HybridMethod(nn.Module):
    """lam * SupCon + (1 - lam) * LW-SupCRD."""

    def __init__(self, *, lam: float, temperature: float, **settings: Any) -> None:
        super().__init__()
        self.lam = lam
        self.supcon, self.lw_supcrd = SupCon(temperature), LWSupCRDMethod(temperature=temperature, **settings)

    def forward(self, student: Output, teacher: Output | None, batch: Batch) -> dict[str, Tensor]:
        """Terms: supcon and lw_supcrd, each with its weight, and kd where it has one."""
        taught: dict[str, Tensor] = self.lw_supcrd(student, teacher, batch)
        taught["lw_supcrd"] = (1 - self.lam) * taught["lw_supcrd"]
        return {"supcon": self.lam * self.supcon(student.projections, batch.labels)} | taught


METHODS: dict[str, type[nn.Module]] = {
    "cross_entropy": CrossEntropyMethod,
    "kd": KDMethod,
    "dkd": DKDMethod,
    "supcon": SupConMethod,
    "crd": CRDMethod,
    "lw_supcrd": LWSupCRDMethod,
    "hybrid": HybridMethod,
}


def build_method(settings: Settings, bank: Bank | None = None) -> nn.Module:
    """The module of a recipe's `method` table, with the bank that it asks for.

    Example:
        >>> from supcrd.recipe import load
        >>> type(build_method(load("digits-crd").method)).__name__
        'CRDMethod'
    """
    values = settings.model_dump(exclude={"bank", "bank_momentum"})
    if bank is not None:
        values["bank"] = bank
    return METHODS[values.pop("name")](**values)
