"""The one table of speed: a line a claim, from the JSON files that the benchmarks kept.

python benchmarks/summary.py docs/results        # or any folder that `make bench` wrote
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure import load, table

HEAD = ["what", "ours", "min to max", "against", "theirs", "ratio"]
Row = list[str]


def span(low: float, high: float, digits: int = 1) -> str:
    """A range of numbers."""
    return f"{low:,.{digits}f} to {high:,.{digits}f}"


def losses(result: dict[str, Any]) -> Iterator[Row]:
    """Of benchmarks/losses.py: times as fast, and how much less memory."""
    for size, row in result["sizes"].items():
        for name, against in row["times_as_fast"].items():
            own, other = row["times"][name], row["times"][against["than"]]
            yield [
                f"{name}, B = N = {int(size):,}, forward and backward",
                f"{own['median_ms']:,.2f} ms",
                span(own["min_ms"], own["max_ms"], 2),
                against["than"].partition(", ")[2] + (" matrix" if against["than"].endswith("whole") else ""),
                f"{other['median_ms']:,.2f} ms",
                f"{against['ratio']:.2f}",
            ]
        alone = [name for name in ("lw_supcrd", "crd", "supcon") if name in row["times"].keys() - row["times_as_fast"]]
        for name in alone:  # where a whole matrix is too large
            own = row["times"][name]
            what = f"{name}, B = N = {int(size):,}, forward and backward"
            yield [what, f"{own['median_ms']:,.2f} ms", span(own["min_ms"], own["max_ms"], 2), "", "", ""]
        peaks = row.get("peak_bytes", {})
        if "lw_supcrd" in peaks:
            whole = peaks.get("lw_supcrd, whole")
            yield [
                f"lw_supcrd, B = N = {int(size):,}, memory",
                f"{peaks['lw_supcrd'] / 1e6:,.0f} MB",
                "",
                "whole matrix" if whole else "",
                f"{whole / 1e6:,.0f} MB" if whole else "",
                f"1/{row['memory_ratio']:.0f}" if whole else "",
            ]


def step(result: dict[str, Any]) -> Iterator[Row]:
    """Of benchmarks/step.py: images a second."""
    plain = result["images_per_second"]["plain"]
    for name, ratio in result["times_as_fast"].items():
        low, high = (result["batch_size"] / seconds for seconds in reversed(result["spread"][name]))
        yield [
            f"step {result['teacher']} to {result['student']}: {name.removeprefix('ours, ')}",
            f"{result['images_per_second'][name]:,.1f} images/s",
            span(low, high),
            "reference-style loop",
            f"{plain:,.1f} images/s",
            f"{ratio:.2f}",
        ]


def augment(result: dict[str, Any]) -> Iterator[Row]:
    """Of benchmarks/augment.py: images a second, two views each."""
    rates, best = result["images_per_second"], result["best_peer"]
    epoch, images = result["epoch"]["ours"], rates["ours"] * result["epoch"]["ours"]["median_ms"]
    yield [
        "augmentation, two views",
        f"{rates['ours']:,.0f} images/s",
        span(images / epoch["max_ms"], images / epoch["min_ms"], 0),
        best.replace("_", " ") + ", DataLoader",
        f"{rates[best]:,.0f} images/s",
        f"{result['times_as_fast']:.2f}",
    ]


def views(result: dict[str, Any]) -> Iterator[Row]:
    """Of benchmarks/views.py: strong views a second."""
    rates, best = result["views_per_second"], result["best_peer"]
    epoch, images = result["epoch"]["ours"], rates["ours"] * result["epoch"]["ours"]["median_ms"]
    yield [
        "strong view (crop, RandAugment, erasing)",
        f"{rates['ours']:,.0f} views/s",
        span(images / epoch["max_ms"], images / epoch["min_ms"], 0),
        best.replace("_", " ") + ", DataLoader",
        f"{rates[best]:,.0f} views/s",
        f"{result['times_faster']:.2f}",
    ]


def cache(result: dict[str, Any]) -> Iterator[Row]:
    """Of benchmarks/cache.py: a sweep's seconds."""
    runs, total = result["seconds"], result["total"]
    yield [
        f"sweep of {len(runs['with'])} runs with teacher.cache",
        f"{total['with']:.0f} s",
        span(min(runs["with"]), max(runs["with"])) + " a run",
        "without",
        f"{total['without']:.0f} s",
        f"{total['without'] / total['with']:.2f}",
    ]


