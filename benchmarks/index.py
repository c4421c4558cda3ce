"""Seconds until a streamed set of many small images in shards is there: at the first start, and at the next ones.

    python benchmarks/index.py --images 1000000 --out docs/results/index-cpu.json

The first start reads every member's and every image's header; what the shards hold is then kept (data/sources/
shardindex.py). Made images of 16 px in shards of 10,000; each start is a process of its own, with a cache of its own.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from measure import keep, table

SHARD = 10_000
START = """
import json, resource, sys, time
import torch
from supcrd.data import load
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
data = load("shards:" + sys.argv[1], validation=0.01, stream=True, image_size=16)
there = time.perf_counter() - start
start = time.perf_counter()
order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
for images in data.train.images.fetch([order[i : i + 256] for i in range(0, 25600, 256)]):
    pass
rate = 25600 / (time.perf_counter() - start)
gained = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
print(json.dumps({"seconds": there, "images_per_second": rate, "bytes": gained, "fingerprint": data.fingerprint}))
"""


def make(folder: Path, count: int) -> None:
    """Shards of `count` images."""
    random, pictures = np.random.default_rng(0), []
    for _ in range(64):
        stream = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(stream, "jpeg")
        pictures.append(stream.getvalue())
    for first in range(0, count, SHARD):
        with tarfile.open(folder / f"train-{first // SHARD:05}.tar", "w") as tar:
            for number in range(first, min(first + SHARD, count)):
                for kind, content in (("jpg", pictures[number % 64]), ("cls", b"%d" % (number % 100))):
                    member = tarfile.TarInfo(f"{number:08}.{kind}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def started(folder: Path, cache: Path) -> dict[str, Any]:
    """What one start took."""
    environ = os.environ | {"SUPCRD_CACHE": str(cache)}
    done = subprocess.run(
        [sys.executable, "-c", START, str(folder)], env=environ, check=True, capture_output=True, text=True
    )
    return dict(json.loads(done.stdout))


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--again", type=int, default=3, help="further starts")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as here:
        folder, cache = Path(here, "set"), Path(here, "cache")
        folder.mkdir()
        make(folder, options.images)
        starts = [started(folder, cache) for _ in range(1 + options.again)]
    same = len({start["fingerprint"] for start in starts}) == 1
    rows = [
        ["first" if number == 0 else "again", f"{start['seconds']:.1f}", f"{start['images_per_second']:,.0f}",
         f"{start['bytes'] / 1e6:.0f}"]
        for number, start in enumerate(starts)
    ]  # fmt: skip
    print(table(["start", "s", "images/s then", "MB gained"], rows))
    keep(options.out, options, {"images": options.images, "starts": starts, "same_set": same})


if __name__ == "__main__":
    main()
