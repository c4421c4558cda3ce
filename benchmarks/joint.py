"""A step of the preset `joint` against one of plain KD, with the same views and the teacher's features kept.

    python benchmarks/joint.py --out docs/results/joint-step-cpu.json

Student and teacher are small, so that what a term adds shows; images are random. Medians over the steps; the methods
take turns step by step, so that a noisy machine is noisy to all. Every ratio is to KD's median.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch

from measure import keep, table
from plain_step import MEAN, STD, seconds
from step import networks, our_steps
from supcrd.base import device
from supcrd.data import Split
from supcrd.recipe.settings import KD, AugmentSettings, Joint
from supcrd.training import cache
from supcrd.training.task import Normalised

METHODS = {
    "kd": KD(name="kd"),
    "joint without a contrastive term": Joint(name="joint", contrast="none"),
    "joint with supcon": Joint(name="joint", contrast="supcon"),
    "joint with crd": Joint(name="joint", contrast="crd"),
    "joint (lw_supcrd)": Joint(name="joint"),
}


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="resnet8x4")
    parser.add_argument("--student", default="resnet8")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    place = device.choose(options.device)
    if place.device.type == "cpu":
        device.keep_freed_memory()
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (options.batch_size * 4, 32, 32, 3), dtype=np.uint8)
    split = Split(torch.from_numpy(pixels), torch.arange(len(pixels)) % 100)
    with tempfile.TemporaryDirectory() as folder:
        _, teacher = networks(options)
        subject = Normalised(place.put(teacher).eval(), MEAN, STD)
        kept = cache.prepare(Path(folder), "w", subject, split, "d", AugmentSettings(), 1, place)
        loops = {
            name: our_steps(*networks(options), split, options.batch_size, place, kept=kept, method=method)
            for name, method in METHODS.items()
        }
        times: dict[str, list[float]] = {name: [] for name in loops}
        for loop in loops.values():
            seconds(loop, 2, place.device)
        for _ in range(options.rounds):
            for name, loop in loops.items():
                times[name] += seconds(loop, 1, place.device)
    medians = {name: statistics.median(values) for name, values in times.items()}
    found = {
        name: {"milliseconds": 1e3 * medians[name], "ratio": medians[name] / medians["kd"], "steps": len(values)}
        for name, values in times.items()
    }
    rows = [[name, f"{one['milliseconds']:.1f}", f"{one['ratio']:.3f}"] for name, one in found.items()]
    print(table(["method", "ms a step", "to kd"], rows))
    keep(options.out, options, found)


if __name__ == "__main__":
    main()
