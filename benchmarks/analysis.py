"""Time, memory and growth of the metrics that look at pairs of rows: alignment, class distances, uniformity, kNN.

    python benchmarks/analysis.py --out docs/results/analysis-cpu.json

Rows are unit vectors around 100 centres, so far apart that kNN is right often but not always. kNN classifies as many
further rows (queries) as its bank has. Exact uniformity and exact kNN are measured up to --exact-limit rows, their
estimates at every size where the sample is smaller than the rows. Seconds are medians; what is linear in the rows takes
--rounds rounds, what is quadratic only one above 10,000 rows. Peak memory is what a process of its own gains beside
its input. The plain way is the reference's: loops over pairs in Python, on 300 rows, times (rows / 300)^2.
"""

import argparse
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from measure import keep, peak_memory, table, take_turns, told
from supcrd import metrics

CLASSES = 100
NOISE = 2.6  # length of what is added to a centre, of length 1
PLAIN_ROWS = 300

# Time in N rows of width D; m anchors or sampled queries; memory is beside the input.
COST = {
    "alignment": ("O(N D)", "O(D)"),
    "class_distances": ("O(N D)", "O(D)"),
    "uniformity": ("O(N^2 D)", "O(D)"),
    "uniformity_estimate": ("O(m N D)", "O(m D)"),
    "knn_accuracy": ("O(N^2 D)", "O(N + D)"),
    "knn_accuracy_estimate": ("O(m N D)", "O(N + m D)"),
}
LINEAR = ("alignment", "class_distances")


