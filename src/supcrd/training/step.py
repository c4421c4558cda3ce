"""One step of a training: forward, backward, optimiser; in parts if the batch is to be computed in parts."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from supcrd.base.device import Place
from supcrd.data.loader import Batch
from supcrd.training.dot import DOT
from supcrd.training.parts import split


def take_step(
    task: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    place: Place,
    grad_clip: float | None,
    *,
    accumulate: int = 1,
) -> tuple[dict[str, Tensor], Tensor]:
    """Run a task on a batch, then its optimiser: the terms, whose sum is the loss, and the number of correct rows.

    With `accumulate` the batch is computed in so many parts (see `parts.split`): terms and gradients are the means over
    the parts, each with the weight of its rows.
    """
    parts = split(batch, accumulate)
    optimizer.zero_grad(set_to_none=True)
    terms: dict[str, Tensor] = {}
    correct: Tensor | None = None
    for part in parts:
        with place.autocast():
            of_part, right = task(part)
        if len(parts) > 1:
            share = len(part.labels) / len(batch.labels)
            of_part = {name: share * term for name, term in of_part.items()}
        _backward(optimizer, of_part)
        if len(parts) > 1:  # the graph of a part is let go before the next one
            of_part = {name: term.detach() for name, term in of_part.items()}
        # all parts have the same terms: which ones are computed depends on the step
        terms = {name: terms[name] + term for name, term in of_part.items()} if terms else of_part
        correct = right if correct is None else correct + right
    if grad_clip is not None:
        _clip(optimizer, grad_clip)
    optimizer.step()
    assert correct is not None
    return terms, correct


def _backward(optimizer: torch.optim.Optimizer, terms: Mapping[str, Tensor]) -> None:
    """Add the gradients of the sum of the terms; in a step the weights of all of them may be 0."""
    if isinstance(optimizer, DOT):
        optimizer.backward(terms)
    elif terms:
        total = torch.stack(list(terms.values())).sum()
        if total.requires_grad:
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
