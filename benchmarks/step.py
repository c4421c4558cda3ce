"""Images per second of a training step against a plain, reference-style loop on the same device in the same process.

    python benchmarks/step.py --teacher resnet50 --student resnet18 --out docs/results/step.json

The plain loop is what the reference's notebook does, written fairly: float32, NCHW, torchvision's transforms for each
image in a DataLoader with workers, the teacher run twice a step (features, then logits), the student once more for the
classifier, two Adam optimisers without fused kernels. Images are random (noise costs what photographs do). Medians over
the steps, after one that is not counted; the two take turns, so that a noisy machine is noisy to both.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from supcrd import device, runs
from supcrd.data import Split
from supcrd.data.loader import ViewBatches
from supcrd.files import write_json
from supcrd.losses import LWSupCRD, lw_supcrd
from supcrd.methods import LWSupCRDMethod
from supcrd.models import Model
from supcrd.settings import AugmentSettings, FitSettings
from supcrd.tasks import Distillation, Normalised
from supcrd.training import Tally, make_optimizer

MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)


class Images(Dataset):
    """Two views of each image, as the reference's data set class gives them."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(0.2, 0.2, 0.2),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        return self.transform(self.images[index]), self.transform(self.images[index]), int(self.labels[index])


def plain_steps(student: Model, teacher: Model, data: Images, batch_size: int, where: torch.device) -> Iterator[None]:
    """The reference's step, for ever."""
    student, teacher = student.to(where), teacher.to(where).eval()
    learned = [*student.encoder.parameters(), *student.projector.parameters()]
    main = torch.optim.Adam([{"params": learned}, {"params": teacher.projector.parameters(), "lr": 1e-4}], lr=1e-3)
    probe = torch.optim.Adam(student.classifier.parameters(), lr=1e-3)
    loss_of = LWSupCRD()
    loader = DataLoader(data, batch_size, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True)
    while True:
        for first, second, labels in loader:
            images, labels = torch.cat([first, second]).to(where), labels.repeat(2).to(where)
            with torch.no_grad():
                taught = teacher.encoder(images)
            with torch.no_grad():
                teacher_logits = teacher(images).logits
            loss = loss_of(student(images).projections, teacher.projector(taught), labels, teacher_logits)
            main.zero_grad()
            loss.backward()
            main.step()
            with torch.no_grad():
                features = student.encoder(images)
            probe_loss = functional.cross_entropy(student.classifier(features), labels)
            probe.zero_grad()
            probe_loss.backward()
            probe.step()
            _ = loss.item(), probe_loss.item()
            yield


def our_steps(student: Model, teacher: Model, split: Split, batch_size: int, place: device.Place) -> Iterator[None]:
    """`training.fit`'s step, for ever."""
    method = LWSupCRDMethod(alpha=1.0, beta=10.0, temperature=0.07)
    taught = Normalised(teacher, MEAN, STD)
    task = place.put(Distillation(Normalised(student, MEAN, STD), method, contrastive=True, teacher=taught))
    place.put(teacher)
    settings = FitSettings(epochs=1)
    optimizer = make_optimizer(task.groups(settings.lr), settings)
    batches = ViewBatches(split, AugmentSettings(), batch_size=batch_size, seed=0, device=place.device)
    tally = Tally(place.device)
    task.train()
    epoch = 0
    while True:
        for batch in batches.epoch(epoch):
            with place.autocast():
                terms, correct = task(batch)
            optimizer.zero_grad(set_to_none=True)
            torch.stack(list(terms.values())).sum().backward()
            optimizer.step()
            tally.add(terms, correct, batch, 0)
            yield
        epoch += 1


def seconds(steps: Iterator[None] | Callable[[], object], count: int, where: torch.device) -> list[float]:
    """Seconds of each of `count` steps."""
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        next(steps) if isinstance(steps, Iterator) else steps()
        if where.type == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return taken


def parts(student: Model, teacher: Model, batch_size: int, place: device.Place) -> dict[str, Callable[[], object]]:
    """What a step cannot do without: each network's forward, the student's backward; and the loss alone."""
    where = place.device
    images = torch.rand(2 * batch_size, 3, 32, 32, device=where).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(2 * batch_size, device=where) % 100
    rows = torch.randn(2 * batch_size, 64, device=where, requires_grad=True)
    logits = torch.randn(2 * batch_size, 100, device=where)

    def teach() -> None:
        with torch.no_grad(), place.autocast():
            teacher(images)

    def learn() -> None:
        with place.autocast():
            output = student(images)
        (output.projections.float().sum() + output.logits.float().sum()).backward()

    def contrast() -> None:
        lw_supcrd(rows, rows.detach(), labels, logits).mean().backward()

    return {"teacher_forward": teach, "student_forward_backward": learn, "loss": contrast}


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="resnet50")
    parser.add_argument("--student", default="resnet18")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10, help="steps a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    place = device.choose(options.device)
    random = np.random.default_rng(0)
    count = options.batch_size * max(4, options.steps)
    pixels = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(count) % 100
    split = Split(torch.from_numpy(pixels), torch.from_numpy(labels))

    def networks() -> tuple[nn.Module, nn.Module]:
        torch.manual_seed(0)
        return Model(100, options.student), Model(100, options.teacher)

    loops = {
        "plain": plain_steps(*networks(), Images(pixels, labels), options.batch_size, place.device),
        "ours": our_steps(*networks(), split, options.batch_size, place),
    }
    times: dict[str, list[float]] = {name: [] for name in loops}
    for steps in loops.values():
        seconds(steps, 1, place.device)
    for _ in range(options.rounds):
        for name, steps in loops.items():
            times[name] += seconds(steps, options.steps, place.device)
    student, teacher = (place.put(network) for network in networks())
    teacher.eval()
    share = {}
    for name, run in parts(student, teacher, options.batch_size, place).items():
        seconds(run, 1, place.device)
        share[name] = statistics.median(seconds(run, options.steps, place.device))

    medians = {name: statistics.median(values) for name, values in times.items()}
    networks_alone = share["teacher_forward"] + share["student_forward_backward"]
    result = {
        "command": "python benchmarks/step.py "
        + " ".join(f"--{key.replace('_', '-')} {value}" for key, value in vars(options).items() if value is not None),
        "teacher": options.teacher,
        "student": options.student,
        "batch_size": options.batch_size,
        "views": 2,
        "place": str(place),
        "steps": options.steps * options.rounds,
        "seconds_per_step": medians,
        "spread": {name: [min(values), max(values)] for name, values in times.items()},
        "images_per_second": {name: options.batch_size / value for name, value in medians.items()},
        "views_per_second": {name: 2 * options.batch_size / value for name, value in medians.items()},
        "times_as_fast": medians["plain"] / medians["ours"],
        "parts_seconds": share,
        "share_outside_networks": max(0.0, 1 - networks_alone / medians["ours"]),
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if place.device.type == "cuda" else None,
        "environment": runs.environment(),
    }
    for name in loops:
        print(f"{name:6} {1000 * medians[name]:9.1f} ms a step, {result['images_per_second'][name]:9.1f} images/s")
    print(f"{result['times_as_fast']:.2f} times as fast; {result['share_outside_networks']:.1%} outside the networks")
    if options.out is not None:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
