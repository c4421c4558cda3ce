"""A model of how a training scales, from stated assumptions: computed, not measured.

    python benchmarks/scale_model.py --out docs/results/scale-model.json

Networks are counted (parameters, multiply-adds, batch normalisations: `torch.utils.flop_counter`, without computing
anything), bytes follow from what the code sends, times from `ASSUMED`. `python benchmarks/tables.py` writes the table
of docs/scale.md from the file. A step of a contrastive student on images of 224 px: one view, a teacher whose features
are cached, gradients by DistributedDataParallel in float32, rows gathered in float32, normalisation over all processes.
"""

import argparse
import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from measure import keep
from supcrd.models import Model
from supcrd.training.world import asked_every

ARCHS = {"ResNet-18": "timm:resnet18", "ResNet-50": "timm:resnet50"}
CLASSES, PIXELS, GPUS = 1000, 224, (8, 64, 512)
BATCHES = {"256 images a GPU": lambda gpus: 256 * gpus, "a batch of 4,096": lambda gpus: 4096}

ASSUMED = {
    "gpus_a_node": 8,
    "flops": 80e12,  # a second, that a GPU achieves with convolutions in bfloat16
    "memory": 2e12,  # bytes a second, of a GPU
    "within": 200e9,  # bytes a second, each way, of a GPU within its node
    "fast": 320e9,  # bytes a second, each way, of a node: a card of 400 Gb/s for each of its GPUs, at 80 %
    "slow": 10e9,  # likewise: one card of 100 Gb/s
    "latency": 15e-6,  # seconds, for each doubling of the processes of a collective operation
    "message": 30e-6,  # seconds, of one between CPUs: the flag that stops all goes around a ring of them
    "bucket": 25 * 2**20,  # bytes of gradients that DistributedDataParallel sends at a time
    "passes": 12,  # over a matrix of similarities in a loss, forward and backward
}
BACKWARD = 2 / 3
"""Of a step's computation: the gradient of a layer costs two passes, and sending overlaps with it."""


class Network(NamedTuple):
    """What of a network costs."""

    parameters: int
    multiply_adds: int
    """of one image"""
    norms: int
    """layers of batch normalisation"""
    projections: int


def counted(arch: str, classes: int = CLASSES) -> Network:
    """Of encoder, projection head and classifier.

    Example:
        >>> counted("resnet8").norms
        7
    """
    native = {"stem": "native"} if arch.startswith("timm:") else {}
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = Model(classes, arch, image_size=PIXELS, **native).eval()
        counter.flop_counts.clear()
        model(torch.empty(1, 3, PIXELS, PIXELS))
    return Network(
        sum(p.numel() for p in model.parameters()),
        counter.get_total_flops() // 2,
        sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()),
        model.projection_dim,
    )


def moved(network: Network, batch: int, gpus: int) -> dict[str, float]:
    """Bytes that a GPU sends in a step, by what they are.

    Gradients go around a ring twice, each time all but one part of `gpus`. Rows of student and teacher are gathered in
    a ring, and the student's gradients of them scattered back. A ring enters and leaves a node once: what a node sends
    to others is what a GPU sends.

    Example:
        >>> moved(Network(1_000_000, 0, 0, 64), 512, 8)
        {'gradients': 7000000.0, 'rows': 344064.0}
    """
    others = (gpus - 1) / gpus
    return {"gradients": 2 * others * 4 * network.parameters, "rows": 3 * others * batch * network.projections * 4}


def step(network: Network, batch: int, gpus: int, between: float) -> dict[str, float]:
    """Seconds of a step: computing, the loss, and what waits for the network.

    Args:
        network: that is trained.
        batch: images of all GPUs together.
        gpus: processes.
        between: bytes a second of a node, each way, to others.
    """
    own, rate = batch / gpus, ASSUMED["within"] if gpus <= ASSUMED["gpus_a_node"] else min(between, ASSUMED["within"])
    hop = ASSUMED["latency"] * math.log2(gpus)
    computing = 3 * 2 * network.multiply_adds * own / ASSUMED["flops"]  # a backward pass costs two forward ones
    pairs = own * batch
    loss = 6 * pairs * network.projections / ASSUMED["flops"] + ASSUMED["passes"] * 4 * pairs / ASSUMED["memory"]
    sent = moved(network, batch, gpus)
    buckets = math.ceil(4 * network.parameters / ASSUMED["bucket"])
    sending = sent["gradients"] / rate + 2 * buckets * hop
    last = sending / buckets  # nothing is left to compute while it is sent
    gradients = last + max(0.0, sending - last - BACKWARD * computing)
    rows = sent["rows"] / rate + 3 * hop
    norms = 2 * network.norms * hop  # sums of a few thousand numbers, forward and backward: waiting only
    flag = 2 * (gpus - 1) * ASSUMED["message"] / asked_every(gpus)
    whole = computing + loss + gradients + rows + norms + flag
    return {"computing": computing, "loss": loss, "gradients": gradients, "rows": rows, "norms": norms, "flag": flag,
            "efficiency": computing / whole}  # fmt: skip


