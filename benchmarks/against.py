"""A training step of this checkout against that of another, in turns, both by the loop that trains: `fit`.

    git worktree add /tmp/before 6e49194
    python benchmarks/against.py --before /tmp/before/src --out docs/results/step-terms-cpu.json

lw_supcrd between small networks, so that what the loop, the objective and the losses cost can be seen beside them. Each
checkout runs in a process of its own, which waits while the other has its turn; a noisy machine is noisy to both. Times
are of whole steps, batch and views included. The other checkout may be the one before terms (6e49194), or a later one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from measure import high_water, keep, synchronise, table, told

HERE = Path(__file__).resolve()
CLASSES, MEAN, STD = 100, (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
NEW = {"fit": "training.fit:fit", "choose": "base.device:choose", "keep_freed_memory": "base.device:keep_freed_memory",
       "settings": "recipe.settings"}  # fmt: skip
OLD = {"fit": "training:fit", "choose": "device:choose", "keep_freed_memory": "device:keep_freed_memory",
       "settings": "settings"}  # fmt: skip


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="src of the other checkout")
    parser.add_argument("--teacher", default="resnet8x4")
    parser.add_argument("--student", default="resnet8")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--bank", type=int, default=0, help="rows of a bank drawn in a step")
    parser.add_argument("--steps", type=int, default=10, help="steps a turn")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if os.environ.get("AGAINST"):
        train(options)
        return
    sources = {"now": HERE.parents[1] / "src", "before": options.before}
    trainers = {name: start(source) for name, source in sources.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sources}
    peak: dict[str, int] = {}
    for turn in range(options.rounds + 1):  # the first is not counted
        for name in list(sources) if turn % 2 else list(sources)[::-1]:
            times, peak[name] = turn_of(trainers[name], options.steps)
            seconds[name] += times if turn else []
    for trainer in trainers.values():
        trainer.stdin.close()
        trainer.wait()
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    # the medians of turns that follow one another: what the machine did to one it did to the other
    size = options.steps
    pairs = [
        statistics.median(seconds["now"][i : i + size]) / statistics.median(seconds["before"][i : i + size])
        for i in range(0, len(seconds["now"]), size)
    ]
    result = {
        "method": "lw_supcrd",
        "views": 2,
        "commits": {name: commit(source) for name, source in sources.items()},
        "threads": torch.get_num_threads(),
        "times": {name: told(times) for name, times in seconds.items()},
        "ratio": round(medians["now"] / medians["before"], 4),
        "ratio_of_turns": {"median": round(statistics.median(pairs), 4), "min": min(pairs), "max": max(pairs)},
        "peak_bytes": peak,
        "machine": "shared with other work while this ran",
    }
    rows = [[name, result["commits"][name][:9], f"{1e3 * medians[name]:.1f}", f"{peak[name] / 1e6:.0f}"]
            for name in sources]  # fmt: skip
    print(table(["checkout", "commit", "step, ms", "peak, MB"], rows))
    print(f"ratio {result['ratio']}, of turns {result['ratio_of_turns']}")
    keep(options.out, options, result)


def commit(source: Path) -> str:
    """Of a checkout."""
    return subprocess.run(["git", "rev-parse", "HEAD"], cwd=source, capture_output=True, text=True).stdout.strip()


def start(source: Path) -> subprocess.Popen[str]:
    """A process that trains by the package in `source`, and waits."""
    environment = os.environ | {"PYTHONPATH": str(source.resolve()), "AGAINST": "1"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, *sys.argv], env=environment, **pipes)


def turn_of(trainer: subprocess.Popen[str], steps: int) -> tuple[list[float], int]:
    """Seconds of so many steps, and the most memory that the process had over what it began with."""
    print(steps, file=trainer.stdin, flush=True)
    line = trainer.stdout.readline()
    if not line:
        sys.exit("a checkout failed: see above")
    times, peak = json.loads(line)
    return times, peak


class Turns:
    """Batches without end, given out when a turn asks for them; the time of each step is told at the turn's end."""

    steps = 10**9

    def __init__(self, batches: Any, device: torch.device) -> None:
        self.batches, self.settle, self.began = batches, synchronise(device), high_water()

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """See the class."""
        endless = (batch for number in range(10**9) for batch in self.batches.epoch(number))
        for line in sys.stdin:
            times = []
            for _ in range(int(line)):
                started = time.perf_counter()
                yield next(endless)
                if self.settle is not None:
                    self.settle()
                times.append(time.perf_counter() - started)
            print(json.dumps([times, high_water() - self.began]), flush=True)
        os._exit(0)  # nothing is to be saved


def train(options: argparse.Namespace) -> None:
    """Train for ever."""
    from supcrd.data import Split
    from supcrd.data.loader import ViewBatches
    from supcrd.models import Model

    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (options.batch_size * 8, 32, 32, 3), dtype=torch.uint8)
    split = Split(pixels, torch.arange(len(pixels)) % CLASSES)
    networks = Model(CLASSES, options.student), Model(CLASSES, options.teacher)
    new = find_spec("supcrd.base") is not None
    names = NEW if new else OLD
    fit, choose, settings = (attribute(names[key]) for key in ("fit", "choose", "settings"))
    place = choose(options.device, "float32")
    task = (of_terms if new else before_terms)(*networks, split, options.bank, place)
    attribute(names["keep_freed_memory"])()
    batches = ViewBatches(split, settings.AugmentSettings(), batch_size=options.batch_size, seed=0, device=place.device)
    fit(place.put(task), Turns(batches, place.device), settings.FitSettings(epochs=1), seed=0, place=place)


def attribute(path: str) -> Any:
    """A module of the package that PYTHONPATH names, or MODULE:NAME of one."""
    module, _, name = path.partition(":")
    found = import_module(f"supcrd.{module}")
    return getattr(found, name) if name else found


def of_terms(student: Any, teacher: Any, split: Any, bank: int, place: Any) -> Any:
    """The task since methods are presets of terms."""
    from supcrd.models.normalised import Normalised
    from supcrd.recipe.settings import LWSupCRD
    from supcrd.training.objective import presets
    from supcrd.training.objective.build import build
    from supcrd.training.objective.term import Context
    from supcrd.training.task import Distillation
    from supcrd.training.teacher import Teaching, shapes_of

    pupil, taught = Normalised(student, MEAN, STD), Normalised(teacher, MEAN, STD)
    shapes = {"student": shapes_of(pupil, maps=False), "teachers": {"teacher": shapes_of(taught, maps=False)}}
    context = Context(classes=CLASSES, labels=split.labels, **shapes)
    tables = presets.tables(LWSupCRD(name="lw_supcrd", bank=bank))
    return Distillation(pupil, build(tables, context, epochs=1, views=2), {"teacher": Teaching(taught)})


def before_terms(student: Any, teacher: Any, split: Any, bank: int, place: Any) -> Any:
    """The task of 6e49194."""
    normalised, distillation = attribute("tasks:Normalised"), attribute("tasks:Distillation")
    rows = {"bank": attribute("bank:Bank")(split.labels, 64, size=bank, momentum=0.5, seed=0)} if bank else {}
    method = attribute("methods:LWSupCRDMethod")(alpha=1.0, beta=10.0, temperature=0.07, **rows)
    taught = normalised(place.put(teacher), MEAN, STD)
    return distillation(normalised(student, MEAN, STD), method, contrastive=True, teacher=taught)


if __name__ == "__main__":
    main()
