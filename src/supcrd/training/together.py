"""A step whose batch is computed in parts, by one process or several, with one loss over all of it.

The networks run on every part alone, so that batch normalisation, dropout and the gradient are functions of the part.
What they give is put together in all processes; each computes the terms of the whole batch, and their gradients go back
through its own parts. The parts' gradients are added in the order of the parts. So the numbers are those of so many
parts, to the bit on a CPU, whatever number of processes computes them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from supcrd.base.device import Place
from supcrd.data.loader import Batch
from supcrd.data.shares import Shares
from supcrd.training.dot import DOT
from supcrd.training.passed import ATTACHED, DETACHED, Passed
from supcrd.training.processes import Group
from supcrd.training.scaling import LossScaler
from supcrd.training.statistics import PartStatistics, tracked
from supcrd.training.task import Distillation, Step

BUCKET = 2**22
"""Numbers of the gradients of a part that are sent at a time."""
TERMS = -1
"""What is seeded for what is random in the terms; parts have their numbers."""


class Together(NamedTuple):
    """How the parts of a batch are computed."""

    shares: Shares
    group: Group | None = None
    """the processes; None for one"""
    recompute: bool = False
    """run every part twice, first without what its gradient needs, so that memory holds that of one part at a time"""


def gradients(
    how: Together,
    task: Distillation,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    place: Place,
    reseed: Callable[[int], None],
    scaler: LossScaler | None = None,
) -> Step:
    """Compute a step and leave its gradients in the parameters, the same in all processes.

    Args:
        how: see above.
        task: its world is one process, since all of them compute the terms of the whole batch.
        optimizer: whose parameters learn.
        batch: the images that this process has.
        place: device and precision.
        reseed: seeds torch's generators for a part, by its number, or for the TERMS.
        scaler: of the loss, whose scale the gradients then have; not with DOT.

    Returns:
        Terms and correct rows of the whole batch, the same in all processes.
    """
    parts = _Parts(how, task, batch, place, reseed)
    outputs = parts.outputs()
    leaves = parts.leaves(outputs)
    if how.recompute:
        outputs = {}
    reseed(TERMS)
    with place.autocast():
        step = task.judged(parts.whole, Passed.of(leaves, task.teachers))
    sums: Sequence[Tensor | None] = (_sum(step.terms),)
    if isinstance(optimizer, DOT):
        sums = optimizer.sums(step.terms)
    if scaler is not None:
        sums = [None if total is None else scaler.scale(total) for total in sums]
    of_terms = list(task.objective.parameters())
    wanted = [leaf for leaf in leaves.values() if leaf.requires_grad] + of_terms
    backward = [_gradient(total, wanted) for total in sums]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    learned = set(of_terms)
    networks = [p for p in parameters if p not in learned]
    of_parts = parts.through(outputs, leaves, backward, networks)
    totals = [
        of_networks | {p: known[p] for p in of_terms if p in known}
        for of_networks, known in zip(of_parts, backward, strict=True)
    ]
    for p in parameters:
        p.grad = totals[0].get(p)
    if isinstance(optimizer, DOT):
        optimizer.take(totals[1])
    return Step({name: term.detach() for name, term in step.terms.items()}, step.correct)


class _Parts:
    """The parts of one step that this process computes."""

    def __init__(
        self, how: Together, task: Distillation, batch: Batch, place: Place, reseed: Callable[[int], None]
    ) -> None:
        self.how, self.task, self.place, self.reseed = how, task, place, reseed
        self.whole = batch.whole or batch
        images = len(self.whole.indices)
        self.cut, first = how.shares.cut(images), how.shares.images(images).start
        self.parts = {
            number: batch.of_images(slice(self.cut[number].start - first, self.cut[number].stop - first))
            for number in how.shares.own(images)
        }
        # the terms' own norms see the whole batch
        networks = (module for name, module in task.named_modules() if not name.startswith("objective."))
        self.statistics = PartStatistics(tracked(networks))
        self.rows: dict[int, Tensor] = {}
        self.counts = [len(how.shares.own(images, rank)) for rank in range(how.shares.size)]

    def run(self, number: int) -> dict[str, Tensor]:
        """What the networks make of a part."""
        self.reseed(number)
        with self.statistics.apart(), self.place.autocast():
            outputs = self.task.passed(self.parts[number]).tensors()
        self.rows[number] = self.statistics.last()
        return outputs

    def outputs(self) -> dict[int, dict[str, Tensor]]:
        """Those of all own parts."""
        with torch.set_grad_enabled(not self.how.recompute):
            return {number: self.run(number) for number in self.parts}

    def leaves(self, outputs: Mapping[int, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The outputs of the whole batch, view after view, without a graph; those that learn take a gradient."""
        images, group = len(self.whole.indices), self.how.group
        shapes = {name: (part.shape, part.dtype, len(self.parts[number].indices)) for number, tensors in outputs.items()
                  for name, part in tensors.items()}  # fmt: skip
        if group is not None and len(self.cut) < self.how.shares.parts:
            shapes = group.told(shapes)  # a process may have no part of this batch
        leaves = {}
        for name, (shape, kind, count) in shapes.items():
            views = shape[0] // count
            blocks = [_by_image(outputs[number][name].detach(), views) for number in self.parts]
            own = torch.cat(blocks) if blocks else torch.empty(0, views, *shape[1:], dtype=kind)
            if group is not None:
                own = group.concatenated(own.to(self.place.device), self.how.shares.sizes(images))
            leaf = own.transpose(0, 1).flatten(0, 1).contiguous()
            leaves[name] = leaf.requires_grad_(name.startswith((ATTACHED, DETACHED)) or self.task.learns(name))
        return leaves

    def through(
        self,
        outputs: dict[int, dict[str, Tensor]],
        leaves: Mapping[str, Tensor],
        backward: Sequence[Mapping[Tensor, Tensor]],
        networks: Sequence[Tensor],
    ) -> list[dict[Tensor, Tensor]]:
        """The gradients of each loss in the networks' parameters; `backward`: those in the leaves."""
        images = len(self.whole.indices)
        ordered = [_Ordered(self.how.group, self.counts, networks) for _ in backward]
        for number in self.parts:
            part = outputs.pop(number) if outputs else self.run(number)
            for place, (known, total) in enumerate(zip(backward, ordered, strict=True)):
                ahead = [
                    (part[name], _rows(known[leaf], self.cut[number], images))
                    for name, leaf in leaves.items()
                    if leaf in known and part[name].requires_grad
                ]
                total.add(
                    torch.autograd.grad(
                        [output for output, _ in ahead],
                        networks,
                        [gradient for _, gradient in ahead],
                        retain_graph=place + 1 < len(backward),
                        allow_unused=True,
                    )
                    if ahead
                    else [None] * len(networks)
                )
        self._update()
        return [total.sum() for total in ordered]

    def _update(self) -> None:
        """Change the running statistics by those of all parts."""
        own = torch.stack([*self.rows.values()]) if self.rows else torch.zeros(0)
        group = self.how.group
        if group is not None:
            if len(self.cut) < self.how.shares.parts:
                width = group.told(own.shape[1:])
                own = own if self.rows else torch.zeros(0, *width)
            own = group.concatenated(own.to(self.place.device), self.counts)
        self.statistics.update(own, [len(part) for part in self.cut])


