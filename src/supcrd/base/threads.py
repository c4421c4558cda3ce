"""How torch's threads wait for one another on the CPU."""

from collections.abc import MutableMapping

CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
LOOKS = "1000"
"""As quick as more on an idle machine, and twice as quick on a busy one: benchmarks/idle_threads.py."""


def let_idle_threads_sleep(environ: MutableMapping[str, str]) -> None:
    """Let threads that wait for work sleep soon, unless the user has chosen; to be called before torch is loaded.

    By default libgomp's look for work for milliseconds without a pause, which takes the processor from whatever else
    runs beside, and from one another where there are more of them than cores (docs/performance.md). Results do not
    change. Another OpenMP library (macOS) does not read this.

    Args:
        environ: `os.environ`; changed.

    Example:
        >>> environ = {"OMP_NUM_THREADS": "2"}
        >>> let_idle_threads_sleep(environ)
        >>> environ["GOMP_SPINCOUNT"]
        '1000'
    """
    if not any(name in environ for name in CHOICES):
        environ["GOMP_SPINCOUNT"] = LOOKS
