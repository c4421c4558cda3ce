"""Sums over an epoch of training: the loss, its terms, correct predictions."""

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from supcrd.data.loader import Batch
from supcrd.errors import RunError
from supcrd.training.world import ALONE, World

REMEDY = "try a lower train.lr, lower weights of the terms, train.grad_clip or train.precision=float32"


def remedy(before: int) -> str:
    """What a user can do when training has stopped after so many whole epochs."""
    return f"a checkpoint of the epochs before remains ({REMEDY})" if before > 0 else REMEDY


class Tally:
    """Sums over an epoch, held on the device and read at its end: no step waits for the device.

    A term may be absent from any step (its weight is 0 there): it counts as the 0 that it adds to the loss, so that the
    loss is always the sum of the terms' means.

    Example:
        >>> tally = Tally(torch.device("cpu"))
        >>> labels = torch.tensor([0, 1])
        >>> batch = Batch(torch.zeros(2, 1), labels, labels)
        >>> tally.add({"probe": torch.tensor(1.0)}, torch.tensor(1), batch, 0)
        >>> tally.add({"kd": torch.tensor(3.0), "probe": torch.tensor(2.0)}, torch.tensor(2), batch, 1)
        >>> tally.means()
        {'loss': 3.0, 'probe': 1.5, 'kd': 1.5, 'train_accuracy': 0.75}
    """

    def __init__(self, device: torch.device, state: Mapping[str, Any] | None = None) -> None:
        state = state or {}
        self.names: list[str] = list(state.get("names", ()))
        # float64 sums would be better still, but MPS has none; float32 means over 10^4 steps keep 5 digits
        sums, bad = state.get("sums"), state.get("bad")
        self.sums: Tensor = torch.zeros(0, device=device) if sums is None else sums.to(device)
        # a state of before has no place for the sum
        self.bad: Tensor = torch.full((1,), -1, device=device) if bad is None else bad.to(device)
        if len(self.bad) == len(self.names):
            self.bad = torch.cat([self.bad, self.bad.new_full((1,), -1)])
        """the first step in which a term was not finite, and last the first in which their sum was not; -1: none"""
        self.correct: Tensor = state.get("correct", torch.zeros((), dtype=torch.int64)).to(device)
        self.rows: int = state.get("rows", 0)
        self.labelled: int = state.get("labelled", self.rows)  # rows with a label; a state of before has no others
        self.images: int = state.get("images", 0)
        self.seconds: float = state.get("seconds", 0.0)

    def state(self) -> dict[str, Any]:
        """What `Tally(device, state)` continues from."""
        names = ("names", "sums", "bad", "correct", "rows", "labelled", "images", "seconds")
        return {name: getattr(self, name) for name in names}

    def add(self, terms: Mapping[str, Tensor], correct: Tensor, batch: Batch, step: int) -> None:
        """Add a step, whose terms are means over the rows (views) of the batch."""
        rows = len(batch.labels)
        if list(terms) != self.names:
            terms = self._aligned(terms)
        if terms:
            values = torch.stack([term.detach().float() for term in terms.values()])
            self.sums = self.sums + values * rows
            finite = torch.cat([values, values.sum(dim=0, keepdim=True)]).isfinite()
            self.bad = torch.where((self.bad < 0) & ~finite, step, self.bad)
        self.correct = self.correct + correct
        self.rows += rows
        self.labelled += batch.labelled_rows
        self.images += len(batch.indices)

    def _aligned(self, terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A step's terms in the order of `names`, absent ones as 0; new terms are appended to names and sums."""
        new = [name for name in terms if name not in self.names]
        self.names = [*self.names, *new]
        self.sums = torch.cat([self.sums, self.sums.new_zeros(len(new))])
        self.bad = torch.cat([self.bad[:-1], self.bad.new_full((len(new),), -1), self.bad[-1:]])
        absent = self.sums.new_zeros(())
        return {name: terms.get(name, absent) for name in self.names}

    def over(self, world: World) -> "Tally":
        """The tally of all processes together. They have the same terms, since weights are a function of the step."""
        if world.size == 1:
            return self
        whole = copy.copy(self)
        whole.sums = world.sum(self.sums)
        own = self.correct.new_tensor([self.rows, self.labelled, self.images])
        counts = world.sum(torch.stack([self.correct, *own]))
        whole.correct, (whole.rows, whole.labelled, whole.images) = counts[0], counts[1:].tolist()
        return whole

    def means(self) -> dict[str, float]:
        """Loss and its terms as means over the rows, the accuracy over those with a label."""
        values = (self.sums.double() / max(self.rows, 1)).tolist()
        terms = dict(zip(self.names, values, strict=True))
        accuracy = {"train_accuracy": self.correct.item() / max(self.labelled, 1)}
        # with a single term the loss is that term
        return {"loss": sum(values)} | (terms if len(terms) > 1 else {}) | accuracy

    def check(self, task: nn.Module, epoch: int, world: World = ALONE) -> None:
        """Raise RunError in all processes if a term, or the sum of them, or a weight is not finite."""
        problem = self._problem(task, epoch)
        if world.agree(problem is not None):
            message = problem or f"a loss term or a weight of another process was not finite in epoch {epoch + 1}"
            raise RunError(f"{message}; stopped; {remedy(epoch)}")

    def _problem(self, task: nn.Module, epoch: int) -> str | None:
        *terms, whole = self.bad.tolist()
        bad = [(step, name) for name, step in zip(self.names, terms, strict=True) if step >= 0]
        if bad:
            # the first one: its step makes the weights non-finite, and so every other term of the next step
            step, name = min(bad)
            return f"loss term {name} was not finite in epoch {epoch + 1}, step {step + 1}"
        if whole >= 0:
            return f"the sum of the loss terms was not finite in epoch {epoch + 1}, step {whole + 1}"
        if not bool(self.sums.isfinite().all()):
            return f"the mean of a loss term over epoch {epoch + 1} was not finite"
        statistics = [b for name, b in task.named_buffers() if name.endswith(("running_mean", "running_var"))]
        weights = [t.detach().isfinite().all() for t in (*task.parameters(), *statistics)]
        if weights and not bool(torch.stack(weights).all()):
            return f"a weight was not finite at the end of epoch {epoch + 1}"
        return None


def check_row(row: Mapping[str, Any]) -> None:
    """Raise RunError if a number of an epoch's metrics is not finite, such as the loss on validation.

    Example:
        >>> check_row({"epoch": 1, "loss": 0.5})
    """
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            epoch = row["epoch"]
            raise RunError(f"{name} was not finite at the end of epoch {epoch}; stopped; {remedy(epoch - 1)}")
