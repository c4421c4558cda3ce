"""Models from files, applied to images (`supcrd predict`)."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from supcrd.base.files import replacing
from supcrd.base.wording import no_formula
from supcrd.data.augment import to_float
from supcrd.data.pictures import image_files
from supcrd.data.sources.folder import common_levels, read_images
from supcrd.errors import CheckpointError, SupcrdError
from supcrd.export.load import is_exported
from supcrd.jobs import exported, measured_on
from supcrd.models.card import Card
from supcrd.models.weights import load_model as read_model
from supcrd.training.task import Normalised

BLOCK = 256  # images that are decoded at a time
ENDINGS = (".csv", ".jsonl")
"""Of files that predictions are written to."""


def predict_files(
    path: Path,
    images: Sequence[Path],
    *,
    arch: str | None = None,
    num_classes: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    classes: str | None = None,
    image_size: int | None = None,
    state_dict: str | None = None,
    top: int = 5,
) -> list[dict[str, Any]]:
    """The most probable classes of image files.

    Args:
        path: run folder, .safetensors or published .pth (which needs mean and std).
        images: files, folders of them and patterns such as `photos/*.jpg` (`pictures.image_files`); resized to the
            model's size, centre crop.
        arch, num_classes, mean, std, image_size, state_dict: as `supcrd.models.weights.load_model`.
        classes: as for `evaluate_file`.
        top: largest number of classes per image.

    Returns:
        Per image a dict: image, classes (class, index, probability 0..1; most probable first).

    Raises:
        SupcrdError: the model cannot be loaded, or an image cannot be read.

    Cost: 256 decoded images at a time.
    """
    known = {"arch": arch, "num_classes": num_classes, "mean": mean, "std": std, "image_size": image_size}
    known["state_dict"] = state_dict
    card, answer = _exported(path, **known) if is_exported(path) else _loaded(path, **known)
    if card.in_channels not in (1, 3):
        raise CheckpointError(f"{path} takes {card.in_channels}-channel images; only grey and RGB files can be read")
    names = card.class_names or tuple(str(index) for index in range(card.num_classes))
    if classes is not None:
        names = measured_on.names(classes, card, path)
    rows = []
    with torch.inference_mode():
        for image, array in _pixels(image_files(images), card):
            probabilities = torch.softmax(answer(array[None])[0], dim=0)
            if not bool(probabilities.isfinite().all()):
                raise CheckpointError(f"{path}: its outputs of {image} are not finite; check --mean and --std")
            best = probabilities.topk(min(top, card.num_classes))
            likely = [
                {"class": names[index], "index": index, "probability": probability}
                for probability, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
            ]
            rows.append({"image": str(image), "classes": likely})
    return rows


def _pixels(paths: Sequence[Path], card: Card) -> Iterator[tuple[Path, Tensor]]:
    """The images, decoded block by block; deep ones of all files have the same black and white."""
    levels = card.levels or common_levels(paths)
    for start in range(0, len(paths), BLOCK):
        block = paths[start : start + BLOCK]
        # no deep image: a pair that is not looked at keeps the headers from being read again
        pixels = read_images(
            block, channels=card.in_channels, image_size=card.image_size, levels=levels or (0.0, 255.0)
        )
        yield from zip(block, pixels, strict=True)


def check_out(out: Path | None) -> None:
    """Refuse a file that predictions cannot be written to, before any work.

    Raises:
        SupcrdError: another ending, or no folder.

    Example:
        >>> check_out(Path("predictions.txt"))
        Traceback (most recent call last):
        supcrd.errors.SupcrdError: --out predictions.txt is not right; a .csv or .jsonl file is
    """
    if out is None:
        return
    if out.suffix.lower() not in ENDINGS or out.is_dir():
        raise SupcrdError(f"--out {out} is not right; a .csv or .jsonl file is")
    if not out.parent.is_dir():
        raise SupcrdError(f"--out {out}: there is no folder {out.parent}")


def write_predictions(rows: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write what `predict_files` gave, at once.

    A .csv file has a line an image: image, class, index and probability of the likeliest class, then class_2,
    probability_2 and so on of the others; before a name that a spreadsheet would take for a formula stands an
    apostrophe. A .jsonl file has the dict of an image a line.

    Raises:
        SupcrdError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> likely = enumerate([("cat", 0.75), ("dog", 0.25)])
        >>> guess = [{"class": name, "index": at, "probability": share} for at, (name, share) in likely]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     out = Path(folder, "p.csv")
        ...     write_predictions([{"image": "a.png", "classes": guess}], out)
        ...     print(out.read_text(), end="")
        image,class,index,probability,class_2,probability_2
        a.png,cat,0,0.75,dog,0.25
    """
    try:
        with replacing(out) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            if out.suffix.lower() == ".jsonl":
                file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
                return
            more = max((len(row["classes"]) for row in rows), default=1)
            further = [name for place in range(2, more + 1) for name in (f"class_{place}", f"probability_{place}")]
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["image", "class", "index", "probability", *further])
            for row in rows:
                first, *others = row["classes"]
                rest = [value for guess in others for value in (no_formula(guess["class"]), guess["probability"])]
                names = no_formula(row["image"]), no_formula(first["class"])
                writer.writerow([*names, first["index"], first["probability"], *rest])
    except (OSError, UnicodeEncodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a name that is no text"
        raise SupcrdError(f"--out {out} cannot be written ({reason})") from None


def _loaded(path: Path, **known: Any) -> tuple[Card, Callable[[Tensor], Tensor]]:
    """A model of weights, and a function from images (B, H, W, channels) uint8 to logits."""
    model, card = read_model(path, **known)
    if card.mean is None or card.std is None:
        raise CheckpointError(f"{path} does not say how its images were normalised; give --mean and --std")
    subject = Normalised(model, card.mean, card.std)
    return card, lambda images: subject.model(subject.prepare(to_float(images))).logits


def _exported(path: Path, **known: Any) -> tuple[Card, Callable[[Tensor], Tensor]]:
    """The same of an exported file."""
    file = exported.readable(path, **known)
    return file.about.card, lambda images: file.logits(exported.pixels(images))
