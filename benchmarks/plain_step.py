"""The reference's training step, written fairly: what benchmarks/step.py compares with. See there."""

import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from supcrd.losses import LWSupCRD as Loss
from supcrd.models import Model

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


def plain_steps(
    student: Model, teacher: Model, data: Images, batch_size: int, where: torch.device, workers: int
) -> Iterator[None]:
    """The reference's step, for ever."""
    student, teacher = student.to(where), teacher.to(where).eval()
    learned = [*student.encoder.parameters(), *student.projector.parameters()]
    main = torch.optim.Adam([{"params": learned}, {"params": teacher.projector.parameters(), "lr": 1e-4}], lr=1e-3)
    probe = torch.optim.Adam(student.classifier.parameters(), lr=1e-3)
    loss_of = Loss()
    loader = DataLoader(
        data, batch_size, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=True,
        multiprocessing_context="fork",  # Linux's default, but not in a process that was spawned
    )  # fmt: skip
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


def plain_process(pipe: Connection, *arguments: Any) -> None:
    """The plain loop in a process of its own, which has the C library's memory as everybody has it."""
    student, teacher, pixels, labels, batch_size, where, workers = arguments
    torch.manual_seed(0)
    networks = Model(100, student), Model(100, teacher)
    steps = plain_steps(*networks, Images(pixels, labels), batch_size, torch.device(where), workers)
    while (count := pipe.recv()) is not None:
        pipe.send(seconds(steps, count, torch.device(where)))


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
