"""One input, tried in this process: what comes of it, within limits of time and memory."""

import contextlib
import gc
import resource
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from typer.testing import CliRunner

from supcrd.cli import app
from supcrd.errors import LINE, SupcrdError, Terminated

SECONDS = 20
ROOM = 8 * 2**30
"""Bytes of address space beyond what the process has when the fuzzer starts."""


class TooLong(BaseException):
    """Not an Exception, so that no `except Exception` takes it for a damaged file."""


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """A time limit for each trial (see `within`) and one of memory for all."""

    def stop(*arguments: object) -> None:
        raise TooLong

    before, memory = signal.signal(signal.SIGALRM, stop), resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, memory[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, memory)
        signal.signal(signal.SIGALRM, before)


def within(work: Callable[[], str | None]) -> str | None:
    """What is wrong with an input's outcome; None if nothing is."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        return work()
    except TooLong:
        return f"it hangs: {SECONDS} s and more"
    except SupcrdError as error:
        return wrong_line(str(error))
    except (Exception, Terminated) as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"a traceback: {type(error).__name__}: {str(error)[:200]} ({Path(place.filename).name}:{place.lineno})"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def wrong_line(message: str) -> str | None:
    """What is wrong with a message."""
    if len(message) > LINE:
        return f"a message of {len(message)} letters: {message[:200]}"
    if not message.isprintable():
        return f"a message that is no line: {message!r}"
    return None if message.strip() else "no message"


def command(*arguments: str) -> str | None:
    """What is wrong with how a command ends: 0, or 2 and one line."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code == 0:
        return None
    if result.exit_code != 2:
        return f"exit status {result.exit_code}: {result.output[-200:]}"
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    if not last.lower().startswith("error: "):
        return f"no error line, but {last[:200]!r}"
    return wrong_line(last[len("error: ") :])


def resident() -> float:
    """MB that this process has in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
