"""The processes that train together: what loop, terms and banks need from them. One process is `ALONE`."""

from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn


class World(Protocol):
    """The processes that train together, each with its own share of every batch.

    All of them take the same steps, and every operation except `rank` and `size` is collective: if one process leaves a
    call out, the others wait forever.
    """

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""

    @property
    def size(self) -> int:
        """The number of processes."""

    @property
    def before(self) -> int:
        """Images of this step that the processes of lower rank have: where this one's begin among those of all."""

    def begin(self, images: int) -> None:
        """A step begins, of a batch of so many images in all processes together."""

    def wrap(self, task: nn.Module) -> nn.Module:
        """A module that is called like the task and gives every parameter the mean of all processes' gradients."""

    def settle(self, task: nn.Module) -> None:
        """A step has ended: give running statistics that differ between processes their mean."""

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in the order of their ranks; this one gives (B, ...), some for each of its images.

        If the rows have a gradient, the result has one. It flows back to the process that a row came from, where the
        gradients of all processes add up.
        """

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes of a tensor that has the same shape in all of them, without a gradient."""

    def check(self, task: nn.Module) -> None:
        """Raise RunError in all processes if their weights or banks differ, which no step may bring about."""

    def agree(self, flag: bool) -> bool:
        """Whether the flag is true in any process, so that all of them act on it in the same step."""

    def told(self, thing: Any) -> Any:
        """What the first process gives, in all of them."""


def asked_every(size: int) -> int:
    """Steps after which so many processes ask one another whether one was told to stop.

    The question goes around a ring of them, so that in every step it would cost many processes more than the step.

    Example:
        >>> asked_every(1), asked_every(8), asked_every(512)
        (1, 1, 64)
    """
    return max(1, size // 8)


class Alone(NamedTuple):
    """One process: every operation is the identity and costs nothing.

    Example:
        >>> import torch
        >>> rows = torch.ones(2, 3)
        >>> ALONE.gather(rows) is rows, ALONE.sum(rows) is rows, ALONE.agree(False)
        (True, True, False)
    """

    rank: int = 0
    size: int = 1
    before: int = 0

    def begin(self, images: int) -> None:
        """Nothing."""

    def settle(self, task: nn.Module) -> None:
        """Nothing: there is one."""

    def wrap(self, task: nn.Module) -> nn.Module:
        """The task itself."""
        return task

    def gather(self, rows: Tensor) -> Tensor:
        """The rows themselves."""
        return rows

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def check(self, task: nn.Module) -> None:
        """Nothing: there is one."""

    def agree(self, flag: bool) -> bool:
        """The flag itself."""
        return flag

    def told(self, thing: Any) -> Any:
        """The thing itself."""
        return thing


ALONE = Alone()