class _Ordered:
    """The sum of the parts' gradients in the order of the parts.

    Args:
        group: the processes.
        counts: parts of each.
        parameters: whose gradients.
    """

    def __init__(self, group: Group | None, counts: Sequence[int], parameters: Sequence[Tensor]) -> None:
        self.group, self.counts, self.parameters = group, counts, parameters
        self.own: list[Sequence[Tensor | None]] = []

    def add(self, gradients: Sequence[Tensor | None]) -> None:
        """Take those of the next part of this process, one a parameter."""
        if self.group is None and self.own:  # added at once: no more than one has to be in memory
            self.own = [[_plus(one, other) for one, other in zip(self.own[0], gradients, strict=True)]]
        else:
            self.own.append(gradients)

    def sum(self) -> dict[Tensor, Tensor]:
        """The sum over all processes, in the parameters' own layout; a parameter that no part uses has none."""
        if self.group is None:
            pairs = zip(self.parameters, self.own[0], strict=True)
            return {p: _laid(p, gradient) for p, gradient in pairs if gradient is not None}
        device = self.parameters[0].device
        used = torch.zeros(len(self.parameters), device=device)
        for gradients in self.own:
            used += torch.tensor([float(gradient is not None) for gradient in gradients], device=device)
        named = [number for number, count in enumerate(self.group.sum(used).tolist()) if count > 0]
        sums: dict[Tensor, Tensor] = {}
        for bucket in _buckets(named, [p.numel() for p in self.parameters]):
            sums |= self._summed(bucket)
        return sums

    def _summed(self, bucket: Sequence[int]) -> dict[Tensor, Tensor]:
        """The sums of some parameters, by their numbers."""
        assert self.group is not None
        parameters = [self.parameters[number] for number in bucket]
        sizes = [p.numel() for p in parameters]
        own = torch.zeros(len(self.own), sum(sizes), device=parameters[0].device, dtype=parameters[0].dtype)
        for row, gradients in zip(own, self.own, strict=True):
            for part, number in zip(row.split(sizes), bucket, strict=True):
                gradient = gradients[number]
                if gradient is not None:
                    part.copy_(gradient.flatten())
        total, *others = self.group.concatenated(own, self.counts)
        for row in others:
            total = total + row
        return {p: _laid(p, part.view(p.shape)) for p, part in zip(parameters, total.split(sizes), strict=True)}


def _sum(terms: Mapping[str, Tensor]) -> Tensor | None:
    """The sum of those terms that have a gradient; None without any."""
    learning = [term for term in terms.values() if term.requires_grad]
    return torch.stack(learning).sum() if learning else None


def _gradient(total: Tensor | None, wanted: Sequence[Tensor]) -> dict[Tensor, Tensor]:
    """The gradient in those of `wanted` that the loss reads; another loss may share its graph."""
    if total is None:
        return {}
    gradients = torch.autograd.grad(total, wanted, retain_graph=True, allow_unused=True)
    return {leaf: gradient for leaf, gradient in zip(wanted, gradients, strict=True) if gradient is not None}


def _by_image(rows: Tensor, views: int) -> Tensor:
    """(V B, ...), view after view, to (B, V, ...)."""
    return rows.view(views, len(rows) // views, *rows.shape[1:]).transpose(0, 1)


def _rows(whole: Tensor, places: range, images: int) -> Tensor:
    """Of (V B, ...) the rows of some images, view after view."""
    return whole.view(-1, images, *whole.shape[1:])[:, places.start : places.stop].flatten(0, 1)


def _plus(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return one if other is None else other if one is None else one + other


def _laid(parameter: Tensor, gradient: Tensor) -> Tensor:
    """A gradient in memory as its parameter is: a norm adds in the order of memory."""
    return torch.empty_like(parameter).copy_(gradient)


def _buckets(numbers: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """Numbers of parameters in groups of at most BUCKET values, or of one parameter."""
    buckets: list[list[int]] = []
    filled = BUCKET
    for number in numbers:
        if filled + sizes[number] > BUCKET:
            buckets.append([])
            filled = 0
        buckets[-1].append(number)
        filled += sizes[number]
    return buckets
