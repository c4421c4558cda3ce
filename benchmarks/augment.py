"""Images per second of the two-view augmentation against torchvision's transforms in a DataLoader with workers.

    python benchmarks/augment.py --out docs/results/augment-cpu.json

Ours is `ViewBatches` on the CPU with as many threads as the peers have workers, everything counted: drawing, taking the
images, augmenting, putting the views together. The peers are torchvision's transforms of the same kind and strength on
PIL images (v1) and on uint8 tensors (v2), two views an image, collated to batches, their workers kept alive between
epochs. A round is one epoch of each, in turns, after one epoch that is not counted. `kornia` is reported where it is
installed. Pixels are random (noise costs what photographs do).

The bound: an ideal implementation reads each uint8 image once a view and writes each float32 view once, at the memory
bandwidth that a large copy reaches in the same run.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import v2

from measure import keep, table, take_turns, told
from supcrd.data import Split
from supcrd.data.loader import ViewBatches
from supcrd.recipe.settings import AugmentSettings

PIXELS, VIEWS = 32, 2
PIL = transforms.Compose(
    [
        transforms.ToPILImage(),
        transforms.RandomCrop(PIXELS, padding=4),
        transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(0.2, 0.2, 0.2),
        transforms.ToTensor(),
    ]
)
TENSOR = v2.Compose(
    [
        v2.RandomCrop(PIXELS, padding=4),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(0.2, 0.2, 0.2),
        v2.ToDtype(torch.float32, scale=True),
    ]
)


class TwoViews(Dataset[tuple[Tensor, Tensor, int]]):
    """Two views of each image, as a data set for contrastive training gives them."""

    def __init__(self, images: np.ndarray | Tensor, labels: np.ndarray, transform: Callable[..., Tensor]) -> None:
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        return self.transform(self.images[index]), self.transform(self.images[index]), int(self.labels[index])


def peer(data: TwoViews, batch_size: int, workers: int) -> Callable[[], None]:
    """An epoch of a DataLoader, its views put together as ours are."""
    loader = DataLoader(data, batch_size, shuffle=True, num_workers=workers, persistent_workers=workers > 0)

    def epoch() -> None:
        for first, second, labels in loader:
            torch.cat([first, second]), labels.repeat(VIEWS)

    return epoch


def ours(split: Split, batch_size: int) -> Callable[[], None]:
    """An epoch of `ViewBatches`, another one at each call."""
    batches = ViewBatches(
        split, AugmentSettings(views=VIEWS), batch_size=batch_size, seed=0, device=torch.device("cpu")
    )
    epochs = iter(range(1_000_000))

    def epoch() -> None:
        for _ in batches.epoch(next(epochs)):
            pass

    return epoch


def kornia_epoch(images: Tensor, batch_size: int) -> Callable[[], None] | None:
    """The same by kornia's batched augmentation, where it is installed."""
    try:
        import kornia.augmentation as kornia
    except ImportError:
        return None
    transform = kornia.AugmentationSequential(
        kornia.RandomCrop((PIXELS, PIXELS), padding=4),
        kornia.RandomHorizontalFlip(),
        kornia.ColorJitter(0.2, 0.2, 0.2),
    )

    def epoch() -> None:
        for index in torch.randperm(len(images)).split(batch_size):
            batch = images[index].float().div_(255)
            torch.cat([transform(batch) for _ in range(VIEWS)])

    return epoch


def bandwidth(rounds: int) -> float:
    """Bytes a second that a large copy reads and writes: the best of the rounds."""
    source = torch.ones(256 * 2**20, dtype=torch.uint8)
    target = torch.zeros_like(source)
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        target.copy_(source)
        seconds.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(seconds[1:])


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2, help="threads of ours, workers of the peers")
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each way")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    pixels = np.random.default_rng(0).integers(0, 256, (options.images, PIXELS, PIXELS, 3), dtype=np.uint8)
    labels = np.arange(options.images) % 100
    planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    ways = {
        "ours": ours(Split(torch.from_numpy(pixels), torch.from_numpy(labels)), options.batch_size),
        "torchvision_pil": peer(TwoViews(pixels, labels, PIL), options.batch_size, options.threads),
        "torchvision_v2_tensor": peer(TwoViews(planes, labels, TENSOR), options.batch_size, options.threads),
    }
    other = kornia_epoch(planes, options.batch_size)
    if other is not None:
        ways["kornia"] = other

    times = take_turns(ways, rounds=options.rounds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    best = min((name for name in ways if name.startswith("torchvision")), key=lambda name: medians[name])
    moved = VIEWS * PIXELS * PIXELS * 3 * (1 + 4)
    reached = bandwidth(5)
    bound = reached / moved
    rates = {name: options.images / seconds for name, seconds in medians.items()}
    result = {
        "views": VIEWS,
        "n": options.rounds,
        "images_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "epoch": {name: told(values) for name, values in times.items()},
        "ms_per_batch": {name: 1e3 * options.batch_size / rate for name, rate in rates.items()},
        "best_peer": best,
        "times_as_fast": medians[best] / medians["ours"],
        # of the slowest epoch of ours against the fastest of the peer, and the other way round
        "times_as_fast_spread": [min(times[best]) / max(times["ours"]), max(times[best]) / min(times["ours"])],
        "bound": {
            "bytes_per_image": moved,
            "copy_bytes_per_second": reached,
            "images_per_second": bound,
            "share_reached": rates["ours"] / bound,
        },
    }
    rows = []
    for name, values in times.items():
        spread = f"{min(values):.2f}..{max(values):.2f}"
        rows.append([name, f"{rates[name]:.0f}", f"{result['ms_per_batch'][name]:.2f}", f"{medians[name]:.2f}", spread])
    print(table(["way", "images/s", "ms a batch", "s an epoch", "spread"], rows))
    print(f"{result['times_as_fast']:.2f} times as fast as {best}; {rates['ours'] / bound:.1%} of the bound")
    keep(options.out, options, result)


if __name__ == "__main__":
    main()
