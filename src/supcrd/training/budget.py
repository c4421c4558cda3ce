"""How long an epoch of a training takes on this machine, for a budget of minutes in place of epochs."""

import time
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from torch import Tensor, nn

from supcrd.base.device import Place
from supcrd.base.seeding import forked
from supcrd.data.loader import Batches
from supcrd.recipe.settings import TrainSettings
from supcrd.training.optimiser import make_optimizer, set_rate
from supcrd.training.step import take_step
from supcrd.training.together import Together

WARM, LEAST = 2, 3
"""Steps that are not timed, since the first ones are slow, and that are timed at least."""


class EpochTime(NamedTuple):
    """What timing gave."""

    seconds: float
    """that an epoch takes, without its validation"""
    spent: float
    """seconds that the timing took"""


def time_epoch(
    task: nn.Module,
    batches: Batches,
    settings: TrainSettings,
    place: Place,
    *,
    seed: int,
    limit: float,
    on_step: Callable[[int], None] | None = None,
    together: Together | None = None,
) -> EpochTime:
    """Time steps of this very training, with its batches, and leave no trace of them.

    The steps have a learning rate of 0, and what else they change is put back: the task's state is afterwards what it
    was, to the bit, and so are torch's generators.

    Args:
        task, batches, settings, place, seed, on_step, together: as for `fit`.
        limit: seconds after which no further step is timed, once LEAST are.

    Example:
        >>> import torch
        >>> from supcrd.base.device import choose
        >>> from supcrd.data.loader import FeatureBatches
        >>> from supcrd.training.task import ProbeFit
        >>> task, features, labels = ProbeFit(2, 2), torch.ones(64, 2), torch.arange(64) % 2
        >>> batches = FeatureBatches(features, labels, batch_size=4, seed=0)
        >>> time_epoch(task, batches, TrainSettings(minutes=1.0), choose("cpu"), seed=0, limit=0.0).seconds > 0
        True
    """
    state = {key: value.to("cpu", copy=True) if isinstance(value, Tensor) else value
             for key, value in task.state_dict().items()}  # fmt: skip
    groups, distilled = task.groups(settings.lr), getattr(task, "distilled", ())  # type: ignore[operator]
    optimizer = make_optimizer(groups, settings, distilled=distilled)
    set_rate(optimizer, 0.0)
    training = task.training
    began = time.perf_counter()  # the first optimiser of a process loads much of torch
    try:
        with forked(place.device) as reseed:
            reseed(seed)
            task.train()
            marks: list[float] = []
            for number, epoch in ((WARM, 0), (batches.steps, 1)):
                marks = [time.perf_counter()]
                for step, batch in enumerate(islice(batches.epoch(epoch), number)):
                    take_step(
                        task, optimizer, batch, place, settings.grad_clip, accumulate=settings.accumulate,
                        together=together, reseed=reseed,
                    )  # fmt: skip
                    if on_step is not None:
                        on_step(step)
                    if step == 0:
                        place.wait()
                    marks.append(time.perf_counter())
                    if len(marks) > LEAST and marks[-1] - marks[0] > limit:
                        break
                place.wait()  # not after each step: training does not wait for a GPU either
                marks[-1] = time.perf_counter()
    finally:
        task.load_state_dict(state)
        task.zero_grad(set_to_none=True)
        task.train(training)
    first, further = marks[1] - marks[0], marks[-1] - marks[1]  # the first step has the start of the epoch in it
    typical = further / (len(marks) - 2) if len(marks) > 2 else 0.0
    return EpochTime(first + typical * (batches.steps - 1), time.perf_counter() - began)
