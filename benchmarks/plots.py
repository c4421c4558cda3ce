"""What is claimed about the speed of the embedding's geometry: the sphere's metrics and the alignment sheet.

The metrics are exact, over all pairs, beside loops over pairs as the reference has them (torch rows, a distance and a
product at a time), which are run on the first --plain-rows rows and scaled by the number of pairs. The sheet is drawn
from a run folder to a PNG, the reading included; the time of importing matplotlib is given apart.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from measure import keep, table, take_turns, told
from supcrd import metrics, recipe
from supcrd.base.files import write_json, write_text


def projections(rows: int, width: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Clusters on the sphere, of one class each."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(rows) % classes
    centres = torch.randn(classes, width, generator=generator)
    return centres[labels] + torch.randn(rows, width, generator=generator), labels


def ours(rows: torch.Tensor, labels: torch.Tensor) -> tuple[float | None, ...]:
    """Alignment, uniformity, distances within classes and between, separation: exact."""
    return metrics.alignment(rows, labels), metrics.uniformity(rows), *metrics.class_distances(rows, labels)


def plain(rows: torch.Tensor, labels: torch.Tensor) -> tuple[float, ...]:
    """The same by loops over pairs."""
    points, count, classes = functional.normalize(rows, dim=1), len(rows), labels.tolist()
    together, kernel, cosine, pairs, positive = 0.0, 0.0, 0.0, 0, 0
    for i in range(count):
        for j in range(i + 1, count):
            distance = (points[i] - points[j]).pow(2).sum()
            kernel += torch.exp(-2 * distance).item()
            pairs += 1
            if classes[i] == classes[j]:
                together += distance.item()
                cosine += 1 - torch.dot(points[i], points[j]).item()
                positive += 1
    present = sorted(set(classes))
    centroids = [functional.normalize(points[labels == number].mean(dim=0), dim=0) for number in present]
    between = [1 - torch.dot(a, b).item() for place, a in enumerate(centroids) for b in centroids[place + 1 :]]
    inter = sum(between) / len(between)
    return together / positive, float(np.log(kernel / pairs)), cosine / positive, inter, inter / (cosine / positive)


def run_folder(out: Path, rows: torch.Tensor, labels: torch.Tensor) -> Path:
    """A finished run with these projections."""
    made = recipe.load("digits-crd", ["name=bench"])
    folder = out / made.name
    folder.mkdir()
    values = ours(rows, labels)
    numbers = {"name": made.name, "split": "test", "n": len(rows), "alignment": values[0], "uniformity": values[1]}
    write_text(folder / "recipe.toml", recipe.to_toml(made))
    write_text(folder / "metrics.jsonl", '{"epoch": 1}\n')
    logits = functional.one_hot(labels).float()
    np.savez(folder / "outputs.npz", labels=labels.numpy(), logits=logits.numpy(), projections=rows.numpy())
    write_json(folder / "evaluation.json", numbers)
    return folder


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--plain-rows", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    rows, labels = projections(options.rows, options.width, options.classes)
    few = slice(0, options.plain_rows)
    for a, b in zip(ours(rows[few], labels[few]), plain(rows[few], labels[few]), strict=True):
        assert a is not None
        assert abs(a - b) < 1e-4 * max(1.0, abs(b)), (a, b)

    started = time.perf_counter()
    import matplotlib.figure  # noqa: F401

    from supcrd.figures.draw import plot

    importing = time.perf_counter() - started
    temporary = Path(tempfile.mkdtemp(prefix="supcrd-bench-"))
    try:
        folder = run_folder(temporary, rows, labels)
        seconds = take_turns(
            {
                "sphere metrics, exact": lambda: ours(rows, labels),
                f"loops over pairs, {options.plain_rows} rows": lambda: plain(rows[few], labels[few]),
                "alignment sheet, png": lambda: plot("alignment", [folder], temporary / "alignment.png"),
                "hypersphere, html": lambda: plot("hypersphere", [folder], temporary / "hypersphere.html"),
            },
            rounds=options.rounds,
        )
        size = (temporary / "hypersphere.html").stat().st_size
    finally:
        shutil.rmtree(temporary)
    times = {name: told(each) for name, each in seconds.items()}
    fast, slow = (times[name]["median_ms"] for name in list(times)[:2])
    pairs = [count * (count - 1) / 2 for count in (options.rows, options.plain_rows)]
    scaled = slow * pairs[0] / pairs[1]
    lines = [[name, f"{each['median_ms'] / 1e3:.3f}", f"{each['max_ms'] / 1e3:.3f}"] for name, each in times.items()]
    print(table(["what", "s, median", "s, slowest"], lines))
    print(f"loops scaled to {options.rows:,} rows by their pairs: {scaled / 1e3:,.0f} s, {scaled / fast:,.0f} times")
    print(f"importing matplotlib and the figures: {importing:.2f} s; the hypersphere's file: {size / 1e6:.2f} MB")
    result = {
        "threads": torch.get_num_threads(),
        "milliseconds": times,
        "plain_scaled_ms": scaled,
        "scaled_by": "number of pairs",
        "times_plain": scaled / fast,
        "import_seconds": importing,
        "hypersphere_bytes": size,
    }
    keep(options.out, options, result)


if __name__ == "__main__":
    main()
