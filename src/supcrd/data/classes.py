"""Which class of a data set is which output of a model: matched by name, or refused."""

import logging
from collections.abc import Sequence

import torch
from torch import nn

from supcrd.base.files import user_path
from supcrd.data import ImageSet, Split
from supcrd.data.images import fingerprint
from supcrd.errors import DataError
from supcrd.models import Model

logger = logging.getLogger("supcrd")

SHOWN = 5  # names of classes in a message


def match(known: Sequence[str] | None, count: int, images: ImageSet, *, model: object, key: str) -> tuple[int, ...]:
    """For each class of a data set the output of a model that means it.

    Names decide: their order does not matter, and the model may know more classes. Where one side has no names (weights
    from elsewhere; an npz or shards whose labels are bare numbers), labels are taken as places of the model's outputs;
    that is logged, and refused unless there are as many of them.

    Args:
        known: names of the model's outputs, in order; None where they are not known.
        count: C, outputs of the model.
        images: the data set.
        model: what to call the model in messages.
        key: how a user names the model's outputs, for messages.

    Returns:
        A place in 0..C-1 for each class of `images`, all different.

    Raises:
        DataError: a class that the model does not know; different numbers of classes without names to match them by.

    Example:
        >>> from supcrd.data import load
        >>> match(tuple("9876543210"), 10, load("digits"), model="a model", key="--classes FILE")
        (9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
    """
    names = images.class_names
    if known is not None and set(names) <= set(known):
        if len(set(known)) < len(known):
            raise DataError(f"{model} has two outputs of one name; {key} gives each its own")
        place = {name: number for number, name in enumerate(known)}
        return tuple(place[name] for name in names)
    if known is not None and images.named:
        strange = [name for name in names if name not in known]
        unused = [name for name in known if name not in names]
        raise DataError(
            f"{images.source} has {some(strange)} among its {len(names)} classes, which {model} does not know; of the "
            f"{len(known)} that it knows the data lack {some(unused) or 'none'}; {key} (names of its outputs, in "
            "order) says which is which"
        )
    # a source without training images may lack the last classes
    if len(names) != count and (images.named or images.train is not None or len(names) > count):
        pick = f"{key} picks among them, or " if count > len(names) else ""
        raise DataError(
            f"{images.source} has {len(names)} classes, {model} knows {count}; {pick}model.checkpoint trains from its "
            "weights"
        )
    nameless = model if known is None else images.source
    logger.warning("the classes of %s have no names: label 0 is taken as the first output of %s, 1 as its second, and "
                   "so on", nameless, model)  # fmt: skip
    return tuple(range(len(names)))


def renamed(images: ImageSet, names: Sequence[str] | str | None) -> ImageSet:
    """A data set under the class names that `data.classes` gives.

    Where labels are bare numbers, they get these names. Where the classes have names, these say their order.

    Args:
        images: the data set.
        names: the names, or the path of a text file of them, one a line; None leaves everything as it is.

    Raises:
        DataError: not as many names as classes, a name twice, a class without a name.

    Example:
        >>> from supcrd.data import load
        >>> renamed(load("digits"), tuple("9876543210")).class_names[:3]
        ('9', '8', '7')
    """
    if names is None:
        return images
    names = read_names(names, "data.classes")
    old = images.class_names
    if images.named:
        strange, lacking = [n for n in names if n not in old], [n for n in old if n not in names]
        if lacking or (strange and images.train is not None):
            raise DataError(
                f"data.classes names {some(strange) or 'no class'} that {images.source} lacks and leaves out "
                f"{some(lacking) or 'none'}; the names of all its classes, in the order wanted, are right"
            )
        order = tuple(names.index(name) for name in old)
    else:
        if len(names) != len(old) and (images.train is not None or len(names) < len(old)):
            raise DataError(f"data.classes gives {len(names)} names, {images.source} has {len(old)} classes")
        order = tuple(range(len(old)))
    return numbered(images, order, names)


def numbered(images: ImageSet, order: Sequence[int], names: Sequence[str]) -> ImageSet:
    """A data set whose class i has the label order[i] and the class names `names`; pixels are shared.

    Example:
        >>> from supcrd.data import load
        >>> digits = load("digits")
        >>> numbered(digits, (1, 0, *range(2, 10)), digits.class_names).train.labels[:1] + digits.train.labels[:1]
        tensor([1])
    """
    if tuple(order) == tuple(range(len(names))) and tuple(names) == images.class_names:
        return images  # without reading all pixels for another fingerprint
    places = torch.tensor(order, dtype=torch.int64)

    def relabelled(split: Split | None) -> Split | None:
        return None if split is None else Split(split.images, places[split.labels])

    train, validation, test = relabelled(images.train), relabelled(images.validation), relabelled(images.test)
    digest = fingerprint((train, validation, test), names)
    return ImageSet(images.source, train, validation, test, tuple(names), digest, images.levels)


def pick_outputs(model: Model, order: Sequence[int]) -> Model:
    """Give a model only the outputs named, in that order; in place. Its softmax is then over these classes.

    Example:
        >>> model = pick_outputs(Model(10, "resnet8"), (3, 1))
        >>> model.num_classes, model(torch.zeros(1, 3, 32, 32)).logits.shape
        (2, torch.Size([1, 2]))
    """
    if tuple(order) != tuple(range(model.num_classes)):
        rows = torch.tensor(order, device=model.classifier.weight.device)
        # without drawing weights that are replaced at once: the caller's random state stays
        fewer: nn.Linear = nn.utils.skip_init(  # type: ignore[no-untyped-call]
            nn.Linear, model.feature_dim, len(order), device=rows.device
        )
        fewer.load_state_dict({name: tensor[rows] for name, tensor in model.classifier.state_dict().items()})
        model.classifier, model.num_classes = fewer.train(model.training), len(order)
    return model


def read_names(names: Sequence[str] | str, key: str) -> tuple[str, ...]:
    """Class names as they are, or from the text file of that path, one a line.

    Raises:
        DataError: the file cannot be read; a name is empty or there twice; fewer than two.

    Example:
        >>> read_names(["cat", "dog"], "teacher.classes")
        ('cat', 'dog')
    """
    if isinstance(names, str):
        path = user_path(names, key, error=DataError)
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise DataError(
                f"{key}: {path} cannot be read ({reason}); a text file with a class a line is right"
            ) from None
        names = [line.strip() for line in text.rstrip().splitlines()]
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if len(names) < 2 or "" in names or twice is not None:
        what = f"{twice!r} twice" if twice else "an empty name" if "" in names else f"{len(names)} names"
        raise DataError(f"{key} gives {what}; a different name for each of two or more classes is right")
    return tuple(names)


def some(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are.

    Example:
        >>> some(["ant"]), some(list("abcdefg"))
        ("'ant'", "'a', 'b', 'c', 'd', 'e' and 2 more")
    """
    more = len(names) - SHOWN
    return ", ".join(f"{name[:40]!r}" for name in names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
