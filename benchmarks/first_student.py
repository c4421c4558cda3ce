"""From a zip of photographs to the first trained student and the files to deploy, by README's commands.

The last is the int8 file of docs/start.md; where it is refused, with the layers in float32 that the refusal names.

    python benchmarks/first_student.py sign-digits.zip --epochs 20 --out docs/results/first-student.json

The commands are processes of their own. Of each stage there are the seconds on the clock and those of the processor
(user and system, of the command and what it starts), read when its last file appears: other work costs the former.
"""

import argparse
import json
import os
import re
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


def command(
    words: list[str], folder: Path, stages: dict[str, Path] | None = None, *, may_refuse: bool = False
) -> tuple[dict[str, Any], str]:
    """Run `supcrd WORDS`: (seconds and processor seconds until each stage's file is there, and in all; its output).

    With `may_refuse`, exit status 2 is a result too, `refused`.
    """
    print("supcrd", *words, file=sys.stderr)
    begun = time.perf_counter()
    running = subprocess.Popen(
        [sys.executable, "-m", "supcrd", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    times: dict[str, dict[str, float]] = {}
    spent = 0.0
    while running.poll() is None:
        spent = max(spent, processor(running.pid))
        for name, file in (stages or {}).items():
            if name not in times and (folder / file).exists():
                times[name] = {"seconds": round(time.perf_counter() - begun, 1), "processor": round(spent, 1)}
        time.sleep(1)
    times["all"] = {"seconds": round(time.perf_counter() - begun, 1), "processor": round(spent, 1)}
    said = running.stdout.read() if running.stdout is not None else ""
    print(said, file=sys.stderr)
    refused = may_refuse and running.returncode == 2
    if running.returncode and not refused:
        raise RuntimeError(f"{' '.join(words)} ended with {running.returncode}")
    result: dict[str, Any] = {"command": " ".join(["supcrd", *words]), "times": times}
    return result | ({"refused": said.strip().splitlines()[-1]} if refused else {}), said


def numbers(run: Path) -> dict[str, Any]:
    """What a run's evaluation says."""
    values = json.loads((run / "evaluation.json").read_text())
    wanted = ("arch", "parameters", "epochs", "train_seconds", "validation_accuracy", "accuracy", "n")
    return {name: values.get(name) for name in wanted}


def walk(archive: Path, epochs: int, folder: Path) -> dict[str, Any]:
    """All commands, in an empty folder."""
    begun = time.perf_counter()
    with zipfile.ZipFile(archive) as photographs:
        photographs.extractall(folder / "photos")
    result: dict[str, Any] = {"unzip_seconds": round(time.perf_counter() - begun, 2)}
    words = ["distil", "--data", "folder:photos", "--teacher", "auto", "--student", STUDENT, "--epochs", str(epochs)]
    out = Path("runs/distil")
    stages = {name: out / name / "evaluation.json" for name in ("undistilled", "dist")}
    for arch in ("convnet", "resnet18"):  # of a CPU, of an accelerator
        stages[f"teacher-{arch}"] = out / f"teacher-{arch}" / "evaluation.json"
    result["distil"], _ = command([*words, "data.image_size=32"], folder, stages)
    result["verdict"] = json.loads((folder / out / "distil.json").read_text())["text"]
    files = {"float32": exported(folder, "model.onnx")}
    result["predict"], _ = command(["predict", "model.onnx", "photos/", "--out", "predictions.csv"], folder)
    files["int8"] = exported(folder, "small.onnx", "--int8")
    if layers := re.search(r"--keep (\S+), it loses", files["int8"].get("refused", "")):
        files["int8 kept"] = exported(folder, "small.onnx", "--int8", "--keep", layers[1])
    result["files"] = files
    result["runs"] = {
        path.parent.name: numbers(path.parent) for path in sorted((folder / out).glob("*/evaluation.json"))
    }
    return result


def exported(folder: Path, name: str, *options: str) -> dict[str, Any]:
    """A file of the best student: export and evaluation, its bytes and test accuracy; or why it was refused."""
    result, _ = command(["export", "runs/distil/best", "--out", name, *options], folder, may_refuse=bool(options))
    if "refused" in result:
        return {"export": result, "refused": result["refused"]}
    evaluation, said = command(["evaluate", name, "--json"], folder)
    accuracy = json.loads(said[said.index("{") :])["accuracy"]
    size = (folder / name).stat().st_size
    return {"export": result, "evaluate": evaluation, "bytes": size, "accuracy": accuracy}


def table(results: dict[str, Any]) -> str:
    """Stages, each with the seconds from the first command on, and what was trained in it."""
    lines = [
        "| until | processor, s | clock, s | network | epochs | validation % | test % |",
        "|---|---:|---:|---|---:|---:|---:|",
    ]
    names = {"dist": "distilled student", "undistilled": "first trained student", "all": "report"}
    begun = {"seconds": results["unzip_seconds"], "processor": results["unzip_seconds"]}
    for stage, times in sorted(results["distil"]["times"].items(), key=lambda item: item[1]["seconds"]):
        run = results["runs"].get(stage)
        cells = ["" for _ in range(4)]
        if run is not None:
            shares = [f"{100 * run[key]:.1f}" for key in ("validation_accuracy", "accuracy")]
            cells = [f"`{run['arch']}`", str(run["epochs"]), *shares]
        lines.append(_row(names.get(stage, "teacher"), begun, times, cells))
    begun = {key: begun[key] + results["distil"]["times"]["all"][key] for key in begun}
    for name, file in results["files"].items():
        times = file["export"]["times"]["all"]
        if "refused" in file:
            lines.append(_row(f"{name} ONNX file: refused", begun, times, ["", "", "", ""]))
        else:
            cells = ["", "", "", f"{100 * file['accuracy']:.1f}"]
            lines.append(_row(f"{name} ONNX file, {file['bytes'] / 1e6:.2f} MB", begun, times, cells))
        begun = {key: begun[key] + times[key] for key in begun}
    return "\n".join(lines)


def _row(name: str, begun: dict[str, float], times: dict[str, float], cells: list[str]) -> str:
    seconds = [f"{begun[key] + times[key]:,.0f}" for key in ("processor", "seconds")]
    return f"| {' | '.join([name, *seconds, *cells])} |"


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
    result["environment"] = environment()
    print(json.dumps(result, indent=1))
    if options.out is not None:
        said = f"python benchmarks/first_student.py {options.archive.name} --epochs {options.epochs}"
        write_json(options.out, {"command": said, "seed": 0, **result})


if __name__ == "__main__":
    main()
