"""DOT: SGD with separate momenta for the gradients of the task and of the distillation."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

TASK, DISTILLATION = "task", "distillation"


class DOT(torch.optim.Optimizer):
    """SGD with a momentum buffer for the gradient of the task and one for that of the distillation.

        v_task = (momentum - delta) v_task + g_task + weight_decay theta
        v_dist = (momentum + delta) v_dist + g_dist
        theta  = theta - lr (v_task + v_dist)

    A parameter that has only had one of the two gradients has the momentum itself, without delta, and the weight decay
    belongs to that one. With delta = 0 it is SGD with momentum and without Nesterov's look-ahead. The loss is not
    differentiated by `backward` of the tensor but by that of the optimiser, since it needs both gradients.

    Args:
        params: parameters or groups, as for torch's optimisers.
        lr: > 0.
        momentum: in [0, 1).
        delta: in [0, momentum], momentum + delta < 1; the authors' CIFAR-100 runs have 0.075 with momentum 0.9.
        weight_decay: >= 0.
        distilled: names of the terms whose gradient is that of the distillation.

    Cost: a second backward pass through the encoder, and a third copy of the weights for the second buffer.
    Source: Zhao, Cui, Song & Liang 2023, ICCV, arXiv:2307.08436; for parameters of one gradient the authors' code.
    Difference: a gradient that is missing in a step (a term whose weight is 0) counts as 0, so that its buffer decays;
    there it rests.

    Example:
        >>> weight = torch.zeros(1, requires_grad=True)
        >>> optimizer = DOT([weight], lr=1.0, momentum=0.5, delta=0.25, distilled={"kd"})
        >>> for _ in range(2):
        ...     optimizer.zero_grad()
        ...     optimizer.backward({"cross_entropy": weight.sum(), "kd": weight.sum()})
        ...     optimizer.step()
        >>> weight  # -(1 + 1) - (1.25 + 1.75)
        tensor([-5.], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        momentum: float,
        delta: float,
        weight_decay: float = 0.0,
        distilled: Iterable[str] = (),
    ) -> None:
        if not 0 <= delta <= momentum or momentum + delta >= 1:
            raise ValueError(f"delta = {delta} with momentum = {momentum}: momentum -/+ delta must be in [0, 1)")
        super().__init__(params, {"lr": lr, "momentum": momentum, "delta": delta, "weight_decay": weight_decay})
        self.distilled = frozenset(distilled)
        self._second: dict[Tensor, Tensor] = {}  # the distillation's gradients of this step; the task's are in `grad`

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget both gradients."""
        super().zero_grad(set_to_none=set_to_none)
        self._second = {}

    def backward(self, terms: Mapping[str, Tensor]) -> None:
        """Add the gradients of the terms, by name; their sum is the loss. All of them may share a graph."""
        task, distillation = self.sums(terms)
        if distillation is not None:
            parameters = [p for group in self.param_groups for p in group["params"]]
            first = [p.grad for p in parameters]
            for p in parameters:
                p.grad = self._second.get(p)
            distillation.backward(retain_graph=task is not None)  # type: ignore[no-untyped-call]
            self._second = {p: p.grad for p in parameters if p.grad is not None}
            for p, gradient in zip(parameters, first, strict=True):
                p.grad = gradient
        if task is not None:
            task.backward()  # type: ignore[no-untyped-call]

    def sums(self, terms: Mapping[str, Tensor]) -> tuple[Tensor | None, Tensor | None]:
        """Of the task's terms and of the distillation's; None where none has a gradient."""
        task = _sum(term for name, term in terms.items() if name not in self.distilled)
        return task, _sum(term for name, term in terms.items() if name in self.distilled)

    def take(self, distillation: Mapping[Tensor, Tensor]) -> None:
        """Take the distillation's gradients, by parameter; the task's are in `grad`."""
        self._second = dict(distillation)

    def clip(self, parameters: Sequence[Tensor], norm: float) -> None:
        """Scale both gradients so that the norm of their sum over these parameters is at most `norm`."""
        pairs = [[g for g in self._gradients(p).values() if g is not None] for p in parameters]
        norms = [torch.linalg.vector_norm(torch.stack(pair).sum(dim=0)) for pair in pairs if pair]
        if norms:
            factor = (norm / (torch.linalg.vector_norm(torch.stack(norms)) + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_([gradient for pair in pairs for gradient in pair], factor)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move the parameters that have had a gradient in this step; `closure` is not used."""
        for group in self.param_groups:
            moves: dict[str, list[tuple[Tensor, Tensor, Tensor, float]]] = {TASK: [], DISTILLATION: []}
            for p in group["params"]:
                gradients, state = self._gradients(p), self.state[p]
                if all(gradient is None for gradient in gradients.values()):
                    continue
                for kind, gradient in gradients.items():
                    if gradient is not None and kind not in state:
                        state[kind] = torch.zeros_like(p)
                shift = group["delta"] if len(state) == 2 else 0.0
                for kind, buffer in state.items():
                    gradient = gradients[kind]
                    added = torch.zeros_like(p) if gradient is None else gradient
                    if group["weight_decay"] and (kind == TASK or len(state) == 1):
                        added = added.add(p, alpha=group["weight_decay"])
                    momentum = group["momentum"] + (shift if kind == DISTILLATION else -shift)
                    moves[kind].append((p, buffer, added, momentum))
            for rows in moves.values():
                if rows:
                    parameters, buffers, sums, momenta = (list(column) for column in zip(*rows, strict=True))
                    torch._foreach_mul_(buffers, momenta)
                    torch._foreach_add_(buffers, sums)
                    torch._foreach_add_(parameters, buffers, alpha=-group["lr"])

    def _gradients(self, parameter: Tensor) -> dict[str, Tensor | None]:
        return {TASK: parameter.grad, DISTILLATION: self._second.get(parameter)}


def _sum(terms: Iterable[Tensor]) -> Tensor | None:
    """The sum of those terms that have a gradient; None without any."""
    learning = [term for term in terms if term.requires_grad]
    return torch.stack(learning).sum() if learning else None
