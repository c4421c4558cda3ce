"""Locks between processes: two never hold one, it ends with a killed holder, and nothing is left in the folder."""

import logging
import subprocess
import sys
import threading

import pytest

from supcrd.base import locks
from supcrd.base.locks import locked
from supcrd.errors import RunError


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock on `tmp_path`."""
    script = (
        "import pathlib, sys\nfrom supcrd.base.locks import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), wait=False):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_held_folder_is_refused_at_once(holder, tmp_path):
    with pytest.raises(RunError, match="another process works in"), locked(tmp_path, wait=False):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_lock_ends_with_a_process_that_is_killed_and_waiting_is_said_once(holder, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(locks, "POLL", 0.01)
    killing = threading.Timer(0.2, holder.kill)
    killing.start()
    with caplog.at_level(logging.WARNING, "supcrd"), locked(tmp_path, wait=True):
        assert holder.wait() != 0
    assert [record.getMessage() for record in caplog.records] == [
        f"waiting for another process that works in {tmp_path}"
    ]
    killing.join()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_only_be_read_is_locked(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with locked(tmp_path, wait=False), pytest.raises(RunError), locked(tmp_path, wait=False):
            pass
    finally:
        tmp_path.chmod(0o700)


def test_an_error_within_is_not_swallowed(tmp_path):
    with pytest.raises(PermissionError, match="mine"), locked(tmp_path, wait=False):
        raise PermissionError("mine")
    with locked(tmp_path, wait=False):
        pass
