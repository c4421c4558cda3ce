"""Processes of this machine that take calls one after the other: a `concurrent.futures.Executor`.

Each slot has one process, kept warm between calls (torch is imported once). A process that dies fails the call it had,
and nothing else: the slot's next call gets a fresh one. A process is a new interpreter that is given its calls through
a pipe, so the caller's script is not run again in it, and the end of the pipe shows it that the caller has ended.
"""

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from types import TracebackType
from typing import IO, Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

GRACE = 60.0  # seconds that a call has to end after its caller's death
BOOT = "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from supcrd.base.workers import serve; serve()"


class LocalExecutor(Executor):
    """An executor whose workers are processes, each a failure of its own.

    Args:
        workers: processes at a time; each is started when it is first needed.
        threads: of each process (OMP_NUM_THREADS, set before torch is there); this process's divided among them if not
            given.

    Functions are pickled by name: they must be in a module that can be imported, not in a script. A call whose process
    dies raises `BrokenExecutor` in its future; the executor continues.

    Example:
        >>> import os
        >>> with LocalExecutor(1, threads=1) as pool:
        ...     first, second = pool.submit(os.getpid), pool.submit(os.getpid)
        ...     first.result() == second.result() != os.getpid()
        True
    """

    def __init__(self, workers: int, *, threads: int | None = None) -> None:
        if workers < 1:
            raise ValueError(f"workers = {workers} is not 1 or more")
        self.threads = threads or share_of_threads(workers)
        self._calls: queue.SimpleQueue[tuple[Future[Any], bytes] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._stopping = False
        self._alive: set[Worker] = set()
        # daemons: a caller that ends without shutdown() is not held up, and its workers notice
        self._slots = [threading.Thread(target=self._slot, daemon=True) for _ in range(workers)]
        for slot in self._slots:
            slot.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have `fn(*args, **kwargs)` called in a worker."""
        future: Future[T] = Future()
        request = pickle.dumps((fn, args, kwargs))
        with self._lock:
            if self._closed or self._stopping:
                raise RuntimeError("the executor was shut down")
            self._calls.put((future, request))
        return future

    def interrupt(self) -> None:
        """Ctrl-C for all workers; nothing more is begun. The futures show how the calls end."""
        with self._lock:
            self._stopping = True
            for worker in self._alive:
                worker.interrupt()

    def kill(self) -> None:
        """End all workers at once."""
        with self._lock:
            self._stopping = True
            for worker in self._alive:
                worker.process.kill()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and end the workers when they have no more."""
        with self._lock:
            self._closed = True
        if cancel_futures:
            with contextlib.suppress(queue.Empty):
                while (item := self._calls.get_nowait()) is not None:
                    item[0].cancel()
        for _ in self._slots:
            self._calls.put(None)
        for slot in self._slots if wait else ():
            slot.join()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:  # the results are no longer wanted
            self.interrupt()
        self.shutdown(cancel_futures=kind is not None)

    def _slot(self) -> None:
        """What the thread of a slot does: calls in, answers out, a new process when there is none."""
        worker: Worker | None = None
        while (item := self._calls.get()) is not None:
            future, request = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                if self._stopping:
                    raise BrokenExecutor("interrupted before it began")
                worker = worker or self._start()
                good, value = pickle.loads(worker.ask(request))
            except (EOFError, BrokenPipeError, pickle.UnpicklingError):  # the process is gone, or half an answer is
                future.set_exception(BrokenExecutor(self._bury(worker)))
                worker = None
            except Exception as error:  # no process can be started; an answer that cannot be unpickled here
                future.set_exception(error)
            else:
                future.set_result(value) if good else future.set_exception(value)
        if worker is not None:
            self._bury(worker)

    def _start(self) -> "Worker":
        with self._lock:
            if self._stopping:
                raise BrokenExecutor("interrupted before it began")
            worker = Worker(self.threads)
            self._alive.add(worker)
        return worker

    def _bury(self, worker: "Worker | None") -> str:
        if worker is None:
            return "no worker could be started"
        ended = worker.close()
        with self._lock:
            self._alive.discard(worker)
        return ended


class Worker:
    """One process: requests go in through its standard input, answers come through its standard output."""

    def __init__(self, threads: int) -> None:
        self.process = subprocess.Popen(
            # -P: a file in the folder of the caller must not replace a module of Python's own
            [sys.executable, "-P", "-c", BOOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            start_new_session=True,  # a terminal's Ctrl-C reaches the caller only, which passes it on: once, not twice
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.requests, self.answers = self.process.stdin, self.process.stdout
        self.ready = False

    def ask(self, request: bytes) -> bytes:
        """The answer to a request.

        Raises:
            EOFError, BrokenPipeError, pickle.UnpicklingError: the process died.
        """
        if not self.ready:
            _send(self.requests, sys.path)
            pickle.load(self.answers)
            self.ready = True
        _send(self.requests, request)
        answer: bytes = pickle.load(self.answers)
        return answer

    def interrupt(self) -> None:
        """Ctrl-C; a process that does not yet listen has begun nothing."""
        if self.ready:
            self.process.send_signal(signal.SIGINT)
        else:
            self.process.kill()

    def close(self) -> str:
        """End the process; says how it ended."""
        with contextlib.suppress(OSError):
            self.requests.close()
        try:
            code = self.process.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.answers.close()
        if code == -signal.SIGKILL:
            return "the worker died (killed, or out of memory)"
        return f"the worker died ({signal.Signals(-code).name})" if code < 0 else f"the worker ended with status {code}"


def share_of_threads(workers: int) -> int:
    """Threads for each worker: those that torch would use here, divided by the number of workers.

    Example:
        >>> share_of_threads(10_000)
        1
    """
    import torch

    return max(1, torch.get_num_threads() // workers)


def serve() -> None:
    """Answer requests from standard input until it ends: what a worker process does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # may have been ignored where the caller was started
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a call prints must not be read as an answer
    calls: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_listen, args=(calls, busy), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        _send(answers, "ready")
        while (request := calls.get()) is not None:
            busy.set()
            answer = _answer(request)
            busy.clear()
            _send(answers, answer)


def _listen(calls: "queue.SimpleQueue[bytes | None]", busy: threading.Event) -> None:
    """Take requests while others are under way; where they end the caller has ended too: what runs is interrupted."""
    with contextlib.suppress(EOFError, pickle.UnpicklingError, OSError):
        while True:
            calls.put(pickle.load(sys.stdin.buffer))
    calls.put(None)
    if busy.is_set():
        _interrupt_main_thread()
    time.sleep(GRACE)  # a daemon thread: it ends with the process, unless that does not end
    os._exit(1)


def _interrupt_main_thread() -> None:
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # also out of a sleep
    else:
        signal.raise_signal(signal.SIGINT)


def _answer(request: bytes) -> bytes:
    """(True, value) or (False, exception) of a call, pickled."""
    try:
        function, arguments, named = pickle.loads(request)
        return pickle.dumps((True, function(*arguments, **named)))
    except BaseException as error:  # the caller of `submit` handles it
        try:
            return pickle.dumps((False, error))
        except Exception:
            return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))


def _send(stream: IO[bytes], value: object) -> None:
    pickle.dump(value, stream)
    stream.flush()
