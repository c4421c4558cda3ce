"""Time and memory of the contrastive losses, forward and backward, against whole-matrix implementations.

    python benchmarks/losses.py --out docs/results/losses-cpu.json --plot docs/figures/losses-growth.svg

Against: the published formulas on a whole B x N matrix (benchmarks/plain.py), pytorch-metric-learning's SupConLoss, and
lightly's NTXentLoss for SupCon on pairs; the last two where they are installed and fit. Embeddings are random, D = 64,
C = 100, B = N; gradients flow to both sides. Times are medians of rounds in which all take turns; memory is what a
process of its own gains at its peak. Then how cost grows with B, N, C and D.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import plain
from measure import keep, load, peak_memory, synchronise, table, take_turns, told
from supcrd.base import device
from supcrd.losses import crd, lw_supcrd, supcon

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from supcrd.figures.style import Theme

WHOLE = 16384  # the whole matrix is measured up to this B; peers up to a quarter of it
SCRIPT = """
import sys, torch, losses
name, rows, candidates, classes, width = sys.argv[1], *map(int, sys.argv[2:])
inputs = losses.inputs(rows, candidates, classes, width, torch.device("cpu"))
run = losses.ways(inputs)[name]
small = losses.ways(losses.inputs(64, 64, classes, width, torch.device("cpu")))[name]
small()  # whatever a first call allocates once and for all
ready()
run()
"""


def inputs(rows: int, candidates: int, classes: int, width: int, where: torch.device) -> dict[str, Tensor]:
    """Random embeddings, labels and logits."""
    g = torch.Generator().manual_seed(0)
    made = {
        "student": torch.randn(rows, width, generator=g),
        "teacher": torch.randn(candidates, width, generator=g),
        "labels": torch.randint(classes, (rows,), generator=g),
        "candidate_labels": torch.randint(classes, (candidates,), generator=g),
        "logits": torch.randn(rows, classes, generator=g),
    }
    if rows == candidates:
        made["candidate_labels"] = made["labels"]
    made = {name: tensor.to(where) for name, tensor in made.items()}
    made["student"].requires_grad_()
    made["teacher"].requires_grad_()
    return made


def ways(given: dict[str, Tensor]) -> dict[str, Callable[[], None]]:
    """Forward and backward of the mean, by name; ours and what each is measured against."""
    s, t, y, z = (given[name] for name in ("student", "teacher", "labels", "logits"))
    bank = given["candidate_labels"]

    def step(loss: Callable[[], Tensor]) -> Callable[[], None]:
        def run() -> None:
            s.grad = t.grad = None
            loss().mean().backward()

        return run

    found = {
        "lw_supcrd": step(lambda: lw_supcrd(s, t, y, z, candidate_labels=None if bank is y else bank)),
        "lw_supcrd, whole": step(lambda: plain.lw_supcrd(s, t, y, z, candidate_labels=bank)),
        "crd": step(lambda: crd(s, t)),
        "crd, whole": step(lambda: plain.crd(s, t)),
        "supcon": step(lambda: supcon(s, y)),
        "supcon, whole": step(lambda: plain.supcon(s, y)),
        "supcon of pairs": step(
            lambda: supcon(s.unflatten(0, (2, -1)).transpose(0, 1), torch.arange(len(s) // 2, device=s.device))
        ),
    }
    try:
        from pytorch_metric_learning.losses import SupConLoss

        peer = SupConLoss(temperature=0.07)
        found["supcon, pytorch-metric-learning"] = step(lambda: peer(s, y))
    except ImportError:
        pass
    try:
        from lightly.loss import NTXentLoss

        pairs = NTXentLoss(temperature=0.07)
        found["supcon of pairs, lightly NTXent"] = step(lambda: pairs(*s.chunk(2)))
    except ImportError:
        pass
    return found


def compare(size: int, rounds: int, where: torch.device) -> dict[str, Any]:
    """All ways at B = N = size."""
    given = inputs(size, size, 100, 64, where)
    chosen = {
        name: run
        for name, run in ways(given).items()
        if "," not in name or size <= (WHOLE if name.endswith("whole") else WHOLE // 4)
    }
    times = {
        name: told(values) for name, values in take_turns(chosen, rounds=rounds, settle=synchronise(where)).items()
    }
    result: dict[str, Any] = {"rounds": rounds, "times": times, "times_as_fast": {}, "memory_ratio": {}}
    if where.type == "cpu" and size >= 4096:
        names = [name for name in chosen if name.startswith("lw_supcrd")]
        result["peak_bytes"] = {name: peak_memory(SCRIPT, name, str(size), str(size), "100", "64") for name in names}
    for ours in ("lw_supcrd", "crd", "supcon", "supcon of pairs"):
        others = {name: times[name]["median_ms"] for name in times if name.startswith(f"{ours}, ")}
        if others:
            best = min(others, key=others.__getitem__)
            result["times_as_fast"][ours] = {"than": best, "ratio": round(others[best] / times[ours]["median_ms"], 2)}
    peaks = result.get("peak_bytes", {})
    if "lw_supcrd, whole" in peaks:
        result["memory_ratio"] = round(peaks["lw_supcrd, whole"] / peaks["lw_supcrd"], 1)
    return result


def growth(where: torch.device, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Milliseconds and memory of LW-SupCRD when one of B, N, C and D grows."""
    base = {"B": 1024, "N": 8192, "C": 100, "D": 64}
    steps = {
        "B": (256, 1024, 4096, 16384),
        "N": (1024, 4096, 16384, 65536),
        "C": (10, 100, 1000, 10000),
        "D": (32, 64, 128, 256),
    }
    found: dict[str, list[dict[str, float]]] = {}
    for name, values in steps.items():
        for value in values:
            size = base | {name: value}
            shape = size["B"], size["N"], size["C"], size["D"]
            run = ways(inputs(*shape, where))["lw_supcrd"]
            times = take_turns({"lw": run}, rounds=rounds, settle=synchronise(where))["lw"]
            row: dict[str, float] = {**size, "median_ms": round(1e3 * statistics.median(times), 3)}
            if where.type == "cpu":
                row["peak_bytes"] = peak_memory(SCRIPT, "lw_supcrd", *map(str, shape))
            found.setdefault(name, []).append(row)
            print(row)
    return found


