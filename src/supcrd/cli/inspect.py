"""The command that looks at data before anything is trained on them."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from supcrd.base.files import replacing, user_path
from supcrd.base.wording import printable
from supcrd.cli.console import JsonOption, app, guarded, print_json
from supcrd.cli.screen import stdout
from supcrd.errors import SupcrdError

MANY, ENDS = 20, 8  # classes that are all shown; of more, so many of the largest and of the smallest


@app.command()
@guarded
def inspect(
    data: Annotated[str, typer.Argument(help="Data source: digits, folder:PATH, parquet:PATH, shards:PATH, npz:PATH.")],
    samples: Annotated[Path | None, typer.Option(help="PNG file for a grid of images, a row for each class.")] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Pixels that image files are looked at in; 64 if not given.")
    ] = None,
    data_folder: Annotated[str, typer.Option(help="Folder of the CIFAR archives.")] = "data",
    split_file: Annotated[str | None, typer.Option(help="Table of files and splits: data.split_file.")] = None,
    groups: Annotated[str | None, typer.Option(help="Column or table of groups (patients): data.groups.")] = None,
    file_column: Annotated[str | None, typer.Option(help="Column of the files: data.file_column.")] = None,
    label_column: Annotated[str | None, typer.Option(help="Column of the labels: data.label_column.")] = None,
    split_column: Annotated[str | None, typer.Option(help="Column of the splits: data.split_column.")] = None,
    unlabelled: Annotated[
        str | None, typer.Option(help="Source of images without labels, to be compared too: data.unlabelled.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a data set: classes, sizes, unreadable files, duplicates and leaks between splits, channel statistics."""
    target = None if samples is None else user_path(samples, "--samples")
    if target is not None and target.suffix.lower() != ".png":
        raise SupcrdError(f"--samples {target}: a file that ends in .png is right")
    if target is not None and not target.parent.is_dir():
        raise SupcrdError(f"--samples {target}: no such folder {target.parent}")
    from supcrd.data.listed import Dividing
    from supcrd.data.overview import look

    dividing = Dividing(split_file, groups, file_column, label_column, split_column)
    overview = look(data, folder=data_folder, image_size=image_size, dividing=dividing, unlabelled=unlabelled)
    if target is not None:
        with replacing(target) as temporary:
            overview.samples().save(temporary, "png")
    if as_json:
        print_json(overview.facts)
        return
    show(overview.facts)
    if target is not None:
        _line(f"samples     {target}")


def show(facts: dict[str, Any]) -> None:
    """One page."""
    counts = facts["splits"]
    _line(f"{facts['source']}: {sum(counts.values()):,} images ({_counted(counts)}), {len(facts['classes'])} classes")
    _classes(facts["classes"], list(counts), facts["imbalance"])
    if "groups" in facts:
        _line(f"groups      {_counted(facts['groups'])}; none is in two of them")
    sizes = facts["sizes"]
    if sizes["different"] == 1:
        _line(f"sizes       {_size(sizes['median'])} px, all of them")
    else:
        _line(
            f"sizes       {_size(sizes['smallest'])} to {_size(sizes['largest'])} px, median {_size(sizes['median'])}; "
            f"{sizes['different']:,} different"
        )
    _line(f"modes       {_counted(facts['modes'])}")
    channels = facts["channels"]
    for name in ("mean", "std"):
        values = ", ".join(f"{value:.4f}" for value in channels[name])
        _line(f"{name:<12}{values} (of {channels['split']}, at {channels['image_size']} px, on 0..1)")
    unreadable = facts["unreadable"]
    _line(f"unreadable  {unreadable['count']:,}" + ("" if unreadable["count"] else ": every image could be decoded"))
    for line in unreadable["first"][:5]:
        _line(f"            {line}")
    if "unlabelled" in facts:
        _unlabelled(facts["unlabelled"], drawn=list(counts) == ["train"])
    exact, near = facts["duplicates"]["exact"], facts["duplicates"]["near"]
    _repeated("duplicates", f"the same {exact['by']}", exact)
    if near["compared"] == 0:
        _line("            near: not looked for, the images are too small")
        return
    about = f"{near['hash']}, {near['distance']} bits or fewer; slopes correlate by {near['correlation']} or more"
    total = sum(counts.values()) + facts.get("unlabelled", {}).get("images", 0)
    every = "" if near["compared"] >= total - _repeats(exact) else f"; {near['compared']:,} compared"
    _repeated("", f"near ({about}{every})", near)


def _repeats(exact: dict[str, Any]) -> int:
    """Images that stand for others where near ones are looked for."""
    return int(sum(exact["within"].values()))


def _classes(classes: dict[str, dict[str, int]], splits: list[str], imbalance: float | None) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("class", overflow="fold")
    for split in splits:
        table.add_column(split, justify="right")
    rows = list(classes.items())
    if len(rows) > MANY:
        ranked = sorted(rows, key=lambda row: -row[1][splits[0]])
        rows = [*ranked[:ENDS], (f"... {len(rows) - 2 * ENDS} more ...", {}), *ranked[-ENDS:]]
    for name, counts in rows:
        table.add_row(Text(printable(name)), *(f"{counts[split]:,}" if counts else "" for split in splits))
    stdout.print(table)
    if imbalance is None:
        _line(f"imbalance   a class has no image in {splits[0]}")
    else:
        _line(f"imbalance   {imbalance:.1f}: the largest class of {splits[0]} over its smallest")


def _repeated(title: str, what: str, about: dict[str, Any]) -> None:
    alike = "nearly " if title == "" else ""
    if not about["within"] and not about["across"]:
        _line(f"{title:<12}{what}: none")
        return
    _line(f"{title:<12}{what}:")
    for part in about["across"]:
        leak = "" if (part["split"], part["of"]) == ("unlabelled", "train") else "LEAK: "
        _line(f"            {leak}{part['split']} has {_images(part['images'])} {alike}equal to one of {part['of']}")
    for split, count in about["within"].items():
        _line(f"            {split} has {_images(count)} {alike}equal to an earlier one of it")
    if about["of_another_class"]:
        _line(f"            in all {_images(about['of_another_class'])} with another class than one so alike")
    for first, second in about["pairs"][:3]:
        _line("            " + " = ".join(_place(one) for one in (first, second)))


def _place(one: dict[str, Any]) -> str:
    return f"{one['split']} {one['image']}" + ("" if one["class"] is None else f" ({one['class']})")


def _unlabelled(about: dict[str, Any], *, drawn: bool) -> None:
    damaged = f", {about['unreadable']:,} more cannot be read" if about["unreadable"] else ""
    _line(f"unlabelled  {about['source']}: {_images(about['images'])}{damaged}")
    if drawn:
        _line(
            "            validation and test will be drawn from train: what is like one of it may be like one of them"
        )


def _images(count: int) -> str:
    return f"{count:,} image" + ("" if count == 1 else "s")


def _size(size: list[int]) -> str:
    return f"{size[0]} x {size[1]}"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _line(text: str) -> None:
    stdout.print(printable(text), markup=False, highlight=False, soft_wrap=True)
