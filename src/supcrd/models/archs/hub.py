"""Whether the hub of weights can be reached: without a network its client asks again and again, for minutes."""

import contextlib
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator

SECONDS = 5.0
"""How long an answer is waited for before what is cached has to do."""


@contextlib.contextmanager
def patient() -> Iterator[None]:
    """Inside, timm and the hub's client wait `SECONDS` for a network and not longer: then they take what is cached.

    Raises:
        ValueError: something is not cached, and the hub does not answer; says what to do.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or answers(constants.ENDPOINT):
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    except Exception as error:
        raise ValueError(
            f"{constants.ENDPOINT} does not answer within {SECONDS:g} s, and its files are not all cached; load it "
            "once with a network (HF_HUB_OFFLINE=1 then does without), or give a file of weights"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = False


def answers(url: str, seconds: float = SECONDS) -> bool:
    """Whether a machine takes connections; where a proxy is set, that one is asked.

    Example:
        >>> answers("http://127.0.0.1:1")
        False
    """
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and parts.hostname and not urllib.request.proxy_bypass(parts.hostname):
        parts = urllib.parse.urlsplit(proxy if "//" in proxy else f"//{proxy}")
    connected, done = threading.Event(), threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((parts.hostname, parts.port or 443), timeout=seconds).close()
            connected.set()
        except (OSError, ValueError):
            pass
        finally:
            done.set()

    threading.Thread(target=connect, daemon=True).start()  # a name's look-up knows no time limit
    done.wait(seconds)
    return connected.is_set()
