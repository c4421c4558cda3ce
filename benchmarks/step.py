"""Images per second of a training step against a plain, reference-style loop on the same device in the same process.

    python benchmarks/step.py --teacher resnet50 --student resnet18 --out docs/results/step.json

The plain loop is what the reference's notebook does, written fairly: float32, NCHW, torchvision's transforms for each
image in a DataLoader with workers, the teacher run twice a step (features, then logits), the student once more for the
classifier, two Adam optimisers without fused kernels. Images are random (noise costs what photographs do). Medians over
the steps, after one that is not counted; all take turns, so that a noisy machine is noisy to all. Besides: the step
with the teacher's features kept (`teacher.cache`), with --compile that of compiled encoders with its start-up, and on
CUDA that of convolutions chosen by cuDNN's own timing (`cudnn.benchmark`; its results can differ from run to run).
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from measure import keep, table
from plain_step import MEAN, STD, plain_process, seconds
from step_parts import flops, parts
from supcrd.base import device
from supcrd.data import Split
from supcrd.data.loader import ViewBatches
from supcrd.models import Model
from supcrd.recipe.settings import AugmentSettings, FitSettings, LWSupCRD, Settings
from supcrd.training import cache
from supcrd.training.objective import presets
from supcrd.training.objective.build import build
from supcrd.training.objective.term import Context
from supcrd.training.optimiser import make_optimizer
from supcrd.training.tally import Tally
from supcrd.training.task import Distillation, Normalised
from supcrd.training.teacher import Teaching, shapes_of


def our_steps(
    student: Model,
    teacher: Model,
    split: Split,
    batch_size: int,
    place: device.Place,
    *,
    kept: cache.FeatureCache | None = None,
    compiled: str = "off",
    clock: dict[str, list[float]] | None = None,
    method: Settings | None = None,
) -> Iterator[None]:
    """`training.fit`'s step, for ever; with `clock` its parts are timed where they happen. LW-SupCRD if not said."""
    pupil, taught = Normalised(student, MEAN, STD), Normalised(teacher, MEAN, STD)
    context = Context(
        classes=student.num_classes,
        labels=split.labels,
        student=shapes_of(pupil, maps=False),
        teachers={"teacher": shapes_of(taught, maps=False)},
    )
    method = method or LWSupCRD(name="lw_supcrd")
    objective = build(presets.tables(method), context, epochs=10**6, views=2)
    teaching = {"teacher": Teaching(taught, cached=kept is not None)}
    task = place.put(Distillation(pupil, objective, teaching, bfloat16=place.bfloat16))
    if compiled != "off":
        task.compile_encoders(compiled)
    settings = FitSettings(epochs=1)
    optimizer = make_optimizer(task.groups(settings.lr), settings)
    batches = ViewBatches(
        split,
        AugmentSettings(),
        batch_size=batch_size,
        seed=0,
        device=place.device,
        taught={"teacher": kept} if kept else None,
    )
    tally = Tally(place.device)
    task.train()
    times = clock if clock is not None else {}
    if clock is not None:  # compiled code has no hooks
        for encoder in task.frozen_encoders:
            _time("teacher", encoder, times, first=True)
        _time("student", student.encoder, times, first=True)
        for head in (student.projector, student.classifier):
            _time("student", head, times, first=False)
    for epoch in count():
        start = time.perf_counter()
        for batch in batches.epoch(epoch):
            with place.autocast():
                terms, correct = task(batch)
            optimizer.zero_grad(set_to_none=True)
            before = time.perf_counter()
            torch.stack(list(terms.values())).sum().backward()
            times.setdefault("backward", []).append(time.perf_counter() - before)
            optimizer.step()
            tally.add(terms, correct, batch, 0)
            times.setdefault("step", []).append(time.perf_counter() - start)
            yield
            start = time.perf_counter()


