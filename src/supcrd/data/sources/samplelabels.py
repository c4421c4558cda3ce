"""What the labels of samples of shards mean: numbers, or names of classes."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from supcrd.base.wording import show
from supcrd.data.sources.samples import CLASS_NAMES, Label
from supcrd.errors import DataError


class Labels:
    """The labels of a set, as they come in.

    Without class names labels are numbers, or names in JSON; a set has one or the other. Numbers get names where every
    sample's JSON says the name of its class too.

    Args:
        class_names: the lines of classes.txt; None where there is none.
    """

    def __init__(self, class_names: Sequence[str] | None) -> None:
        self.given = None if class_names is None else {name: place for place, name in enumerate(class_names)}
        self.places: dict[str, int] = {}  # name -> place in the order of coming
        self.said: dict[int, str] = {}  # number -> name beside it
        self.numbers, self.unnamed = 0, 0

    def take(self, shard: Path, label: Label) -> int:
        """A label as a number; for names it is provisional until `names`.

        Raises:
            DataError: no number and no name of a class; a name that stands for two numbers.
        """
        if isinstance(label.value, bytes | str):
            return self._by_name(shard, label)
        if label.value < 0 or (self.given is not None and label.value >= len(self.given)):
            right = "0 or more" if self.given is None else f"0 to {len(self.given) - 1}, the lines of {CLASS_NAMES},"
            raise DataError(f"{shard}: {label.member} holds label {label.value}; {right} is right")
        if self.places:
            raise DataError(f"{shard}: {label.member} holds label {label.value}, samples before it a name")
        self.numbers += 1
        if label.name is None:
            self.unnamed += 1
        elif self.given is None and self.said.setdefault(label.value, label.name) != label.name:
            if not label.member.endswith(".cls"):
                before = show(self.said[label.value])
                what = f"calls class {label.value} {show(label.name)}, a sample before it {before}"
                raise DataError(f"{shard}: {label.member} {what}")
            self.unnamed += 1  # beside a number in a .cls another text is a caption, and no class's name
        return label.value

    def _by_name(self, shard: Path, label: Label) -> int:
        value = label.value
        name = value.decode("utf-8", "replace").strip() if isinstance(value, bytes) else str(value)
        if self.given is not None and name in self.given:
            return self.given[name]
        if isinstance(value, bytes):
            right = "an integer as text" if self.given is None else f"an integer as text, or a line of {CLASS_NAMES},"
            raise DataError(f"{shard}: {label.member} holds {show(value, 60)}; {right} is right")
        if self.given is not None:
            raise DataError(f"{shard}: {label.member}: label is {show(name)}, which {CLASS_NAMES} lacks")
        if self.numbers:
            raise DataError(f"{shard}: {label.member}: label is {show(name)}; an integer is right, as in the samples "
                            "before it")  # fmt: skip
        return self.places.setdefault(name, len(self.places))

    def names(self, path: Path, splits: dict[str, Tensor]) -> tuple[tuple[str, ...], dict[str, Tensor]]:
        """Class names, and the labels of each split as indices into them.

        Args:
            path: of the set, for messages.
            splits: split -> (N,) what `take` gave.

        Raises:
            DataError: a number beyond what so many images can have; one name for two numbers.
        """
        if self.given is not None:
            return tuple(self.given), splits
        if self.places:
            there = set(torch.cat(list(splits.values())).tolist())  # not those that `data.split_file` leaves out
            ordered = sorted(name for name, place in self.places.items() if place in there)
            rank = torch.zeros(len(self.places), dtype=torch.int64)
            rank[torch.tensor([self.places[name] for name in ordered])] = torch.arange(len(ordered))
            return tuple(ordered), {split: rank[labels] for split, labels in splits.items()}
        highest, count = max(int(held.max()) for held in splits.values()), sum(map(len, splits.values()))
        # no name for each number in between: it would be a mistake, and a number may be of any size
        if highest >= count:
            raise DataError(
                f"{path}: a label is {highest}, but labels count from 0 and there are only {count} images; name the "
                f"classes in {CLASS_NAMES}, or correct the label"
            )
        if self.unnamed or set(self.said) != set(range(highest + 1)):
            return tuple(str(label) for label in range(highest + 1)), splits
        names = tuple(self.said[label] for label in range(highest + 1))
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{path}: two labels are called {show(twice)}; a name for each is right")
        return names, splits
