"""An exported file, ready to classify images."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supcrd.errors import CheckpointError
from supcrd.export.about import KEY, About
from supcrd.export.extra import need
from supcrd.export.network import as_input
from supcrd.export.onnx import IMAGES

SUFFIX = {"onnx": ".onnx", "torch": ".pt2"}
"""What files of each format end with."""


class Exported:
    """A file that `supcrd export` wrote.

    Args:
        path: an .onnx or .pt2 file.
        threads: for onnxruntime; all cores if not given. A .pt2 file uses torch's.

    Raises:
        CheckpointError: missing, truncated, not written by supcrd, or of a newer format.
        SupcrdError: the packages for ONNX are not installed.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise CheckpointError(f"{self.path} is not there, or no file")
        read = _onnx if self.path.suffix == SUFFIX["onnx"] else _program
        try:
            self.about, self._run = read(self.path, threads)
        except CheckpointError as error:
            raise CheckpointError(f"{self.path}: {error}") from error

    def logits(self, pixels: Tensor) -> Tensor:
        """Logits of images.

        Args:
            pixels: (B, channels, H, W) uint8, of the card's size.

        Returns:
            (B, C) float32.
        """
        return self._run(as_input(pixels, self.about.input))


def is_exported(path: str | Path) -> bool:
    """Whether a path is to be read by `Exported`, by its suffix.

    Example:
        >>> is_exported("digits.onnx"), is_exported("model.safetensors")
        (True, False)
    """
    return Path(path).suffix in SUFFIX.values()


def _onnx(path: Path, threads: int | None) -> tuple[About, Callable[[Tensor], Tensor]]:
    runtime = need("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # errors are raised, and said once
    if threads is not None:
        options.intra_op_num_threads = options.inter_op_num_threads = threads
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own kinds share no base
        said = str(error).rpartition(" : ")[2] or str(error)
        raise CheckpointError(f"truncated, damaged, or of a newer format than onnxruntime's: {said:.120}") from error
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    if text is None:
        raise CheckpointError("an ONNX file that supcrd did not write; one by `supcrd export` is right")

    def run(images: Tensor) -> Tensor:
        (logits,) = session.run(None, {IMAGES: images.contiguous().numpy()})
        return torch.from_numpy(logits)

    return About.from_text(text), run


def _program(path: Path, threads: int | None) -> tuple[About, Callable[[Tensor], Tensor]]:
    described: dict[str, Any] = {f"{KEY}.json": ""}
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("no archive")
        program = torch.export.load(path, extra_files=described)
        module = program.module()
    except Exception as error:  # damaged bytes make torch raise errors of any kind
        raise CheckpointError(f"truncated, damaged or no torch.export program ({error!s:.80})") from error
    text = described[f"{KEY}.json"]
    if not text:
        raise CheckpointError("a program that supcrd did not write; one by `supcrd export` is right")

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = module(images)
        return logits

    return About.from_text(text), run
