"""What a memory bank costs in a step, against the student's bare forward and backward of the same batch.

    python benchmarks/bank.py --out docs/results/bank-cpu.json

A step with a bank draws K of N rows, writes B of them, and its loss meets V B + K candidates instead of V B. All three
are timed, the last one as the difference of whole method steps (terms and their backward) with and without a bank, in
turns; every row is known and so every candidate takes part, as from the second epoch on. Embeddings are random, each
step has another batch. The yardstick is one forward and backward of the student on V B random images of 32 x 32 pixels:
nothing of teacher, augmentation or optimiser, so shares of a real step are smaller.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import torch
from torch import Tensor

from measure import keep, synchronise, table, take_turns, told
from supcrd.base import device
from supcrd.data.loader import Batch
from supcrd.data.order import index_batches
from supcrd.models import Model
from supcrd.training.objective.bank import Bank
from supcrd.training.objective.build import build
from supcrd.training.objective.term import Context, Outputs, Shapes, Step

VIEWS, CLASSES = 2, 100


def filled(options: argparse.Namespace, where: torch.device) -> tuple[Bank, Iterator[Batch]]:
    """A bank that knows every image, and the batches of its second epoch for ever."""
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (options.images,), generator=g)
    bank = Bank(labels, options.dim, size=options.rows, momentum=0.5, seed=0).to(where)
    every = torch.arange(options.images, device=where)
    rows = torch.randn(options.images, options.dim, generator=g).to(where)
    bank.update(Batch(rows, labels, every), rows)
    labels = labels.to(where)
    cut = index_batches(options.images, options.batch_size, seed=0, epoch=1, device=where)
    whole = [index for index in cut if len(index) == options.batch_size]
    batches = [
        Batch(rows, labels[index].repeat(VIEWS), index, None, 1, step, len(whole)) for step, index in enumerate(whole)
    ]
    return bank, cycle(batches)


def ways(options: argparse.Namespace, place: device.Place) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    where, g = place.device, torch.Generator().manual_seed(1)
    many = VIEWS * options.batch_size

    def made(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g).to(where)

    bank, batches = filled(options, where)
    torch.manual_seed(0)
    student = place.put(Model(CLASSES, options.student, projector=(128, options.dim))).train()
    images, taught = place.put(made(many, 3, 32, 32)), made(many, options.dim)

    def network() -> None:
        student.zero_grad()
        with place.autocast():
            output = student(images)
        (output.projections.float().sum() + output.logits.float().sum()).backward()

    def method(name: str, of: Bank | None) -> Callable[[], None]:
        shapes = Shapes(features=options.dim, projections=options.dim, logits=CLASSES)
        context = Context(classes=CLASSES, labels=bank.labels.cpu(), student=shapes, teachers={"teacher": shapes})
        module = build({name: {}}, context, epochs=10, views=VIEWS).to(where)
        module.terms[name].bank = of
        rows, teacher = made(many, options.dim).requires_grad_(), taught.clone().requires_grad_()
        student = Outputs(features=rows, projections=rows, logits=made(many, CLASSES))
        teaches = {"teacher": Outputs(features=taught, projections=teacher, logits=made(many, CLASSES))}

        def run() -> None:
            rows.grad = teacher.grad = None
            step = Step(next(batches), student, teaches)
            torch.stack(list(module(step, step).values())).sum().backward()

        return run

    found: dict[str, Callable[[], object]] = {
        "network": network,
        "draw": lambda: bank.draw(next(batches)),
        "update": lambda: bank.update(next(batches), taught),
    }
    for name in ("crd", "lw_supcrd"):
        found[name] = method(name, None)
        found[f"{name}, bank"] = method(name, bank)
    return found


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=45_000, help="N, rows of the bank")
    parser.add_argument("--rows", type=int, default=4096, help="K, rows drawn")
    parser.add_argument("--dim", type=int, default=64, help="D")
    parser.add_argument("--batch-size", type=int, default=128, help="B images, two views of each")
    parser.add_argument("--student", default="convnet")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    place = device.choose(options.device, options.precision)
    if place.device.type == "cpu":
        device.keep_freed_memory()  # as `supcrd train` does

    seconds = take_turns(ways(options, place), rounds=options.rounds, settle=synchronise(place.device))
    times = {name: told(values) for name, values in seconds.items()}
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    cost = {}
    for name in ("crd", "lw_supcrd"):
        # of each round, so that noise which hits both does not count
        pairs = zip(seconds[f"{name}, bank"], seconds[name], strict=True)
        extra = statistics.median(with_bank - without for with_bank, without in pairs)
        cost[name] = {"bank_ms": round(1e3 * extra, 4), "over_network": round(extra / middle["network"], 4)}
        cost[name]["loss_ms"] = round(1e3 * (extra - middle["draw"] - middle["update"]), 4)
    bank, _ = filled(options, torch.device("cpu"))
    size = sum(buffer.numel() * buffer.element_size() for buffer in bank.buffers())
    rows = []
    for name, t in times.items():
        share = t["median_ms"] / times["network"]["median_ms"]
        rows.append([name, f"{t['median_ms']:.3f}", f"{t['min_ms']:.3f} to {t['max_ms']:.3f}", f"{share:.1%}"])
    print(table(["what", "ms", "min to max", "of the network"], rows))
    for name, each in cost.items():
        print(f"{name}: a bank costs {each['bank_ms']:.2f} ms a step, {each['over_network']:.1%} of the network's")
    print(f"{size / 1e6:.1f} MB")
    sizes = {"N": options.images, "K": options.rows, "D": options.dim, "B": options.batch_size, "views": VIEWS}
    result = {"place": str(place), "student": options.student, **sizes, "bytes": size, "rounds": options.rounds}
    keep(options.out, options, result | {"times": times, "cost": cost})


if __name__ == "__main__":
    main()
