"""A `torch.export` program in a file (.pt2)."""

from pathlib import Path

import torch

from supcrd.export.about import KEY, About
from supcrd.export.network import Deployed
from supcrd.export.trace import quiet, traced


def write(network: Deployed, about: About, path: Path) -> None:
    """Write a network's program.

    Raises:
        CheckpointError: something in it cannot be traced.
        OSError: the file cannot be written.
    """
    program = traced(network, network.example(about.card))
    with quiet():
        torch.export.save(program, path, extra_files={f"{KEY}.json": about.to_text()})
