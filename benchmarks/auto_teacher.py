"""Teachers for `supcrd distil --teacher auto` on a CPU: accuracy after about equal processor time.

    python benchmarks/auto_teacher.py folder:Dataset convnet:50 resnet20:11 --out docs/results/auto-teacher-cpu.json

ARCH:EPOCHS, as many as cost about the same. Each run is what `auto` would train, in a process of its own, of which the
seconds of the processor (user and system, imports and evaluation included) are counted: other work hardly changes them.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import keep
from supcrd import recipe as recipes
from supcrd.distil.plan import plan
from supcrd.jobs import run as pipeline


def one(source: str, arch: str, epochs: int, seed: int) -> dict[str, Any]:
    """Train a teacher, here and now."""
    student = plan(source, "auto", "resnet8", epochs=epochs, overrides=["data.image_size=32"], auto=arch).recipes[0]
    with tempfile.TemporaryDirectory() as folder:
        teacher = recipes.teacher_recipe(student).model_copy(update={"seed": seed})
        pipeline.run(teacher, Path(folder))
        values = json.loads((Path(folder) / teacher.name / "evaluation.json").read_text())
    used = resource.getrusage(resource.RUSAGE_SELF)
    named = {key: values[key] for key in ("parameters", "validation_accuracy", "accuracy", "n")}
    return {"arch": arch, "epochs": epochs, "seed": seed, **named, "processor": used.ru_utime + used.ru_stime}


def table(results: dict[str, Any]) -> str:
    """Means over seeds, the most accurate on validation first."""
    rows: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for run in results["runs"]:
        rows.setdefault((run["arch"], run["epochs"]), []).append(run)

    def mean(runs: list[dict[str, Any]], key: str) -> float:
        return sum(run[key] for run in runs) / len(runs)

    lines = [
        "| teacher | parameters | epochs | processor, s | s an epoch | n | validation % | test % |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for (arch, epochs), runs in sorted(rows.items(), key=lambda row: -mean(row[1], "validation_accuracy")):
        spent = mean(runs, "processor")
        cells = [f"`{arch}`", f"{runs[0]['parameters']:,}", str(epochs), f"{spent:.0f}", f"{spent / epochs:.1f}"]
        shares = [f"{100 * mean(runs, key):.1f}" for key in ("validation_accuracy", "accuracy")]
        lines.append(f"| {' | '.join([*cells, str(len(runs)), *shares])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("teachers", nargs="+", metavar="ARCH:EPOCHS")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--seed", type=int, help="of one run, whose numbers are printed")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    pairs = [(arch, int(epochs)) for arch, _, epochs in (text.rpartition(":") for text in options.teachers)]
    if options.seed is not None:
        print(json.dumps(one(options.source, *pairs[0], options.seed)))
        return
    runs = []
    for seed in range(options.seeds):
        for text in options.teachers:
            words = [sys.executable, __file__, options.source, text, "--seed", str(seed)]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
            print(runs[-1], file=sys.stderr)
    keep(
        options.out,
        options,
        {"split": "test", "images": runs[0]["n"], "processor_seconds": "user and system", "runs": runs},
    )


if __name__ == "__main__":
    main()
