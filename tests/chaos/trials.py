"""Commands in processes of their own that the hook watches, and what their folders hold afterwards."""

import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# What a run imports, also only once it needs it: else every process that is killed does so anew.
import torch
import torch._dynamo
import torch.utils.serialization
from filehook import FileHook

import supcrd.cli
import supcrd.jobs.run
import supcrd.metrics.calibration
import supcrd.metrics.fidelity
import supcrd.training.objective.terms
from supcrd.data import decoded
from supcrd.models.weights import load_state

TIMES = ("seconds", "images_per_second", "train_seconds", "evaluation_seconds")
"""What two runs of one recipe may differ in."""
LIMIT = 600.0
"""Seconds after which a command hangs."""


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    """of the process; -9 where it was killed"""
    said: str
    """on both outputs"""
    operations: list[str]
    """on files, where it came to its end"""


def command(
    words: Sequence[str],
    root: Path,
    *,
    at: int | None = None,
    act: str = "kill",
    first: Callable[[], None] | None = None,
    log: str = "log",
) -> Ended:
    """Run `supcrd` with these words in a fork of this process, which has imported everything and computed nothing.

    Args:
        root: which the hook watches; its `cache` is the cache of decoded sets.
        at, act: as for `FileHook`.
        first: called in the fork before the command.
        log: how the file beside `root` ends that the outputs go to.
    """
    said, counted = root.with_name(f"{root.name}.{log}"), root.with_name(f"{root.name}.{log}.counted")
    counted.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        try:
            _run(list(words), str(root), at, act, first, said, counted)
        finally:
            os._exit(70)
    end = time.monotonic() + LIMIT
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError(f"hangs: {' '.join(words)}, operation {at}, {act}\n{said.read_text()}")
        time.sleep(0.005)
    operations = json.loads(counted.read_text()) if counted.exists() else []
    return Ended(os.waitstatus_to_exitcode(status), said.read_text(), operations)


def _run(words: list[str], root: str, at: int | None, act: str, first: Any, said: Path, counted: Path) -> None:
    """In the process itself."""
    output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    torch.set_num_threads(1)
    os.environ["SUPCRD_CACHE"] = os.path.join(root, "cache")
    decoded.SLOW = -1.0  # what takes no time to decode is kept too
    if first is not None:
        first()
    hook = FileHook(root, at, act).install()
    status = 0
    try:
        supcrd.cli.app(words)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    counted.write_text(json.dumps(hook.seen))
    os._exit(status)


def holds(root: Path) -> dict[str, Any]:
    """Every file and folder below, hidden ones too: permissions and contents, without times."""
    return {
        path.relative_to(root).as_posix(): (oct(path.stat().st_mode), None if path.is_dir() else _content(path))
        for path in sorted(root.rglob("*"))
    }


def _content(path: Path) -> Any:
    if path.suffix == ".pt":
        return _plain(load_state(path))
    if path.name == "metrics.jsonl":
        return [_plain(json.loads(line)) for line in path.read_text().splitlines()]
    if path.name == "evaluation.json":
        return _plain(json.loads(path.read_text()))
    if path.parent.name == "tensorboard":
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

        events = [(event.step, value) for event in EventFileLoader(str(path)).Load() for value in event.summary.value]
        return [(step, value.tag, value.tensor.float_val[:]) for step, value in events if value.tag not in TIMES]
    return path.read_bytes()


def _plain(value: Any) -> Any:
    """Comparable with ==, without times."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items() if key not in TIMES}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.contiguous().numpy().tobytes()
    return value


def different(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of files that only one of two folders has, or that differ."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name, 0) != other.get(name, 0))


def fresh(root: Path, start: Path | None) -> None:
    """Bring a folder to what it was before the command."""
    shutil.rmtree(root, ignore_errors=True)
    if start is None:
        root.mkdir(parents=True)
    else:
        shutil.copytree(start, root)


def moments(operations: Sequence[str], *, every: bool = True) -> list[tuple[int, str]]:
    """When to kill: before every operation, and half-way through one of several writes in a row, which is as any.

    Without `every` not before fsync and unlink, where the files are as before the rename, or the opening, that follows.
    """
    chosen, first = [], 0
    for at, operation in enumerate([*operations, "end"]):
        if operation == "write":
            continue
        if at > first:
            chosen.append(((first + at - 1) // 2, "tear"))
        if operation != "end" and (every or operation not in ("fsync", "unlink")):
            chosen.append((at, "kill"))
        first = at + 1
    return chosen


def one_line(ended: Ended) -> bool:
    """Whether a command ended as mistakes end."""
    errors = [line for line in ended.said.splitlines() if line.startswith("error: ")]
    return ended.status == 2 and len(errors) == 1 and "Traceback" not in ended.said and len(errors[0]) <= 400


def wrong(
    words: Sequence[str], root: Path, start: Path | None, at: int, act: str, expected: dict[str, Any]
) -> str | None:
    """Disturb a command once and give it again; what differs then from an undisturbed run, None if nothing does."""
    fresh(root, start)
    ended = command(words, root, at=at, act=act)
    if act == "full":
        if ended.status != 0 and not one_line(ended):
            return f"a full disk ended it with status {ended.status}: {ended.said[-2000:]}"
    elif ended.status != -signal.SIGKILL:
        return f"was not killed, status {ended.status}: {ended.said[-500:]}"
    again = command(words, root)
    if again.status != 0:
        return f"again: status {again.status}: {again.said[-2000:]}"
    names = different(holds(root), expected)
    return f"different: {', '.join(names)}" if names else None
