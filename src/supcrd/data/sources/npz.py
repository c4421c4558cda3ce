"""`npz:PATH`: images and labels in one NumPy archive, under the array names of MedMNIST or Keras."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from supcrd.data import decoded
from supcrd.data.encoded import AS_IT_IS, Reading
from supcrd.data.grouped import numbered
from supcrd.data.images import Contents, Split
from supcrd.data.keyed import assigned
from supcrd.data.listed import AS_THEY_ARE, Dividing
from supcrd.data.listing import split_of
from supcrd.data.sized import sized
from supcrd.data.sources import Request
from supcrd.errors import DataError

Array = NDArray[Any]
SPLITS = ("train", "val", "test")
MOST = 2**20
"""Classes that numbers stand for, at most: a larger label is no place in a list of classes."""
KERAS = {"x": "images", "y": "labels"}
"""How names begin in the archives that Keras' data sets come in (`mnist.npz`): x_train, y_train."""


def read(
    path: Path,
    *,
    unlabelled: str = "refuse",
    require_train: bool = True,
    groups: str | None = None,
    reading: Reading = AS_IT_IS,
    dividing: Dividing = AS_THEY_ARE,
) -> Contents:
    """Read `{train,val,test}_images`, `{train,val,test}_labels` and, where it is there, `class_names`.

    Keras' names mean the same: `x_train` and `y_train`, `x_test` and `y_test`.

    Images are uint8, (N, H, H) or (N, H, H, 1) for grey, (N, H, H, 3) for RGB; labels are integers, (N,) or (N, 1).
    With `class_names` (C strings) labels index them. Without, the classes are the distinct train labels in ascending
    order, named by their value; a file without train must then hold labels that count from 0.

    Args:
        path: the file; nothing pickled in it is read.
        unlabelled: what to do with images of label -1, which usually means that they have none: "refuse" the file, or
            "skip" them. "use": labels need not be there and are not read, all images are of one class.
        require_train: False allows a file with only val or test arrays.
        groups: G, of `{train,val,test}_G`, the groups of the images: integers or texts, (N,) or (N, 1).
        reading: with an image_size images may have any shape, (N, H, W) or (N, H, W, channels), and are `sized`.
        dividing: its `split_file`, of the numbers of train_images, divides a file with no other images.

    Raises:
        DataError: the file is missing or damaged, or an array is missing or not as above.
    """
    arrays, other = _arrays(path, groups)
    if unlabelled == "use":
        arrays = {name: array for name, array in arrays.items() if name.endswith("_images")}
        arrays |= {f"{name[:-6]}labels": np.zeros(array.shape[:1], np.int64) for name, array in arrays.items()}
    images: dict[str, Array] = {}
    labels: dict[str, Array] = {}
    for split in SPLITS:
        pair = f"{split}_images", f"{split}_labels"
        if all(name in arrays for name in pair):
            images[split], labels[split] = _pair(path, split, arrays[pair[0]], arrays[pair[1]], reading)
        elif any(name in arrays for name in pair):
            there, missing = pair if pair[0] in arrays else pair[::-1]
            raise DataError(f"{path}: {there} without {missing}; both are needed")
    if not images:
        raise DataError(
            f"{path}: holds no train_images and train_labels (or x_train and y_train), only {_listed(arrays)}"
        )
    if require_train and "train" not in images:
        raise DataError(f"{path}: train_images and train_labels are missing; it holds {_listed(arrays)}")

    of_images = _groups(path, arrays, images, groups) if groups is not None else {}
    own = assigned(dividing, images, len(images.get("train", ())), path)
    if own is not None:
        for held in (images, labels, of_images):
            whole = held.pop("train", None)
            if whole is not None:
                held |= {"val" if key == "validation" else key: whole[rows] for key, rows in own.places.items()}
    notes = (*(own.notes if own else ()), *_without_unlabelled(path, images, labels, of_images, unlabelled))
    if other:
        notes = (f"arrays that are not read: {', '.join(other)}", *notes)
    first = next(iter(images))
    for split, array in images.items():
        shapes = [one.shape[1:] if reading.image_size is None else one.shape[3:] for one in (array, images[first])]
        if shapes[0] != shapes[1]:
            raise DataError(f"{path}: {split}_images are {_size(array)}, but {first}_images are {_size(images[first])}")
    names, indices = _classes(path, labels, arrays.get("class_names"))
    numbers = numbered({key: array.tolist() for key, array in of_images.items()}, path)
    splits = {
        key: Split(
            sized(torch.from_numpy(np.ascontiguousarray(images[key])), reading),
            torch.from_numpy(indices[key].astype(np.int64)),
            numbers.get(key),
        )
        for key in images
    }
    return Contents(names, splits.get("train"), splits.get("val"), splits.get("test"), notes=notes)


