"""The command that looks at data before anything is trained on them."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from supcrd.base.files import replacing, user_path
from supcrd.base.wording import printable
from supcrd.cli.console import JsonOption, app, guarded, print_json
from supcrd.cli.help import SOURCES
from supcrd.cli.screen import stdout
from supcrd.errors import SupcrdError


@app.command()
@guarded
def inspect(
    data: Annotated[str, typer.Argument(help=f"Data source: {SOURCES}")],
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
    from supcrd.data.overview.words import class_rows, headline, said

    _line(f"{facts['source']}: {headline(facts)}")
    table = Table(box=None, pad_edge=False)
    table.add_column("class", overflow="fold")
    for split in facts["splits"]:
        table.add_column(split, justify="right")
    for name, counts in class_rows(facts):
        table.add_row(Text(printable(name)), *(f"{counts[split]:,}" if counts else "" for split in facts["splits"]))
    stdout.print(table)
    for title, lines in said(facts):
        for at, line in enumerate(lines):
            _line(f"{title if at == 0 else '':<12}{line}")


def _line(text: str) -> None:
    stdout.print(printable(text), markup=False, highlight=False, soft_wrap=True)
