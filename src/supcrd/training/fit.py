"""The one training loop: `fit` serves teacher, projection head, student and probe.

Where a run can be cut is between two steps. All its state (networks, optimiser, sums of the epoch, history) is then
saved, and everything random is a function of (seed, epoch, step), so going on is bit-exact.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from supcrd.base.device import Place
from supcrd.base.seeding import forked, seed_for
from supcrd.data.loader import Batch, Batches
from supcrd.errors import CheckpointError, RunError, Terminated
from supcrd.models.weights import load_state, save_state
from supcrd.recipe.settings import FitSettings

VERSION = 2
"""Of what is saved; 1, which says nothing of it, is that of 0.1."""


@dataclass(frozen=True)
class Progress:
    """Where a fit stands; `row` is the metrics of the epoch that has just ended, if one has."""

    epoch: int  # finished epochs
    epochs: int
    step: int  # finished steps of the epoch under way
    steps: int
    row: dict[str, Any] | None = None


def learning_rate_factor(settings: FitSettings, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step over the peak one, in [0, 1].

    constant: 1. cosine: half a cosine from 1 to 0 over the epochs. one_cycle: a cosine rise from 1/25 over the first
    30% and a cosine fall to 0. `warmup_epochs` multiplies constant and cosine by a linear rise.

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, by step; Smith & Topin 2019, arXiv:1708.07120 (the shape
    and defaults of torch's OneCycleLR, which ends at 1/250000 rather than 0).

    Example:
        >>> settings = FitSettings(epochs=2, schedule="cosine")
        >>> [round(learning_rate_factor(settings, step, 2), 3) for step in range(4)]
        [1.0, 0.854, 0.5, 0.146]
    """
    total = max(settings.epochs * steps_per_epoch, 1)
    share = step / total
    if settings.schedule == "one_cycle":
        rise = 0.3
        if share < rise:
            return 1 - (1 - 1 / 25) * (1 + math.cos(math.pi * share / rise)) / 2
        return (1 + math.cos(math.pi * (share - rise) / (1 - rise))) / 2
    factor = (1 + math.cos(math.pi * share)) / 2 if settings.schedule == "cosine" else 1.0
    warmup = settings.warmup_epochs * steps_per_epoch
    return factor * min(1.0, (step + 1) / warmup) if warmup > 0 else factor


def make_optimizer(groups: list[dict[str, Any]], settings: FitSettings) -> torch.optim.Optimizer:
    """The optimiser of the settings, with fused kernels where the device has them."""
    fused = all(p.device.type in ("cuda", "cpu") for group in groups for p in group["params"])
    for group in groups:
        group["peak_lr"] = group["lr"]
    if settings.optimizer == "sgd":
        momentum = settings.momentum
        return torch.optim.SGD(
            groups, momentum=momentum, nesterov=momentum > 0, weight_decay=settings.weight_decay, fused=fused
        )
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, weight_decay=settings.weight_decay, fused=fused)


