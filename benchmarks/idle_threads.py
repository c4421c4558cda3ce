"""Seconds of a training on the CPU when its idle threads look for work without a pause, and when they sleep.

    python benchmarks/idle_threads.py --out docs/results/idle-threads.json

The same command (two threads) alone, and beside busy processes, with `OMP_WAIT_POLICY` as libgomp has it and as the
command line sets it (`supcrd.base.threads`), in turns; `train_seconds` of the runs, medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import keep, table

WAYS = {
    "libgomp's default": {"GOMP_SPINCOUNT": "300000"},
    "look 1,000 times": {"GOMP_SPINCOUNT": "1000"},
    "sleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
}
"""The first is named, so that the command line leaves it."""


def seconds(recipe: list[str], way: dict[str, str], threads: int) -> float:
    """Of the training."""
    with tempfile.TemporaryDirectory() as out:
        environ = os.environ | {"OMP_NUM_THREADS": str(threads)} | way
        subprocess.run(
            [sys.executable, "-m", "supcrd", "train", *recipe, "name=run", "--out", out],
            env=environ, check=True, capture_output=True,
        )  # fmt: skip
        return float(json.loads(Path(out, "run", "evaluation.json").read_text())["train_seconds"])


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", nargs="+", default=["digits-cross-entropy", "train.epochs=8"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--beside", type=int, nargs="+", default=[0, 2], help="busy processes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    times: dict[str, dict[str, list[float]]] = {}
    for beside in options.beside:
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(beside)]
        try:
            mine = times.setdefault(str(beside), {name: [] for name in WAYS})
            for _ in range(options.rounds):
                for name, way in WAYS.items():
                    mine[name].append(seconds(options.recipe, way, options.threads))
        finally:
            for process in busy:
                process.kill()
                process.wait()
    medians = {
        beside: {name: statistics.median(values) for name, values in ways.items()} for beside, ways in times.items()
    }
    rows = [[beside, *(f"{value:.2f} s" for value in ways.values())] for beside, ways in medians.items()]
    print(table(["busy processes beside", *WAYS], rows))
    keep(options.out, options, {"seconds": times, "medians": medians})


if __name__ == "__main__":
    main()
