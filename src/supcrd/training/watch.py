"""What processes that train together leave for one another in torch's store: that they are alive, and why one ends.

A process that ends is noticed by the others at once, since its connections close: the store then has its reason, if it
could leave one. A machine that is gone without closing anything (no power, no network) is noticed by silence: each
process watches the next one, and ends when that says nothing for PATIENCE seconds, at which all others end too.
"""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from torch.distributed import PrefixStore, Store

from supcrd.training.meeting import reach

logger = logging.getLogger("supcrd")

BEAT = 10.0
"""Seconds between two signs of life."""
PATIENCE = 300.0
"""Seconds of silence after which a process counts as gone: much longer than anything that keeps Python from running."""
ANSWER = 5.0
"""Seconds that the store may take for an answer before it, and not a process, counts as silent."""
WHY = "why"


class _Here:
    store: Store | None = None
    """None where there is one process"""
    rank, size = 0, 1
    over = threading.Event()


def begin(name: str, rank: int, size: int) -> None:
    """Give signs of life, and watch the next process; `name` is the part of the store where they met."""
    patience = timedelta(seconds=PATIENCE)  # connections apart from torch's own, which may be waiting
    _Here.store, _Here.rank, _Here.size = PrefixStore(name, reach(timeout=patience)), rank, size
    signs = PrefixStore(name, reach(timeout=patience))
    _Here.over = threading.Event()
    arguments = (signs, rank, size, _end, _Here.over)
    threading.Thread(target=watch, args=arguments, name="watch", daemon=True).start()


def end() -> None:
    """The processes part, and each may take its time."""
    _Here.over.set()
    _Here.store = None


def watch(store: Store, rank: int, size: int, silent: Callable[[str], None], over: threading.Event) -> None:
    """Give a sign of life every BEAT seconds; call `silent` when the next process, or the store, gives none.

    Args:
        store: that all processes see.
        rank, size: of this process.
        silent: called with what is wrong, once.
        over: set when it is no longer to watch.
    """
    other, heard = (rank + 1) % size, _Heard()
    threading.Thread(target=_signs, args=(store, rank, other, heard, over), name="signs", daemon=True).start()
    while not over.wait(BEAT):
        if time.monotonic() - heard.last > PATIENCE:
            answered = heard.answered.wait(ANSWER)  # what was just asked may bring the sign
            if time.monotonic() - heard.last > PATIENCE:
                who = f"process {other} of {size} gives" if answered else f"the store of {size} processes gives"
                return silent(f"{who} no sign of life for {PATIENCE:.0f} s")


class _Heard:
    """What is known of the next process."""

    def __init__(self) -> None:
        self.last, self.answered = time.monotonic(), threading.Event()


def _signs(store: Store, rank: int, other: int, heard: _Heard, over: threading.Event) -> None:
    """Give and look for signs; where the machine that has the store is gone, torch may wait in here for ever."""
    last, count = b"", 0
    try:
        while True:
            count += 1
            heard.answered.clear()
            store.set(f"alive/{rank}", str(count))
            sign = store.get(f"alive/{other}") if store.check([f"alive/{other}"]) else b""
            if sign != last:
                last, heard.last = sign, time.monotonic()
            heard.answered.set()
            if over.wait(BEAT):
                return
    except RuntimeError as error:
        if "imed out" not in str(error):
            over.set()  # the process that has the store has ended, which its connections tell


def _end(why: str) -> None:
    """End at once: where the process waits for another one, Python gets no other chance."""
    leaving = threading.Thread(target=leave, args=(why,), daemon=True)  # the store may be what gives no answer
    leaving.start()
    leaving.join(5)
    logger.error("error: %s; its last checkpoint remains, and the same command resumes from it", why)
    os._exit(2)


def leave(why: str) -> None:
    """Say why this process ends, unless another one has said so of itself: what follows from that is no reason."""
    if _Here.store is not None:
        with contextlib.suppress(RuntimeError):
            _Here.store.compare_set(WHY, "", f"process {_Here.rank} of {_Here.size}: {why}")


def left() -> str | None:
    """The process that ended first and why, as it said so; None where it could not, or the store is gone with it.

    Example:
        >>> left() is None
        True
    """
    if _Here.store is not None:
        with contextlib.suppress(RuntimeError):
            return _Here.store.get(WHY).decode() if _Here.store.check([WHY]) else None
    return None
