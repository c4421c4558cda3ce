"""How far the number of threads moves the accuracy of a recipe: the same seeds on 1 and on 2 threads, one teacher.

    python benchmarks/threads.py --seeds 5 --out docs/results/threads.json

Every run is a process of its own, so that torch begins with its number of threads. The teacher is trained once, on one
thread, and copied, so that what differs is the student's training alone. The first seed is run twice on each number:
what differs there is no matter of threads.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import keep

SHOWN = ("accuracy", "trained_accuracy", "probe_accuracy")
EXACT = ("alignment", "uniformity")
"""Of which two trainings that differ in anything differ too."""


def trained(recipe: str, out: Path, name: str, threads: int, *changes: str) -> dict[str, Any]:
    """The evaluation of a run on so many threads."""
    command = [sys.executable, "-m", "supcrd", "train", recipe, f"name={name}", *changes, "--out", str(out), "--json"]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": str(threads)}, capture_output=True, text=True, check=True
    )
    evaluation = json.loads(done.stdout)["evaluation"]
    return {key: evaluation[key] for key in (*SHOWN, *EXACT, "train_seconds", "n")}


def differences(runs: list[dict[str, Any]], few: int, many: int, key: str) -> dict[str, float]:
    """Of the same seeds on two numbers of threads, and of seeds on one number."""
    values = {(run["threads"], run["seed"]): run[key] for run in runs if not run["again"]}
    seeds = sorted({seed for _, seed in values})
    pairs = [values[many, seed] - values[few, seed] for seed in seeds]
    return {
        "mean": statistics.mean(pairs),
        "std": statistics.stdev(pairs),
        "largest": max(map(abs, pairs)),
        "std_of_seeds": statistics.stdev(values[few, seed] for seed in seeds),
    }


def main() -> None:
    """Run, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="digits-crd")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs=2, default=[1, 2])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for threads in options.threads:
            out = Path(folder, str(threads))
            if threads != options.threads[0]:
                first = Path(folder, str(options.threads[0]))
                for run in first.iterdir():
                    if not run.name.startswith("student"):
                        shutil.copytree(run, out / run.name)
            for seed, again in [*((seed, False) for seed in range(options.seeds)), (0, True)]:
                told = trained(options.recipe, out, f"student{seed}{'-again' * again}", threads, f"seed={seed}")
                runs.append({"threads": threads, "seed": seed, "again": again} | told)
                print(threads, seed, again, *(f"{100 * told[key]:.2f}" for key in SHOWN), flush=True)
    first, second = options.threads
    keep(
        options.out,
        options,
        {
            "recipe": options.recipe,
            "threads": list(options.threads),
            "seeds": list(range(options.seeds)),
            "images": runs[0]["n"],
            "split": "test",
            "same_when_repeated": all(
                len({run[key] for run in runs if (run["threads"], run["seed"]) == (threads, 0)}) == 1
                for threads in options.threads
                for key in (*SHOWN, *EXACT)
            ),
            "differences": {key: differences(runs, first, second, key) for key in SHOWN},
            "runs": runs,
        },
    )


if __name__ == "__main__":
    main()
