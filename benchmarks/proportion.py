"""Peak memory and time of inputs that once cost far more than they are worth, each in a process of its own.

    python benchmarks/proportion.py --out docs/results/proportion.json

Seconds of the processor beside those of the clock, which other work of the machine lengthens. The hub's case is for a
machine without a network.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

STRIP = """
from supcrd.data import imagefile
assert imagefile.pixels(imagefile.Path("strip.png"), "strip", channels=3, size=224).shape == (224, 224, 3)
"""
STREAM = """
import torch
from supcrd import data
from supcrd.data.loader import ViewBatches
from supcrd.recipe.settings import AugmentSettings
images = data.load("folder:twelve", validation=0, image_size=1000, stream=True)
data.channel_statistics(images.train.images)
batches = ViewBatches(images.train, AugmentSettings(), batch_size=256, seed=0, device=torch.device("cpu"))
assert sum(len(batch.inputs) for batch in batches.epoch(0)) == 12
"""
TRAIN = ("-m", "supcrd", "train", "digits-teacher")
LARGE = ("data.source=folder:twelve", "data.image_size=4000", "data.stream=true", "data.validation=0")
LOST = ("model.arch=timm:vit_small_patch16_224", "data.source=folder:none")
CASES = {
    "torch and supcrd alone": ("-c", "import supcrd.jobs.run"),
    "a strip of 1 x 200,000 px at 224 px": ("-c", STRIP),
    "six streamed images of 1,000 px, an epoch of views": ("-c", STREAM),
    "six streamed images of 4,000 px, trained on": (*TRAIN, *LARGE),
    "a transformer, and data that are not there": (*TRAIN, *LOST),
    "weights of a hub without a network": (*TRAIN, "model.arch=timm:hf_hub:owner/name", "model.pretrained=true"),
}


def measured(command: tuple[str, ...], folder: Path) -> dict[str, object]:
    """What one process costs, and the last line that it says."""
    began = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src"), "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([sys.executable, *command], cwd=folder, env=environment, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        last = (said.read().strip().splitlines() or [""])[-1]
    return {
        "peak_mb": used.ru_maxrss // 1024,
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "seconds": round(time.monotonic() - began, 1),
        "status": process.returncode,
        "said": last.replace(str(folder), "FOLDER"),
    }


def main() -> None:
    """Every case, in a folder with a strip and twelve small pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.fromarray(random.integers(0, 256, (200_000, 1, 3), dtype=np.uint8)).save(folder / "strip.png")
        for place in ("train/a", "train/b", "test/a", "test/b"):
            (folder / "twelve" / place).mkdir(parents=True)
            for number in range(3):
                picture = Image.fromarray(random.integers(0, 256, (40, 50, 3), dtype=np.uint8))
                picture.save(folder / "twelve" / place / f"{number}.png")
        cases = {}
        for case, command in CASES.items():
            cases[case] = measured(command, folder)
            print(case, json.dumps(cases[case]), flush=True)
    from supcrd.runs.environment import environment

    result = {"command": f"python benchmarks/proportion.py --out {options.out}", "n": 1, "cases": cases}
    options.out.write_text(json.dumps(result | {"environment": environment()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
