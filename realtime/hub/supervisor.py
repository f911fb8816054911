"""Several worker processes on one listening socket, each with a hub of its own."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType

import structlog
from prometheus_client.multiprocess import mark_process_dead

from realtime.hub.metrics import MULTIPROCESS_VARIABLE

log = structlog.get_logger("realtime.hub")

_RESTART_DELAY_S = 1.0
"""Pause before a process that ended on its own is replaced, so that a lasting fault cannot spin."""


def supervise(workers: int, work: Callable[[], None], ready: Callable[[], None] | None = None) -> None:
    """Run ``work`` in ``workers`` processes until SIGTERM or SIGINT, and replace those that end on their own.

    The signal is passed on, and this returns when all of them have ended. Should this process be killed, they get
    SIGTERM too: none is left behind with the port. Their metrics are added up by Prometheus
    through a directory that lives as long as this call.

    Args:
        workers: How many processes to run.
        work: What each of them does; it is pickled, so it must be made of module-level functions.
        ready: Called once when all have been started.
    """
    metrics_dir = tempfile.mkdtemp(prefix="realtime-metrics-")
    os.environ[MULTIPROCESS_VARIABLE] = metrics_dir
    try:
        _Supervisor(workers, work).run(ready)
    finally:
        del os.environ[MULTIPROCESS_VARIABLE]
        shutil.rmtree(metrics_dir, ignore_errors=True)


def _work_until_orphaned(work: Callable[[], None]) -> None:
    """What a process runs: ``work``, watched over by a thread."""
    _keep_to_itself()
    threading.Thread(target=_end_with_parent, name="end with parent", daemon=True).start()
    work()


def _keep_to_itself() -> None:
    """Let nothing that this process starts inherit what it was handed: the listening socket above all.

    Descriptors that `multiprocessing` hands over can be inherited, unlike all that are opened here.
    """
    for descriptor in [int(path.name) for path in Path("/dev/fd").iterdir()]:
        if descriptor > 2:
            # The one that this list was read by is closed already.
            with contextlib.suppress(OSError):
                os.set_inheritable(descriptor, False)


def _end_with_parent() -> None:
    """Wait until the supervisor is gone, however it ended, and drain this process then."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - for mypy: the supervisor has started this process
    # A pipe whose other end only the supervisor holds: the kernel closes it, on every platform.
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


class _Supervisor:
    def __init__(self, workers: int, work: Callable[[], None]) -> None:
        self._workers = workers
        self._work = work
        self._processes: list[SpawnProcess] = []
        self._stopping = False
        # Written to by the signal handler, to wake up the wait for processes.
        self._wakeup_read, self._wakeup_write = multiprocessing.Pipe(duplex=False)

    def run(self, ready: Callable[[], None] | None) -> None:
        handlers = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self._processes = [self._start() for _ in range(self._workers)]
            if ready is not None:
                ready()
            while not self._stopping:
                self._replace_ended()
            for process in self._processes:
                process.terminate()
            for process in self._processes:
                process.join()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _start(self) -> SpawnProcess:
        process = multiprocessing.get_context("spawn").Process(
            target=_work_until_orphaned, args=(self._work,)
        )
        process.start()
        log.info("worker started", pid=process.pid)
        return process

    def _replace_ended(self) -> None:
        """Wait until a process ends or a signal comes; start processes in the place of those that ended."""
        ready = wait([self._wakeup_read, *(process.sentinel for process in self._processes)])
        if self._stopping:
            return
        # Decided once: another one that ends meanwhile is for the next call, or it would go unnoticed.
        ended = [process for process in self._processes if process.sentinel in ready]
        for process in ended:
            # It is about to be gone; only then is its exit code known.
            process.join()
            log.error("worker ended unexpectedly", pid=process.pid, exit_code=process.exitcode)
            # What it counted stays; what it held is gone.
            mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
        self._processes = [process for process in self._processes if process not in ended]
        self._wakeup_read.poll(_RESTART_DELAY_S)
        if not self._stopping:
            self._processes += [self._start() for _ in ended]

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if not self._stopping:
            self._stopping = True
            self._wakeup_write.send_bytes(b"stop")
