"""One step of a training: forward, backward, optimiser; in parts if the batch is to be computed in parts."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from supcrd.base.device import Place
from supcrd.data.loader import Batch
from supcrd.training.dot import DOT
from supcrd.training.parts import split
from supcrd.training.scaling import LossScaler
from supcrd.training.task import Distillation
from supcrd.training.together import Together, gradients


def take_step(
    task: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    place: Place,
    grad_clip: float | None,
    *,
    accumulate: int = 1,
    together: Together | None = None,
    processes: int = 1,
    reseed: Callable[[int], None] = lambda part: None,
    scaler: LossScaler | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """Run a task on a batch, then its optimiser: the terms, whose sum is the loss, and the number of correct rows.

    With `accumulate` the batch is computed in so many parts (see `parts.split`): terms and gradients are the means over
    the parts, each with the weight of its rows.

    Args:
        task: a module of `supcrd.training.task`, or what a world makes of it.
        optimizer, batch, place: as `fit` has them.
        grad_clip: largest norm of the gradient; None for any.
        accumulate: parts that have nothing to do with one another.
        together: how parts with one loss are computed, in place of `accumulate`.
        processes: R, whose gradients the task takes the mean of: each counts by its share of the whole batch's images.
        reseed: as `together.gradients`.
        scaler: of the loss, in float16; not with DOT.
    """
    optimizer.zero_grad(set_to_none=True)
    if together is None:
        terms, correct = _apart(task, optimizer, batch, place, accumulate, processes, scaler)
    else:
        assert isinstance(task, Distillation)
        terms, correct = gradients(together, task, optimizer, batch, place, reseed, scaler)
    if scaler is not None:
        scaler.unscale(optimizer)
    if grad_clip is not None:
        _clip(optimizer, grad_clip)
    if scaler is not None:
        scaler.step(optimizer)
    else:
        optimizer.step()
    return terms, correct


def _apart(
    task: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    place: Place,
    accumulate: int,
    processes: int,
    scaler: LossScaler | None,
) -> tuple[dict[str, Tensor], Tensor]:
    """Terms, correct rows and gradients of a batch in parts that each have a loss of their own."""
    parts = split(batch, accumulate)
    terms: dict[str, Tensor] = {}
    correct: Tensor | None = None
    for part in parts:
        with place.autocast():
            of_part, right = task(part)
        if len(parts) > 1:
            share = len(part.labels) / len(batch.labels)
            of_part = {name: share * term for name, term in of_part.items()}
        if batch.whole is not None:
            factor = processes * len(batch.indices) / len(batch.whole.indices)
            _backward(optimizer, {name: factor * term for name, term in of_part.items()}, scaler)
        else:
            _backward(optimizer, of_part, scaler)
        if len(parts) > 1:  # the graph of a part is let go before the next one
            of_part = {name: term.detach() for name, term in of_part.items()}
        # all parts have the same terms: which ones are computed depends on the step
        terms = {name: terms[name] + term for name, term in of_part.items()} if terms else of_part
        correct = right if correct is None else correct + right
    assert correct is not None
    return terms, correct


def _backward(optimizer: torch.optim.Optimizer, terms: Mapping[str, Tensor], scaler: LossScaler | None) -> None:
    """Add the gradients of the sum of the terms; in a step the weights of all of them may be 0."""
    if isinstance(optimizer, DOT):
        optimizer.backward(terms)
    elif terms:
        total = torch.stack(list(terms.values())).sum()
        if total.requires_grad:
            total = total if scaler is None else scaler.scale(total)
            total.backward()  # type: ignore[no-untyped-call]


def _clip(optimizer: torch.optim.Optimizer, norm: float) -> None:
    """Clip the gradients' norms: a probe's gradient must not scale the encoder's."""
    clipped: dict[int, list[Tensor]] = {}
    for number, group in enumerate(optimizer.param_groups):
        clipped.setdefault(group.get("clipped_with", number), []).extend(group["params"])
    for parameters in clipped.values():
        if isinstance(optimizer, DOT):
            optimizer.clip(parameters, norm)
        else:
            nn.utils.clip_grad_norm_(parameters, norm)