def _without_unlabelled(
    path: Path, images: dict[str, Array], labels: dict[str, Array], groups: dict[str, Array], unlabelled: str
) -> tuple[str, ...]:
    """Leave out images of label -1, and say how many; or refuse them."""
    notes = []
    for split in list(labels):
        lacking = labels[split] == -1
        count = int(lacking.sum())
        if not count:
            continue
        if unlabelled != "skip":
            raise DataError(
                f"{path}: {split}_labels hold -1 ({count} of {len(lacking)}), which usually means unlabelled; labels "
                "from 0 to the number of classes less one are right, and data.unlabelled=skip leaves such images out"
            )
        if count == len(lacking):
            raise DataError(f"{path}: {split}_labels hold -1 alone, so that {split} has no labelled image")
        for arrays in (images, labels, groups):
            if split in arrays:
                arrays[split] = arrays[split][~lacking]
        notes.append(f"{count} of {len(lacking)} {split} images have the label -1 (unlabelled) and are left out")
    return tuple(notes)


def _arrays(path: Path, groups: str | None = None) -> tuple[Mapping[str, Array], list[str]]:
    """The arrays we know, by their name here, and the names of others, which are not read."""
    if not path.is_file():
        raise DataError(f"{path}: no such npz file")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: not an npz file (numpy.savez writes one), or a truncated one")
    name = ""
    # numpy and zipfile raise a dozen kinds of exception on damaged files; all of them mean the same to the user.
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not _as_many_as_written(path, len(archive.files)):
                raise DataError(f"{path}: damaged: its directory has another number of arrays than it says")
            arrays: dict[str, Array] = {}
            said: dict[str, str] = {}
            other = []
            for name in archive.files:
                known = _known(name, groups)
                if known is None:
                    other.append(name)
                    continue
                if known in said:
                    raise DataError(f"{path}: holds both {said[known]} and {name}; keep one of them")
                said[known] = name
                arrays[known] = archive[name]
            return arrays, other
    except DataError:
        raise
    except Exception as error:
        if name and "allow_pickle" in str(error):
            raise DataError(f"{path}: {name} holds Python objects; a plain array of numbers is needed") from error
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        where = f"{path}: {name}" if name else str(path)
        raise DataError(f"{where}: damaged, not a readable npz file ({reason})") from error


def _as_many_as_written(path: Path, members: int) -> bool:
    """Whether an archive's directory has the entries that its end counts; zipfile does not compare them.

    One wrong length there and the following entries are read as part of a name: arrays would be missing in silence.
    """
    with path.open("rb") as file:
        file.seek(-22, 2)  # the end of a directory without a comment, which NumPy writes none of
        end = file.read()
    count = int.from_bytes(end[10:12], "little")
    return end[:4] != b"PK\5\6" or count in (members, 0xFFFF)  # more than 65,534 are counted elsewhere


def _groups(path: Path, arrays: Mapping[str, Array], images: Mapping[str, Array], groups: str) -> dict[str, Array]:
    """The groups of the images of each split, as text."""
    named = {}
    for split, pixels in images.items():
        array = arrays.get(f"{split}_groups")
        if array is None:
            raise DataError(f"{path}: data.groups = {groups!r}: there is no array {split}_{groups}, with a group for "
                            f"each of {split}_images")  # fmt: skip
        if array.dtype.kind not in "iuUS" or array.size != len(pixels) or array.ndim not in (1, 2):
            raise DataError(
                f"{path}: {split}_{groups} are {array.dtype} {array.shape}; {len(pixels)} integers or texts, one for "
                "each image, are right"
            )
        flat = array.reshape(-1)
        named[split] = np.char.decode(flat, "utf-8", "backslashreplace") if flat.dtype.kind == "S" else flat.astype(str)
        if (named[split] == "").any():
            row = int(np.argmax(named[split] == ""))
            raise DataError(f"{path}: {split}_{groups} is empty for image {row}; a group for each image is right")
    return named


