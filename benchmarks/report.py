"""Seconds, memory and size of a report: `supcrd report` of ten runs, nine students and their teacher.

    python benchmarks/report.py --out docs/results/report-cpu.json

The runs are made in a temporary folder (made_runs.py) and have every kind of figure. The command runs in a process of
its own, imports counted. Nothing else makes such a page; for a yardstick of the machine, scikit-learn's t-SNE embeds
the projections of one of the runs, in a process of its own too, and both take turns. Memory is that of the command
and its descendants, shared pages counted in parts (proportional set size), read every 0.1 s in as many runs that are
not timed: reading takes a quarter of a core, and which figures are drawn at once is never the same.

What each kind of figure costs is measured apart, one figure after another in one process as the report has two of. A
kind's first figure includes the import of what draws it.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from made_runs import SEEDS, WIDTH, ten_runs
from measure import family, keep, proportional, spread, table
from supcrd.base.workers import LocalExecutor
from supcrd.report.collect import collect
from supcrd.report.figures import figure
from supcrd.report.shown import Task, pages, tasks

REPORT = "from supcrd.cli import main; main()"
TSNE = """
import sys
import numpy as np
from sklearn.manifold import TSNE
with np.load(sys.argv[1]) as kept:
    TSNE(random_state=0).fit_transform(kept["projections"])
"""
EVERY = 0.1  # seconds


def seconds(process: Sequence[str]) -> float:
    """Of a Python process from its start to its end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", *process], check=True, capture_output=True)
    return time.perf_counter() - start


def peak(process: Sequence[str]) -> int:
    """Bytes of a Python process and its descendants at most; 0 where the system does not tell."""
    most = 0
    running = subprocess.Popen([sys.executable, "-c", *process], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while running.poll() is None:
        total = 0
        for pid in family(running.pid):
            with contextlib.suppress(OSError):  # it has ended
                total += proportional(pid)
        most = max(most, total)
        time.sleep(EVERY)
    if running.returncode != 0:
        raise RuntimeError(f"{process} ended with status {running.returncode}")
    return most


def by_kind(wanted: Sequence[Task]) -> dict[str, dict[str, float]]:
    """Seconds of the figures of each kind, one after another in one process."""
    taken: dict[str, list[float]] = {name: [] for name in pages()}
    with LocalExecutor(1, threads=1) as pool:
        pool.submit(len, ()).result()  # it stands
        for task in wanted:
            start = time.perf_counter()
            html = pool.submit(figure, task).result()
            taken[task.name].append(time.perf_counter() - start)
            if not html.startswith("<figure"):
                raise RuntimeError(f"{task.name} was not drawn: {html[:500]}")
    return {
        name: {"figures": len(each), "seconds": round(sum(each), 3), "slowest": round(max(each), 3)}
        for name, each in taken.items()
    }


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000, help="images, of 100 classes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="supcrd-bench-") as folder:
        runs, page = Path(folder, "runs"), Path(folder, "report.html")
        ten_runs(runs, options.rows)
        (data,) = collect([runs]).sets
        wanted = tasks(data, "data1")
        ways = {
            "report": [REPORT, "report", str(runs), "--out", str(page)],
            "tsne": [TSNE, str(runs / "teacher" / "outputs.npz")],
        }
        peaks = [peak(ways["report"]) for _ in range(options.rounds)]  # the disk's cache is warm then, too
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.rounds):
            for name, process in ways.items():
                times[name].append(seconds(process))
        drawn, size = page.read_text().count("<figure "), page.stat().st_size
        if drawn != len(wanted):
            raise RuntimeError(f"the page has {drawn} of {len(wanted)} figures")
        kinds = by_kind(wanted)

    told = {name: spread(each) for name, each in times.items()}
    ratio = told["tsne"]["median"] / told["report"]["median"]
    rows = [[name, *(f"{value:.1f}" for value in each.values())] for name, each in told.items()]
    print(table(["way", "s, median", "fastest", "slowest"], rows))
    print(f"times as fast as the t-SNE of one run: {ratio:.2f}; {drawn} figures, {size / 1e6:.1f} MB")
    print(f"memory at most: {', '.join(f'{each / 1e6:,.0f}' for each in peaks)} MB\n")
    lines = [[name, *(str(value) for value in each.values())] for name, each in kinds.items()]
    print(table(["kind", "figures", "s", "slowest"], lines))
    result = {
        "n": options.rounds,
        "runs": len(data.runs),
        "images": options.rows,
        "seeds": list(SEEDS),
        "width": WIDTH,
        "figures": drawn,
        "page_bytes": size,
        "peak_bytes": peaks,
        "seconds": told,
        "times_as_fast_as_tsne": ratio,
        "kinds": kinds,
    }
    keep(options.out, options, result)


if __name__ == "__main__":
    main()
