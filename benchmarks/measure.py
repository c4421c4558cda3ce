"""What all benchmarks share: timing that takes turns, peak memory, and the JSON file that is kept."""

import argparse
import contextlib
import json
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch


def take_turns(
    ways: Mapping[str, Callable[[], object]], *, rounds: int, settle: Callable[[], object] | None = None
) -> dict[str, list[float]]:
    """Seconds of each way, round after round, after one round that is not counted: noise hits all of them alike.

    `settle` is called inside the timed span: a GPU's `torch.cuda.synchronize`.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            if settle is not None:
                settle()
            if turn > 0:
                times[name].append(time.perf_counter() - start)
    return times


def told(seconds: list[float]) -> dict[str, float]:
    """Median, fastest and slowest, in milliseconds."""
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    return {"median_ms": round(1e3 * middle, 4), "min_ms": round(1e3 * low, 4), "max_ms": round(1e3 * high, 4)}


def spread(seconds: list[float]) -> dict[str, float]:
    """Median, fastest and slowest, in seconds."""
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    return {"median": round(middle, 3), "min": round(low, 3), "max": round(high, 3)}


def peak_memory(script: str, *arguments: str) -> int:
    """Bytes that a Python process gains at its peak over what it had when it called `ready()`.

    `script` is Python that may call `ready()` once, when its imports and inputs stand. A process of its own, since an
    allocator does not give back what an earlier measurement took.
    """
    prelude = "from measure import *\n"
    epilogue = "\nprint('PEAK', high_water() - READY[0])"
    here = Path(__file__).resolve().parent
    done = subprocess.run(
        [sys.executable, "-c", prelude + script + epilogue, *arguments], cwd=here, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-2000:])
    return int(done.stdout.rsplit("PEAK", 1)[1])


READY = [0]


def high_water() -> int:
    """The most resident memory that this process ever had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage counts what the parent had when it started this process
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def proportional(process: int | str) -> int:
    """Bytes of a process, pages that it shares counted in parts.

    Raises:
        OSError: it has ended, or the system does not tell.
    """
    told = Path("/proc", str(process), "smaps_rollup").read_text()
    return 1024 * int(re.search(r"^Pss:\s+(\d+)", told, re.MULTILINE)[1])


def family(process: int) -> list[int]:
    """A process and its descendants, as far as the system tells."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found = [process]
    for each in found:  # grows
        found += children.get(each, [])
    return found


def ready() -> None:
    """Called in a script of `peak_memory`: what counts starts here."""
    READY[0] = high_water()


def keep(out: Path | None, options: argparse.Namespace, result: Mapping[str, Any]) -> None:
    """Write a result with its command, hardware and versions, where `--out` was given."""
    # here, since what is timed against an older package is timed by a process that has only that
    from supcrd.base.files import write_json
    from supcrd.runs.environment import environment

    if out is None:
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    given = {name: value for name, value in vars(options).items() if value not in (None, False)}
    words = {
        name: "" if value is True else " ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in given.items()
    }
    told = " ".join(f"--{name.replace('_', '-')} {word}".strip() for name, word in words.items())
    command = f"python benchmarks/{Path(sys.argv[0]).name} {told}"
    write_json(out, {"command": command, **result, "environment": environment()})


def table(head: list[str], rows: list[list[str]]) -> str:
    """A plain text table."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
    return "\n".join(line.rstrip() for line in lines)


def load(path: Path) -> dict[str, Any]:
    """A kept result."""
    value: dict[str, Any] = json.loads(path.read_text())
    return value


def synchronise(device: torch.device) -> Callable[[], object] | None:
    """What `take_turns` needs to time a device."""
    return torch.cuda.synchronize if device.type == "cuda" else None
