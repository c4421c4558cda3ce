"""How processes meet in a store that has traces of earlier starts, and what they leave in it for one another."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace

import pytest
from torch.distributed import HashStore

from supcrd.errors import RunError
from supcrd.training import processes, watch
from supcrd.training.meeting import meet

SOON = timedelta(seconds=20)


def test_a_new_start_is_not_an_earlier_one_in_whatever_order_they_come():
    """The others come before process 0, and find the whole of the start before theirs, of which one had died."""
    store, names = HashStore(), []
    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            others = [pool.submit(meet, store, rank, 3, SOON) for rank in (1, 2)]
            time.sleep(0.3 if names else 0)
            found = {meet(store, 0, 3, SOON), *(other.result() for other in others)}
        assert len(found) == 1
        names += found
    assert len(set(names)) == 3


def test_the_one_that_does_not_come_is_named():
    soon = timedelta(seconds=0.3)
    store = HashStore()
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(meet, store, 1, 3, soon)
        with pytest.raises(RuntimeError, match="process 2 did not come within"):
            meet(store, 0, 3, soon)
        with pytest.raises(RuntimeError, match="not all of 3 processes came"):
            other.result()


def test_silence_is_told_and_signs_are_heard(monkeypatch):
    """By a clock of the test's own: a busy machine is no silence."""
    clock = [0.0]
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(watch, "BEAT", 0.01)
    store, over, said = HashStore(), [threading.Event(), threading.Event()], ([], [])
    both = [
        threading.Thread(target=watch.watch, args=(store, rank, 2, said[rank].append, over[rank])) for rank in (0, 1)
    ]
    for thread in both:
        thread.start()
    for _ in range(4):  # 800 s, in which each hears the other one every 200
        for rank in (0, 1, 0, 1):
            two_more_signs(store, rank)
        clock[0] += 200
    assert said == ([], [])
    over[1].set()  # process 1 says nothing more
    for _ in range(1000):
        clock[0] += watch.PATIENCE + 1  # again where its last sign was heard only now
        both[0].join(0.02)
        if not both[0].is_alive():
            break
    assert said == (["process 1 of 2 gives no sign of life for 300 s"], [])


def two_more_signs(store, rank):
    name = f"alive/{rank}"
    store.wait([name], SOON)
    before, until = int(store.get(name)), time.monotonic() + SOON.total_seconds()
    while int(store.get(name)) < before + 2:
        assert time.monotonic() < until
        time.sleep(0.005)


def test_the_first_reason_is_what_others_say(monkeypatch):
    """What follows from it is no reason of its own."""
    monkeypatch.setattr(watch._Here, "store", HashStore())
    monkeypatch.setattr(watch._Here, "size", 3)
    assert watch.left() is None
    with (
        pytest.raises(processes.Lost, match=r"^another process of this training ended.*resumes from it"),
        processes.lost(),
    ):
        raise RuntimeError("Connection closed by peer")
    for rank, why in ((2, "no room"), (1, "something else")):
        monkeypatch.setattr(watch._Here, "rank", rank)
        watch.leave(why)
    with pytest.raises(RunError, match=r"^process 2 of 3: no room; the last checkpoint remains"), processes.lost():
        raise RuntimeError("Connection closed by peer")


def test_a_start_that_cannot_be_is_one_line(monkeypatch):
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_USE_AGENT_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(
        RunError, match=r"^WORLD_SIZE = 2, but RANK and MASTER_ADDR and MASTER_PORT is not set; torchrun"
    ):
        processes.start(on_gpu=False)
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for name, value in (("RANK", "0"), ("MASTER_ADDR", "localhost"), ("MASTER_PORT", str(port))):
            monkeypatch.setenv(name, value)
        with pytest.raises(RunError, match=rf"^port {port}, where 2 processes were to meet, is in use; give another"):
            processes.start(on_gpu=False)
    monkeypatch.setattr(processes, "JOINING", timedelta(seconds=0.2))
    with pytest.raises(
        RunError, match=rf"^process 0 of 2 does not reach .*:{port} \(process 1 did not come within 0 s"
    ):
        processes.start(on_gpu=False)
