"""The processes that train together: what a loop, a term and a bank ask of them. One process is `ALONE`."""

from typing import NamedTuple, Protocol

from torch import Tensor, nn


class World(Protocol):
    """The processes that train together, each with its own share of every batch.

    All of them take the same steps and meet in every operation but `rank` and `size`: a call that one of them leaves
    out makes the others wait for ever.
    """

    @property
    def rank(self) -> int:
        """Of this process, from 0."""

    @property
    def size(self) -> int:
        """How many there are."""

    def wrap(self, task: nn.Module) -> nn.Module:
        """A module that is called like the task and gives every parameter the mean of all processes' gradients."""

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes, (R B, ...), in the order of their ranks; every one gives as many, (B, ...).

        Where rows have a gradient the result has one, which flows back to the process that a row came from: there all
        processes' gradients add up.
        """

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, of a tensor of one shape, without a gradient."""

    def agree(self, flag: bool) -> bool:
        """Whether the flag is up in any process: what all of them are to act on, in one and the same step."""


class Alone(NamedTuple):
    """One process: every operation is the identity, and costs nothing.

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
