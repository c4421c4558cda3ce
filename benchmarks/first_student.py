"""From a zip of photographs to the first trained student and an int8 file, by README's commands.

    python benchmarks/first_student.py sign-digits.zip --epochs 60 --out docs/results/first-student.json

The commands are processes of their own. For each stage the seconds on the clock and those of the processor (user and system,
of the command and what it starts) are read when its last file appears: what other programs do meanwhile costs the former only.

"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

from measure import family

from supcrd.base.files import write_json
from supcrd.runs.environment import environment

TICK = os.sysconf("SC_CLK_TCK")
STUDENT = "resnet8"


def processor(process: int) -> float:
    """Seconds of a process, its descendants, and those of them that have ended."""
    total = 0
    for one in family(process):
        try:
            total += sum(map(int, Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()[11:15]))
        except OSError:  # it has ended
            continue
    return total / TICK


def command(words: list[str], folder: Path, stages: dict[str, Path]) -> dict[str, Any]:
    """Run `supcrd WORDS`; seconds and processor seconds from its start until each stage's file is there, and in all."""
    print("supcrd", *words, file=sys.stderr)
    begun = time.perf_counter()
    running = subprocess.Popen(
        [sys.executable, "-m", "supcrd", *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    times: dict[str, dict[str, float]] = {}
    spent = 0.0
    while running.poll() is None:
        spent = max(spent, processor(running.pid))
        for name, file in stages.items():
            if name not in times and (folder / file).exists():
                times[name] = {"seconds": round(time.perf_counter() - begun, 1), "processor": round(spent, 1)}
        time.sleep(0.2)
    times["all"] = {"seconds": round(time.perf_counter() - begun, 1), "processor": round(spent, 1)}
    said = running.stdout.read() if running.stdout is not None else ""
    print(said, file=sys.stderr)
    return {"command": " ".join(["supcrd", *words]), "status": running.returncode, "times": times, "said": said[-600:]}


def numbers(run: Path) -> dict[str, Any]:
    """What a run's evaluation says."""
    values = json.loads((run / "evaluation.json").read_text())
    wanted = ("arch", "parameters", "epochs", "train_seconds", "validation_accuracy", "accuracy", "n", "source")
    return {name: values.get(name) for name in wanted}


def walk(archive: Path, epochs: int, folder: Path) -> dict[str, Any]:
    """All commands, in an empty folder."""
    begun = time.perf_counter()
    with zipfile.ZipFile(archive) as photographs:
        photographs.extractall(folder / "photos")
    result: dict[str, Any] = {"unzip_seconds": round(time.perf_counter() - begun, 2)}
    words = ["distil", "--data", "folder:photos", "--teacher", "auto", "--student", STUDENT, "--epochs", str(epochs)]
    out = Path("runs/distil")
    stages = {name: out / name / "evaluation.json" for name in ("undistilled", "joint")}
    teacher = Path("runs/distil")
    for arch in ("convnet", "resnet18"):  # of a CPU, of an accelerator
        stages[f"teacher-{arch}"] = teacher / f"teacher-{arch}" / "evaluation.json"
    result["distil"] = command([*words, "data.image_size=32"], folder, stages)
    export = ["export", "runs/distil/best", "--out", "model.onnx", "--int8"]
    result["export"] = command(export, folder, {})
    result["evaluate"] = command(["evaluate", "model.onnx", "--json"], folder, {})
    result["predict"] = command(["predict", "model.onnx", "photos/", "--out", "predictions.csv"], folder, {})
    result["runs"] = {path.parent.name: numbers(path.parent) for path in sorted((folder / out).glob("*/evaluation.json"))}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        result = walk(options.archive.resolve(), options.epochs, Path(folder))
    result |= {"load_before": round(load, 1), "load_after": round(os.getloadavg()[0], 1), "note": options.note}
    result["environment"] = environment() | {"omp_threads": os.environ.get("OMP_NUM_THREADS")}
    print(json.dumps(result, indent=1))
    if options.out is not None:
        said = f"python benchmarks/first_student.py {options.archive.name} --epochs {options.epochs}"
        write_json(options.out, {"command": said, "result": result})


if __name__ == "__main__":
    main()
