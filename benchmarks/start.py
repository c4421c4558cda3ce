"""Seconds until training starts: from the call of `data.load` to the first batch of two views, and of a whole command.

    python benchmarks/start.py --npz cifar100.npz --out docs/results/start-cpu.json

Each measurement is a process of its own. "First" finds an empty cache of decoded sets (`supcrd.data.decoded`) and fills
it, "again" finds the set there; both read files that the operating system has in memory. The sources are CIFAR-100's
official archive (its layout, written from the npz, with its checksum in place of the official one), an uncompressed npz
and a folder of PNGs. The peers are torchvision's CIFAR100 on the extracted files and ImageFolder, each with the usual
transforms in a DataLoader with 2 workers until its first batch; ImageFolder decodes only that batch, and the others in
every epoch. Imports come before the call, so they are counted apart, and in the whole command.
"""

import argparse
import hashlib
import json
import os
import pickle
import shutil
import statistics
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from measure import keep, table

OURS = """
import json, sys, time
import torch
from supcrd import data
from supcrd.data.loader import ViewBatches
from supcrd.recipe.settings import AugmentSettings
imported = time.time()
source, folder, md5 = sys.argv[2:]
if md5:
    from dataclasses import replace
    from supcrd.data.sources import cifar
    official = cifar._layout
    cifar._layout = lambda name: replace(official(name), archive_md5=md5)
start = time.perf_counter()
images = data.load(source, folder=folder, validation=0.1)
loaded = time.perf_counter()
data.channel_statistics(images.train.images)
measured = time.perf_counter()
batches = ViewBatches(images.train, AugmentSettings(), batch_size=128, seed=0, device=torch.device("cpu"))
next(batches.epoch(0))
end = time.perf_counter()
print(json.dumps({"first_batch": end - start, "load": loaded - start, "channel_statistics": measured - loaded,
                  "imports": imported - float(sys.argv[1]), "check": images.fingerprint}))
"""

PEER = """
import json, sys, time
import torch
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
imported = time.time()
kind, folder, md5 = sys.argv[2], sys.argv[3], json.loads(sys.argv[4])
one = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(),
                          transforms.ColorJitter(0.2, 0.2, 0.2), transforms.ToTensor()])
two = lambda image: (one(image), one(image))
if kind == "cifar100":
    CIFAR100 = datasets.CIFAR100
    CIFAR100.train_list, CIFAR100.test_list = [["train", md5["train"]]], [["test", md5["test"]]]
    CIFAR100.meta = CIFAR100.meta | {"md5": md5["meta"]}
start = time.perf_counter()
if kind == "cifar100":
    train, test = CIFAR100(folder, train=True, transform=two), CIFAR100(folder, train=False)
else:
    train = datasets.ImageFolder(folder + "/train", transform=two)
loaded = time.perf_counter()
views, labels = next(iter(DataLoader(train, 128, shuffle=True, num_workers=2, multiprocessing_context="fork")))
torch.cat(views)
end = time.perf_counter()
print(json.dumps({"first_batch": end - start, "load": loaded - start, "imports": imported - float(sys.argv[1])}))
"""

# The command as a user gives it; it is left when its first step is done.
COMMAND = """
import json, os, sys, time
started = float(sys.argv[1])
from supcrd import cli, data
from supcrd.jobs import run as pipeline
from supcrd.training import task as tasks, fit as training
told = {"imports": time.time() - started}
load, forward, add = data.load, tasks.Distillation.forward, training.Tally.add

def loaded(*arguments, **named):
    result = load(*arguments, **named)
    told["loaded"] = time.time() - started
    return result

def begun(*arguments):
    told.setdefault("first_batch", time.time() - started)
    return forward(*arguments)

def stepped(*arguments):
    add(*arguments)
    told["first_step"] = time.time() - started
    sys.__stdout__.write(json.dumps(told) + "\\n")
    sys.__stdout__.flush()
    os._exit(0)

data.load, tasks.Distillation.forward, training.Tally.add = loaded, begun, stepped
sys.argv[:2] = ["supcrd"]
cli.main()
"""


def child(script: str, cache: Path, *arguments: str) -> dict[str, float]:
    """What a script prints last, as JSON; it is told when it was started."""
    done = subprocess.run(
        [sys.executable, "-c", script, str(time.time()), *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"SUPCRD_CACHE": str(cache)},
    )
    if done.returncode != 0:
        raise RuntimeError((done.stdout + done.stderr)[-2000:])
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def pixels_of(npz: Path | None) -> dict[str, np.ndarray]:
    """The arrays of CIFAR-100, from an npz or at random."""
    if npz is not None:
        with np.load(npz) as archive:
            return {f"{s}_{part}": archive[f"{s}_{part}"] for s in ("train", "test") for part in ("images", "labels")}
    random = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 50_000), ("test", 10_000)):
        arrays[f"{split}_images"] = random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(count) % 100
    return arrays


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2, which wrote the official files, wrote its strings."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value: bytes) -> None:
        """Opcodes SHORT_BINSTRING and BINSTRING."""
        head = struct.pack("<cB", b"U", len(value)) if len(value) < 256 else struct.pack("<ci", b"T", len(value))
        self.write(head + value)  # type: ignore[attr-defined]
        self.memoize(value)  # type: ignore[attr-defined]

    dispatch[bytes] = save_string


