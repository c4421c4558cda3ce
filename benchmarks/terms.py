"""A step of every method of `[method]` at its defaults, as a ratio to one of plain KD in the same run.

    python benchmarks/terms.py --out docs/results/terms-cpu.json

Student and teacher are small, so that what a term adds shows; the teacher runs in every step, images are random, one
view each. The methods take turns step by step, so that a noisy machine is noisy to all; on a CPU the seconds are those
of the processor in one thread, which other work on the machine changes little. A ratio is the median over the rounds of
a method's step to KD's of the same round.
`python benchmarks/tables.py` writes docs/terms.md and what `supcrd methods` lists from the file.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from measure import keep, synchronise, table
from plain_step import MEAN, STD
from supcrd.base import device
from supcrd.base.device import Place
from supcrd.data.loader import Batch
from supcrd.models import Model
from supcrd.models.normalised import Normalised
from supcrd.recipe.settings import METHOD_SETTINGS, FitSettings
from supcrd.training.objective import presets
from supcrd.training.objective.build import Objective, build
from supcrd.training.objective.term import Context
from supcrd.training.optimiser import make_optimizer
from supcrd.training.task import Distillation
from supcrd.training.teacher import Teaching, shapes_of

CLASSES, IMAGES = 100, 50_000
"""Of CIFAR-100, whose size those terms have that keep something of every training image."""
TEACHER, STUDENT = "resnet20", "resnet8"


def pair(teacher: str, student: str, method: str) -> tuple[Normalised, Normalised]:
    """Fresh networks, always the same: teacher and student, this with a projector where the method needs it."""
    torch.manual_seed(0)
    taught = Normalised(Model(CLASSES, teacher), MEAN, STD)
    student += f"+{taught.model.feature_dim}" * (method == "simkd")
    return taught, Normalised(Model(CLASSES, student), MEAN, STD)


def context_of(teacher: Normalised, student: Normalised) -> Context:
    """What terms know of the two networks and the images."""
    shapes = {name: shapes_of(subject, maps=True) for name, subject in (("teacher", teacher), ("student", student))}
    labels = torch.arange(IMAGES) % CLASSES
    return Context(classes=CLASSES, labels=labels, student=shapes["student"], teachers={"teacher": shapes["teacher"]})


def objective_of(method: str, teacher: Normalised, student: Normalised) -> Objective:
    """The objective of a method at its defaults."""
    settings = METHOD_SETTINGS[method].model_validate({"name": method})
    return build(presets.tables(settings), context_of(teacher, student), epochs=10**6, views=1)


def step_of(method: str, options: argparse.Namespace, place: Place) -> Callable[[], None]:
    """One step of training: forward, backward, optimiser."""
    teacher, student = pair(options.teacher, options.student, method)
    objective = objective_of(method, teacher, student)
    task = place.put(Distillation(student, objective, {"teacher": Teaching(teacher)}, bfloat16=place.bfloat16)).train()
    settings = FitSettings(epochs=1, optimizer="sgd")
    optimizer = make_optimizer(task.groups(settings.lr), settings)
    images = torch.rand(options.batch_size, 3, 32, 32, device=place.device)
    index = torch.arange(options.batch_size, device=place.device)
    batch = Batch(images.contiguous(memory_format=torch.channels_last), index % CLASSES, index, None, 50, 0, 1)

    def step() -> None:
        with place.autocast():
            terms = task(batch).terms
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()

    return step


def turns(
    ways: Mapping[str, Callable[[], None]],
    rounds: int,
    clock: Callable[[], float],
    settle: Callable[[], object] | None,
) -> dict[str, list[float]]:
    """Seconds of each way, round after round, after one round that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, run in ways.items():
            start = clock()
            run()
            if settle is not None:
                settle()
            if turn > 0:
                times[name].append(clock() - start)
    return times


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default=TEACHER)
    parser.add_argument("--student", default=STUDENT)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    place = device.choose(options.device, "float32")
    clock = time.perf_counter
    if place.device.type == "cpu":
        torch.set_num_threads(1)
        device.keep_freed_memory()
        clock = time.process_time
    ways = {method: step_of(method, options, place) for method in METHOD_SETTINGS}
    times = turns(ways, options.rounds, clock, synchronise(place.device))
    ratios = {
        method: [one / kd for one, kd in zip(values, times["kd"], strict=True)] for method, values in times.items()
    }
    found: dict[str, Any] = {
        "teacher": options.teacher,
        "student": options.student,
        "batch_size": options.batch_size,
        "place": str(place),
        "rounds": options.rounds,
        "methods": {
            method: {
                "milliseconds": round(1e3 * statistics.median(times[method]), 3),
                "to_kd": round(statistics.median(ratios[method]), 3),
                # of the ratios round by round: half of them lie between
                "quartiles": [round(q, 3) for q in statistics.quantiles(ratios[method], n=4)[::2]],
            }
            for method in ways
        },
    }
    rows = [[name, f"{one['milliseconds']:.1f}", f"{one['to_kd']:.2f}", "{:.2f} to {:.2f}".format(*one["quartiles"])]
            for name, one in found["methods"].items()]  # fmt: skip
    print(table(["method", "ms a step", "to kd", "half of the rounds"], rows))
    keep(options.out, options, found)


if __name__ == "__main__":
    main()
