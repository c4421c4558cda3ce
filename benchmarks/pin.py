"""What training gives, to the bit: to be the same before and after a change that shall change no number.

    git worktree add /tmp/before HEAD~1
    PYTHONPATH=/tmp/before/src python benchmarks/pin.py --out /tmp/before.json
    PYTHONPATH=src python benchmarks/pin.py --out /tmp/after.json --against /tmp/before.json

Trains every method and option of RUNS for three epochs on digits, by the command line of the package that PYTHONPATH
names, on one thread of the CPU, and keeps the hash of every tensor and the other numbers as they are; some two minutes.
With --against says what differs and ends with status 1 if anything does. Both must come from one machine.

A key of an evaluation or of an epoch's metrics that only one side has is said, but is no difference: later versions say
more. A key that is renamed has to be looked at by a person.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

PUBLISHED = Path(__file__).resolve().parents[1] / "tests" / "data" / "golden-0.1" / "published.pth"
EVERY = [
    "data.limit=400",
    "model.projector=[32,16]",
    "train.epochs=3",
    "train.batch_size=64",
    "train.device=cpu",
    "train.precision=float32",
    "head.epochs=2",
    "probe.epochs=5",
]
TEACHER = [
    "model.arch=resnet14",
    "model.projector=[32,16]",
    "train.epochs=3",
    "train.batch_size=64",
    "train.precision=float32",
    "head.epochs=2",
    "probe.epochs=5",
    "name=teacher",
]
TAUGHT = [f"teacher.override.{change}" for change in TEACHER]
IMPORTED = "imported.toml"
"""Written by `pins`: a recipe whose teacher is a published file."""

RUNS = {  # name -> (recipe, changes)
    "cross_entropy": ("digits-cross-entropy", []),
    "cross_entropy, smoothed": ("digits-cross-entropy", ["method.label_smoothing=0.1", "train.optimizer=adamw"]),
    "kd": ("digits-kd", []),  # with the fit of its head
    "kd, standardised": ("digits-kd", ["method.standardise=true", "head.epochs=0"]),
    "dkd": ("digits-kd", ["method.name=dkd", "method.warmup_epochs=2.0"]),
    "supcon": ("digits-supcon", []),
    "supcon in bfloat16": ("digits-supcon", ["train.precision=bfloat16"]),
    "crd": ("digits-crd", []),
    "crd with a bank and kd": ("digits-crd", ["method.bank=128", "method.kd_weight=0.5"]),
    "lw_supcrd": ("digits-lw-supcrd", []),
    "lw_supcrd with a bank": ("digits-lw-supcrd", ["method.bank=128"]),
    "lw_supcrd, not joint": ("digits-lw-supcrd", ["teacher.joint=false", "method.adaptive=false"]),
    "lw_supcrd with a cache": ("digits-lw-supcrd", ["teacher.cache=2"]),
    "hybrid": ("digits-hybrid", []),
    "hybrid, clipped SGD in one cycle": (
        "digits-hybrid",
        ["train.optimizer=sgd", "train.grad_clip=1.0", "train.schedule=one_cycle", "train.lr=0.05", "seed=1"],
    ),
    "crd, a published teacher": (IMPORTED, []),
}
TIMES = ("seconds", "images_per_second", "train_seconds", "evaluation_seconds")
ELSEWHERE = (*TIMES, "teacher", "commit", "name", "weights")
"""Keys of an evaluation that say where and when, not what; `weights` is of the file, card and all."""


def main() -> None:
    """Train, keep and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    parser.add_argument("--against", type=Path, help="one of an earlier --out")
    parser.add_argument("--only", nargs="+", choices=RUNS, metavar="NAME", help=f"of {', '.join(RUNS)}")
    options = parser.parse_args()
    old = json.loads(options.against.read_text()) if options.against else None
    new = pins(options.only or list(RUNS))
    options.out.write_text(json.dumps(new, indent=1) + "\n")
    if old is None:
        return
    if old["machine"] != new["machine"]:
        sys.exit(f"{options.against} is of another machine: {old['machine']}, this is {new['machine']}")
    before = {name: run for name, run in old["runs"].items() if options.only is None or name in new["runs"]}
    notes, wrong = compared(before, new["runs"])
    print("\n".join([*notes, *wrong]))
    print(f"{old['commit']} and {new['commit']}: {f'{len(wrong)} differences' if wrong else 'no difference'}")
    sys.exit(1 if wrong else 0)


