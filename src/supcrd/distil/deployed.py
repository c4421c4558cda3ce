"""What a model costs where it is deployed: its size, and its latency on this machine."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from supcrd.base.device import Place, choose
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
        return timed(lambda: network(images), place)

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


def timed(run: Callable[[], Tensor], place: Place) -> float:
    """The median time of a call in seconds, after three calls that do not count.

    Example:
        >>> 0 < timed(lambda: torch.zeros(1), choose("cpu")) < 1
        True
    """
    times: list[float] = []
    with torch.inference_mode():
        for _ in range(3):
            run()
        while not times or (sum(times) < SECONDS and len(times) < ROUNDS):
            place.wait()
            start = time.perf_counter()
            run()
            place.wait()
            times.append(time.perf_counter() - start)
    return median(times)