def computed() -> list[dict[str, Any]]:
    """A row for every network, batch and number of GPUs."""
    rows = []
    for name, arch in ARCHS.items():
        network = counted(arch)
        for kind, of in BATCHES.items():
            for gpus in GPUS:
                batch = of(gpus)
                about = {"network": name, "batch": kind, "gpus": gpus, "images": batch}
                times = {speed: step(network, batch, gpus, ASSUMED[speed]) for speed in ("fast", "slow")}
                rows.append(about | network._asdict() | {"bytes": moved(network, batch, gpus)} | times)
    return rows


def table(results: dict[str, Any]) -> str:
    """The table of docs/scale.md, and what it assumes."""
    head = ["network, batch", "GPUs", "images a GPU", "computing", "gradients sent", "rows sent", "loss",
            "waits: gradients, rows, norms, flag", "efficiency", "at 100 Gb/s a node"]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    for row in results["rows"]:
        fast, slow = row["fast"], row["slow"]
        waits = ", ".join(f"{1e3 * fast[part]:.1f}" for part in ("gradients", "rows", "norms", "flag"))
        cells = [
            f"{row['network']}, {row['batch']}",
            str(row["gpus"]),
            f"{row['images'] // row['gpus']:,}",
            f"{1e3 * fast['computing']:.1f} ms",
            f"{row['bytes']['gradients'] / 1e6:.0f} MB",
            f"{row['bytes']['rows'] / 1e6:.1f} MB",
            f"{1e3 * fast['loss']:.1f} ms",
            f"{waits} ms",
            f"{100 * fast['efficiency']:.0f} %",
            f"{100 * slow['efficiency']:.0f} %" if row["gpus"] > results["assumed"]["gpus_a_node"] else "-",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    known = results["assumed"]
    sizes = {row["network"]: row for row in results["rows"]}
    networks = "; ".join(
        f"{name} {row['parameters'] / 1e6:.1f} million parameters, {row['multiply_adds'] / 1e9:.2f} billion "
        f"multiply-adds an image, {row['norms']} batch normalisations"
        for name, row in sizes.items()
    )
    what = (
        f"**Computed, not measured**, by `{results['command']}`. Counted: {networks} (with the heads, {CLASSES:,} "
        f"classes, {PIXELS} px). Assumed: {known['flops'] / 1e12:.0f} TFLOP/s achieved and "
        f"{known['memory'] / 1e12:.0f} TB/s of memory a GPU; rings over GPUs, of {known['within'] / 1e9:.0f} GB/s each "
        f"way within a node of {known['gpus_a_node']}; between nodes {known['fast'] / 1e9:.0f} GB/s a node (a card of "
        f"400 Gb/s a GPU), in the last column {known['slow'] / 1e9:.0f} GB/s (one of 100 Gb/s a node); "
        f"{1e6 * known['latency']:.0f} µs a collective operation for each doubling of the GPUs, "
        f"{1e6 * known['message']:.0f} µs a message between CPUs; gradients in float32 in buckets of "
        f"{known['bucket'] / 2**20:.0f} MiB, sent during the backward pass (two thirds of the computing) but for the "
        f"last one; {known['passes']} passes over a matrix of similarities. Efficiency: the share of a "
        "step in which networks compute. Reading images is left out."
    )
    return "\n".join([*lines, "", what])


def main() -> None:
    """Compute, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results = {"assumed": ASSUMED, "rows": computed()}
    print(table({"command": "python benchmarks/scale_model.py"} | results))
    keep(options.out, options, results)


if __name__ == "__main__":
    main()
