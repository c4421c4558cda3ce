"""Images per second and memory of an epoch over images that stay on disk, against torchvision's and webdataset's ways.

    python benchmarks/stream.py --out docs/results/stream-cpu.json

JPEGs of 64 to 256 pixels are made in a temporary folder, as files and as shards. Every way gives the same: batches of
two augmented float views (padded crop, flip, colour jitter) of images resized and cropped to one size. The peers are
what their documentation shows: `ImageFolder` and a `WebDataset` pipeline, transforms for each image, a DataLoader with
as many worker processes as supcrd has threads. Each way runs an epoch in a process of its own, and they take turns.

Images per second are counted over the last three quarters of the epoch: starting workers costs nobody, and batches that
had been made ahead help nobody. How long the first batch took stands beside. Memory is that of the process and its
workers together, shared pages counted once (proportional set size), over what the process had before it made the
loader, read 20 times in an epoch of its own. torch computes in one thread (`--threads`), so that supcrd's batched
augmentation does not fight with its own decoding threads for a small machine's cores.
"""

import argparse
import importlib.util
import io
import json
import multiprocessing
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, default_collate
from torchvision import transforms
from torchvision.datasets import ImageFolder

from measure import high_water, keep, proportional, table
from supcrd import data
from supcrd.data.loader import ViewBatches
from supcrd.recipe.settings import AugmentSettings

READINGS = 20  # of memory in an epoch
CLASSES = 10
SHARD = 500  # images a shard


def make(folder: Path, images: int) -> None:
    """The set as files and as shards."""
    random = np.random.default_rng(0)
    (folder / "shards").mkdir()
    for start in range(0, images, SHARD):
        with tarfile.open(folder / "shards" / f"train-{start // SHARD:06d}.tar", "w") as shard:
            for index in range(start, min(start + SHARD, images)):
                content = picture(random)
                path = folder / "files" / "train" / f"class{index % CLASSES}" / f"{index:06d}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                for name, part in ((f"{index:06d}.cls", b"%d" % (index % CLASSES)), (path.name, content)):
                    member = tarfile.TarInfo(name)
                    member.size = len(part)
                    shard.addfile(member, io.BytesIO(part))


def picture(random: np.random.Generator) -> bytes:
    """A smooth random JPEG with a little noise, which compresses about as a photograph does."""
    height, width = random.integers(64, 257, 2)
    coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((int(width), int(height)), Image.Resampling.BICUBIC), dtype=np.int16)
    pixels = (smooth + random.integers(-12, 13, smooth.shape)).clip(0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "jpeg", quality=88)
    return stream.getvalue()


def supcrd(source: str, size: int, batch: int, workers: int) -> Iterator[Tensor]:
    train = data.load(source, validation=0, image_size=size, stream=True, workers=workers).train
    batches = ViewBatches(train, AugmentSettings(), batch_size=batch, seed=0, device=torch.device("cpu"))
    return (made.inputs for made in batches.epoch(0))


