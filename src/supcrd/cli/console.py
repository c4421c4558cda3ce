"""What the commands share: the application, and how a mistake or an interruption ends."""

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer
from typer.core import TyperGroup

from supcrd.cli.help import EXAMPLES, GROUPS, MOVED
from supcrd.cli.screen import stderr
from supcrd.errors import LINE, SupcrdError, Terminated, one_line

P = ParamSpec("P")

UsageError: Any = typer.BadParameter.__base__
"""What the command line's parser raises: typer has it under names that differ by version."""


class Commands(TyperGroup):
    """The commands; a mistake of the command line is one line too, however long the word was."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """As it is, with an example."""
        command = super().get_command(ctx, cmd_name)
        if command is not None and cmd_name in EXAMPLES:
            command.epilog = f"Example: {EXAMPLES[cmd_name]}"
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As it is, and commands of two words; those that have moved say where to."""
        if args and args[0] in MOVED:
            note = f"note: `supcrd {args[0]}` is `supcrd {MOVED[args[0]]}` now"
            stderr.print(note, markup=False, highlight=False, soft_wrap=True)
            args = [*MOVED[args[0]].split(), *args[1:]]
        two = " ".join(args[:2])
        return super().resolve_command(ctx, [two, *args[2:]] if two in self.commands else args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands in groups; those of no group come last."""
        grouped = {name for names in GROUPS.values() for name in names}
        others = {"Others": tuple(name for name in self.list_commands(ctx) if name not in grouped)}
        for title, names in (GROUPS | others).items():
            known = [(name, command) for name in names if (command := self.get_command(ctx, name)) is not None]
            if known:
                with formatter.section(title):
                    formatter.write_dl([(name, command.get_short_help_str(120)) for name, command in known])

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """As it is, but for the message."""
        with _shortened():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """As it is, but for the message."""
        with _shortened():
            return super().invoke(ctx)


def check_workers(workers: int) -> None:
    """Refuse fewer than one, before anything is read or timed."""
    if workers < 1:
        raise SupcrdError(f"workers = {workers} is not 1 or more")


@contextlib.contextmanager
def _shortened() -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        error.message = one_line(str(error.message), LINE - 80)  # "Invalid value for ...:" stands before it
        raise


app = typer.Typer(
    cls=Commands,
    help="Distil a large image classifier into a small one by contrastive representation distillation.\n\n"
    "supcrd COMMAND -h shows the options of a command and an example.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"supcrd {version('supcrd')}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


OutOption = Annotated[Path, typer.Option("--out", help="Folder that holds the run folders.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object, and nothing else.")]


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Turn what a user can cause into one line and exit status 2, Ctrl-C into 130, SIGTERM while training into 143."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except SupcrdError as error:
            fail(str(error), 2)
        except Terminated:
            fail("terminated; training so far is saved, the same command resumes it", 143)
        except KeyboardInterrupt:
            fail("interrupted; training so far is saved, the same command resumes it", 130)
        except (MemoryError, RuntimeError, ValueError) as error:
            if not _too_large(error):
                raise
            fail("out of memory; lower train.batch_size, data.image_size or the sizes of the model", 2)
        except OSError as error:  # a full disk, a folder without permission
            named = f"{error.filename}: " if error.filename else ""
            fail(f"{named}{error.strerror or error}", 2)

    return wrapper


def _too_large(error: Exception) -> bool:
    """Whether memory was asked for that is not there: torch says so by a RuntimeError, numpy also by a ValueError."""
    words = ("memory", "Storage size calculation overflowed", "array is too big", "Maximum allowed dimension")
    return isinstance(error, MemoryError) or any(word in str(error) for word in words)


def fail(message: str, status: int) -> None:
    """End with one line on standard error."""
    line = one_line(message)
    stderr.print(f"error: {line}" if status == 2 else line, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(status)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on standard output."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))