def _time(name: str, network: nn.Module, times: dict[str, list[float]], *, first: bool) -> None:
    """Add the time of a network's forward pass to the last number of a name; the first network of it begins one."""

    def before(*_: Any) -> None:
        values = times.setdefault(name, [])
        if first:
            values.append(0.0)
        values[-1] -= time.perf_counter()

    def after(*_: Any) -> None:
        times[name][-1] += time.perf_counter()

    network.register_forward_pre_hook(before)
    network.register_forward_hook(after)


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="resnet50")
    parser.add_argument("--student", default="resnet18")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10, help="steps a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=4, help="batches that all images make")
    parser.add_argument("--loader-workers", type=int, default=2, help="of the plain loop's DataLoader")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--compile", default="off", choices=["off", "default", "reduce-overhead"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    place = device.choose(options.device, options.precision)
    if place.device.type == "cpu":
        device.keep_freed_memory()  # as `supcrd train` does
    random = np.random.default_rng(0)
    count_images = options.batch_size * options.batches
    pixels = random.integers(0, 256, (count_images, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(count_images) % 100
    split = Split(torch.from_numpy(pixels), torch.from_numpy(labels))

    times, first, rate, clocks = timed(options, place, pixels, labels, split)
    student, teacher = (place.put(network) for network in networks(options))
    teacher.eval()
    share = {}
    for name, run in parts(student, teacher, options.batch_size, place).items():
        seconds(run, 1, place.device)
        share[name] = statistics.median(seconds(run, max(3, options.steps), place.device))
    found = summary(options, place, times, first, share, clocks) | {"cache_images_per_second": rate}
    shown(found, options.batch_size)
    keep(options.out, options, found)


def timing_convolutions(steps: Iterator[None]) -> Iterator[None]:
    """The same steps with cuDNN's own choice of algorithms."""
    while True:
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=True):
            next(steps)
        yield


def networks(options: argparse.Namespace) -> tuple[Model, Model]:
    """Fresh ones, always the same: student and teacher."""
    torch.manual_seed(0)
    return Model(100, options.student), Model(100, options.teacher)


def timed(
    options: argparse.Namespace, place: device.Place, pixels: np.ndarray, labels: np.ndarray, split: Split
) -> tuple[dict[str, list[float]], dict[str, float], float, tuple[dict[str, list[float]], ...]]:
    """Seconds of the steps of each loop, of the first of each, images a second of the cache, and our loops' clocks."""
    clock: dict[str, list[float]] = {}
    kept_clock: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        _, teacher = networks(options)
        start = time.perf_counter()
        subject = Normalised(place.put(teacher).eval(), MEAN, STD)
        kept = cache.prepare(Path(folder), "w", subject, split, "d", AugmentSettings(), 1, place)
        building = time.perf_counter() - start
        shared = options.batch_size, place
        loops = {
            "ours": our_steps(*networks(options), split, *shared, clock=clock),
            "ours, teacher.cache": our_steps(*networks(options), split, *shared, kept=kept, clock=kept_clock),
        }
        if options.compile != "off":
            loops["ours, train.compile"] = our_steps(*networks(options), split, *shared, compiled=options.compile)
        if place.device.type == "cuda":
            loops["ours, cudnn.benchmark"] = timing_convolutions(our_steps(*networks(options), split, *shared))
        context = multiprocessing.get_context("spawn")
        pipe, other = context.Pipe()
        arguments = (
            options.student,
            options.teacher,
            pixels,
            labels,
            options.batch_size,
            str(place.device),
            options.loader_workers,
        )
        plain = context.Process(target=plain_process, args=(other, *arguments))
        plain.start()

        def measured(name: str, steps: int) -> list[float]:
            if name != "plain":
                return seconds(loops[name], steps, place.device)
            pipe.send(steps)
            return pipe.recv()

        times: dict[str, list[float]] = {name: [] for name in ("plain", *loops)}
        first = {name: measured(name, 1)[0] for name in times}
        for values in (clock, kept_clock):
            values.clear()
        for _ in range(options.rounds):
            for name in times:
                times[name] += measured(name, options.steps)
        pipe.send(None)
        plain.join()
    return times, first, len(pixels) / building, (clock, kept_clock)


def summary(
    options: argparse.Namespace,
    place: device.Place,
    times: dict[str, list[float]],
    first: dict[str, float],
    share: dict[str, float],
    clocks: tuple[dict[str, list[float]], ...],
) -> dict[str, Any]:
    """What is kept of the times."""
    clock, kept_clock = clocks
    medians = {name: statistics.median(values) for name, values in times.items()}
    work = flops(*networks(options), options.batch_size)
    rate = 2 * 4096**3 / share["product"]
    return {
        "teacher": options.teacher,
        "student": options.student,
        "batch_size": options.batch_size,
        "views": 2,
        "place": str(place),
        "steps": options.steps * options.rounds,
        "seconds_per_step": medians,
        "spread": {name: [min(values), max(values)] for name, values in times.items()},
        "images_per_second": {name: options.batch_size / value for name, value in medians.items()},
        "times_as_fast": {name: medians["plain"] / value for name, value in medians.items() if name != "plain"},
        "first_step_seconds": first,
        "parts_seconds": share,
        "share_outside_networks": {
            "ours": outside(clock, share, place, medians["ours"], with_teacher=True),
            "ours, teacher.cache": outside(
                kept_clock, share, place, medians["ours, teacher.cache"], with_teacher=False
            ),
        },
        "network_flops_per_step": work,
        "product_flops_per_second": rate,
        "share_of_product_rate": {
            "ours": sum(work.values()) / medians["ours"] / rate,
            "ours, teacher.cache": work["student"] / medians["ours, teacher.cache"] / rate,
        },
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if place.device.type == "cuda" else None,
    }


def shown(result: dict[str, Any], batch_size: int) -> None:
    """Print it."""
    medians = result["seconds_per_step"]
    rows = []
    for name, value in medians.items():
        low, high = (1000 * each for each in result["spread"][name])
        rows.append([name, f"{1000 * value:.1f}", f"{low:.1f} to {high:.1f}", f"{batch_size / value:.1f}"])
        rows[-1].append(f"{medians['plain'] / value:.2f}")
    print(table(["step", "ms", "min to max", "images/s", "times as fast"], rows))
    for name, value in result["share_outside_networks"].items():
        print(f"{name}: {value:.1%} of the step is neither network's forward nor the student's backward")


def outside(
    clock: dict[str, list[float]], share: dict[str, float], place: device.Place, step: float, *, with_teacher: bool
) -> float:
    """The share of a step that is neither network's forward nor the student's backward.

    On the CPU the networks are timed within the step, and the loss's own backward (timed alone) is taken out of theirs.
    On a device, where a step's parts overlap, the networks are timed alone.
    """
    if place.device.type == "cpu":
        names = ["student", "backward", *(["teacher"] if with_teacher else [])]
        rest = [
            whole - sum(parts) for whole, *parts in zip(clock["step"], *(clock[name] for name in names), strict=True)
        ]
        return (statistics.median(rest) + share["loss"] / 2) / statistics.median(clock["step"])
    networks = share["student_forward_backward"] + (share["teacher_forward"] if with_teacher else 0)
    return max(0.0, 1 - networks / step)


if __name__ == "__main__":
    main()
