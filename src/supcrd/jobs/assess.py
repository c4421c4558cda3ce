"""Models from files: measured on data (`supcrd evaluate`), or applied to images (`supcrd predict`)."""

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from supcrd import data as datasets
from supcrd.base import device as devices
from supcrd.base.files import user_path
from supcrd.base.seeding import seed_for
from supcrd.data import ImageSet
from supcrd.data.augment import to_float
from supcrd.data.classes import match, numbered, read_names, renamed
from supcrd.data.sources.folder import image_files, read_images
from supcrd.errors import CheckpointError, DataError, RunError
from supcrd.evaluation import health
from supcrd.evaluation.evaluate import evaluate
from supcrd.jobs.student import Report
from supcrd.models import Model
from supcrd.models.weights import Card, has_card
from supcrd.models.weights import load_model as read_model
from supcrd.recipe.settings import DataSettings, ProbeSettings
from supcrd.runs.folder import RunFolder
from supcrd.training.task import Normalised

SPLITS = ("test", "validation", "train")

logger = logging.getLogger("supcrd")


def load_model(path: str | Path) -> Model:
    """Load a model that supcrd trained, ready to use, without its recipe and data.

    Args:
        path: run folder, .safetensors file, or published .pth.

    Returns:
        The model on the CPU in eval mode: `features, projections, logits = model(images)`, images (B, channels, H, W)
        normalised by `model.card.mean` and `.std` (0..1 scale); `model.card.class_names` names the logits.

    Raises:
        CheckpointError: missing, damaged, or holding code.

    Example:
        >>> import tempfile
        >>> from supcrd.models.weights import Card, save_model
        >>> model = Model(2, "resnet8", in_channels=1, image_size=8)
        >>> card = Card(arch="resnet8", num_classes=2, in_channels=1, image_size=8, class_names=("cat", "dog"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = save_model(Path(folder), model, card)
        ...     load_model(folder).card.class_names
        ('cat', 'dog')
    """
    model, card = read_model(path)
    model.card = card
    return model


def evaluate_file(
    path: Path,
    source: str | None,
    *,
    split: str = "test",
    arch: str | None = None,
    num_classes: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    classes: str | None = None,
    image_size: int | None = None,
    data_folder: str = "data",
    device: str = "auto",
    report: Report | None = None,
) -> dict[str, Any]:
    """Measure a model file on a split of a data source.

    Args:
        path: run folder, .safetensors or published .pth.
        source: as `supcrd.data.load`; None for that of the run that trained the model.
        split: test, validation or train.
        arch, num_classes, mean, std, image_size: as `supcrd.models.weights.load_model`. Weights of unknown
            normalisation get the statistics of the source's training images, and the log says so. Images of another
            size than the model's are resized on the device if `image_size` is given or the weights are from outside.
        classes: a text file with the names of the model's outputs in their order, one per line, instead of its card's.
        data_folder: the folder of CIFAR archives.
        device: auto, cpu, cuda, cuda:N or mps.
        report: called with the probe's progress.

    Returns:
        The values of `supcrd.evaluation.evaluate.evaluate`, with model, source, split, class_names and warnings: those
        of the model's card, or, if it has none, those of these values. Neighbours and probe need training images: their
        accuracies are None if the source has none, or if the split measured is train.

    Raises:
        SupcrdError: the model or the data cannot be loaded, or do not fit each other.
    """
    if split not in SPLITS:
        raise DataError(f"--split {split!r} is unknown; test, validation or train is right")
    if (mean is None) != (std is None):
        raise CheckpointError("--mean and --std must be given together")
    place = devices.choose(device, "float32")
    known: dict[str, Any] = {"arch": arch, "num_classes": num_classes, "mean": mean, "std": std}
    model, card = read_model(path, image_size=image_size, **known)
    try:
        probe = ProbeSettings.model_validate((card.recipe or {}).get("probe", {}))
        images = _load(card, source, data_folder, split)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its recipe is not of this version ({str(error).splitlines()[0]})") from None
    resizes = image_size is not None or not has_card(path)
    if image_size is None and resizes and card.stem != "native" and card.image_size != images.image_size:
        model, card = read_model(path, default_size=images.image_size, **known)  # the file may not determine the size
    names = card.class_names if classes is None else _names(classes, card, path)
    order = match(names, card.num_classes, images, model=f"the model {path}", key="--classes FILE")
    _check_fit(card, images, path, resizes=resizes)
    _check_unchanged(path, images, source)
    images = numbered(images, order, names or tuple(map(str, range(card.num_classes))))
    chosen = {"test": images.test, "validation": images.validation, "train": images.train}[split]
    if chosen is None or len(chosen) == 0:
        present = [name for name in SPLITS if getattr(images, name) is not None]
        raise DataError(f"{images.source} has no {split} split; it has {', '.join(present)}")
    if card.mean is None or card.std is None:
        if images.train is None:
            raise CheckpointError(f"{path} does not say how its images were normalised; give --mean and --std")
        mean, std = datasets.channel_statistics(images.train.images)
        logger.warning("%s does not say its normalisation; measured on train: mean %s, std %s", path, mean, std)
    else:
        mean, std = card.mean, card.std
    bank = images.train if split != "train" else None
    numbers = evaluate(
        Normalised(model, tuple(mean), tuple(std)),
        chosen,
        place,
        train=bank,
        probe=probe,
        seed=seed_for("probe", (card.recipe or {}).get("seed", 0)),
        report=(lambda progress: report(str(path), "probe", progress)) if report else None,
    )
    about = {"model": str(path), "arch": card.arch, "source": images.source, "split": split}
    values = {**about, **numbers.values, "projection_trained": card.projection_trained}
    values["class_names"] = list(images.class_names)
    return values | {"warnings": list(card.warnings) or health.judge(values)}


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
    top: int = 5,
) -> list[dict[str, Any]]:
    """The most probable classes of image files.

    Args:
        path: run folder, .safetensors or published .pth (which needs mean and std).
        images: files and folders of them; resized to the model's size, centre crop.
        arch, num_classes, mean, std, image_size: as `supcrd.models.weights.load_model`.
        classes: as for `evaluate_file`.
        top: largest number of classes per image.

    Returns:
        Per image a dict: image, classes (class, index, probability 0..1; most probable first).

    Raises:
        SupcrdError: the model cannot be loaded, or an image cannot be read.
    """
    model, card = read_model(path, arch=arch, num_classes=num_classes, mean=mean, std=std, image_size=image_size)
    if card.mean is None or card.std is None:
        raise CheckpointError(f"{path} does not say how its images were normalised; give --mean and --std")
    if card.in_channels not in (1, 3):
        raise CheckpointError(f"{path} takes {card.in_channels}-channel images; only grey and RGB files can be read")
    names = card.class_names or tuple(str(index) for index in range(card.num_classes))
    if classes is not None:
        names = _names(classes, card, path)
    images = image_files(images)
    # all files are read first, so that a damaged one leaves no partial result
    pixels = read_images(images, channels=card.in_channels, image_size=card.image_size, levels=card.levels)
    subject = Normalised(model, card.mean, card.std)
    rows = []
    with torch.inference_mode():
        for image, array in zip(images, pixels, strict=True):
            probabilities = torch.softmax(model(subject.prepare(to_float(array[None]))).logits[0], dim=0)
            if not bool(probabilities.isfinite().all()):
                raise CheckpointError(f"{path}: its outputs of {image} are not finite; check --mean and --std")
            best = probabilities.topk(min(top, card.num_classes))
            likely = [
                {"class": names[index], "index": index, "probability": probability}
                for probability, index in zip(best.values.tolist(), best.indices.tolist(), strict=True)
            ]
            rows.append({"image": str(image), "classes": likely})
    return rows


