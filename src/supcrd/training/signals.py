"""Ctrl-C and SIGTERM, recorded during a step and acted on between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from supcrd.errors import Terminated
from supcrd.training.world import ALONE, World


@dataclass
class Interruption:
    """The signal that asks a fit to stop; `number` is 0 before one arrives."""

    number: int = 0

    def error(self, world: World = ALONE) -> KeyboardInterrupt:
        """The exception for the signal, the same in all processes, regardless of which of them received it."""
        return Terminated() if world.agree(self.number == signal.SIGTERM) else KeyboardInterrupt()


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Record the first Ctrl-C or SIGTERM, so that a step is never interrupted; a second one acts at once."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption  # only the main thread may handle signals
        return
    installed = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # not ours: another library's handler, or a signal ignored on purpose (a background job of a script)
    ours = {number: installed[number] for number in installed if installed[number] not in (None, signal.SIG_IGN)}

    def handle(number: int, frame: object) -> None:
        interruption.number = interruption.number or number
        signal.signal(number, ours[signal.Signals(number)])

    for number in ours:
        signal.signal(number, handle)
    try:
        yield interruption
    finally:
        for number, previous in ours.items():
            signal.signal(number, previous)
