"""Where processes meet: nothing there, or nobody who had it, ends the wait in time."""

import socket
import subprocess
import sys
import time
from datetime import timedelta

import pytest

from supcrd.training.meeting import reach

CHILD = """
from datetime import timedelta
from supcrd.training.meeting import reach
print("here", flush=True)
try:
    reach(1, timeout=timedelta(seconds=300))
except RuntimeError as error:
    print(error, flush=True)
"""


@pytest.fixture
def nowhere(monkeypatch):
    """A port that nothing listens at."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", str(port))


def test_nothing_there(nowhere):
    """torch's own store waited for more than 13 minutes where it was told 10."""
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="nothing answered within 1 s"):
        reach(1, timeout=timedelta(seconds=1))
    assert time.monotonic() - began < 15


def test_the_process_that_started_it_is_gone(nowhere, tmp_path):
    """As torchrun's agent, killed before its processes have met."""
    said = tmp_path / "said"
    child = f"subprocess.Popen([sys.executable, '-c', {CHILD!r}], stdout=open({str(said)!r}, 'w'))"
    agent = subprocess.Popen([sys.executable, "-c", f"import subprocess, sys, time; {child}; time.sleep(300)"])
    deadline = time.monotonic() + 100
    while (not said.is_file() or "here" not in said.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    agent.kill()
    agent.wait()
    while "gone" not in said.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert said.read_text() == "here\nthe process that started this one is gone\n"
