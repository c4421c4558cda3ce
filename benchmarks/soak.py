"""Long work: does a command hold as much at its end as at its beginning? Memory, open files and threads all along.

    python benchmarks/soak.py --out docs/results/soak.json

* sweep: 30 runs of 3 epochs one after the other in the process of `supcrd sweep`, then as many by two workers.
* report: `supcrd report` of 15, 30 and 60 of these runs.
* watch: `supcrd report --watch` for an hour, beside ten finished runs, while a run's folder changes every ten seconds
  as a training would change it: one epoch more, and after its last one it begins anew.
* training: `supcrd train digits-lw-supcrd`, 300 epochs, with a bank.

Each command is a process of its own. Memory is proportional set size; memory, files and threads are those of the
command and its descendants. `fifths` are medians of the fifths of the time, `grown` the last less the second.
"""

import argparse
import contextlib
import itertools
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from measure import family, keep, load, proportional, table

HEAD = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\nfrom supcrd.cli import main; main()"
SWEEP = """recipe = "digits-cross-entropy"
seeds = {seeds}
set = {{ "train.epochs" = 3, "probe.epochs" = 3 }}
"""
RUNS = 30
CHANGE = 10.0
"""Seconds between two epochs of the run that is watched."""

Reading = dict[str, float]


def read(process: int) -> Reading:
    """Megabytes, open files and threads of a process and its descendants now."""
    total = {"megabytes": 0.0, "files": 0.0, "threads": 0.0}
    for pid in family(process):
        with contextlib.suppress(OSError):  # it has ended
            total["megabytes"] += proportional(pid) / 1e6
            total["files"] += len(os.listdir(f"/proc/{pid}/fd"))
            total["threads"] += len(os.listdir(f"/proc/{pid}/task"))
    return total


def observed(
    words: Sequence[str],
    folder: Path,
    *,
    every: float,
    meanwhile: Callable[[], bool] = lambda: True,
    most: float = 1e9,
) -> dict[str, Any]:
    """Run a command of supcrd and read what it holds, every so many seconds; Ctrl-C after `most` seconds.

    `meanwhile` is called after each reading, and says whether it counts.
    """
    begun = time.monotonic()
    with open(folder / f"{words[0]}.txt", "w") as said:
        command = [sys.executable, "-c", HEAD, *words]
        own = {"PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src")}  # of this checkout, wherever it runs
        running = subprocess.Popen(command, cwd=folder, env=os.environ | own, stdout=said, stderr=subprocess.STDOUT)
    readings = []
    while running.poll() is None:
        now = read(running.pid)
        if meanwhile():
            readings.append(now)
        if time.monotonic() - begun > most:
            running.send_signal(signal.SIGINT)
            running.wait(120)
        time.sleep(every)
    if running.returncode != 0 and most == 1e9:
        raise RuntimeError((folder / f"{words[0]}.txt").read_text()[-2000:])
    return {"seconds": round(time.monotonic() - begun), "status": running.returncode, **summed(readings[1:])}


def summed(readings: Sequence[Reading]) -> dict[str, Any]:
    """Medians of the fifths of the readings, the highest of all, and what the last fifth has over the second."""
    told: dict[str, Any] = {"readings": len(readings)}
    if len(readings) < 10:
        return told | {"peak_megabytes": round(max((reading["megabytes"] for reading in readings), default=0), 1)}
    cuts = [round(len(readings) * part / 5) for part in range(6)]
    for name in ("megabytes", "files", "threads"):
        values = [reading[name] for reading in readings]
        fifths = [round(statistics.median(values[a:b]), 1) for a, b in itertools.pairwise(cuts)]
        told[name] = {"fifths": fifths, "grown": round(fifths[-1] - fifths[1], 1), "peak": round(max(values), 1)}
    return told


def training(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The epochs of the long training; its teacher's and the evaluation at the end are other work."""
    metrics = folder / "runs" / "long" / "metrics.jsonl"
    words = ["train", "digits-lw-supcrd", f"train.epochs={options.epochs}", "method.bank=512"]

    def trains() -> bool:
        return metrics.is_file() and metrics.read_text().count("\n") < options.epochs

    told = observed([*words, "name=long", "--out", "runs"], folder, every=1, meanwhile=trains)
    return {"epochs": options.epochs} | told


def sweep(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Thirty runs in one process, thirty by two workers: other seeds."""
    found = {}
    for workers, first in ((1, 0), (2, RUNS)):
        (folder / f"sweep{workers}.toml").write_text(SWEEP.format(seeds=[first + number for number in range(RUNS)]))
        words = ["sweep", f"sweep{workers}.toml", "--workers", str(workers), "--out", "swept"]
        found[f"{workers} worker{'s' * (workers > 1)}"] = {"runs": RUNS} | observed(words, folder, every=1)
    return found


def report(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Reports of more and more of the runs of the sweeps."""
    runs = sorted(path for path in (folder / "swept").iterdir() if (path / "evaluation.json").is_file())
    found = {}
    for count in (15, 30, 60):
        words = ["report", *map(str, runs[:count]), "--out", f"report{count}.html"]
        told = observed(words, folder, every=0.5)
        peak = told["peak_megabytes"] if "peak_megabytes" in told else told["megabytes"]["peak"]
        found[f"{count} runs"] = {
            "seconds": told["seconds"],
            "peak_megabytes": peak,
            "page_megabytes": round((folder / f"report{count}.html").stat().st_size / 1e6, 2),
        }
    return found


def watch(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """An hour of a page that is rewritten while a run seems to train, beside ten finished ones."""
    place = folder / "watched"
    shutil.rmtree(place, ignore_errors=True)
    for path in sorted((folder / "swept").iterdir())[:10]:
        shutil.copytree(path, place / path.name)
    growing = place / "growing"
    words = ["train", "digits-cross-entropy", "train.epochs=30", "name=growing", "--out", "watched"]
    observed(words, folder, every=1)
    for name in ("evaluation.json", "model.safetensors", "outputs.npz"):
        (growing / name).unlink(missing_ok=True)
    lines = (growing / "metrics.jsonl").read_text().splitlines(keepends=True)
    state = {"epoch": 0, "changes": 0, "next": 0.0}

    def change() -> bool:
        if time.monotonic() < state["next"]:
            return True
        state["next"] = time.monotonic() + CHANGE
        state["epoch"] = state["epoch"] % len(lines) + 1
        state["changes"] += 1
        (growing / "metrics.jsonl").write_text("".join(lines[: int(state["epoch"])]))
        return True

    change()
    words = ["report", "watched", "--watch", "--out", "watched.html"]
    told = observed(words, folder, every=2, meanwhile=change, most=options.minutes * 60)
    return {"changes": state["changes"]} | told


PARTS = {"sweep": sweep, "report": report, "watch": watch, "training": training}


def main() -> None:
    """Run the parts, print and, with --out, keep; those of --out that are not run again stay."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--folder", type=Path, help="that is gone on with; a temporary one if not given")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found: dict[str, Any] = load(options.out)["soak"] if options.out and options.out.is_file() else {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        options.folder = None  # its name is this machine's
        for name in options.only:
            found[name] = PARTS[name](folder, options)
            print(json.dumps({name: found[name]}), flush=True)
            keep(options.out, options, {"soak": found})
    rows = [
        [
            name,
            *(f"{part[kind]['fifths'][1]} to {part[kind]['fifths'][-1]}" for kind in ("megabytes", "files", "threads")),
        ]
        for name, part in {**found, **found.get("sweep", {})}.items()
        if "megabytes" in part
    ]
    print(table(["part", "MB", "files", "threads"], rows))


if __name__ == "__main__":
    main()