def _known(name: str, groups: str | None) -> str | None:
    """What an array is called here: `valid_images` is val_images, and so is Keras' `x_val`."""
    split, _, kind = name.lower().rpartition("_")
    if name == "class_names":
        return name
    if groups is not None and name.endswith(f"_{groups}"):
        meant = split_of(name.removesuffix(f"_{groups}"))
        return None if meant is None else f"{'val' if meant == 'validation' else meant}_groups"
    if split in KERAS:
        split, kind = kind, KERAS[split]
    meant = split_of(split)
    if meant is None or kind not in ("images", "labels"):
        return None
    return f"{'val' if meant == 'validation' else meant}_{kind}"


def _pair(path: Path, split: str, images: Array, labels: Array, reading: Reading) -> tuple[Array, Array]:
    """Check one split's arrays; return images as (N, H, W, channels), labels as (N,)."""
    name = f"{path}: {split}_images"
    if images.dtype != np.uint8:
        raise DataError(f"{name} are {images.dtype}; uint8 in 0..255 is needed")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise DataError(f"{name} have shape {images.shape}; (N, H, H), (N, H, H, 1) or (N, H, H, 3) is needed")
    if images.size == 0:
        raise DataError(f"{name} are empty, shape {images.shape}; leave the array out, or fill it")
    if images.shape[1] != images.shape[2] and reading.image_size is None:
        raise DataError(f"{name} are {_size(images)}; square images are needed, or data.image_size=N, which resizes "
                        "and crops")  # fmt: skip

    name = f"{path}: {split}_labels"
    if labels.dtype.kind not in "iu":
        raise DataError(f"{name} are {labels.dtype}; integers are needed")
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise DataError(f"{name} have shape {labels.shape}, several labels an image; one is needed: (N,) or (N, 1)")
    if labels.ndim not in (1, 2):
        raise DataError(f"{name} have shape {labels.shape}; (N,) or (N, 1) is needed")
    if len(labels) != len(images):
        raise DataError(f"{path}: {len(images)} {split}_images but {len(labels)} {split}_labels; as many are needed")
    return images, labels.reshape(-1)


def _classes(
    path: Path, labels: Mapping[str, Array], class_names: Array | None
) -> tuple[tuple[str, ...], dict[str, Array]]:
    """The class names, and each split's labels as indices into them."""
    if class_names is None and "train" in labels:
        values = np.unique(labels["train"])
        for split, array in labels.items():
            unknown = array[~np.isin(array, values)]
            if len(unknown):
                raise DataError(f"{path}: {split}_labels hold {unknown[0]}, which train_labels lack")
        return tuple(map(str, values)), {key: np.searchsorted(values, array) for key, array in labels.items()}

    if class_names is None:
        highest = int(max(array.max() for array in labels.values()))
        if highest >= MOST:
            raise DataError(f"{path}: a label is {highest}, but without train_labels and class_names they count from 0")
        names = tuple(str(value) for value in range(highest + 1))
        counted = f"without train_labels and class_names they must count from 0 to {len(names) - 1}"
    else:
        if class_names.ndim != 1 or class_names.dtype.kind not in "US":
            raise DataError(f"{path}: class_names are {class_names.dtype} {class_names.shape}; (C,) strings are needed")
        names = tuple(
            value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in class_names
        )
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise DataError(f"{path}: class_names has {twice[0]!r} twice; a name of its own for each class is right")
        counted = f"class_names gives {len(names)} names, so 0 to {len(names) - 1} is right"
    for split, array in labels.items():
        outside = array[(array < 0) | (array >= len(names))]
        if len(outside):
            raise DataError(f"{path}: {split}_labels hold {outside[0]}; {counted}")
    return names, dict(labels)


def _size(images: Array) -> str:
    return " x ".join(map(str, images.shape[1:]))


def _listed(arrays: Mapping[str, Array]) -> str:
    return ", ".join(sorted(arrays)) or "none of the arrays known here"


def source(request: Request) -> Contents:
    """`npz:PATH`."""
    dividing, reading = request.dividing, request.reading
    options: dict[str, Any] = {"unlabelled": request.unlabelled, "require_train": request.require_train}
    further = (dividing.groups, *dividing.of_splits, reading.image_size)
    return decoded.kept(
        lambda: read(request.path, **options, groups=dividing.groups, reading=reading, dividing=dividing),
        kind=request.kind,
        paths=[request.path],
        settings=(request.unlabelled, *(one for one in further if one is not None)),
        require_train=request.require_train,
        further=dividing.split_files,
    )