def start(result: dict[str, Any]) -> Iterator[Row]:
    """Of benchmarks/start.py: seconds from `data.load` to the first batch."""
    seconds = result["seconds"]
    peers = {"cifar100": "torchvision_cifar100", "folder": "torchvision_imagefolder"}
    for name in ("cifar100", "npz", "folder"):
        own = seconds[f"{name}, again"]["first_batch"]
        other = seconds[peers[name]]["first_batch"] if name in peers else None
        yield [
            f"first batch of {name}, decoded before",
            f"{own['median']:.2f} s",
            span(own["min"], own["max"], 2),
            peers.get(name, "").replace("_", " "),
            f"{other['median']:.2f} s" if other else "",
            f"{other['median'] / own['median']:.2f}" if other else "",
        ]


def stream(result: dict[str, Any]) -> Iterator[Row]:
    """Of benchmarks/stream.py: images a second of a streamed epoch."""
    ways = result["stream"]
    for name, against in (("supcrd, folder", "torchvision, folder"), ("supcrd, shards", "webdataset, shards")):
        if against in ways:
            own, other = ways[name]["images_per_second"], ways[against]["images_per_second"]
            yield [
                f"streamed {name.partition(', ')[2]}, peak {ways[name]['megabytes']['peak']:.0f} MB",
                f"{own['median']:,} images/s",
                span(own["min"], own["max"], 0),
                f"{against.partition(',')[0]}, {ways[against]['megabytes']['peak']:.0f} MB",
                f"{other['median']:,} images/s",
                f"{own['median'] / other['median']:.2f}",
            ]


def bank(result: dict[str, Any]) -> Iterator[Row]:
    """Of benchmarks/bank.py: milliseconds that a bank adds to a step, and its memory."""
    network = result["times"]["network"]
    for name, cost in result["cost"].items():
        yield [
            f"bank, {result['K']:,} of {result['N']:,} rows, added to a step of {name}",
            f"{cost['bank_ms']:.1f} ms",
            f"{result['bytes'] / 1e6:.0f} MB",
            f"{result['student']}'s forward and backward",
            f"{network['median_ms']:.0f} ms",
            f"{cost['over_network']:.2f}",
        ]


def analysis(result: dict[str, Any]) -> Iterator[Row]:
    """Of benchmarks/analysis.py: seconds, and peak memory where a plain loop is out of the question."""
    for rows, metrics in result["sizes"].items():
        for name, row in metrics.items():
            yield [
                f"{name}, {int(rows):,} x 128",
                f"{row['median_ms'] / 1e3:,.2f} s",
                span(row["min_ms"] / 1e3, row["max_ms"] / 1e3, 2),
                "loop over pairs, scaled" if "times_plain" in row else f"{row['peak_bytes'] / 2**20:,.0f} MiB",
                f"{row['times_plain'] * row['median_ms'] / 1e3:,.0f} s" if "times_plain" in row else "",
                f"{row['times_plain']:,.0f}" if "times_plain" in row else "",
            ]


def report(result: dict[str, Any]) -> Iterator[Row]:
    """Of benchmarks/report.py: seconds and peak memory, beside the t-SNE of one of the runs."""
    own, other, peak = result["seconds"]["report"], result["seconds"]["tsne"], max(result["peak_bytes"])
    yield [
        f"report of {result['runs']} runs of {result['images']:,} images, peak {peak / 1e6:,.0f} MB",
        f"{own['median']:.0f} s",
        span(own["min"], own["max"]),
        "scikit-learn's t-SNE of one of them",
        f"{other['median']:.0f} s",
        f"{result['times_as_fast_as_tsne']:.2f}",
    ]


KINDS = {
    "losses": losses,
    "step": step,
    "augment": augment,
    "views": views,
    "cache-sweep": cache,
    "start": start,
    "stream": stream,
    "bank": bank,
    "analysis": analysis,
    "report": report,
}


def rows(folder: Path, place: str = "cpu") -> list[Row]:
    """All lines, of the files that are there."""
    found: list[Row] = []
    for kind, tell in KINDS.items():
        path = folder / f"{kind}-{place}.json"
        if path.exists():
            found += tell(load(path))
    return found


if __name__ == "__main__":
    print(table(HEAD, rows(Path(sys.argv[1]), *sys.argv[2:])))
