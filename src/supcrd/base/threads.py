"""How torch's threads wait for one another on the CPU."""

from collections.abc import MutableMapping

CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def let_idle_threads_sleep(environ: MutableMapping[str, str]) -> None:
    """Let threads that wait for work sleep, unless the user has chosen; to be called before torch is loaded.

    By default they look for work without a pause for milliseconds, which takes the processor from whatever else runs
    beside, and from one another where there are more of them than cores (docs/performance.md). Results do not change.

    Args:
        environ: `os.environ`; changed.

    Example:
        >>> environ = {"OMP_NUM_THREADS": "2"}
        >>> let_idle_threads_sleep(environ)
        >>> environ["OMP_WAIT_POLICY"]
        'PASSIVE'
    """
    if not any(name in environ for name in CHOICES):
        environ["OMP_WAIT_POLICY"] = "PASSIVE"
