"""Views a second of the strong view against torchvision's v2 transforms in a DataLoader with workers.

    python benchmarks/views.py --out docs/results/views-cpu.json

The strong view: random-resized crop, flip, RandAugment (2 operations, magnitude 9), random erasing. Ours is
`ViewBatches` on the CPU with as many threads as the peers have workers (of which it uses one for views of this size),
everything counted: drawing, taking the images, making the views. The peers are torchvision's v2 transforms with the
same settings on uint8 tensors and on PIL images, one view an image, collated to batches, their workers kept alive
between epochs. A round is one epoch of each, in turns, after one epoch that is not counted. Pixels are smooth noise
(operations that look at pixels cost what photographs do).
"""

import argparse
import os
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from measure import keep, table, take_turns, told
from supcrd.base import device
from supcrd.data import Split
from supcrd.data.loader import ViewBatches
from supcrd.recipe.settings import AugmentSettings

PIXELS = 32
STRONG = AugmentSettings(
    views=1, crop="resized", randaugment=2, magnitude=9, erasing=0.5, brightness=0, contrast=0, saturation=0
)
GEOMETRY = [v2.RandomResizedCrop(PIXELS, antialias=True), v2.RandomHorizontalFlip(), v2.RandAugment(2, 9)]
ENDING = [v2.ToDtype(torch.float32, scale=True), v2.RandomErasing()]
TENSOR = v2.Compose([*GEOMETRY, *ENDING])
PIL = v2.Compose([v2.ToPILImage(), *GEOMETRY, v2.PILToTensor(), *ENDING])


class Views(Dataset[tuple[Tensor, int]]):
    """A view of each image, as a data set gives it."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Callable[[Tensor], Tensor]) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), int(self.labels[index])


def peer(data: Views, batch_size: int, workers: int) -> Callable[[], None]:
    """An epoch of a DataLoader."""
    loader = DataLoader(data, batch_size, shuffle=True, num_workers=workers, persistent_workers=workers > 0)

    def epoch() -> None:
        for _ in loader:
            pass

    return epoch


def ours(split: Split, batch_size: int) -> Callable[[], None]:
    """An epoch of `ViewBatches`, another one at each call."""
    batches = ViewBatches(split, STRONG, batch_size=batch_size, seed=0, device=torch.device("cpu"))
    epochs = iter(range(1_000_000))

    def epoch() -> None:
        for _ in batches.epoch(next(epochs)):
            pass

    return epoch


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2, help="threads of ours, workers of the peers")
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each way")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    device.keep_freed_memory()  # as `supcrd train` does
    coarse = np.random.default_rng(0).integers(0, 256, (options.images, 3, 8, 8), dtype=np.uint8)
    planes = v2.functional.resize(torch.from_numpy(coarse), [PIXELS, PIXELS])
    labels = torch.arange(options.images) % 100
    torch.set_num_threads(options.threads)
    split = Split(planes.permute(0, 2, 3, 1).contiguous(), labels)
    ways = {
        "ours": ours(split, options.batch_size),
        "torchvision_v2_tensor": peer(Views(planes, labels, TENSOR), options.batch_size, options.threads),
        "torchvision_v2_pil": peer(Views(planes, labels, PIL), options.batch_size, options.threads),
    }
    load = os.getloadavg()[0]  # what else the machine does
    times = take_turns(ways, rounds=options.rounds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    best = min((name for name in ways if name.startswith("torchvision")), key=lambda name: medians[name])
    rates = {name: options.images / seconds for name, seconds in medians.items()}
    result = {
        "views": 1,
        "n": options.rounds,
        "settings": STRONG.identity(),
        "views_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "epoch": {name: told(values) for name, values in times.items()},
        "ms_per_batch": {name: 1e3 * options.batch_size / rate for name, rate in rates.items()},
        "best_peer": best,
        "load_average": {"before": round(load, 2), "after": round(os.getloadavg()[0], 2)},
        "times_faster": medians[best] / medians["ours"],
        # of the slowest epoch of ours against the fastest of the peer, and the other way round
        "times_faster_spread": [min(times[best]) / max(times["ours"]), max(times[best]) / min(times["ours"])],
    }
    rows = []
    for name, values in times.items():
        spread = f"{min(values):.2f}..{max(values):.2f}"
        rows.append([name, f"{rates[name]:.0f}", f"{result['ms_per_batch'][name]:.2f}", f"{medians[name]:.2f}", spread])
    print(table(["way", "views/s", "ms a batch", "s an epoch", "spread"], rows))
    print(f"{result['times_faster']:.2f} times as fast as {best}")
    keep(options.out, options, result)


if __name__ == "__main__":
    main()