def _load(card: Card, source: str | None, data_folder: str, split: str) -> ImageSet:
    """The data, with the splits of the run that trained the model."""
    table = dict((card.recipe or {}).get("data", {}))
    if source is None and "source" not in table:
        raise DataError("--data is needed: the model does not say on which data it was trained")
    if source is not None and not _same_source(source, table.get("source")):
        # in data other than the run's, all of train serves as neighbours, unless the validation split is measured
        table = {"source": source} if split == "validation" else {"source": source, "validation": 0.0}
        if source.startswith(("folder:", "shards:")):
            table |= {"image_size": card.image_size, "levels": card.levels}
    settings = DataSettings(**table)
    loaded = datasets.load(
        settings.source,
        folder=data_folder,
        validation=settings.validation,
        split_seed=settings.split_seed,
        image_size=settings.image_size,
        limit=settings.limit,
        require_train=False,
        stream=settings.stream,
        workers=settings.workers,
        levels=settings.levels,
        damaged=settings.damaged,
        unlabelled=settings.unlabelled,
    )
    return renamed(loaded, settings.classes)


def _check_unchanged(path: Path, images: ImageSet, source: str | None) -> None:
    """Warn if a run's own data are no longer those that it was trained and measured on."""
    with contextlib.suppress(RunError):
        before = RunFolder(path).evaluation.get("data_fingerprint") if source is None else None
        if before not in (None, images.fingerprint):
            logger.warning("%s has changed since %s was trained: other images, or other splits", images.source,
                           path)  # fmt: skip


def _names(classes: str, card: Card, path: Path) -> tuple[str, ...]:
    """The names of a model's outputs from a file."""
    names = read_names(classes, "--classes")
    if len(names) != card.num_classes:
        raise DataError(f"--classes {classes} has {len(names)} names, the model {path} has {card.num_classes} outputs")
    return names


def _same_source(one: str, other: str | None) -> bool:
    """Whether two sources are the same files; a path can be written in several ways.

    A new validation split would have images that the model was trained on, and so an accuracy that is too high.
    """
    kinds, paths = zip(*((text or "").partition(":")[::2] for text in (one, other)), strict=True)
    return kinds[0] == kinds[1] and user_path(paths[0]).resolve() == user_path(paths[1]).resolve()


def _check_fit(card: Card, images: ImageSet, path: Path, *, resizes: bool) -> None:
    if images.channels != card.in_channels:
        raise DataError(
            f"{images.source} has {images.channels}-channel images, the model {path} takes {card.in_channels}"
        )
    if images.image_size != card.image_size:
        sizes = f"{images.source} has {images.image_size} px images, the model {path} takes {card.image_size} px"
        if not resizes:
            raise DataError(f"{sizes}; --image-size {card.image_size} resizes them")
        logger.info("%s: they are resized", sizes)
