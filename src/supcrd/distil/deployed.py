"""What a model costs where it is deployed: its size, and its latency on this machine."""

from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import nn

from supcrd.base.device import choose
from supcrd.base.timing import durations
from supcrd.models.weights import load_model

SECONDS = 1.0  # of timing for each batch size
ROUNDS = 50  # at most


@dataclass(frozen=True)
class Cost:
    """Of encoder and classifier in float32."""

    parameters: int
    megabytes: float
    milliseconds: float
    """median time of one image"""
    images_per_second: float
    """in batches of `batch_size`, by the median time"""
    batch_size: int
    place: str
    """device, and on a CPU the number of threads"""


def cost(model: str | Path, *, device: str = "cpu", batch_size: int = 64) -> Cost:
    """Measure a saved model on random images of its size, in eval mode.

    Args:
        model: a run folder or a .safetensors file.
        device: where to run it.
        batch_size: of the throughput.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    loaded, card = load_model(model)
    place = choose(device, "float32")
    network = place.put(nn.Sequential(loaded.encoder, loaded.classifier).eval())
    parameters = sum(p.numel() for p in network.parameters())

    def seconds(count: int) -> float:
        images = torch.rand(count, card.in_channels, card.image_size, card.image_size, device=place.device)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            return median(durations(lambda: network(images), seconds=SECONDS, rounds=ROUNDS, wait=place.wait))

    kind = place.device.type
    name = torch.cuda.get_device_name(place.device) if kind == "cuda" else kind
    threads = torch.get_num_threads()
    where = f"{name}, {threads} thread{'s' * (threads > 1)}" if kind == "cpu" else name
    return Cost(
        parameters=parameters,
        megabytes=4 * parameters / 1e6,
        milliseconds=1e3 * seconds(1),
        images_per_second=batch_size / seconds(batch_size),
        batch_size=batch_size,
        place=where,
    )
