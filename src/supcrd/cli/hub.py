"""The commands that describe and share a model: card, push."""

from pathlib import Path
from typing import Annotated

import typer

from supcrd.base.files import user_path, write_text
from supcrd.cli.console import app, guarded
from supcrd.cli.screen import stdout

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]
LicenseOption = Annotated[
    str | None,
    typer.Option(metavar="ID", help="Licence of the model, as the hub names it, such as mit; none if not given."),
]


@app.command()
@guarded
def card(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file; the run folder's MODEL_CARD.md if not given.")
    ] = None,
    license: LicenseOption = None,
) -> None:
    """Write a model's card for people: data, results with intervals, training, limits; with the hub's metadata."""
    from supcrd.hub import page
    from supcrd.runs.folder import RunFolder

    folder = RunFolder.open(run)
    file = user_path(out, "--out") if out is not None else folder.path / page.NAME
    write_text(file, page.text(folder, license=license))
    _say(str(file))


@app.command()
@guarded
def push(
    run: RunArgument,
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="On the Hugging Face hub; made if needed.")],
    private: Annotated[bool, typer.Option("--private", help="A new repository that others cannot see.")] = False,
    license: LicenseOption = None,
    folder: Annotated[
        Path | None, typer.Option("--folder", help="Write what would be pushed into this folder; nothing is sent.")
    ] = None,
) -> None:
    """Put a model with its card on the Hugging Face hub; supcrd.load_model("hf://OWNER/NAME") loads it from there."""
    from supcrd.hub.repository import push as put
    from supcrd.hub.repository import rehearse
    from supcrd.runs.folder import RunFolder

    if folder is not None:
        folder = user_path(folder, "--folder")
        rehearse(RunFolder.open(run), repository, folder, license=license)
        _say(f"{folder}: what would be pushed to {repository}")
        return
    address = put(RunFolder.open(run), repository, private=private, license=license)
    _say(address)
    _say(f'supcrd.load_model("hf://{repository}") loads it')


def _say(line: str) -> None:
    stdout.print(line, markup=False, highlight=False, soft_wrap=True)
