"""What `look` has seen, in words: for the terminal and for the report."""

from collections.abc import Iterator
from typing import Any, NamedTuple

MANY, ENDS = 20, 8  # classes that are all shown; of more, so many of the largest and of the smallest
SHOWN, PAIRS = 5, 3  # images that cannot be read, and pairs of images that are alike, which are named
LEAK = "LEAK: "


class Said(NamedTuple):
    """One thing, and what there is to say of it."""

    title: str
    lines: list[str]


def headline(facts: dict[str, Any]) -> str:
    """How many images and classes.

    Example:
        >>> headline({"splits": {"train": 1200, "test": 30}, "classes": {"cat": {}, "dog": {}}})
        '1,230 images (1,200 train, 30 test), 2 classes'
    """
    counts = facts["splits"]
    return f"{sum(counts.values()):,} images ({_counted(counts)}), {len(facts['classes'])} classes"


def class_rows(facts: dict[str, Any]) -> list[tuple[str, dict[str, int]]]:
    """Class -> images by split; of many classes the largest, a row that says how many are left out, the smallest."""
    rows = list(facts["classes"].items())
    if len(rows) <= MANY:
        return rows
    first = next(iter(facts["splits"]))
    ranked = sorted(rows, key=lambda row: -row[1][first])
    return [*ranked[:ENDS], (f"... {len(rows) - 2 * ENDS} more ...", {}), *ranked[-ENDS:]]


def said(facts: dict[str, Any]) -> list[Said]:
    """All but the classes.

    Args:
        facts: of `look`.
    """
    first, imbalance, sizes = next(iter(facts["splits"])), facts["imbalance"], facts["sizes"]
    ratio = f"a class has no image in {first}"
    if imbalance is not None:
        ratio = f"{imbalance:.1f}: the largest class of {first} over its smallest"
    things = [Said("imbalance", [ratio])]
    if "groups" in facts:
        things.append(Said("groups", [f"{_counted(facts['groups'])}; none is in two of them"]))
    if sizes["different"] == 1:
        span = f"{_size(sizes['median'])} px, all of them"
    else:
        span = f"{_size(sizes['smallest'])} to {_size(sizes['largest'])} px, median {_size(sizes['median'])}; "
        span += f"{sizes['different']:,} different; training needs one: data.image_size=N resizes and crops"
    things += [Said("sizes", [span]), Said("modes", [_counted(facts["modes"])])]
    channels = facts["channels"]
    for name in ("mean", "std"):
        values = ", ".join(f"{value:.4f}" for value in channels[name])
        things.append(Said(name, [f"{values} (of {channels['split']}, at {channels['image_size']} px, on 0..1)"]))
    unreadable = facts["unreadable"]
    count = f"{unreadable['count']:,}" + ("" if unreadable["count"] else ": every image could be decoded")
    things.append(Said("unreadable", [count, *unreadable["first"][:SHOWN]]))
    if "unlabelled" in facts:
        things.append(
            Said("unlabelled", list(_unlabelled(facts["unlabelled"], drawn=list(facts["splits"]) == ["train"])))
        )
    things.append(Said("duplicates", list(_duplicates(facts))))
    return things


def _duplicates(facts: dict[str, Any]) -> Iterator[str]:
    exact, near = facts["duplicates"]["exact"], facts["duplicates"]["near"]
    yield from _repeated(f"the same {exact['by']}", exact)
    if near["compared"] == 0:
        yield "near: not looked for, the images are too small"
        return
    about = f"{near['hash']}, {near['distance']} bits or fewer; slopes correlate by {near['correlation']} or more"
    stand_for_others = sum(exact["within"].values())
    total = sum(facts["splits"].values()) + facts.get("unlabelled", {}).get("images", 0)
    every = near["compared"] >= total - stand_for_others
    part = "" if every else f"; {near['compared']:,} compared"
    yield from _repeated(f"near ({about}{part})", near, "nearly ")


def _repeated(what: str, about: dict[str, Any], alike: str = "") -> Iterator[str]:
    if not about["within"] and not about["across"]:
        yield f"{what}: none"
        return
    yield f"{what}:"
    for part in about["across"]:
        leak = "" if (part["split"], part["of"]) == ("unlabelled", "train") else LEAK
        yield f"{leak}{part['split']} has {_images(part['images'])} {alike}equal to one of {part['of']}"
    for split, count in about["within"].items():
        yield f"{split} has {_images(count)} {alike}equal to an earlier one of it"
    if about["of_another_class"]:
        yield f"in all {_images(about['of_another_class'])} with another class than one so alike"
    for pair in about["pairs"][:PAIRS]:
        yield " = ".join(_place(one) for one in pair)


def _place(one: dict[str, Any]) -> str:
    return f"{one['split']} {one['image']}" + ("" if one["class"] is None else f" ({one['class']})")


def _unlabelled(about: dict[str, Any], *, drawn: bool) -> Iterator[str]:
    damaged = f", {about['unreadable']:,} more cannot be read" if about["unreadable"] else ""
    yield f"{about['source']}: {_images(about['images'])}{damaged}"
    if drawn:
        yield "validation and test will be drawn from train: what is like one of it may be like one of them"


def _images(count: int) -> str:
    return f"{count:,} image" + ("" if count == 1 else "s")


def _size(size: list[int]) -> str:
    return f"{size[0]} x {size[1]}"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
