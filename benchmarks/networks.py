"""Sizes of the built-in networks, beside those that were published.

    python benchmarks/networks.py --out docs/results/networks.json

Parameters are of encoder and classifier for 100 classes; multiply-adds are those of convolutions and linear layers for
one image of 32 px, as `torch.utils.flop_counter` counts them. Nothing is computed: the networks have shapes and no
numbers. `python benchmarks/tables.py` writes docs/networks.md from the file.
"""

import argparse
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from measure import keep
from supcrd.models import ARCHS, Model

CLASSES, PIXELS = 100, 32


class Published(NamedTuple):
    """A published size."""

    count: str
    """as printed: 0.28M, or 278,324"""
    source: str
    """a key of `SOURCES`"""
    classes: int = CLASSES
    difference: str = ""
    """of ours"""


SOURCES = {
    "He": "He et al. 2016, arXiv:1512.03385, as the README of akamaster/pytorch_resnet_cifar10 gives it; CIFAR-10",
    "AT": "Zagoruyko & Komodakis 2017, arXiv:1612.03928; CIFAR-10",
    "Overhaul": "Heo et al. 2019, README of clovaai/overhaul-distillation; CIFAR-100",
    "Chen": "README of chenyaofo/pytorch-cifar-models; CIFAR-100",
    "Wei": "README of weiaicunzai/pytorch-cifar100; CIFAR-100",
    "Semery": "README of osmr/imgclsmob (gluon); CIFAR-100",
    "RepDistiller": "the classes of HobbitLong/RepDistiller (Tian et al. 2020), commit b84f547, counted; CIFAR-100",
}
PROJECTION = "a linear layer from 2048 to 512 more, and a classifier that reads 512 features"


def _rep(count: str) -> Published:
    return Published(count, "RepDistiller")


PUBLISHED: dict[str, tuple[Published, ...]] = {
    "resnet18": (Published("11.2M", "Wei"),),
    "resnet34": (Published("21.3M", "Wei"),),
    "resnet50": (Published("23.7M", "Wei", difference=PROJECTION),),
    "resnet101": (Published("42.7M", "Wei", difference=PROJECTION),),
    "resnet50-2048": (Published("23.7M", "Wei"), _rep("23,705,252")),
    "resnet8": (_rep("83,892"),),
    "resnet14": (_rep("181,108"),),
    "resnet20": (Published("0.28M", "Chen"), Published("278,324", "Semery"), _rep("278,324")),
    "resnet32": (Published("0.47M", "Chen"), _rep("472,756")),
    "resnet44": (Published("0.67M", "Chen"), _rep("667,188")),
    "resnet56": (Published("0.86M", "Chen"), Published("861,620", "Semery"), _rep("861,620")),
    "resnet110": (
        Published("1,736,564", "Semery"),
        _rep("1,736,564"),
    ),
    "resnet8x4": (_rep("1,233,540"),),
    "resnet32x4": (_rep("7,433,860"),),
    "resnet20-a": (Published("0.27M", "He", 10),),
    "resnet32-a": (Published("0.46M", "He", 10),),
    "resnet44-a": (Published("0.66M", "He", 10),),
    "resnet56-a": (Published("0.85M", "He", 10),),
    "resnet110-a": (Published("1.7M", "He", 10),),
    "wrn-16-1": (Published("0.2M", "AT", 10), _rep("180,916")),
    "wrn-16-2": (Published("0.7M", "AT", 10), Published("0.70M", "Overhaul"), _rep("703,284")),
    "wrn-40-1": (Published("0.6M", "AT", 10), _rep("569,780")),
    "wrn-40-2": (Published("2.2M", "AT", 10), _rep("2,255,156")),
    "wrn-28-4": (Published("5.87M", "Overhaul"), _rep("5,872,180")),
    "wrn-28-10": (Published("36,536,884", "Semery"), _rep("36,536,884")),
    "vgg8": (_rep("3,965,028"),),
    "vgg11": (_rep("9,277,284"),),
    "vgg13": (_rep("9,462,180"),),
    "vgg16": (_rep("14,774,436"),),
    "vgg19": (_rep("20,086,692"),),
    "mobilenetv2": (_rep("812,836"),),
    "shufflenetv1": (_rep("949,258"),),
    "shufflenetv2": (_rep("1,355,528"),),
}


@cache
def encoder(arch: str) -> tuple[int, int]:
    """Its parameters, and its features."""
    with torch.device("meta"):
        model = Model(2, arch)
    return sum(p.numel() for p in model.encoder.parameters()), model.feature_dim


def parameters(arch: str, classes: int = CLASSES) -> int:
    """Of encoder and classifier."""
    inside, features = encoder(arch)
    return inside + (features + 1) * classes


def multiply_adds(arch: str) -> int:
    """Of encoder and classifier for one image."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = Model(CLASSES, arch).eval()
        counter.flop_counts.clear()
        model.classifier(model.encoder(torch.empty(1, 3, PIXELS, PIXELS)))
    return counter.get_total_flops() // 2


def agrees(published: Published, count: int) -> bool:
    """Whether a count is the published one, to as many digits as that has."""
    if not published.count.endswith("M"):
        return int(published.count.replace(",", "")) == count
    digits = len(published.count.removesuffix("M").partition(".")[2])
    return f"{count / 1e6:.{digits}f}M" == published.count


def measured(arch: str) -> dict[str, Any]:
    """Of a network."""
    published = [one._asdict() | {"ours": parameters(arch, one.classes)} for one in PUBLISHED.get(arch, ())]
    size = {"features": encoder(arch)[1], "parameters": parameters(arch), "multiply_adds": multiply_adds(arch)}
    return size | {"published": published}


def table(results: dict[str, Any]) -> str:
    """The table of docs/networks.md, and its sources."""
    head = ["`model.arch`", "features", "parameters", "million multiply-adds", "published", "difference"]
    lines = [f"| {' | '.join(head)} |", "|---|---:|---:|---:|---|---|"]
    for arch, size in results["networks"].items():
        known = [(Published(*(one[name] for name in Published._fields)), one["ours"]) for one in size["published"]]
        wrong = [f"to {one.source}: {one.difference}" for one, ours in known if not agrees(one, ours)]
        cells = [
            f"`{arch}`",
            f"{size['features']:,}",
            f"{size['parameters']:,}",
            f"{size['multiply_adds'] / 1e6:,.1f}",
            ", ".join(f"{one.count} ({one.source})" for one, _ in known) or "-",
            "; ".join(wrong) or ("none" if known else "-"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    what = (
        f"Parameters of encoder and classifier for {CLASSES} classes; multiply-adds of convolutions and linear layers "
        f"for one image of {PIXELS} px. A published size agrees if ours has the same digits, counted with the classes "
        f"of its data set. `{results['command']}`, torch {results['environment']['packages']['torch']}. Sources:"
    )
    return "\n".join([*lines, "", what, "", *(f"* {name}: {source}" for name, source in SOURCES.items())])


def main() -> None:
    """Count, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    keep(options.out, options, {"networks": {arch: measured(arch) for arch in ARCHS}})


if __name__ == "__main__":
    main()
