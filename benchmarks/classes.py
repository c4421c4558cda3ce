"""What many classes cost: a step's loss, the measures of an evaluation and a reliability diagram at 10,000 of them.

    python benchmarks/classes.py --out docs/results/classes-cpu.json

Made features, logits and banks. Each part runs in a process of its own; seconds are those of the processor, memory what
the process gained at its peak over its inputs, in multiples of one matrix of logits in float32 where there is one.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from measure import keep, table
from supcrd import losses, metrics
from supcrd.figures.kinds.reliability import reliability

FEATURES, PROJECTION, BATCH, BANK = 512, 64, 256, 65_536


def loss(classes: int, rows: int) -> Callable[[], Any]:
    """Cross-entropy, KD and LW-SupCRD with a bank, forward and backward to features and classifier."""
    torch.manual_seed(0)
    weight = torch.randn(classes, FEATURES, requires_grad=True)
    features = torch.randn(BATCH, FEATURES, requires_grad=True)
    projections = functional.normalize(torch.randn(BATCH, PROJECTION), dim=1).requires_grad_()
    candidates = functional.normalize(torch.randn(BATCH + BANK, PROJECTION), dim=1)
    labels = torch.randint(classes, (BATCH + BANK,))
    taught = torch.randn(BATCH, classes)

    def step() -> None:
        logits = features @ weight.T
        own = labels[:BATCH]
        whole = functional.cross_entropy(logits, own) + losses.kd(logits, taught, temperature=4.0).mean()
        whole = whole + losses.lw_supcrd(projections, candidates, own, taught, candidate_labels=labels).mean()
        whole.backward()

    return step


def outputs(classes: int, rows: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits of a student and its teacher, and labels."""
    torch.manual_seed(0)
    return torch.randn(rows, classes), torch.randn(rows, classes), torch.randint(classes, (rows,))


def evaluation(classes: int, rows: int) -> Callable[[], Any]:
    """All measures of logits."""
    student, teacher, labels = outputs(classes, rows)

    def all_measures() -> None:
        metrics.top_k_accuracy(student, labels), metrics.top_k_accuracy(student, labels, k=5)
        metrics.class_accuracy(student, labels)
        metrics.expected_calibration_error(student, labels), metrics.negative_log_likelihood(student, labels)
        metrics.agreement(student, teacher), metrics.kl_from_teacher(student, teacher)

    return all_measures


def diagram(classes: int, rows: int) -> Callable[[], Any]:
    """The numbers of a reliability diagram."""
    student, _, labels = outputs(classes, rows)
    return lambda: reliability(student.numpy(), labels.numpy())


PARTS = {"loss of a step": loss, "measures": evaluation, "reliability": diagram}


def child(part: str, classes: int, rows: int) -> dict[str, float]:
    """One part in this process."""
    torch.set_num_threads(1)
    run = PARTS[part](classes, rows)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    run()
    seconds = time.process_time() - start
    return {"seconds": seconds, "bytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024}


def main() -> None:
    """Measure, print a table and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--rows", type=int, default=10_000, help="images of an evaluation")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print("RESULT", json.dumps(child(options.child[0], int(options.child[1]), options.rows)))
        return
    rows = []
    for part in PARTS:
        for classes in options.classes:
            command = [sys.executable, __file__, f"--rows={options.rows}", "--child", part, str(classes)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append({"part": part, "classes": classes} | json.loads(done.stdout.rsplit("RESULT", 1)[1]))
    cells = [
        [row["part"], f"{row['classes']:,}", f"{row['seconds']:.2f}", f"{row['bytes'] / 1e6:.0f}",
         f"{row['bytes'] / (4 * options.rows * row['classes']):.2f}"] for row in rows
    ]  # fmt: skip
    print(table(["part", "classes", "CPU-s", "MB gained", "of the logits"], cells))
    keep(options.out, options, {"rows": rows, "evaluated": options.rows, "batch": BATCH, "bank": BANK})


if __name__ == "__main__":
    main()
