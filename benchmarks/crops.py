"""Images that are decoded as they stream, by how they are cropped: images a second of processor time, and memory.

    python benchmarks/crops.py --out docs/results/crops-cpu.json

Made JPEGs of two sizes, files of a folder, one and two views of 224 px with a random-resized crop: of the square that
was brought to 224 px first (`resized`), or of the picture as it is decoded (`whole`), each with and without
`data.draft`. Each way runs in a process of its own; images are counted by processor seconds, all threads together,
which a machine with other work does not change much. Memory: what the process gained at its peak.
"""

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from measure import keep, table
from supcrd.data import load
from supcrd.data.loader import ViewBatches
from supcrd.recipe.settings import AugmentSettings

SIZES = ((500, 375), (1024, 768))
WAYS = [(crop, draft) for crop in ("resized", "whole") for draft in (False, True)]


def make(folder: Path, width: int, height: int, count: int) -> None:
    """Smooth random JPEGs with a little noise, of four classes."""
    random = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
        path = folder / "train" / f"class{number % 4}" / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (smooth + random.integers(-10, 11, smooth.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path, quality=88)


def child(folder: Path, crop: Any, draft: bool, views: int, epochs: int) -> dict[str, float]:
    """One way in this process."""
    torch.set_num_threads(1)
    train = load(f"folder:{folder}", validation=0, image_size=224, stream=True, workers=2, draft=draft).train
    assert train is not None
    settings = AugmentSettings(views=views, crop=crop, brightness=0, contrast=0, saturation=0)
    batches = ViewBatches(train, settings, batch_size=64, seed=0, device=torch.device("cpu"))
    before, rates = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for epoch in range(epochs):
        start = time.process_time()
        images = sum(len(batch.indices) for batch in batches.epoch(epoch))
        rates.append(images / (time.process_time() - start))
    gained = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    return {"images_per_second": statistics.median(rates), "bytes": gained}


def main() -> None:
    """Measure, print a table and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--views", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        folder, crop, draft, views = options.child
        print("RESULT", json.dumps(child(Path(folder), crop, draft == "True", int(views), options.epochs)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for width, height in SIZES:
            folder = Path(temporary, f"{width}x{height}")
            make(folder, width, height, options.images)
            for views, (crop, draft) in itertools.product(options.views, WAYS):
                command = [sys.executable, __file__, f"--epochs={options.epochs}", "--child", str(folder), crop]
                done = subprocess.run([*command, str(draft), str(views)], capture_output=True, text=True, check=True)
                result = json.loads(done.stdout.rsplit("RESULT", 1)[1])
                rows.append({"pixels": f"{width} x {height}", "crop": crop, "draft": draft, "views": views} | result)
    head = ["JPEG", "crop", "draft", "views", "images/CPU-s", "MB gained"]
    cells = [[*(str(row[key]) for key in ("pixels", "crop", "draft", "views")), f"{row['images_per_second']:.0f}",
              f"{row['bytes'] / 1e6:.0f}"] for row in rows]  # fmt: skip
    print(table(head, cells))
    keep(options.out, options, {"rows": rows})


if __name__ == "__main__":
    main()
