"""What `teacher.cache` saves a sweep: ten runs that differ in their seed, with and without it.

    python benchmarks/cache.py --out docs/results/cache-sweep-cpu.json

Whole runs by `pipeline.run` (training, evaluation, files), in turns; the first run with the cache makes it. The
teacher's own training belongs to neither. Images are random, since only time is measured here; what the cache does to
accuracy is in docs/results/cache-accuracy-whole.json.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from measure import keep, table
from supcrd import recipe
from supcrd.jobs import run as pipeline


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="resnet20")
    parser.add_argument("--student", default="convnet")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--cache", type=int, default=2)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    random = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory() as folder:
        arrays = {}
        for split, count in (("train", options.images), ("test", 200)):
            arrays[f"{split}_images"] = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
            arrays[f"{split}_labels"] = np.arange(count) % 100
        np.savez(Path(folder, "set.npz"), **arrays)
        shared = [
            f"data.source=npz:{folder}/set.npz",
            "data.validation=0",
            f"model.arch={options.student}",
            f"train.epochs={options.epochs}",
            "probe.epochs=0",
            f"teacher.override.model.arch={options.teacher}",
            "teacher.override.train.epochs=1",
            "teacher.override.head.epochs=1",
            "teacher.override.name=teacher",
        ]

        def run(seed: int, name: str, *more: str) -> float:
            start = time.perf_counter()
            changes = [*shared, *more, f"seed={seed}", f"name={name}-{seed}"]
            pipeline.run(recipe.load("cifar100-small-lw-supcrd", changes), folder)
            return time.perf_counter() - start

        run(0, "warm-up")  # trains the teacher, which both sweeps find there
        for seed in range(options.runs):  # in turns
            seconds["without"].append(run(seed, "without"))
            seconds["with"].append(run(seed, "with", f"teacher.cache={options.cache}"))
    totals = {name: sum(values) for name, values in seconds.items()}
    rows = [
        [name, f"{totals[name]:.1f}", f"{min(values):.2f} to {max(values):.2f}"] for name, values in seconds.items()
    ]
    print(table(["sweep", "s", "a run"], rows))
    print(f"{totals['without'] / totals['with']:.2f} times as fast; the first run with it makes the cache")
    keep(options.out, options, {"seconds": seconds, "total": totals, "saved": 1 - totals["with"] / totals["without"]})


if __name__ == "__main__":
    main()
