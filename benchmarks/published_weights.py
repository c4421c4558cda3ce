"""Published accuracy of public CIFAR-10 checkpoints, measured with `supcrd evaluate` as a user types it.

    python benchmarks/published_weights.py TEST_ZIP RESNET20 RESNET56 [--out JSON]

TEST_ZIP has CIFAR-10's test split as sheets of 10 x 10 tiles, 100 images a WebP file, and labels.npz; it is written
as an npz file first. With the archive that torchvision downloads, `--data cifar10` needs none of this.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from supcrd.runs.environment import environment

PUBLISHED = {"resnet20": 91.73, "resnet56": 93.39}
"""Per cent on the test split, by the README of akamaster/pytorch_resnet_cifar10."""
STATISTICS = ["--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]
"""That repository's normalisation, which the files do not say."""
TILE, ROW = 32, 10


def write_npz(archive: Path, path: Path) -> None:
    """The test split as supcrd's `npz:` reads it."""
    with zipfile.ZipFile(archive) as file:
        names = sorted(name for name in file.namelist() if name.startswith("test/"))
        sheets = [np.asarray(Image.open(io.BytesIO(file.read(name))).convert("RGB")) for name in names]
        with np.load(io.BytesIO(file.read("labels.npz"))) as labels:
            test_labels = labels["test_labels"].astype(np.int64)
    tiles = [
        sheet.reshape(-1, TILE, ROW, TILE, 3).transpose(0, 2, 1, 3, 4).reshape(-1, TILE, TILE, 3) for sheet in sheets
    ]
    np.savez(path, test_images=np.concatenate(tiles), test_labels=test_labels)


def evaluated(weights: Path, data: Path) -> dict[str, Any]:
    """What the command prints of a file."""
    command = [sys.executable, "-m", "supcrd", "evaluate", str(weights), "--data", f"npz:{data}", *STATISTICS, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    values: dict[str, Any] = json.loads(done.stdout)
    return values | {"said": [line for line in done.stderr.splitlines() if line.strip()]}


def main() -> None:
    """Measure the files and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("test_zip", type=Path)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("docs/results/published-weights-cpu.json"))
    arguments = parser.parse_args()
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "cifar10-test.npz")
        write_npz(arguments.test_zip, data)
        for weights in arguments.weights:
            values = evaluated(weights, data)
            rows[weights.name] = {
                "arch": values["arch"],
                "n": values["n"],
                "right": round(values["accuracy"] * values["n"]),
                "accuracy": round(100 * values["accuracy"], 2),
                "published": PUBLISHED[weights.name.partition("-")[0]],
                "nll": values["nll"],
                "ece": values["ece"],
            }
            print(weights.name, rows[weights.name])
    command = " ".join(["supcrd evaluate FILE --data npz:cifar10-test.npz", *STATISTICS, "--json"])
    note = "20 of the 10,000 images were filled in from a JPEG copy, so that accuracies are within 0.05 points."
    table = {"command": command, "note": note, "split": "test", "files": rows, "environment": environment()}
    arguments.out.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
