"""Where and how networks run: device, precision and memory format, decided once and handed on."""

import contextlib
import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from supcrd.errors import RunError

Network = TypeVar("Network", bound=nn.Module)
VALUES_A_THREAD = 2**19  # 170 RGB images of 32 px


@dataclass(frozen=True)
class Place:
    """A device and the precision networks compute in there."""

    device: torch.device
    bfloat16: bool
    float16: bool = False
    """networks run in float16, whose gradients need loss scaling"""

    def autocast(self) -> AbstractContextManager[object]:
        """Autocast to the half precision that this place computes in; losses keep themselves in float32."""
        half = torch.float16 if self.float16 else torch.bfloat16
        return torch.autocast(self.device.type, half, enabled=self.bfloat16 or self.float16)

    @property
    def precision(self) -> str:
        """What networks run in: float32, bfloat16 or float16."""
        return "float16" if self.float16 else "bfloat16" if self.bfloat16 else "float32"

    def put(self, network: Network) -> Network:
        """Move a network here, convolutions in channels-last format: as fast or faster on every device measured."""
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def wait(self) -> None:
        """Until the device has done what it was given: a clock read before says nothing of a GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def __str__(self) -> str:
        return f"{self.device} ({self.precision})"


def choose(device: str = "auto", precision: str = "auto") -> Place:
    """The place that settings ask for; `auto` takes a CUDA or MPS device if there is one, and bfloat16 if native.

    Of the processes that torchrun starts on a machine each has a CUDA device of its own: the one of its LOCAL_RANK.

    Args:
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto, float32, bfloat16 or float16.

    Raises:
        RunError: a device that is unknown or not there; float16 without a CUDA device.

    Example:
        >>> choose("cpu", "float32")
        Place(device=device(type='cpu'), bfloat16=False, float16=False)
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if device == "cuda" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise RunError(f"device {device!r} is unknown; auto, cpu, cuda, cuda:N or mps is right") from None
    if chosen.type == "cuda" and (not torch.cuda.is_available() or (chosen.index or 0) >= torch.cuda.device_count()):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise RunError(f"device {device!r}: this machine has {count} CUDA devices; use auto or cpu")
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise RunError(f"device {device!r}: this machine has no MPS device; use auto or cpu")
    if chosen.type != "cuda" and chosen.index:
        raise RunError(f"device {device!r}: there is only one; {chosen.type} is right")
    if chosen.type not in ("cpu", "cuda", "mps"):
        raise RunError(f"device {device!r} is not supported; auto, cpu, cuda, cuda:N or mps is right")
    if precision == "float16":
        if chosen.type != "cuda":
            raise RunError(
                f"train.precision = 'float16' is for CUDA devices, and this run is on {chosen}; auto, bfloat16 or "
                "float32 is right"
            )
        return Place(chosen, bfloat16=False, float16=True)
    return Place(chosen, precision == "bfloat16" or (precision == "auto" and has_native_bfloat16(chosen)))


def keep_freed_memory() -> None:
    """Have the C library keep what is freed for the next step, where that is glibc (Linux).

    By default it returns large blocks to the system and takes them again a moment later, page by page, zeroed: a third
    of the time of ResNet-50's forward pass at 256 images, measured by hand (docs/log.md). The process holds on to its
    peak.
    """
    if platform.libc_ver()[0] == "glibc":
        with contextlib.suppress(OSError, AttributeError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(-4, 0)  # M_MMAP_MAX: no block is a mapping of its own
            mallopt(-1, -1)  # M_TRIM_THRESHOLD: nothing is handed back


def machine_memory() -> int | None:
    """Bytes that the processes of this machine, or of its container, may have in all; None where that is unknown.

    Example:
        >>> machine_memory() is None or machine_memory() > 10**8
        True
    """
    sizes = []
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
        sizes.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(sizes, default=None)


@contextlib.contextmanager
def few_threads(values: int) -> Iterator[None]:
    """Compute on tensors of so many values with a thread for every VALUES_A_THREAD of them, at most as many as now.

    Many small operations in a row gain little by a second thread, and where the machine has other work to do they wait
    for it at the end of each: views of CIFAR's size then took ten times as long, measured by hand.

    Example:
        >>> before = torch.get_num_threads()
        >>> with few_threads(1000):
        ...     torch.get_num_threads()
        1
        >>> torch.get_num_threads() == before
        True
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, max(1, values // VALUES_A_THREAD)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether the hardware gains from bfloat16 (emulation is slower than float32).

    Of CPUs those with AMX, and AMD's with AVX512-BF16. Intel's without AMX have the instructions too, but ResNet-18
    was slower there in bfloat16 than in float32 (docs/results/precision-cpu.json).
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # torch has no public question for these; where a version lacks the private ones the answer is no, which costs
        # speed only
        if getattr(torch.cpu, "_is_amx_tile_supported", bool)():
            return True
        return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()) and is_amd()
    return False


def is_amd() -> bool:
    """Whether the processor is AMD's."""
    with contextlib.suppress(OSError):
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return "AMD" in platform.processor()
