"""Some classes of a set: one file with all of their training images, for a teacher, and one with a few, for students.

    python benchmarks/few_classes.py npz:cifar100.npz --classes 10 --images 100 --out runs/few
    supcrd train runs/few/teacher.toml --out runs/few
    python benchmarks/best_student.py --data npz:runs/few/student.npz --images 0 --view-epochs 40 \\
        --teacher runs/few/teacher --tables logits --out runs/few/students --results few.json

Classes are drawn by a seed; validation and test images are all of theirs, in both files.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch

from supcrd.data import ImageSet, load
from supcrd.data.images import Split
from supcrd.data.stream import fetch

RECIPE = """name = "teacher"
[data]
source = "npz:PATH"
mean = [0.5071, 0.4867, 0.4408]
std = [0.2675, 0.2565, 0.2761]
[model]
arch = "resnet20"
[method]
name = "cross_entropy"
[augment]
views = 1
[train]
epochs = 30
lr = 2e-3
optimizer = "adamw"
weight_decay = 5e-4
decay = "weights"
schedule = "one_cycle"
"""


def arrays(images: ImageSet, classes: np.ndarray, limit: int | None) -> dict[str, Any]:
    """The images of some classes, numbered anew; of the training images at most so many of a class, the first ones."""
    made: dict[str, Any] = {"class_names": np.array(images.class_names)[classes]}
    splits = {"train": images.train, "val": images.validation, "test": images.test}
    for name, split in splits.items():
        assert isinstance(split, Split)
        (pixels,) = fetch(split.images, [slice(None)], torch.device("cpu"))
        labels, most = split.labels.numpy(), limit if name == "train" else None
        rows = np.sort(np.concatenate([np.flatnonzero(labels == number)[:most] for number in classes]))
        made |= {f"{name}_images": pixels.numpy()[rows], f"{name}_labels": np.searchsorted(classes, labels[rows])}
    return made


def main() -> None:
    """Write both files and the teacher's recipe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--images", type=int, default=100, help="training images of a class, for students")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of classes")
    parser.add_argument("--out", type=Path, default=Path("runs/few"))
    options = parser.parse_args()
    whole = load(options.source)
    drawn = np.random.default_rng(options.seed).permutation(len(whole.class_names))[: options.classes]
    options.out.mkdir(parents=True, exist_ok=True)
    for name, limit in (("teacher", None), ("student", options.images)):
        made = arrays(whole, np.sort(drawn), limit)
        np.savez(options.out / f"{name}.npz", **made)
        print(name, {key: value.shape for key, value in made.items()})
    (options.out / "teacher.toml").write_text(RECIPE.replace("PATH", str((options.out / "teacher.npz").resolve())))


if __name__ == "__main__":
    main()