class TwoViews:
    """What supcrd does to an image, in torchvision's words."""

    def __init__(self, size: int) -> None:
        self.fit = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size)])
        self.view = transforms.Compose(
            [
                transforms.RandomCrop(size, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(0.2, 0.2, 0.2),
                transforms.ToTensor(),
            ]
        )

    def __call__(self, image: Image.Image) -> tuple[Tensor, Tensor]:
        image = self.fit(image.convert("RGB"))
        return self.view(image), self.view(image)


def torchvision(folder: Path, size: int, batch: int, workers: int) -> Iterator[Tensor]:
    files = ImageFolder(folder / "files" / "train", TwoViews(size))
    for views, _ in DataLoader(files, batch, shuffle=True, num_workers=workers, drop_last=True):
        yield torch.cat(views)


def webdataset(folder: Path, size: int, batch: int, workers: int) -> Iterator[Tensor]:
    import webdataset as wds

    shards = sorted(str(path) for path in (folder / "shards").glob("*.tar"))
    samples = wds.WebDataset(shards, shardshuffle=len(shards)).shuffle(1000).decode("pil").to_tuple("jpg", "cls")
    batched = samples.map_tuple(TwoViews(size), int).batched(batch, collation_fn=default_collate)
    for views, _ in wds.WebLoader(batched, batch_size=None, num_workers=workers):
        yield torch.cat(views)


def memory() -> int:
    """Bytes of this process and its workers, shared pages counted once where the system tells."""
    total = 0
    for process in ("self", *(str(child.pid) for child in multiprocessing.active_children())):
        try:
            total += proportional(process)
        except OSError:
            return high_water()
    return total


def timed(batches: Iterable[Tensor], images: int) -> dict[str, Any]:
    """Images per second over the last three quarters of an epoch, and seconds to the first batch."""
    start = time.perf_counter()
    seen, first, begun, counted = 0, None, None, 0
    for made in batches:
        first = first or time.perf_counter() - start
        seen += len(made) // 2
        if begun is None and 4 * seen >= images:
            begun, counted = time.perf_counter(), seen
    return {"images_per_second": (seen - counted) / (time.perf_counter() - begun), "first_batch_seconds": first}


def weighed(batches: Iterable[Tensor], images: int) -> dict[str, Any]:
    """Megabytes over those at the start at each quarter of an epoch, and at its peak."""
    before, seen, readings = memory(), 0, []
    for made in batches:
        seen += len(made) // 2
        if seen >= images * (len(readings) + 1) / READINGS - len(made) // 2:
            readings.append((memory() - before) / 1e6)
    quarters = {f"{25 * n}%": round(readings[n * len(readings) // 4 - 1], 1) for n in (1, 2, 3, 4)}
    return {"megabytes": quarters | {"peak": round(max(readings), 1)}}


def child(name: str, folder: Path, options: argparse.Namespace) -> None:
    """A way in this process; its numbers go to standard output."""
    given = options.size, options.batch, options.workers
    if name.startswith("supcrd"):
        source = f"folder:{folder / 'files'}" if name.endswith("folder") else f"shards:{folder / 'shards'}"

        def batches() -> Iterator[Tensor]:  # listing the set belongs to the first batch, as with the peers
            yield from supcrd(source, *given)

        made = batches()
    else:
        made = {"torchvision": torchvision, "webdataset": webdataset}[name.split(",")[0]](folder, *given)
    print("RESULT", json.dumps((weighed if options.weigh else timed)(made, options.images)))


def main() -> None:
    """Measure, print a table and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--size", type=int, default=64, help="pixels that images are brought to")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--workers", type=int, default=2, help="decoding threads, the peers' processes")
    parser.add_argument("--threads", type=int, default=1, help="of torch, in the process that asks for batches")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--weigh", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        torch.set_num_threads(options.threads)
        child(options.child[0], Path(options.child[1]), options)
        return

    ways = ["supcrd, folder", "torchvision, folder", "supcrd, shards"]
    ways += ["webdataset, shards"] if importlib.util.find_spec("webdataset") else []
    kept: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), options.images)
        size = sum(path.stat().st_size for path in Path(folder, "files").rglob("*.jpg"))
        shared = [f"--{key}={getattr(options, key)}" for key in ("images", "size", "batch", "workers", "threads")]
        for turn in range(options.rounds + 1):
            for name in ways:
                # the first round weighs, and warms the disk's cache: reading the memory would give the workers time
                command = [sys.executable, __file__, *shared, *["--weigh"] * (turn == 0), "--child", name, folder]
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode != 0:
                    raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
                kept[name].append(json.loads(done.stdout.rsplit("RESULT", 1)[1]))

    numbers = {name: summary(told[0], told[1:]) for name, told in kept.items()}
    head = ["way", "images/s", "first batch s", "MB at 25%", "50%", "75%", "100%", "peak MB"]
    rows = [
        [name, told["images_per_second"]["median"], told["first_batch_seconds"], *told["megabytes"].values()]
        for name, told in numbers.items()
    ]
    print(table(head, [[str(cell) for cell in row] for row in rows]))
    decoded = options.images * options.size**2 * 3
    keep(
        options.out,
        options,
        {
            "stream": numbers,
            "rounds": options.rounds,
            "megabytes_encoded": round(size / 1e6, 1),
            "megabytes_decoded": round(decoded / 1e6, 1),
        },
    )


def summary(weight: dict[str, Any], rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the timed rounds, and the memory."""
    rates = [told["images_per_second"] for told in rounds]
    rate = {"median": round(statistics.median(rates)), "min": round(min(rates)), "max": round(max(rates))}
    first = round(statistics.median(told["first_batch_seconds"] for told in rounds), 3)
    return {"images_per_second": rate, "first_batch_seconds": first, **weight}


if __name__ == "__main__":
    main()
