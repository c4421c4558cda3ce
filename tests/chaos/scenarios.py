"""What else happens to a run: full disks, folders that may not be written or move, company, a clock that goes back."""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cases import CASES, given
from trials import Ended, command, different, fresh, holds, one_line

CASE = CASES["crd"]
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Of what a run leaves, for which small disks have room."""
DAY = 86400
LIMIT = 300
"""Seconds within which a command ends."""


class Unavailable(Exception):
    """The machine does not allow this scenario."""


class Ground:
    """A tiny set, a folder with its teacher, a place to work in, and what an undisturbed run leaves."""

    def __init__(self, data: Path, start: Path, root: Path, *changes: str) -> None:
        self.data, self.start, self.root = data, start, root
        self.words = [*CASE.words(data, root), *changes]
        fresh(root, start)
        ended = command(self.words, root)
        assert ended.status == 0, ended.said
        self.expected, self.operations = holds(root), ended.operations

    def middle(self) -> int:
        """An operation in the middle of the training."""
        return len(self.operations) // 2

    def ends_well(self) -> None:
        """The same command goes on, to the same files."""
        ended = command(self.words, self.root)
        assert ended.status == 0, ended.said
        assert different(holds(self.root), self.expected) == []


@contextlib.contextmanager
def small_disk(root: Path, size: int) -> Iterator[Callable[[str], None]]:
    """A file system of its own at `root`; what is given is its remounting."""
    root.mkdir(parents=True, exist_ok=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(root)], capture_output=True)
    if made.returncode != 0:
        raise Unavailable("mounting is not allowed here")
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", str(root)], check=True) and None
    finally:
        subprocess.run(["umount", str(root)], check=True)


def on_a_small_disk(ground: Ground) -> int:
    """Disks with room for a part of the run, each filled by the run itself, then enlarged."""
    refused = 0
    # a cache asks first whether there is room; that of decoded sets does without
    ground = Ground(ground.data, ground.start, ground.root, "teacher.cache=0")
    expected = {name: content for name, content in ground.expected.items() if not name.startswith("cache")}
    begun, whole = _kilobytes(ground.start), _kilobytes(ground.root)
    for share in SHARES:
        fresh(ground.root, None)
        with small_disk(ground.root, int(begun + share * (whole - begun)) + 8) as remount:
            subprocess.run(["cp", "-a", f"{ground.start}/.", str(ground.root)], check=True)
            ended = command(ground.words, ground.root)
            assert ended.status in (0, 2), ended.said
            if ended.status == 2:
                assert one_line(ended), ended.said
                refused += 1
            remount("size=64m")
            ended = command(ground.words, ground.root)
            assert ended.status == 0, ended.said
            left = {name: content for name, content in holds(ground.root).items() if not name.startswith("cache")}
            assert different(left, expected) == []
    assert refused > 1
    return refused


def _kilobytes(folder: Path) -> int:
    return int(subprocess.run(["du", "-sk", str(folder)], capture_output=True, check=True).stdout.split()[0])


def where_nothing_may_be_written(ground: Ground) -> int:
    """A run that was cut, in a folder without permission: one line, nothing is changed, and later it goes on."""
    count = 0
    for at in (3, ground.middle()):
        fresh(ground.root, ground.start)
        assert command(ground.words, ground.root, at=at).status == -signal.SIGKILL
        before = holds(ground.root)
        changed = [ground.root / "runs", *(ground.root / "runs").iterdir()]
        for folder in changed:
            folder.chmod(0o555)
        ended = command(ground.words, ground.root, first=_bound_by_permissions)
        for folder in changed:
            folder.chmod(0o755)
        assert (ended.status, one_line(ended)) == (2, True), ended.said
        assert different(holds(ground.root), before) in ([], ["cache"])
        ground.ends_well()
        count += 1
    return count


def _bound_by_permissions() -> None:
    """Root is not, unless it gives up its capabilities (Linux)."""
    if os.getuid() == 0:
        version = (ctypes.c_uint32 * 2)(0x20080522, 0)
        if ctypes.CDLL(None).capset(version, (ctypes.c_uint32 * 6)()) != 0:
            raise OSError("capset failed")


def moved(ground: Ground) -> int:
    """A run that was cut goes on in a folder of another name."""
    for at in range(0, len(ground.operations), len(ground.operations) // 5):
        fresh(ground.root, ground.start)
        assert command(ground.words, ground.root, at=at).status == -signal.SIGKILL
        (ground.root / "runs").rename(ground.root / "elsewhere")
        ended = command([word.replace("/runs", "/elsewhere") for word in ground.words], ground.root)
        assert ended.status == 0, ended.said
        (ground.root / "elsewhere").rename(ground.root / "runs")
        assert different(holds(ground.root), ground.expected) == []
    return 6


def two_at_once(ground: Ground, tries: int = 5) -> int:
    """One of two equal commands is refused, or finds the run finished; the folder is as if there had been one."""
    refused = 0
    for _ in range(tries):
        fresh(ground.root, ground.start)
        children = []
        for number in range(2):
            child = os.fork()
            if child == 0:
                status = 70
                with contextlib.suppress(BaseException):
                    ended = command(ground.words, ground.root, log=str(number))
                    good = ended.status == 0 or (one_line(ended) and "another process works in" in ended.said)
                    status = ended.status if good else 71
                os._exit(status)
            children.append(child)
        statuses = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
        assert statuses in ([0, 0], [0, 2]), statuses
        refused += statuses[1] == 2
        assert different(holds(ground.root), ground.expected) == []
    return refused


def with_a_clock_that_goes_back(ground: Ground) -> int:
    """The time of day falls by a day at each look, and what a cut run wrote is from tomorrow."""
    count = 0
    for at in (ground.middle(), len(ground.operations) - 2):
        fresh(ground.root, ground.start)
        assert command(ground.words, ground.root, at=at, first=_backwards).status == -signal.SIGKILL
        for path in ground.root.rglob("*"):
            os.utime(path, (time.time() + DAY, time.time() + DAY))
        ended = command(ground.words, ground.root, first=_backwards)
        assert ended.status == 0, ended.said
        assert different(holds(ground.root), ground.expected) == []
        count += 1
    return count


def _backwards() -> None:
    real, looks = time.time, iter(range(10**9))
    time.time = lambda: real() - DAY * next(looks)
    time.time_ns = lambda: int(1e9 * time.time())


def a_sweep_cut(ground: Ground) -> int:
    """Four runs in two processes; the parent, a worker or all of them are killed. The same sweep goes on."""
    sweep = ground.root.with_name("sweep.toml")
    changes = dict(change.split("=", 1) for change in [*given(ground.data), *CASE.changes])
    lines = [f"{json.dumps(key)} = {_toml(value)}" for key, value in changes.items() if key != "name"]
    sweep.write_text(f'recipe = "{CASE.recipe}"\nseeds = [0, 1, 2, 3]\n[set]\n' + "\n".join(lines))
    command_line = [sys.executable, "-m", "supcrd", "sweep", str(sweep), "--workers", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "2", "SUPCRD_CACHE": str(ground.root / "cache")}

    log = ground.root.with_name("sweep.log").open("w+b")

    def begun() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [*command_line, "--out", str(ground.root / "runs")], env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip

    def whole() -> dict[str, Any]:
        assert begun().wait(300) == 0, ground.root.with_name("sweep.log").read_text()[-2000:]
        return holds(ground.root / "runs")

    fresh(ground.root, ground.start)
    expected = whole()
    for victims in ("parent", "worker", "all"):
        fresh(ground.root, ground.start)
        process = begun()
        while len(list(ground.root.glob("runs/*/metrics.jsonl"))) < 2 and process.poll() is None:
            time.sleep(0.01)  # the teacher's, and that of a first student
        workers = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        for pid in {"parent": [process.pid], "worker": workers[:1], "all": [process.pid, *workers]}[victims]:
            os.kill(pid, signal.SIGKILL)
        process.wait(300)
        _wait_for(workers)
        names = different(whole(), expected)
        assert names == [], (victims, names)
    return 3


def one_of_two_processes_killed(ground: Ground) -> int:
    """A training that two processes share; the launcher, one of them or all are killed, early and late."""
    words = [*ground.words, "train.shards=2", "train.epochs=6", "--devices", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SUPCRD_CACHE": str(ground.root / "cache")}
    with ground.root.with_name("shared.log").open("w+b") as log:

        def begun() -> "subprocess.Popen[bytes]":
            return subprocess.Popen(
                [sys.executable, "-m", "supcrd", *words], env=environment, start_new_session=True,
                stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip

        def whole() -> dict[str, Any]:
            assert begun().wait(LIMIT) == 0, Path(log.name).read_text()[-2000:]
            return holds(ground.root / "runs")

        fresh(ground.root, ground.start)
        expected = whole()
        rows = ground.root / "runs" / "student" / "metrics.jsonl"
        trials = [(victims, epoch) for epoch in (0, 1, 3, 6) for victims in ("launcher", "one", "all")]
        for victims, epoch in trials:
            fresh(ground.root, ground.start)
            process, shared = begun(), []
            while process.poll() is None and (len(shared) < 2 or _lines(rows) < epoch):
                shared = [int(pid) for pid in _children(process.pid) if b"supcrd\0train" in _command_line(int(pid))]
                time.sleep(0.01)
            chosen = {"launcher": [process.pid], "one": shared[-1:], "all": [process.pid, *shared]}[victims]
            for pid in chosen:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(LIMIT)
            _wait_for(shared)
            names = different(whole(), expected)
            assert names == [], (victims, epoch, names)
    return len(trials)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def _children(process: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return []


def _command_line(process: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


def _toml(value: str) -> str:
    """A value of the command line."""
    return value if value.replace(".", "").isdigit() else json.dumps(value)


def _wait_for(processes: list[int]) -> None:
    """Until they have ended: workers of a killed parent are given time to write their state."""
    end = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in processes) and time.monotonic() < end:
        time.sleep(0.05)


SCENARIOS: dict[str, Callable[[Ground], int]] = {
    "a small disk (tmpfs)": on_a_small_disk,
    "a folder that may only be read": where_nothing_may_be_written,
    "a folder that is moved": moved,
    "two commands at once": two_at_once,
    "a clock that goes back": with_a_clock_that_goes_back,
    "a sweep whose parent, worker or both are killed": a_sweep_cut,
    "a training of two processes, one or all of which are killed": one_of_two_processes_killed,
}
__all__ = ["SCENARIOS", "Ended", "Ground", "Unavailable"]
