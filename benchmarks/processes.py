"""Two processes of one thread against one process of two threads on the same two cores: images a second.

    python benchmarks/processes.py --rounds 5 --out docs/results/processes-cpu.json

Each round trains the same recipe in each way, one after another; the ratio is of their medians over the epochs but the
first, and the result its median over the rounds. `shards` is the exact way, whose numbers do not depend on the number
of processes; `ddp` is DistributedDataParallel.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from measure import keep

WAYS = {
    "one process, 2 threads": (1, 2, 1),
    "ddp, 2 processes": (2, 1, 1),
    "shards, 1 process, 2 threads": (1, 2, 2),
    "shards, 2 processes": (2, 1, 2),
}
"""Name -> processes, threads of each, shards."""


def speed(recipe: list[str], processes: int, threads: int, shards: int) -> float:
    """Images a second, the median over the epochs but the first."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "supcrd", "train", *recipe, "name=it", f"train.shards={shards}", "--out", out]
        command += ["--devices", str(processes)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        subprocess.run(command, check=True, capture_output=True, env=environment)
        rows = [json.loads(line) for line in Path(out, "it", "metrics.jsonl").read_text().splitlines()]
    return median(row["images_per_second"] for row in rows[1:])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--recipe", nargs="+", default=["digits-supcon", "train.epochs=4", "probe.epochs=0"])
    parser.add_argument("--out", type=Path, default=Path("docs/results/processes-cpu.json"))
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):  # Linux: the same two cores for all ways, however many there are
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    rounds = [{name: speed(options.recipe, *way) for name, way in WAYS.items()} for _ in range(options.rounds)]
    first = next(iter(WAYS))
    speeds = {name: median(row[name] for row in rounds) for name in WAYS}
    ratios = {name: median(row[name] / row[first] for row in rounds) for name in WAYS}
    print(json.dumps(ratios, indent=2))
    keep(options.out, options, {"images_per_second": speeds, "ratio_to_one_process": ratios, "each_round": rounds})


if __name__ == "__main__":
    main()
