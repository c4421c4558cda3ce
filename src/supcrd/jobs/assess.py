"""Models from files, measured on data (`supcrd evaluate`)."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from supcrd import data as datasets
from supcrd.base import device as devices
from supcrd.base.seeding import seed_for
from supcrd.data import ImageSet
from supcrd.errors import CheckpointError
from supcrd.evaluation import health
from supcrd.evaluation.evaluate import evaluate
from supcrd.evaluation.final import Rows
from supcrd.export.load import is_exported
from supcrd.hub.names import SCHEME
from supcrd.hub.repository import fetch
from supcrd.jobs import exported, measured_on
from supcrd.jobs.classifier import fit_missing, with_classes
from supcrd.jobs.shared import share
from supcrd.jobs.student import Report
from supcrd.models import Model
from supcrd.models.card import MISSING, Card
from supcrd.models.weights import has_card
from supcrd.models.weights import load_model as read_model
from supcrd.recipe.settings import ProbeSettings
from supcrd.training.blocks import Source
from supcrd.training.task import Normalised

logger = logging.getLogger("supcrd")


def load_model(path: str | Path) -> Model:
    """Load a model that supcrd trained, ready to use, without its recipe and data.

    Args:
        path: run folder, .safetensors file, or published .pth; or hf://OWNER/NAME, optionally @REVISION, of the
            Hugging Face hub, from where only a safetensors file is read.

    Returns:
        The model on the CPU in eval mode: `features, projections, logits = model(images)`, images (B, channels, H, W)
        normalised by `model.card.mean` and `.std` (0..1 scale); `model.card.class_names` names the logits.

    Raises:
        CheckpointError: missing, damaged, or holding code; a hub that does not answer.
        SupcrdError: an address of no repository.

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
    model, card = read_model(fetch(str(path)) if str(path).startswith(SCHEME) else path)
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
    state_dict: str | None = None,
    data_folder: str = "data",
    device: str = "auto",
    plugins: Sequence[str] = (),
    report: Report | None = None,
) -> dict[str, Any]:
    """Measure a model file on a split of a data source.

    Args:
        path: run folder, .safetensors or published .pth.
        source: as `supcrd.data.load`; None for that of the run that trained the model.
        split: test, validation or train.
        arch, num_classes, mean, std, image_size, state_dict: as `supcrd.models.weights.load_model`. Weights of unknown
            normalisation get the statistics of the source's training images, and the log says so. Images of another
            size than the model's are resized on the device if `image_size` is given or the weights are from outside.
        classes: a text file with the names of the model's outputs in their order, one per line, instead of its card's.
        data_folder: the folder of CIFAR archives.
        device: auto, cpu, cuda, cuda:N or mps.
        plugins: that are loaded already, which other processes of a `torchrun` need too.
        report: called with the probe's progress.

    Returns:
        The values of `supcrd.evaluation.evaluate.evaluate`, with model, source, split, class_names and warnings: those
        of the model's card, or, if it has none, those of these values. Neighbours and probe need training images: their
        accuracies are None if the source has none, or if the split measured is train. An encoder without a classifier
        gets one fitted on the training images: `classifier` has what `Final.described` says of it.

    Raises:
        SupcrdError: the model or the data cannot be loaded, or do not fit each other.
    """
    if is_exported(path):
        given = {"arch": arch, "num_classes": num_classes, "mean": mean, "std": std, "image_size": image_size}
        file = exported.readable(path, device, **given, state_dict=state_dict)
        return exported.evaluate(file, source, split=split, classes=classes, data_folder=data_folder)
    measured_on.check_split(split)
    if (mean is None) != (std is None):
        raise CheckpointError("--mean and --std must be given together")
    place = devices.choose(device, "float32")
    known: dict[str, Any] = {"arch": arch, "num_classes": num_classes, "mean": mean, "std": std}
    known |= {"state_dict": state_dict, "headless": True}
    model, card = read_model(path, image_size=image_size, **known)
    try:
        probe = ProbeSettings.model_validate((card.recipe or {}).get("probe", {}))
        load = partial(measured_on.load, card, source, data_folder, split)
        images = load()
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its recipe is not of this version ({str(error).splitlines()[0]})") from None
    resizes = image_size is not None or not has_card(path)
    share(Source(load, tuple(plugins), images.fingerprint), images)
    if image_size is None and resizes and card.stem != "native" and card.image_size != images.image_size:
        # the file may not determine the size
        model, card = read_model(path, default_size=images.image_size, again=True, **known)
    headless = card.classifier == MISSING
    if headless:
        card = _with_classes(model, card, images, path, num_classes, classes)
    images = measured_on.in_order(card, images, path, source, classes)
    measured_on.check_fit(card, images, path, resizes=resizes)
    chosen = measured_on.chosen(images, split)
    if card.mean is None or card.std is None:
        if images.train is None:
            raise CheckpointError(f"{path} does not say how its images were normalised; give --mean and --std")
        mean, std = datasets.channel_statistics(images.train.images)
        logger.warning("%s does not say its normalisation; measured on train: mean %s, std %s", path, mean, std)
    else:
        mean, std = card.mean, card.std
    subject = Normalised(model, tuple(mean), tuple(std))
    final = None
    if headless:
        card, final = fit_missing(subject, card, images, path, place, report)
    numbers = evaluate(
        subject,
        chosen,
        place,
        train=images.train if split != "train" else None,
        train_features=final.train_features if final is not None and split != "train" else None,
        probe=probe,
        seed=seed_for("probe", (card.recipe or {}).get("seed", 0)),
        report=(lambda progress: report(str(path), "probe", progress)) if report else None,
    )
    about = {"model": str(path), "arch": card.arch, "source": images.source, "split": split}
    values = {**about, **numbers.values, "projection_trained": card.projection_trained}
    values["class_names"] = list(images.class_names)
    if final is not None:
        values["classifier"] = final.described(Rows(numbers.outputs.features, chosen.labels))
    return values | {"warnings": list(card.warnings) or health.judge(values)}


def _with_classes(
    model: Model, card: Card, images: ImageSet, path: Path, num_classes: int | None, classes: str | None
) -> Card:
    """The card of an encoder whose classifier is to be of the data's classes."""
    given = "--classes" if classes is not None else "--num-classes"
    if classes is not None or num_classes not in (None, images.num_classes):
        raise CheckpointError(f"{given} is about outputs, but {path} is an encoder without a classifier")
    return with_classes(model, card, images)
