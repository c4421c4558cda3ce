"""A whole run at 10,000 classes: teacher, distilled student with a bank, evaluation and report, as a user runs them.

    python benchmarks/many_classes.py --out docs/results/many-classes-cpu.json

Images are made, small, and the networks are small: what is measured is what the number of classes costs. The classifier
is the one trained along and there is no probe, as in the recipe inat2021-r50-r18: to fit either takes tens to hundreds
of passes over images times classes. Each command is a process on one thread; seconds are those of the processor, memory
is the largest resident size of a process.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from measure import keep, table

SIZE = 8  # px
RECIPE = """
name = "student"
classifier = "trained"
[data]
source = "npz:images.npz"
[model]
arch = "resnet8"
[method]
name = "joint"
bank = BANK
[train]
epochs = 1
batch_size = 256
[probe]
epochs = 0
[teacher]
run = "teacher"
"""
TEACHER = RECIPE.partition("[teacher]")[0].replace('"student"', '"teacher"').replace("bank = BANK\n", "")
COMMANDS = {
    "teacher, one epoch, evaluated": ["train", "teacher.toml", "--out", "."],
    "student, one epoch, evaluated": ["train", "student.toml", "--out", "."],
    "evaluate": ["evaluate", "student", "--json"],
    "report": ["report", "teacher", "student", "--out", "report.html"],
}


def images(path: Path, classes: int, each: int) -> None:
    """A set of noisy images around one image of each class: `each` for training, one for validation, one for test."""
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 256, (classes, SIZE, SIZE, 3))
    arrays: dict[str, Any] = {}
    for split, count in (("train", each), ("val", 1), ("test", 1)):
        labels = np.tile(np.arange(classes), count)
        noise = rng.normal(0, 40, (len(labels), SIZE, SIZE, 3))
        arrays[f"{split}_images"] = np.clip(centres[labels] + noise, 0, 255).astype(np.uint8)
        arrays[f"{split}_labels"] = labels
    np.savez(path, **arrays)


def run(words: list[str], folder: Path) -> dict[str, float]:
    """One command: seconds, those of the processor, and bytes at the peak of the process that was started."""
    print("supcrd", *words, file=sys.stderr)
    begun = time.perf_counter()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / "said.txt").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "supcrd", *words], cwd=folder, stdout=said, stderr=said, env=environment
        )
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError((folder / "said.txt").read_text()[-2000:])
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "processor": used.ru_utime + used.ru_stime, "bytes": used.ru_maxrss * 1024}


def main() -> None:
    """Make the set, run the commands, print a table and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=10_000)
    parser.add_argument("--each", type=int, default=7, help="training images of a class")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images(folder / "images.npz", options.classes, options.each)
        (folder / "teacher.toml").write_text(TEACHER.replace('"joint"', '"cross_entropy"'))
        (folder / "student.toml").write_text(RECIPE.replace("BANK", str(min(65_536, options.each * options.classes))))
        for part, words in COMMANDS.items():
            rows.append({"part": part} | run(words, folder))
            print(rows[-1], file=sys.stderr)
        sizes = {part.name: part.stat().st_size for part in (folder / "student").iterdir()}
        sizes["report"] = (folder / "report.html").stat().st_size
    print(
        table(["part", "CPU-s", "MB"], [[r["part"], f"{r['processor']:.0f}", f"{r['bytes'] / 1e6:.0f}"] for r in rows])
    )
    about = {"train": options.each * options.classes, "evaluated": options.classes, "image_size": SIZE}
    keep(options.out, options, {"rows": rows, "files": sizes} | about)


if __name__ == "__main__":
    main()