def clusters(rows: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """Unit vectors (rows, width) and labels; made in blocks, so that making them does not hide a metric's peak."""
    centres = functional.normalize(torch.randn(CLASSES, width, generator=torch.Generator().manual_seed(0)), dim=1)
    generator = torch.Generator().manual_seed(seed)
    labels, points = torch.arange(rows) % CLASSES, torch.empty(rows, width)
    for start in range(0, rows, 1024):
        own = labels[start : start + 1024]
        noise = torch.randn(len(own), width, generator=generator) * (NOISE / math.sqrt(width))
        points[start : start + 1024] = functional.normalize(centres[own] + noise, dim=1)
    return points, labels


def chosen(rows: int, options: argparse.Namespace) -> list[str]:
    """Names of the metrics that are measured at this size."""
    left_out = set() if rows <= options.exact_limit else {"uniformity", "knn_accuracy"}
    left_out |= {"uniformity_estimate"} if options.anchors >= rows else set()
    left_out |= {"knn_accuracy_estimate"} if options.sample >= rows else set()
    return [name for name in COST if name not in left_out]


def ways(rows: int, width: int, anchors: int, sample: int) -> dict[str, Callable[[], Any]]:
    """Each metric, on data of this size."""
    points, labels = clusters(rows, width, 1)
    queries = (*clusters(rows, width, 2), points, labels)
    return {
        "alignment": lambda: metrics.alignment(points, labels),
        "class_distances": lambda: metrics.class_distances(points, labels),
        "uniformity": lambda: metrics.uniformity(points),
        "uniformity_estimate": lambda: metrics.uniformity_estimate(points, anchors=anchors),
        "knn_accuracy": lambda: metrics.knn_accuracy(*queries, num_classes=CLASSES),
        "knn_accuracy_estimate": lambda: metrics.knn_accuracy_estimate(*queries, num_classes=CLASSES, sample=sample),
    }


def memory(name: str, *sizes: int) -> int:
    """Peak bytes that a metric takes beside its input."""
    # run first on few rows: what loading the libraries' kernels takes is no part of it
    script = f"""
import analysis
analysis.ways(64, {sizes[1]}, 32, 32)["{name}"]()
run = analysis.ways{sizes}["{name}"]
ready()
run()
"""
    return peak_memory(script)


def number(result: Any) -> tuple[float, float | None]:
    """A metric's value and, of an estimate, its standard error."""
    if isinstance(result, metrics.Estimate):
        return result.value, result.standard_error
    return getattr(result, "separation", result), None


def timed(rows: int, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """By metric at one size: milliseconds, value and standard error."""
    results: dict[str, Any] = {}

    def kept(name: str, run: Callable[[], Any]) -> Callable[[], None]:
        return lambda: results.update({name: run()})

    every = ways(rows, options.width, options.anchors, options.sample)
    runs = {name: kept(name, every[name]) for name in chosen(rows, options)}
    quick = {name: run for name, run in runs.items() if name in LINEAR or rows <= 10_000}
    long = {name: run for name, run in runs.items() if name not in quick}
    times = take_turns(quick, rounds=options.rounds) | take_turns(long, rounds=1)
    return {
        name: {
            **told(times[name]),
            "rounds": len(times[name]),
            **dict(zip(("value", "standard_error"), number(results[name]), strict=True)),
        }
        for name in runs
    }


def plain_alignment(points: np.ndarray, labels: np.ndarray) -> float:
    """The reference's loop over pairs."""
    distances = []
    for i in range(len(points)):
        for j in range(i + 1, len(points)):
            if labels[i] == labels[j]:
                distances.append(np.linalg.norm(points[i] - points[j]) ** 2)
    return float(np.mean(distances))


def plain_uniformity(points: np.ndarray) -> float:
    """The reference's loop over pairs."""
    kernel = []
    for i in range(len(points)):
        for j in range(i + 1, len(points)):
            kernel.append(np.exp(-2 * np.linalg.norm(points[i] - points[j]) ** 2))
    return float(np.log(np.mean(kernel)))


def plain(width: int, rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of the plain ways on PLAIN_ROWS rows; their values are checked against ours."""
    points, labels = clusters(PLAIN_ROWS, width, 1)
    rows, classes = points.double().numpy(), labels.numpy()
    assert math.isclose(plain_alignment(rows, classes), metrics.alignment(points, labels), rel_tol=1e-6)
    assert math.isclose(plain_uniformity(rows), metrics.uniformity(points), rel_tol=1e-6)
    both = {"alignment": lambda: plain_alignment(rows, classes), "uniformity": lambda: plain_uniformity(rows)}
    return {name: told(seconds) for name, seconds in take_turns(both, rounds=rounds).items()}


def growth(sizes: dict[int, dict[str, dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """By metric and step of size: the exponent of time, 1 where it is linear in the rows."""
    exponents: dict[str, dict[str, float]] = {name: {} for name in COST}
    for (few, less), (many, more) in pairwise(sorted(sizes.items())):
        for name in COST:
            if name in less and name in more:
                ratio = more[name]["median_ms"] / less[name]["median_ms"]
                exponents[name][f"{few}-{many}"] = round(math.log(ratio) / math.log(many / few), 3)
    return exponents


def shown(sizes: dict[int, dict[str, dict[str, Any]]], exponents: dict[str, dict[str, float]]) -> str:
    """The table: a row a metric and size."""
    lines = []
    for name in COST:
        steps = [None, *pairwise(sorted(sizes))]
        for rows, step in zip(sorted(sizes), steps, strict=True):
            if name not in sizes[rows]:
                continue
            row = sizes[rows][name]
            exponent = exponents[name].get(f"{step[0]}-{step[1]}") if step else None
            exact = sizes[rows].get(name.removesuffix("_estimate"), row)["value"]
            error = row["standard_error"]
            lines.append(
                [
                    name,
                    f"{rows:,}",
                    f"{row['median_ms'] / 1e3:.3f}",
                    "" if exponent is None else f"{exponent:.2f}",
                    f"{row['peak_bytes'] / 2**20:.0f}",
                    f"{row['value']:.5f}",
                    "" if error is None else f"{error:.5f}",
                    f"{(row['value'] - exact) / error:+.2f}" if error and row["value"] != exact else "",
                    f"{row['times_plain']:,.0f}" if "times_plain" in row else "",
                ]
            )
    head = ["metric", "rows", "s", "growth", "peak MiB", "value", "std error", "off by (se)", "times plain"]
    return table(head, lines)


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 50_000, 500_000])
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--exact-limit", type=int, default=50_000)
    parser.add_argument("--anchors", type=int, default=4096)
    parser.add_argument("--sample", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    # First, while this process is small: Linux counts a parent's resident memory into the peak that its child reports.
    peaks = {
        rows: {
            name: memory(name, rows, options.width, options.anchors, options.sample) for name in chosen(rows, options)
        }
        for rows in options.rows
    }
    loops = plain(options.width, options.rounds)
    sizes = {rows: timed(rows, options) for rows in options.rows}
    for rows, row in sizes.items():
        for name in row:
            row[name]["peak_bytes"] = peaks[rows][name]
            loop = loops.get(name.removesuffix("_estimate"))
            if loop is not None:
                row[name]["times_plain"] = loop["median_ms"] * (rows / PLAIN_ROWS) ** 2 / row[name]["median_ms"]
    exponents = growth(sizes)
    print(shown(sizes, exponents))
    print(f"times plain: a loop over pairs in Python on {PLAIN_ROWS} rows, its time scaled with the square of the rows")
    options.rows = " ".join(map(str, options.rows))
    result = {
        "classes": CLASSES,
        "threads": torch.get_num_threads(),
        "queries": "as many as rows",
        "cost": {name: {"time": time, "memory": space} for name, (time, space) in COST.items()},
        "sizes": sizes,
        "time_exponents": exponents,
        "plain": {"rows": PLAIN_ROWS, "scaled_by": "(rows / plain rows)^2", "milliseconds": loops},
    }
    keep(options.out, options, result)


if __name__ == "__main__":
    main()
