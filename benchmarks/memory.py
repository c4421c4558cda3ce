"""Memory of a whole training with a teacher: what is held when the first step begins, and the peak of the steps.

    git worktree add /tmp/before a470ff6
    python benchmarks/memory.py --before /tmp/before/src --out docs/results/teacher-memory-cpu.json

Trains a student with lw_supcrd from a teacher's file by `supcrd.jobs.run`, each time in a process of its own, the
checkouts taking turns. On the CPU `held` are the bytes of all tensors alive, and `peak` is the resident memory of the
process at its most, over what it had with everything imported (pages that the C library keeps for later included); on a
CUDA device both are what torch's allocator counts. A batch is small by default, so that networks are what is seen.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from measure import high_water, keep, table

CLASSES = 10
HERE = Path(__file__).resolve()


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="resnet50")
    parser.add_argument("--student", default="resnet18")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--images", type=int, default=40, help="of the training split")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--before", type=Path, help="src of another checkout, to be compared with")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        print("MEMORY", json.dumps(trained(options, options.child)))
        return
    del options.child
    ways = {"now": HERE.parents[1] / "src"} | ({"before": options.before} if options.before else {})
    found: dict[str, list[dict[str, int]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        prepare(options, Path(folder))
        for turn in range(options.rounds + 1):  # the first brings the teacher in
            for name, source in ways.items():
                each = measured(source, Path(folder) / name)
                found[name] += [each] if turn else []
    result: dict[str, Any] = {"device": found["now"][0]["device"], "ways": {}}
    rows = []
    for name, source in ways.items():
        held, peak = ([each[key] for each in found[name]] for key in ("held", "peak"))
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=source, capture_output=True, text=True).stdout.strip()
        spread = {"median": statistics.median(peak), "min": min(peak), "max": max(peak)}
        result["ways"][name] = {"commit": commit, "held_bytes": statistics.median(held), "peak_bytes": spread}
        rows.append([name, commit[:9], f"{statistics.median(held) / 1e6:.1f}", f"{statistics.median(peak) / 1e6:.1f}"])
    parameters = {name: weights(name) for name in (options.teacher, options.student)}
    print(table(["checkout", "commit", "held, MB", "peak, MB"], rows))
    print(f"encoders: {', '.join(f'{name} {size / 1e6:.1f} MB' for name, size in parameters.items())}")
    keep(options.out, options, result | {"encoder_bytes": parameters})


def weights(arch: str) -> int:
    """Bytes of an encoder's parameters."""
    from supcrd.models import Model

    return sum(p.numel() * p.element_size() for p in Model(CLASSES, arch).encoder.parameters())


def prepare(options: argparse.Namespace, folder: Path) -> None:
    """Write data, a teacher's weights and a recipe: the same for all checkouts."""
    from supcrd import recipe
    from supcrd.models import Model

    torch.manual_seed(0)
    torch.save(Model(CLASSES, options.teacher).state_dict(), folder / "teacher.pth")
    random = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", options.images), ("test", CLASSES)):
        arrays[f"{split}_images"] = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % CLASSES
    np.savez(folder / "data.npz", **arrays)
    teacher = f'checkpoint = "{folder}/teacher.pth"\nmean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]\ncheck = false'
    text = recipe.builtin_text("digits-lw-supcrd").replace('recipe = "digits-teacher"', teacher)
    (folder / "recipe.toml").write_text(text)
    changes = [f"data.source=npz:{folder}/data.npz", "data.validation=0.0", f"model.arch={options.student}"]
    changes += [f"train.batch_size={options.batch_size}", f"train.device={options.device}", "train.epochs=2"]
    changes += ["probe.epochs=0", "name=student"]
    (folder / "changes.json").write_text(json.dumps(changes))


def measured(source: Path, out: Path) -> dict[str, Any]:
    """One training by the package in `source`, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(source)}
    command = [sys.executable, str(HERE), "--child", str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    told: dict[str, Any] = json.loads(done.stdout.rpartition("MEMORY")[2])
    return told


def trained(options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Train, and say what the steps held."""
    from supcrd import recipe
    from supcrd.jobs import run, student
    from supcrd.training.fit import fit

    found: dict[str, Any] = {}
    start = high_water()

    def watched(task: Any, *given: Any, **named: Any) -> Any:
        device = named["place"].device
        gc.collect()
        found.update(device=str(named["place"]), held=held(device))
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        history = fit(task, *given, **named)
        found["peak"] = torch.cuda.max_memory_allocated() if device.type == "cuda" else high_water() - start
        return history

    changes = json.loads((out.parent / "changes.json").read_text())
    with patch.object(student, "fit", watched):
        run.run(recipe.load(out.parent / "recipe.toml", changes), out, force=True)
    return found


def held(device: torch.device) -> int:
    """Bytes of the tensors that are alive."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated()
    tensors = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]
    storages = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}
    return sum(storages.values())


if __name__ == "__main__":
    main()
