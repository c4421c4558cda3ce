"""`supcrd export`: a model's file for deployment, which gets its name once it was checked."""

import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from supcrd.base.files import replacing
from supcrd.base.seeding import permutation
from supcrd.data import ImageSet, Split
from supcrd.data.split import subset
from supcrd.data.stream import fetch
from supcrd.errors import CheckpointError, DataError
from supcrd.evaluation.measures import deployed
from supcrd.export import check, onnx, program, quantise, rounding
from supcrd.export.about import About
from supcrd.export.extra import need
from supcrd.export.load import SUFFIX, Exported
from supcrd.export.network import INPUTS, Deployed, Input, as_input
from supcrd.jobs import measured_on
from supcrd.jobs.exported import logits, measure, pixels
from supcrd.models.card import Card
from supcrd.models.normalised import Normalised
from supcrd.models.weights import load_model

FEWEST, MOST = 32, 512  # calibration images
CHECKED = 16  # images whose logits are compared
LIMIT = 0.5
"""Points of accuracy that int8 may lose unless it is said otherwise."""
ROUNDING = 1e-9
BATCH = 64
SENSITIVE = 512  # images that sensitive layers are told by
ROUNDED_BY = 128  # calibration images that weights are rounded by


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to export."""

    to: str = "onnx"
    """onnx or torch"""
    int8: bool = False
    input: Input = "uint8"
    keep: tuple[str, ...] = ()
    """layers of an int8 file that stay in float32"""
    limit: float | None = None
    """largest loss of accuracy by int8, in points; `LIMIT`, or one image where that is more, if not given"""
    threads: int = 1
    """of the latency measured"""

    def check(self, out: Path) -> None:
        """Refuse what cannot be written, before any work.

        Raises:
            CheckpointError: see above.
        """
        if self.to not in SUFFIX:
            raise CheckpointError(f"--to {self.to:.80} is unknown; onnx or torch is right")
        if self.int8 and self.to != "onnx":
            raise CheckpointError("--int8 is for --to onnx")
        if self.keep and not self.int8:
            raise CheckpointError("--keep is for --int8: all layers of this file are float32")
        if out.suffix != SUFFIX[self.to]:
            raise CheckpointError(f"--out {out}: a file of --to {self.to} ends with {SUFFIX[self.to]}")
        if not out.parent.is_dir():
            raise CheckpointError(f"--out {out}: there is no folder {out.parent}")
        if out.is_dir():
            raise CheckpointError(f"--out {out} is a folder; a file is right")
        if self.to == "onnx":
            for package in ("onnx", "onnxruntime", "onnxscript"):
                need(package)


def export(
    path: Path,
    out: Path,
    wanted: Wanted,
    *,
    source: str | None = None,
    calibrate: str | None = None,
    split: str = "validation",
    data_folder: str = "data",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    classes: str | None = None,
    **known: Any,
) -> dict[str, Any]:
    """Write a model's file, measure it beside the model, and only then give it its name.

    Args:
        path: run folder, .safetensors or published .pth.
        out: the file; replaced whole if it is there.
        wanted: the format.
        source: the data to measure on; None for that of the run that trained the model. Weights that name no data are
            checked on random images, and the result has no accuracy.
        calibrate: the data whose training images give the ranges of an int8 file; those of `source` if not given.
        split: to measure on; test where there is no validation split.
        data_folder: the folder of CIFAR archives.
        mean, std, known: as `supcrd.models.weights.load_model`.
        classes: a text file with the names of the outputs, as for `evaluate_file`; they are in the file's metadata.

    Returns:
        file, model, parameters (of encoder and classifier, a student's projector included), precision, input, source,
        split, n; difference, of the float32 file's logits from the model's as a
        share of the largest; threads; files: megabytes, milliseconds of one image (median and p95), accuracy, nll and
        ece of the model ("torch": times alone), of the float32 file and, of --int8, of the int8 one; lost, by int8, in
        points; notes.

    Raises:
        SupcrdError: the model or the data cannot be loaded or exported; the file's answers are not the model's; int8
            loses more accuracy than `wanted.limit` allows. Then `out` is as it was.
    """
    wanted.check(out)
    measured_on.check_split(split)
    model, card = load_model(path, mean=mean, std=std, **known)
    if classes is not None:
        card = replace(card, class_names=measured_on.names(classes, card, path))
    network = Deployed(model, card, wanted.input)
    images = _images(path, card, source, split, data_folder)
    part = None if images is None else measured_on.chosen(images, _there(images, split))
    batches = _calibration(path, card, images, calibrate, data_folder, wanted) if wanted.int8 else []
    with TemporaryDirectory() as folder:
        file = Path(folder, f"float32{out.suffix}")
        about = About(card=card, input=wanted.input, precision="float32")
        (onnx if wanted.to == "onnx" else program).write(network, about, file)
        subject, sample = Normalised(model, network.view.mean, network.view.std), _sample(card, part)
        result = _measured(subject, file, part, sample, wanted)
        if wanted.int8:
            plain, file = file, Path(folder, "int8.onnx")
            about = replace(about, precision="int8", float_layers=wanted.keep)
            near = _quantise(network, plain, about, batches, file)
            result["files"]["int8"] = _of_file(file, part, sample, wanted)
            result["notes"] += _processor()
            _check_loss(result, network, (plain, near), about, batches, part, wanted)
        with replacing(out) as temporary:
            shutil.copyfile(file, temporary)
    named = {} if images is None else {"source": images.source, "split": _there(images, split)}
    described = {"file": str(out), "model": str(path), "parameters": deployed(model)}
    return described | {"precision": about.precision, "input": about.input} | named | result


def checked_input(text: str) -> Input:
    """What --input may be."""
    if text not in INPUTS:
        raise CheckpointError(f"--input {text:.80} is unknown; {' or '.join(INPUTS)} is right")
    return text  # type: ignore[return-value]


def _images(path: Path, card: Card, source: str | None, split: str, data_folder: str) -> ImageSet | None:
    """The data to measure on; None where there are none."""
    own = (card.recipe or {}).get("data")
    if source is None and not (isinstance(own, dict) and "source" in own):
        return None
    return measured_on.as_they_are(card, path, source, data_folder, split)


def _there(images: ImageSet, split: str) -> str:
    """The split asked for, or test in place of a validation split that is not there."""
    return "test" if split == "validation" and images.validation is None else split


def _calibration(
    path: Path, card: Card, images: ImageSet | None, calibrate: str | None, data_folder: str, wanted: Wanted
) -> list[NDArray[Any]]:
    """Batches of training images, drawn by no seed of the user's: the same data give the same file."""
    if calibrate is not None:
        images = _images(path, card, calibrate, "train", data_folder)
    if images is None:
        raise DataError(
            "--calibrate DATA is needed: int8 ranges come from training images, and the model names no data"
        )
    train = images.train if images.train is not None else images.validation
    count = 0 if train is None else len(train)
    if train is None or count < FEWEST:
        raise DataError(f"--calibrate: {images.source} has {count} training images; {FEWEST} or more are right")
    rows = permutation(count, "calibration", images.fingerprint)[:MOST].sort().values
    (drawn,) = fetch(train.images, [rows], torch.device("cpu"))
    given = pixels(drawn)
    return [as_input(batch, wanted.input).numpy() for batch in torch.split(given, BATCH)]


def _measured(subject: Normalised, file: Path, part: Split | None, sample: Tensor, wanted: Wanted) -> dict[str, Any]:
    """The model and its float32 file beside one another."""

    def right(images: Tensor) -> Tensor:
        with torch.inference_mode():
            answers: Tensor = subject.model(subject.prepare(images.float() / 255)).logits
        return answers

    notes = [] if part is not None else ["checked on random images: give --data for its accuracy"]
    difference = check.agrees(Exported(file), right, sample)
    with check.threads(wanted.threads):
        time = check.latency(right, sample[:1], wanted.threads)
    own = {"milliseconds": time.median, "milliseconds_p95": time.p95}
    files = {"torch": own, "float32": _of_file(file, part, sample, wanted)}
    about = {"n": len(part)} if part is not None else {}
    return about | {"difference": difference, "threads": wanted.threads, "files": files, "notes": notes}


def _sample(card: Card, part: Split | None) -> Tensor:
    """Images to compare outputs of, (N, channels, H, W) uint8."""
    if part is None:
        generator = torch.Generator().manual_seed(0)
        shape = (CHECKED, card.in_channels, card.image_size, card.image_size)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    (images,) = fetch(part.images, [slice(0, CHECKED)], torch.device("cpu"))
    return pixels(images)


def _of_file(file: Path, part: Split | None, sample: Tensor, wanted: Wanted) -> dict[str, Any]:
    """Size, latency and accuracy of a file."""
    timed = Exported(file, threads=wanted.threads)
    with check.threads(wanted.threads):
        time = check.latency(timed.logits, sample[:1], wanted.threads)
    numbers = {"megabytes": check.megabytes(file), "milliseconds": time.median, "milliseconds_p95": time.p95}
    if part is not None:
        measures = measure(Exported(file), part)
        numbers |= {key: measures[key] for key in ("accuracy", "nll", "ece")}
    return numbers


def _quantise(network: Deployed, plain: Path, about: About, batches: list[NDArray[Any]], path: Path) -> Path:
    """Write the 8-bit file of a network whose float32 file is `plain`; the float32 file with rounded weights."""
    quantise.check_layers(plain, about.float_layers)
    images = torch.split(torch.from_numpy(np.concatenate(batches)[:ROUNDED_BY]), BATCH)
    near = rounding.rounded(network, images, but=about.float_layers)
    source = path.with_name("rounded.onnx")
    onnx.write(near, replace(about, precision="float32", float_layers=()), source)
    quantise.quantise(source, about, batches, path)
    return source


def _allowed(limit: float | None, images: int) -> float:
    """Points of accuracy that int8 may lose on so many images.

    Example:
        >>> _allowed(None, 1000), _allowed(None, 125), _allowed(0.1, 125)
        (0.5, 0.8, 0.1)
    """
    return max(LIMIT, 100 / images) if limit is None else limit


def _check_loss(
    result: dict[str, Any],
    network: Deployed,
    plain: tuple[Path, Path],
    about: About,
    batches: list[NDArray[Any]],
    part: Split | None,
    wanted: Wanted,
) -> None:
    """Refuse an int8 file that loses too much; names the layers that cost most.

    `plain` are the float32 files, as it is and with rounded weights.

    Raises:
        CheckpointError: see above.
    """
    if part is None:
        return
    files = result["files"]
    lost = 100 * (files["float32"]["accuracy"] - files["int8"]["accuracy"])
    result["lost"] = lost
    allowed = _allowed(wanted.limit, len(part))
    if lost <= allowed + ROUNDING:
        return
    some = subset(part, permutation(len(part), "sensitive")[:SENSITIVE])
    best = quantise.sensitive(*plain, about, batches, lambda path: logits(Exported(path), some.images).numpy())
    layers = (*wanted.keep, *(name for name, _ in best))
    with TemporaryDirectory() as folder:
        file = Path(folder, "kept.onnx")
        _quantise(network, plain[0], replace(about, float_layers=layers), batches, file)
        then = 100 * (files["float32"]["accuracy"] - measure(Exported(file), part)["accuracy"])
    from_to = f"{files['float32']['accuracy']:.2%} to {files['int8']['accuracy']:.2%}, n = {len(part)}"
    raise CheckpointError(
        f"int8 loses {lost:.2f} points of accuracy ({from_to}); {allowed:.4g} are allowed (--limit). With the most "
        f"sensitive layers in float32, --keep {','.join(layers)}, it loses {then:.2f}; the other way is some epochs of "
        "training with train.quantize=true"
    )


def _processor() -> list[str]:
    """What to say of a processor that int8 gains less on."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return []
    if platform.machine() not in ("x86_64", "AMD64") or "vnni" in flags:
        return []
    return ["this processor has no VNNI instructions: int8 is slower here than on one that has them"]
