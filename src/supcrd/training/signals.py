"""Ctrl-C and SIGTERM, noted while a step runs and looked for between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from supcrd.errors import Terminated
from supcrd.training.world import ALONE, World


@dataclass
class Interruption:
    """The signal that asks a fit to stop, once one has come."""

    number: int = 0

    def error(self, world: World = ALONE) -> KeyboardInterrupt:
        """What the signal is raised as, in all processes: which of them it came to does not matter."""
        return Terminated() if world.agree(self.number == signal.SIGTERM) else KeyboardInterrupt()


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Turn the first Ctrl-C or SIGTERM into a note, so that a step is never cut in half; a second one acts at once."""
    noted = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield noted  # only the main thread may handle signals
        return
    held = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # another library's handler, or ignored on purpose (a job in the background of a script)
    ours = {number: held[number] for number in held if held[number] not in (None, signal.SIG_IGN)}

    def handle(number: int, frame: object) -> None:
        noted.number = noted.number or number
        signal.signal(number, ours[signal.Signals(number)])

    for number in ours:
        signal.signal(number, handle)
    try:
        yield noted
    finally:
        for number, previous in ours.items():
            signal.signal(number, previous)
