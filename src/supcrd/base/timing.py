"""How long a call takes."""

import time
from collections.abc import Callable
from typing import Any

WARM = 3  # calls before those that count


def durations(
    run: Callable[[], Any], *, seconds: float, rounds: int, wait: Callable[[], None] = lambda: None
) -> list[float]:
    """The times of at least one call, in seconds, after three calls that do not count.

    Args:
        run: what is timed.
        seconds: no further call once all together took so long.
        rounds: calls at most, >= 1.
        wait: for the device, before a clock is read.

    Example:
        >>> len(durations(lambda: sum(range(9)), seconds=60, rounds=5))
        5
    """
    times: list[float] = []
    for _ in range(WARM):
        run()
    while not times or (sum(times) < seconds and len(times) < rounds):
        wait()
        start = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - start)
    return times
