"""What int8 costs and brings: accuracy, size and time of one image, of float32 and int8 files beside PyTorch.

    python benchmarks/int8.py --runs runs/resnet8x4 runs/resnet18 --out docs/results/int8-cpu.json

Each run's network is exported by `supcrd export --int8` as a user does it, on one thread; accuracies are of its test
split. Nothing is refused here: --limit is 100. Rows that --out has of other runs stay.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import keep, table

HEAD = ["network", "data", "n", "float32 %", "int8 %", "lost", "size", "PyTorch ms", "float32 ms", "int8 ms"]


def exported(run: Path, data: str | None) -> dict[str, Any]:
    """What `supcrd export` says of a run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "supcrd", "export", str(run), "--out", str(Path(folder, "int8.onnx"))]
        words = ["--int8", "--split", "test", "--limit", "100", "--threads", "1", "--json"]
        words += [] if data is None else ["--data", data]
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    said = json.loads(done.stdout)
    card = json.loads((run / "model.json").read_text())
    wanted = ("n", "lost", "difference", "threads", "parameters", "files", "notes")
    return {"arch": card["arch"], "source": Path(said["source"].partition(":")[2]).name} | {k: said[k] for k in wanted}


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    plain, small, torch = (row["files"][name] for name in ("float32", "int8", "torch"))
    return [
        f"`{row['arch']}`", row["source"], f"{row['n']:,}", f"{100 * plain['accuracy']:.2f}",
        f"{100 * small['accuracy']:.2f}", f"{row['lost']:.2f}", f"{small['megabytes'] / plain['megabytes']:.0%}",
        *(f"{part['milliseconds']:.2f}" for part in (torch, plain, small)),
    ]  # fmt: skip


def main() -> None:
    """Export each run, print a table and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", type=Path, required=True)
    parser.add_argument("--data", help="the data of all of them; those that trained them if not given")
    parser.add_argument("--note", help="where the runs come from, and what else the machine did")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    before = json.loads(options.out.read_text())["int8"] if options.out is not None and options.out.is_file() else {}
    rows = before | {run.name: exported(run, options.data) for run in options.runs}
    print(table(HEAD, [cells(row) for row in rows.values()]))
    options.runs = list(rows)  # those of earlier sittings too
    options.data = options.data and f"{options.data.partition(':')[0]}:{Path(options.data).name}"
    note, options.note = options.note, None
    keep(options.out, options, {"int8": rows, "split": "test"} | ({"note": note} if note else {}))


if __name__ == "__main__":
    main()