def fit(
    task: nn.Module,
    batches: Batches,
    settings: FitSettings,
    *,
    seed: int,
    place: Place,
    state_file: Path | None = None,
    on_epoch: Callable[[dict[str, Any], list[dict[str, Any]]], None] | None = None,
    report: Callable[[Progress], None] | None = None,
) -> list[dict[str, Any]]:
    """Optimise a task for `settings.epochs` epochs, from where `state_file` left off.

    Args:
        task: a module of `supcrd.training.task`, on the place's device: `task(batch)` gives a `Step`,
            `task.groups(lr)` the parameters.
        batches: the training batches.
        settings: epochs, optimiser, schedule.
        seed: of what is random in the network (dropout); batches have their own. The caller's global generators are
            left as they were.
        place: device and precision.
        state_file: written at every end of an epoch, on Ctrl-C and SIGTERM; read first if it is there. None: nothing
            is kept.
        on_epoch: given the metrics of an epoch before they are kept, may add to them (validation).
        report: told of progress, at least at every end of an epoch.

    Returns:
        The metrics of all epochs, those before a resume included: epoch (from 1), loss and its terms (means over the
        epoch's rows), train_accuracy (of augmented images, while learning), lr (of its last step), seconds,
        images_per_second (an image with all its views counts once).

    Raises:
        RunError: a term or a weight is no longer finite; the last good state stays in `state_file`.
        CheckpointError: `state_file` is damaged.
        KeyboardInterrupt: Ctrl-C; the state after the last whole step is in `state_file`. Terminated, which is one:
            SIGTERM.

    Example:
        >>> from supcrd.data.loader import FeatureBatches
        >>> from supcrd.base.device import choose
        >>> from supcrd.training.task import ProbeFit
        >>> _ = torch.manual_seed(0)
        >>> labels = torch.arange(64) % 2
        >>> batches = FeatureBatches(torch.eye(2)[labels], labels, batch_size=16, seed=0)
        >>> history = fit(ProbeFit(2, 2), batches, FitSettings(epochs=20, lr=0.1), seed=0, place=choose("cpu"))
        >>> history[-1]["train_accuracy"]
        1.0
    """
    optimizer = make_optimizer(task.groups(settings.lr), settings)  # type: ignore[operator]
    history: list[dict[str, Any]] = []
    first_epoch, first_step, tally = 0, 0, None
    if state_file is not None and state_file.exists():
        try:
            state = load_state(state_file)
            if state.get("version", 1) > VERSION:
                raise CheckpointError("written by a newer supcrd")
            task.load_state_dict(state["task"])
            optimizer.load_state_dict(state["optimizer"])
            first_epoch, first_step, history = state["epoch"], state["step"], state["history"]
            tally = Tally(place.device, state["tally"]) if state["tally"] else None
        except (CheckpointError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{state_file}: no state of this training ({str(error).splitlines()[0]}); remove it to start over"
            ) from error

    def save(epoch: int, step: int, tally: "Tally | None") -> None:
        if state_file is not None:
            saved = tally.state() if tally else {}
            networks = {"task": task.state_dict(), "optimizer": optimizer.state_dict()}
            save_state(
                state_file,
                networks | {"version": VERSION, "epoch": epoch, "step": step, "history": history, "tally": saved},
            )

    with interruptible() as interrupted, forked(place.device) as reseed:
        for epoch in range(first_epoch, settings.epochs):
            task.train()
            tally = tally or Tally(place.device)
            start = last_told = time.perf_counter()
            for step, batch in enumerate(batches.epoch(epoch, first_step), first_step):
                reseed(seed_for("step", seed, epoch, step))
                factor = learning_rate_factor(settings, epoch * batches.steps + step, batches.steps)
                for group in optimizer.param_groups:
                    group["lr"] = group["peak_lr"] * factor
                with place.autocast():
                    terms, correct = task(batch)
                optimizer.zero_grad(set_to_none=True)
                total = torch.stack(list(terms.values())).sum()
                if total.requires_grad:  # weights of terms may all be 0 in a step
                    total.backward()  # type: ignore[no-untyped-call]
                if settings.grad_clip is not None:
                    for group in optimizer.param_groups:  # a probe's gradient must not scale the encoder's
                        nn.utils.clip_grad_norm_(group["params"], settings.grad_clip)
                optimizer.step()
                tally.add(terms, correct, batch, step)
                now = time.perf_counter()
                if report is not None and now - last_told > 0.2:
                    report(Progress(epoch, settings.epochs, step + 1, batches.steps))
                    last_told = now
                if interrupted.number:
                    tally.check(task, epoch)
                    tally.seconds += now - start
                    save(epoch, step + 1, tally)
                    raise interrupted.error()
            tally.check(task, epoch)
            tally.seconds += time.perf_counter() - start
            last = learning_rate_factor(settings, (epoch + 1) * batches.steps - 1, batches.steps)
            row = {"epoch": epoch + 1, **tally.means(), "lr": settings.lr * last}
            row["seconds"] = round(tally.seconds, 3)
            row["images_per_second"] = round(tally.images / max(tally.seconds, 1e-9), 1)
            if on_epoch is not None:
                on_epoch(row, history)
            history.append(row)
            first_step, tally = 0, None
            save(epoch + 1, 0, None)
            if report is not None:
                report(Progress(epoch + 1, settings.epochs, 0, batches.steps, row))
            if interrupted.number:
                raise interrupted.error()
    return history


