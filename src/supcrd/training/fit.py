"""The one training loop: `fit` serves teacher, projection head, student and probe.

A run can be interrupted between two steps. All its state (networks, optimiser, sums of the epoch, history) is then
saved, and everything random is a function of (seed, epoch, step), so resuming is bit-exact.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from supcrd.base.device import Place
from supcrd.base.seeding import forked, seed_for
from supcrd.data.loader import Batches
from supcrd.errors import CheckpointError
from supcrd.models.weights import load_state, save_state
from supcrd.recipe.settings import FitSettings
from supcrd.training.optimiser import learning_rate_factor, make_optimizer, set_rate
from supcrd.training.scaling import LossScaler, scaler_of
from supcrd.training.signals import interruptible
from supcrd.training.step import take_step
from supcrd.training.tally import Tally, check_row
from supcrd.training.together import Together
from supcrd.training.world import ALONE, World, asked_every

VERSION = 2
"""Of the saved state. States of 0.1 have version 1, which they do not record."""


@dataclass(frozen=True)
class Progress:
    """Where a fit stands; `row` has the metrics of the epoch that has just ended, if one has."""

    epoch: int  # finished epochs
    epochs: int
    step: int  # finished steps of the current epoch
    steps: int
    row: dict[str, Any] | None = None


def fit(
    task: nn.Module,
    batches: Batches,
    settings: FitSettings,
    *,
    seed: int,
    place: Place,
    state_file: Path | None = None,
    on_step: Callable[[int], None] | None = None,
    on_epoch: Callable[[dict[str, Any], list[dict[str, Any]]], None] | None = None,
    report: Callable[[Progress], None] | None = None,
    world: World = ALONE,
    together: Together | None = None,
) -> list[dict[str, Any]]:
    """Optimise a task for `settings.epochs` epochs, from where `state_file` left off.

    Args:
        task: a module of `supcrd.training.task`, on the place's device: `task(batch)` gives a `Step`,
            `task.groups(lr)` the parameters. `task.distilled`, if there is one, names the terms that read a teacher.
        batches: the training batches.
        settings: epochs, optimiser, schedule.
        seed: of what is random in the network (dropout); batches have their own. The caller's global generators are
            left unchanged.
        place: device and precision.
        state_file: read first if it exists; written at the end of every epoch, on Ctrl-C and on SIGTERM. None: no
            state is saved.
        on_step: called after every step of the optimiser, with the number of those before it.
        on_epoch: called with the metrics of an epoch and those of earlier ones; may add to them (validation). After one
            to which it adds `stopped_early` training ends.
        report: called with the progress, at least at the end of every epoch.
        world: the processes that train together; each calls this with its own share of the batches. All of them read
            `state_file`, the first one writes it and calls `on_epoch`; the metrics are over all of them.
        together: how batches are computed in parts with one loss, in place of the world's own way; needs a task that is
            a `Distillation`.

    Returns:
        The metrics of all epochs, including those before a resume: epoch (from 1), loss and its terms (means over the
        epoch's rows), train_accuracy (of augmented images, during training), lr (of its last step), seconds,
        images_per_second (an image with all its views counts once); in float16 skipped_steps.

    Raises:
        RunError: a term or a weight is no longer finite; the last good state stays in `state_file`.
        CheckpointError: `state_file` is damaged.
        KeyboardInterrupt: Ctrl-C; the state after the last whole step is in `state_file`. On SIGTERM its subclass
            Terminated.

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
    groups, distilled = task.groups(settings.lr), getattr(task, "distilled", ())  # type: ignore[operator]
    optimizer, scaler = make_optimizer(groups, settings, distilled=distilled), scaler_of(place)
    # the terms of parts with one loss are those of the whole batch, in all processes
    counted, learner = (world, world.wrap(task)) if together is None else (ALONE, task)
    begun = _resumed(state_file, task, optimizer, place, world, scaler, whole=together is not None)
    history, first_step, tally = begun.history, begun.step, begun.tally

    def save(epoch: int, step: int, tally: Tally | None) -> None:
        if state_file is not None:
            saved = tally.over(counted).state() if tally else {}
            if world.rank == 0:
                about = {"version": VERSION, "epoch": epoch, "step": step, "history": history, "tally": saved}
                save_state(state_file, _state(task, optimizer, scaler) | about)

    with interruptible() as interrupted, forked(place.device) as reseed:
        for epoch in range(begun.epoch, settings.epochs):
            if history and history[-1].get("stopped_early"):
                break
            learner.train()
            tally = tally or Tally(place.device)
            start = last_report = time.perf_counter()
            for step, batch in enumerate(batches.epoch(epoch, first_step), first_step):
                seeded = partial(_seed, reseed, seed, epoch, step)
                seeded(*([world.rank] if world.rank else []))
                set_rate(optimizer, learning_rate_factor(settings, epoch * batches.steps + step, batches.steps))
                world.begin(len((batch.whole or batch).indices))
                terms, correct = take_step(
                    learner, optimizer, batch, place, settings.grad_clip, accumulate=getattr(settings, "accumulate", 1),
                    together=together, processes=world.size, reseed=seeded, scaler=scaler,
                )  # fmt: skip
                if together is None:
                    world.settle(task)
                if on_step is not None:
                    on_step(epoch * batches.steps + step)
                tally.add(terms, correct, batch if together is None else batch.whole or batch, step)
                now = time.perf_counter()
                if report is not None and now - last_report > 0.2:
                    report(Progress(epoch, settings.epochs, step + 1, batches.steps))
                    last_report = now
                if (step + 1) % asked_every(world.size) == 0 and world.agree(interrupted.number != 0):
                    tally.check(task, epoch, world)
                    tally.seconds += now - start
                    save(epoch, step + 1, tally)
                    raise interrupted.error(world)
            tally.check(task, epoch, world)
            tally.seconds += time.perf_counter() - start
            world.check(task)
            row = _metrics(epoch, tally.over(counted), settings, batches.steps, scaler)
            if on_epoch is not None and world.rank == 0:
                on_epoch(row, history)
            row = world.told(row)
            check_row(row)
            history.append(row)
            first_step, tally = 0, None
            save(epoch + 1, 0, None)
            if report is not None:
                report(Progress(epoch + 1, settings.epochs, 0, batches.steps, row))
            if world.agree(interrupted.number != 0):
                raise interrupted.error(world)
    return history


def _seed(reseed: Callable[[int], None], seed: int, epoch: int, step: int, *part: int) -> None:
    reseed(seed_for("step", seed, epoch, step, *part))


def _state(task: nn.Module, optimizer: torch.optim.Optimizer, scaler: LossScaler | None) -> dict[str, Any]:
    """Of what learns, to be saved."""
    state = {"task": task.state_dict(), "optimizer": optimizer.state_dict()}
    return state | ({"scaler": scaler.state_dict()} if scaler is not None else {})


def _metrics(epoch: int, summed: Tally, settings: FitSettings, steps: int, scaler: LossScaler | None) -> dict[str, Any]:
    """The metrics of an epoch that has just ended."""
    last = learning_rate_factor(settings, (epoch + 1) * steps - 1, steps)
    row = {"epoch": epoch + 1, **summed.means(), "lr": settings.lr * last, "seconds": round(summed.seconds, 3)}
    row |= {"images_per_second": round(summed.images / max(summed.seconds, 1e-9), 1)}
    return row | (scaler.of_epoch(epoch) if scaler is not None else {})


@dataclass
class Begun:
    """Where a fit starts or resumes."""

    epoch: int = 0
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    tally: Tally | None = None
    """of the interrupted epoch"""


def _resumed(
    state_file: Path | None,
    task: nn.Module,
    optimizer: torch.optim.Optimizer,
    place: Place,
    world: World,
    scaler: LossScaler | None,
    *,
    whole: bool,
) -> Begun:
    """Load the state of an interrupted run, if there is one.

    Args:
        state_file, task, optimizer, place, world, scaler: as `fit` has them.
        whole: every process sums over whole batches; else over its own images.

    Raises:
        CheckpointError: it is damaged, or of another training; processes see different ones.
    """
    begun = Begun()
    if state_file is not None and state_file.exists():
        begun = _read(state_file, task, optimizer, place, scaler, continues=whole or world.rank == 0)
    if world.agree(world.told((begun.epoch, begun.step)) != (begun.epoch, begun.step)):
        raise CheckpointError(f"{state_file}: processes read different ones; a folder that all of them see is right")
    return begun


def _read(
    state_file: Path,
    task: nn.Module,
    optimizer: torch.optim.Optimizer,
    place: Place,
    scaler: LossScaler | None,
    *,
    continues: bool,
) -> Begun:
    """Load a state; `continues`: with its sums over an epoch."""
    try:
        state = load_state(state_file)
        if state.get("version", 1) > VERSION:
            raise CheckpointError("written by a newer supcrd")
        task.load_state_dict(state["task"])
        optimizer.load_state_dict(state["optimizer"])
        if scaler is not None and "scaler" in state:
            scaler.load_state_dict(state["scaler"])
        # sums are saved over all processes: the first one continues them
        tally = Tally(place.device, state["tally"]) if state["tally"] and continues else None
        return Begun(state["epoch"], state["step"], state["history"], tally)
    except (CheckpointError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{state_file}: no state of this training ({str(error).splitlines()[0]}); remove it to start over"
        ) from error