def write_cifar(folder: Path, arrays: dict[str, np.ndarray]) -> dict[str, str]:
    """CIFAR-100's official files, in their archive and beside it; the MD5 of each."""
    contents: dict[str, dict[bytes, object]] = {
        "meta": {b"fine_label_names": [f"class {index}".encode() for index in range(100)]}
    }
    for split in ("train", "test"):
        rows = np.ascontiguousarray(arrays[f"{split}_images"].transpose(0, 3, 1, 2)).reshape(-1, 3072)
        contents[split] = {b"data": rows, b"fine_labels": arrays[f"{split}_labels"].tolist()}
    inside, archive = folder / "files" / "cifar-100-python", folder / "archive" / "cifar-100-python.tar.gz"
    for place in (inside, archive.parent):
        place.mkdir(parents=True)
    for name, content in contents.items():
        with open(inside / name, "wb") as file:
            Python2Pickler(file, protocol=2).dump(content)
    with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
        tar.add(inside, inside.name)
    return {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in (*inside.iterdir(), archive)}


def write_folder(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """PNGs as folder/train/CLASS/NUMBER.png."""
    for label in np.unique(labels):
        (folder / "train" / f"{label:03}").mkdir(parents=True)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        Image.fromarray(image).save(folder / "train" / f"{label:03}" / f"{number:06}.png")


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--npz", type=Path, help="CIFAR-100 as npz; random pixels, which compress less, if not given")
    parser.add_argument("--files", type=int, default=5000, help="images of the folder")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--recipe", default="cifar100-small-cross-entropy", help="of the whole command")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="supcrd-start-") as temporary:
        here = Path(temporary)
        arrays = pixels_of(options.npz)
        md5 = write_cifar(here, arrays)
        np.savez(here / "set.npz", **arrays)
        # evenly over the classes, so that each gives a validation image
        order = np.argsort(np.argsort(arrays["train_labels"], kind="stable") % 500, kind="stable")[: options.files]
        write_folder(here / "folder", arrays["train_images"][order], arrays["train_labels"][order])
        del arrays

        sources = {
            "cifar100": ["cifar100", str(here / "archive"), md5["cifar-100-python.tar.gz"]],
            "npz": [f"npz:{here}/set.npz", str(here), ""],
            "folder": [f"folder:{here}/folder", str(here), ""],
        }
        peers = {
            "torchvision_cifar100": ["cifar100", str(here / "files"), json.dumps(md5)],
            "torchvision_imagefolder": ["folder", str(here / "folder"), "null"],
        }
        command = ["train", options.recipe, f"data.source=npz:{here}/set.npz", "--out", str(here / "runs"), "--force"]
        taken: dict[str, list[dict[str, float]]] = {}
        for _ in range(options.rounds):  # all take turns within a round
            cache = here / "cache"
            shutil.rmtree(cache, ignore_errors=True)
            for when in ("first", "again"):
                for name, arguments in sources.items():
                    taken.setdefault(f"{name}, {when}", []).append(child(OURS, cache, *arguments))
            for name, arguments in peers.items():
                taken.setdefault(name, []).append(child(PEER, cache, *arguments))
            taken.setdefault("supcrd train, again", []).append(child(COMMAND, cache, *command))

    for name in sources:
        checks = {str(one.pop("check")) for when in ("first", "again") for one in taken[f"{name}, {when}"]}
        if len(checks) > 1:
            raise RuntimeError(f"{name}: the kept set has another fingerprint than the decoded one")
    seconds = {
        name: {
            part: {
                "median": round(statistics.median(one[part] for one in all_of), 4),
                "min": round(min(one[part] for one in all_of), 4),
                "max": round(max(one[part] for one in all_of), 4),
            }
            for part in all_of[0]
        }
        for name, all_of in taken.items()
    }
    rows = []
    for name, parts in seconds.items():
        last = parts["first_batch"]
        others = ", ".join(f"{part} {value['median']:.2f}" for part, value in parts.items() if part != "first_batch")
        rows.append([name, f"{last['median']:.2f}", f"{last['min']:.2f}..{last['max']:.2f}", others])
    print(table(["way", "s to the first batch", "spread", "medians of the parts"], rows))
    keep(options.out, options, {"n": options.rounds, "images_in_folder": options.files, "seconds": seconds})


if __name__ == "__main__":
    main()
