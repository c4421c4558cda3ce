"""Milliseconds of forward and backward by precision and memory format: why `device.Place` chooses as it does.

    python benchmarks/precision.py --out docs/results/precision-cpu.json

Medians; the four ways of a network take turns within a round.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch

from supcrd.base import device
from supcrd.base.files import write_json
from supcrd.models import Model
from supcrd.runs.environment import environment

CASES = (("resnet18", 64, 32), ("convnet", 256, 32), ("resnet8", 128, 8))  # arch, images, pixels


def step(model: Model, images: torch.Tensor, *, bfloat16: bool) -> None:
    """A forward and backward pass of all outputs."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
        output = model(images)
    (output.projections.float().sum() + output.logits.float().sum()).backward()


def main() -> None:
    """Measure, print and, with --out, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    where = device.choose().device
    formats = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
    table: dict[str, dict[str, float]] = {}
    for arch, count, size in CASES:
        times: dict[str, list[float]] = {}
        for turn in range(options.rounds + 1):
            for name, layout in formats.items():
                for precision in ("float32", "bfloat16"):
                    torch.manual_seed(0)
                    model = Model(100, arch, image_size=size).to(where, memory_format=layout)
                    images = torch.rand(count, 3, size, size, device=where).contiguous(memory_format=layout)
                    step(model, images, bfloat16=precision == "bfloat16")
                    start = time.perf_counter()
                    step(model, images, bfloat16=precision == "bfloat16")
                    if where.type == "cuda":
                        torch.cuda.synchronize()
                    if turn > 0:
                        times.setdefault(f"{precision} {name}", []).append(1000 * (time.perf_counter() - start))
        case = f"{arch}, {count} images of {size} px"
        table[case] = {way: round(statistics.median(values), 2) for way, values in times.items()}
        print(case, table[case])
    if options.out is not None:
        command = f"python benchmarks/precision.py --rounds {options.rounds} --out {options.out}"
        result = {"command": command, "n": options.rounds, "milliseconds": table, "environment": environment()}
        write_json(options.out, result)


if __name__ == "__main__":
    main()
