"""Processes that train together, by `torch.distributed`: what `torchrun` started."""

import hashlib
import os
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from supcrd.data.shares import Shares
from supcrd.errors import RunError
from supcrd.training import meeting, watch
from supcrd.training.statistics import running, tracked

TIMEOUT = timedelta(days=1)
"""For which a process waits for another one, that may be measuring alone; one that ends is noticed at once."""

JOINING = timedelta(minutes=10)
"""For which it waits for all of them at the start."""

SIGNS = ("onnection", "gloo", "NCCL", "peer", "Broken pipe", "imed out")
"""Words of messages about a process that is gone."""


def start(*, on_gpu: bool) -> None:
    """Join the processes that `torchrun` started; nothing where this is the only one.

    Raises:
        RunError: they cannot be reached within JOINING, or the variables by which they are found are not there.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or distributed.is_initialized():
        return
    absent = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if absent:
        raise RunError(f"WORLD_SIZE = {size}, but {' and '.join(absent)} is not set; torchrun sets all of them")
    rank = int(os.environ["RANK"])
    try:
        name, store = meeting.store(rank, size, JOINING)
        kind = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        distributed.init_process_group(kind, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    except RuntimeError as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        reason = str(error).strip().splitlines()[0]
        if "EADDRINUSE" in str(error) or "in use" in str(error):
            raise RunError(
                f"port {os.environ['MASTER_PORT']}, where {size} processes were to meet, is in use; give another "
                "MASTER_PORT (torchrun --master-port, or --rdzv-endpoint HOST:PORT)"
            ) from error
        raise RunError(f"process {rank} of {size} does not reach the others at {where} ({reason:.120})") from error
    watch.begin(name, rank, size)


def started() -> tuple[int, int]:
    """The number of this process, and how many there are.

    Example:
        >>> started()
        (0, 1)
    """
    if not distributed.is_available() or not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def everyone() -> "Group":
    """All of them, outside a training."""
    rank, size = started()
    return Group(Shares(size, rank, size))


class Lost(RunError):
    """Another process is gone."""


class Errand(ABC):
    """What the first process has the others do while they wait for its word."""

    @abstractmethod
    def run(self, group: "Group") -> None:
        """Do it, in a process that is not the first one."""


class Group:
    """A `supcrd.training.world.World` of several processes.

    Rows and flags go through gloo where they are on the CPU, and through NCCL where they are on a GPU.

    Args:
        shares: how batches are divided among the processes.
        synchronised: batch normalisation has the statistics of all processes' images (GPUs only); else each has its
            own, and the running ones are the mean over the processes.
    """

    def __init__(self, shares: Shares, *, synchronised: bool = False) -> None:
        self.shares, self.synchronised = shares, synchronised
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        self._sizes = [1] * self.size

    @property
    def before(self) -> int:
        """Images of the step that processes of lower rank have."""
        return sum(self._sizes[: self.rank])

    def begin(self, images: int) -> None:
        """A step begins, with so many images in all processes together."""
        self._sizes = self.shares.sizes(images)

    def wrap(self, task: nn.Module) -> nn.Module:
        """DistributedDataParallel around the task."""
        unused = not getattr(task, "steady", False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the newer name of the option is not in torch 2.11
            # buffers are the same without being sent
            return DistributedDataParallel(task, broadcast_buffers=False, find_unused_parameters=unused)

    def synchronise(self, network: nn.Module) -> None:
        """Have the norms of a network see the images of all processes, if they are to; before maps are read of it."""
        if self.synchronised:
            nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]

    def settle(self, task: nn.Module) -> None:
        """Give running statistics the mean over the processes, where each has those of its own images."""
        buffers = [] if self.synchronised else [part for norm in tracked(task.modules()) for part in running(norm)]
        if buffers:
            mean = self.sum(torch.cat(buffers)) / self.size
            for buffer, new in zip(buffers, torch.split(mean, [len(buffer) for buffer in buffers]), strict=True):
                buffer.copy_(new)

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in the order of their ranks; see `World.gather`."""
        own = self._sizes[self.rank]
        rows_each = len(rows) // own if own else 0
        sizes = [rows_each * size for size in self._sizes]
        if rows.requires_grad:
            gathered: Tensor = _Gather.apply(rows, sizes, self.rank)
            return gathered
        return _gathered(rows, sizes)

    def concatenated(self, rows: Tensor, sizes: Sequence[int]) -> Tensor:
        """Rows of all processes where these have so many, without a gradient."""
        return _gathered(rows, sizes)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes."""
        total = tensor.detach().clone()
        with lost():
            distributed.all_reduce(total)
        return total

    def check(self, task: nn.Module) -> None:
        """Compare fingerprints of parameters and buffers; see `World.check`."""
        prints = self.all(fingerprint(task))
        other = next((rank for rank, value in enumerate(prints) if value != prints[0]), None)
        if other is not None:
            raise RunError(f"process {other} of {self.size} has other weights or banks than process 0")

    def agree(self, flag: bool) -> bool:
        """Whether the flag is true in any process; on the CPU, so that no step waits for a GPU."""
        value = torch.tensor(int(flag))
        with lost():
            distributed.all_reduce(value, op=distributed.ReduceOp.MAX)
        return bool(value)

    def told(self, thing: Any) -> Any:
        """What the first process has, in all of them; errands that it gives come before, and are done here."""
        while True:
            things = [thing]
            with lost():
                distributed.broadcast_object_list(things, src=0, device=torch.device("cpu"))
            if self.rank == 0 or not isinstance(things[0], Errand):
                return things[0]
            things[0].run(self)

    def collected(self, thing: Any) -> list[Any]:
        """What every process has, in the order of their ranks; in the first process, nothing in the others."""
        things: list[Any] = [None] * self.size if self.rank == 0 else []
        with lost():
            distributed.gather_object(thing, things or None, dst=0)
        return things

    def all(self, thing: Any) -> list[Any]:
        """What every process has, in the order of their ranks."""
        things: list[Any] = [None] * self.size
        with lost():
            distributed.all_gather_object(things, thing)
        return things


def fingerprint(module: nn.Module) -> str:
    """Of a module's parameters and buffers, 16 hexadecimal digits.

    Example:
        >>> len(fingerprint(nn.BatchNorm1d(2)))
        16
    """
    state = hashlib.blake2b(digest_size=8)
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor):
            state.update(name.encode() + value.detach().contiguous().cpu().view(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


class _Gather(torch.autograd.Function):
    """All processes' rows; backwards the sum of all processes' gradients of the own ones."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: list[int], rank: int) -> Tensor:
        """(B, ...) to (B of all, ...)."""
        ctx.sizes, ctx.rank = sizes, rank
        return _gathered(rows, sizes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """(B of all, ...) to (B, ...)."""
        (gradient,), sizes = (part.contiguous() for part in gradients), ctx.sizes
        start = sum(sizes[: ctx.rank])
        with lost():
            if gradient.is_cuda and len(set(sizes)) == 1:
                own = gradient.new_empty(sizes[0], *gradient.shape[1:])
                distributed.reduce_scatter_tensor(own, gradient)
                return own, None, None
            whole = gradient.clone()
            distributed.all_reduce(whole)
        return whole[start : start + sizes[ctx.rank]], None, None


@torch.no_grad()
def _gathered(rows: Tensor, sizes: Sequence[int]) -> Tensor:
    """Rows of all processes, of which this one has its `sizes`; sent as bytes, whatever their type."""
    shape, most = rows.shape[1:], max(sizes)
    if shape.numel() == 0:  # of a head that nothing reads; bytes of none cannot be viewed as another type
        return rows.new_empty(sum(sizes), *shape)
    flat = rows.detach().contiguous().view(len(rows), -1).view(torch.uint8) if rows.numel() else None
    width = rows.element_size() * shape.numel()
    padded = torch.zeros(most, width, dtype=torch.uint8, device=rows.device)
    if flat is not None:
        padded[: len(rows)] = flat
    parts = [torch.empty_like(padded) for _ in sizes]
    with lost():
        distributed.all_gather(parts, padded)
    whole = torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
    return whole.view(rows.dtype).view(sum(sizes), *shape)


@contextmanager
def lost() -> Iterator[None]:
    """Turn what torch raises where another process is gone into one line.

    Raises:
        Lost: see above; with what that process said, if it could.
    """
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[[^]]*\] *", "", str(error).strip().splitlines()[0])  # without the line of torch's source
        if not any(word in reason for word in SIGNS):
            raise
        why = watch.left() or f"another process of this training ended, or cannot be reached ({reason:.80})"
        raise Lost(f"{why}; the last checkpoint remains, and the same command resumes from it") from error
