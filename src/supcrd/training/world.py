"""The processes that train together: what loop, terms and banks need from them. One process is `ALONE`."""

from typing import NamedTuple, Protocol

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

    def wrap(self, task: nn.Module) -> nn.Module:
        """A module that is called like the task and gives every parameter the mean of all processes' gradients."""

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all R processes, (R B, ...), in the order of their ranks; every process gives (B, ...).

        If the rows have a gradient, the result has one. It flows back to the process that a row came from, where the
        gradients of all processes add up.
        """

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes of a tensor that has the same shape in all of them, without a gradient."""

    def agree(self, flag: bool) -> bool:
        """Whether the flag is true in any process, so that all of them act on it in the same step."""


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

    def wrap(self, task: nn.Module) -> nn.Module:
        """The task itself."""
        return task

    def gather(self, rows: Tensor) -> Tensor:
        """The rows themselves."""
        return rows

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor itself."""
        return tensor

    def agree(self, flag: bool) -> bool:
        """The flag itself."""
        return flag


ALONE = Alone()