class Tally:
    """Sums of an epoch, kept on the device and read at its end: no step waits for the device."""

    def __init__(self, device: torch.device, state: dict[str, Any] | None = None) -> None:
        if state is None:
            right = torch.zeros((), dtype=torch.int64)
            state = {"names": [], "sums": None, "bad": None, "correct": right}
            state |= {"rows": 0, "images": 0, "seconds": 0.0}
        self.names: list[str] = state["names"]
        self.sums: Tensor | None = None if state["sums"] is None else state["sums"].to(device)
        self.bad: Tensor | None = None if state["bad"] is None else state["bad"].to(device)
        self.correct: Tensor = state["correct"].to(device)
        self.rows: int = state["rows"]
        self.images: int = state["images"]
        self.seconds: float = state["seconds"]

    def state(self) -> dict[str, Any]:
        """What `Tally(device, state)` goes on from."""
        names = ("names", "sums", "bad", "correct", "rows", "images", "seconds")
        return {name: getattr(self, name) for name in names}

    def add(self, terms: dict[str, Tensor], correct: Tensor, batch: Batch, step: int) -> None:
        """Add a step: its terms are means over the rows (views) of the batch."""
        rows = len(batch.labels)
        values = torch.stack([term.detach().float() for term in terms.values()])
        if self.sums is None or self.bad is None:
            self.names = list(terms)
            # float64 sums would be better still, but MPS has none; float32 means over 10^4 steps keep 5 digits
            self.sums = torch.zeros_like(values)
            self.bad = torch.full(values.shape, -1, device=values.device)
        self.sums += values * rows
        self.bad = torch.where((self.bad < 0) & ~values.isfinite(), step, self.bad)
        self.correct = self.correct + correct
        self.rows += rows
        self.images += len(batch.indices)

    def means(self) -> dict[str, float]:
        """Loss, its terms and the accuracy, as means over the rows."""
        values = [] if self.sums is None else (self.sums.double() / self.rows).tolist()
        terms = dict(zip(self.names, values, strict=True))
        accuracy = {"train_accuracy": self.correct.item() / max(self.rows, 1)}
        # The loss of a single term is that term: saying it twice would not say more.
        return {"loss": sum(values)} | (terms if len(terms) > 1 else {}) | accuracy

    def check(self, task: nn.Module, epoch: int) -> None:
        """Raise RunError if a term was not finite in any step so far, or a weight is not now."""
        steps = self.bad.tolist() if self.bad is not None else []
        bad = [(step, name) for name, step in zip(self.names, steps, strict=True) if step >= 0]
        if bad:
            # the first one: it spoils the weights, and with them every other term of the next step
            step, name = min(bad)
            raise RunError(
                f"loss term {name} was not finite in epoch {epoch + 1}, step {step + 1}; stopped; a checkpoint "
                "of the epochs before stays (try a lower train.lr, train.grad_clip or train.precision=float32)"
            )
        statistics = [b for name, b in task.named_buffers() if name.endswith(("running_mean", "running_var"))]
        weights = [t.detach().isfinite().all() for t in (*task.parameters(), *statistics)]
        if weights and not bool(torch.stack(weights).all()):
            raise RunError(
                f"a weight was not finite at the end of epoch {epoch + 1}; stopped; a checkpoint of the epochs "
                "before stays (try a lower train.lr, train.grad_clip or train.precision=float32)"
            )


@dataclass
class Interruption:
    """The signal that asks a fit to stop, once one has come."""

    number: int = 0

    def error(self) -> KeyboardInterrupt:
        """What the signal is raised as."""
        return Terminated() if self.number == signal.SIGTERM else KeyboardInterrupt()


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Turn the first Ctrl-C or SIGTERM into a note, so that a step is never cut in half; a second one acts at once."""
    noted = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield noted  # only the main thread may handle signals
        return
    held = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # another library's handler, or ignored on purpose (a job in the background of a script)
    ours = {number: held[number] for number in held if held[number] not in (None, signal.SIG_IGN)}

    def handle(number: int, frame: object) -> None:
        noted.number = noted.number or number
        signal.signal(number, ours[signal.Signals(number)])

    for number in ours:
        signal.signal(number, handle)
    try:
        yield noted
    finally:
        for number, previous in ours.items():
            signal.signal(number, previous)