def draw(grown: dict[str, list[dict[str, float]]], theme: "Theme") -> "Figure":
    """The growth: a row of two small plots for each of B, N, C and D."""
    from pictures import WIDE
    from supcrd.figures.style import FONT, dress, new_figure

    figure = new_figure(theme, width=WIDE, height=150)
    axes = figure.subplots(4, 2, sharex="row", sharey="col")
    for row, (name, points) in zip(axes, grown.items(), strict=True):
        x = [point[name] for point in points]
        others = ", ".join(f"{key} = {points[0][key]:,}" for key in "BNCD" if key != name)
        ms, mb = [point["median_ms"] for point in points], [point.get("peak_bytes", 1e6) / 1e6 for point in points]
        for axis, what, y, color in ((row[0], "ms", ms, theme.accent), (row[1], "MB", mb, theme.second)):
            dress(axis, theme, x=name, y=what)
            axis.loglog(x, y, "o-", color=color, markersize=3.5, linewidth=1.4)
            axis.loglog(x, [y[-1] * value / x[-1] for value in x], ":", color=theme.muted, linewidth=1)
            axis.set_xticks(x, [f"{value:,}" for value in x])
            axis.minorticks_off()
        row[0].set_title(others, color=theme.ink, fontsize=FONT - 0.5, loc="left")
    for axis in axes[0]:
        axis.yaxis.set_major_formatter("{x:,.0f}")
    return figure


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024, 4096, 16384, 65536])
    parser.add_argument("--rounds", type=int, default=100, help="at B = 256; fewer for larger ones, 3 at least")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--plot", type=Path, help="also measure the growth, and draw it here: NAME.svg and NAME-dark.svg"
    )
    parser.add_argument("--redraw", type=Path, help="only draw the plot anew, from this JSON file")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.plot:
        from pictures import save_both  # matplotlib is not everywhere where losses are measured
    if options.redraw:
        save_both(partial(draw, load(options.redraw)["growth"]), options.plot)
        return
    where = device.choose(options.device).device

    grown = growth(where, 3) if options.plot else None
    sizes = {}
    for size in options.sizes:
        rounds = max(3, int(options.rounds * (256 / size) ** 1.5)) if size <= WHOLE else 1
        sizes[str(size)] = compare(size, rounds, where)
        rows = []
        for name, times in sizes[str(size)]["times"].items():
            peak = sizes[str(size)].get("peak_bytes", {}).get(name)
            spread = f"{times['min_ms']:.2f} to {times['max_ms']:.2f}"
            rows.append([name, f"{times['median_ms']:.2f}", spread, f"{peak / 1e6:,.0f}" if peak else ""])
        print(f"\nB = N = {size}, {rounds} rounds")
        print(table(["loss", "ms", "min to max", "MB"], rows))
        for name, against in sizes[str(size)]["times_as_fast"].items():
            print(f"{name}: {against['ratio']} times as fast as {against['than']}")
        if sizes[str(size)]["memory_ratio"]:
            print(f"lw_supcrd: 1/{sizes[str(size)]['memory_ratio']} of the memory of the whole matrix")
    keep(options.out, options, {"place": str(where), "sizes": sizes, "growth": grown})
    if options.plot:
        save_both(partial(draw, grown), options.plot)


if __name__ == "__main__":
    main()