def pins(names: list[str]) -> dict[str, Any]:
    """Train these runs, and gather what they gave."""
    # absolute, since the commands run in a folder of their own
    paths = [str(Path(path).resolve()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths), "SUPCRD_CACHE": f"{folder}/cache"}
        where = Path(folder)
        text = supcrd(["recipes", "digits-crd"], environment, where)
        imported = f'checkpoint = "{PUBLISHED}"\nmean = [0.5]\nstd = [0.5]'
        (where / IMPORTED).write_text(text.replace('recipe = "digits-teacher"', imported))
        # what training gives: a version that fits another classifier afterwards is asked not to
        refits = "  classifier = " in supcrd(["recipes", "--keys"], environment, where)
        found = {}
        for number, name in enumerate(names):
            recipe, changes = RUNS[name]
            if recipe == IMPORTED:
                recipe, shared = f"./{IMPORTED}", ["model.projector=[32,8]"]
            else:
                shared = TAUGHT
            trained = ["classifier=trained", *["teacher.override.classifier=trained"] * (shared is TAUGHT)] * refits
            words = [
                "train",
                recipe,
                *EVERY,
                *shared,
                *changes,
                *trained,
                f"name=run-{number}",
                "--out",
                "runs",
                "--json",
            ]
            told = json.loads(supcrd(words, environment, where))["runs"]
            found[name] = pinned(where / told["student"])
            if (where / "runs" / "teacher").is_dir():
                found.setdefault("teacher", pinned(where / "runs" / "teacher"))
            print(f"{name}: {found[name]['evaluation']['accuracy']:.3f}", file=sys.stderr)
        about = json.loads((where / told["student"] / "environment.json").read_text())
    machine = {key: about[key] for key in ("processor", "platform", "python", "packages")}
    machine["packages"].pop("supcrd", None)  # what is compared
    return {"commit": about["commit"], "machine": machine, "runs": found}


def supcrd(words: list[str], environment: dict[str, str], folder: Path) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "supcrd", *words]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        print(f"supcrd {' '.join(words)}\n{done.stderr}", file=sys.stderr)
        sys.exit(2)
    return done.stdout


def pinned(folder: Path) -> dict[str, Any]:
    """The hashes of a finished run's tensors, and its numbers."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    evaluation = json.loads((folder / "evaluation.json").read_text())
    with np.load(folder / "outputs.npz") as arrays:
        outputs = {name: digest(arrays[name]) for name in arrays.files if name != "version"}
    return {
        "weights": {name: digest(array) for name, array in load_file(folder / "model.safetensors").items()},
        "outputs": outputs,
        "metrics": {f"{row['epoch']} {key}": row[key] for row in rows for key in row if key not in TIMES},
        "evaluation": {key: value for key, value in evaluation.items() if key not in ELSEWHERE},
    }


def digest(array: np.ndarray) -> str:
    """BLAKE2b of an array: its type, its shape, its bits."""
    head = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.blake2b(head + np.ascontiguousarray(array).tobytes(), digest_size=16).hexdigest()


def compared(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What only one side has where that is no difference, and the differences, a line each."""
    notes, wrong = [], []
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in old or name not in new:
            (notes if name in new else wrong).append(f"{name}: only {'after' if name in new else 'before'}")
            continue
        for part in old[name]:
            before, after = old[name][part], new[name][part]
            alone = sorted(before.keys() ^ after.keys())
            if alone:
                keys = ", ".join(f"{key} ({'before' if key in before else 'after'})" for key in alone)
                (wrong if part in ("weights", "outputs") else notes).append(f"{name}: {part} of one side only: {keys}")
            other = [key for key in before if key in after and before[key] != after[key]]
            if other:
                first = f"{other[0]} was {before[other[0]]}, is {after[other[0]]}"
                wrong.append(f"{name}: {part}: {len(other)} of {len(before)} differ; the first: {first}")
    return notes, wrong


if __name__ == "__main__":
    main()
