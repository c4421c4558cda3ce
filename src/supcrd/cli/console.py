"""What the commands share: the application, and how a mistake or an interruption ends."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer

from supcrd.cli.screen import stderr
from supcrd.errors import SupcrdError, Terminated, one_line

P = ParamSpec("P")

app = typer.Typer(
    help="Distil a large image classifier into a small one by contrastive representation distillation.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

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
