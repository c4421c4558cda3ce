"""Worker processes: what one of them suffers is no matter of the others, and none outlives its caller."""

import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor

import pytest

from supcrd.base.workers import LocalExecutor


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def refuse(text):
    raise LookupError(text)


class Odd(Exception):
    """An exception that cannot be made again from its pickle."""

    def __init__(self, one, two):
        super().__init__(one)


def odd():
    raise Odd(1, 2)


def busy(path, seconds):
    """Say that the call is under way, and take long over it."""
    path.write_text(str(os.getpid()))
    time.sleep(seconds)


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_that_dies_fails_its_own_call_only():
    with LocalExecutor(1, threads=1) as pool:
        first = pool.submit(os.getpid)
        dead, next_one = pool.submit(die), pool.submit(os.getpid)
        with pytest.raises(BrokenExecutor, match=r"the worker died \(killed, or out of memory\)"):
            dead.result()
        assert next_one.result() not in (first.result(), os.getpid())
        assert isinstance(pool.submit(os._exit, 3).exception(), BrokenExecutor)
        assert pool.submit(abs, -2).result() == 2


def test_what_a_call_raises_and_prints():
    with LocalExecutor(1, threads=1) as pool:
        with pytest.raises(LookupError, match="not here"):
            pool.submit(refuse, "not here").result()
        before = pool.submit(os.getpid).result()
        assert pool.submit(print, "no answer").result() is None
        assert pool.submit(odd).exception() is not None
        with pytest.raises((pickle.PicklingError, AttributeError, RuntimeError)):
            pool.submit(type, "Local", (), {}).result()  # an answer that cannot be pickled
        assert pool.submit(os.getpid).result() == before  # nothing of this cost the worker its life
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(abs, 1)
    with pytest.raises(ValueError, match="workers = 0"):
        LocalExecutor(0)


def threads():
    import torch  # here, so that the workers of the other tests start without it

    return os.environ["OMP_NUM_THREADS"], torch.get_num_threads()


def test_threads_are_set_before_torch_is_there():
    with LocalExecutor(2, threads=2) as pool:
        told, used = pool.submit(threads).result()
        assert told == "2"  # tests themselves run with 1
        assert used == 2 or (os.cpu_count() or 1) < 4  # torch takes no more threads than there are whole cores
    share = LocalExecutor(2)
    assert share.threads == max(1, threads()[1] // 2)
    share.shutdown()


def test_ctrl_c_ends_calls_and_none_is_begun_after(tmp_path):
    with LocalExecutor(2, threads=1) as pool:
        running = [pool.submit(busy, tmp_path / str(i), 60) for i in range(2)]
        waiting = pool.submit(abs, 1)
        wait_for(lambda: all((tmp_path / str(i)).exists() and (tmp_path / str(i)).read_text() for i in range(2)))
        pool.interrupt()
        assert all(isinstance(future.exception(timeout=20), KeyboardInterrupt) for future in running)
        assert isinstance(waiting.exception(timeout=20), BrokenExecutor)
        with pytest.raises(RuntimeError, match="shut down"):
            pool.submit(abs, 1)
    assert not any(is_alive(int((tmp_path / str(i)).read_text())) for i in range(2))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_worker_outlives_its_caller(tmp_path, number):
    """The caller is a script without `if __name__ == "__main__"`, which is not run a second time in its workers."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, pathlib\n"
        f"sys.path.insert(0, {os.path.dirname(__file__)!r})\n"
        "from supcrd.base.workers import LocalExecutor\n"
        "from test_workers import busy\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        "(here / 'runs').open('a').write('x')\n"
        "pool = LocalExecutor(2, threads=1)\n"
        "calls = [pool.submit(busy, here / name, 60) for name in 'ab']\n"
        "calls[0].result()\n"
    )
    process = subprocess.Popen([sys.executable, str(script)])
    files = [tmp_path / "a", tmp_path / "b"]
    wait_for(lambda: all(file.exists() and file.read_text() for file in files))
    pids = [int(file.read_text()) for file in files]
    assert all(map(is_alive, pids))
    process.send_signal(number)
    process.wait(timeout=20)
    wait_for(lambda: not any(map(is_alive, pids)))
    assert (tmp_path / "runs").read_text() == "x"
