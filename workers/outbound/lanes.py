"""Threads for work that may take very long, of which nobody gets more than a share."""

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_SHARE = 8
"""What part of the threads the work of one owner may take: an eighth, and one at least."""

_WAITING_SHARE = 4
"""What part of all that may be asked for at a time may be of one owner: a quarter, and one at least."""


class LaneFullError(Exception):
    """As much is asked for already as may be, by all or by the same owner."""


class Lane:
    """A bounded number of threads, and of work that waits for them. For any thread.

    Args:
        threads: how many.
        max_waiting: how much work may wait while all of them are at some.
        thread_name: what they are called.
    """

    def __init__(self, threads: int, max_waiting: int, thread_name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=thread_name)
        self._free = threads
        self._share = max(1, threads // _SHARE)
        self._most = threads + max_waiting
        self._most_of_one = max(1, self._most // _WAITING_SHARE)
        self._lock = threading.Lock()
        # By owner: what was asked for and has not ended, how much of that runs, and what waits.
        self._asked: Counter[str] = Counter()
        self._running: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[tuple[Future[Any], Callable[[], Any]]]] = OrderedDict()

    def submit(self, owner: str, work: Callable[[], T]) -> Future[T]:
        """Have ``work`` done, and return its outcome to be.

        What is cancelled before it began gives its place to others; what has begun keeps its thread until it ends.

        Raises:
            LaneFullError: there is no room for it.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._asked.total() >= self._most or self._asked[owner] >= self._most_of_one:
                raise LaneFullError
            self._asked[owner] += 1
            self._waiting.setdefault(owner, deque()).append((future, work))
            self._start()
        future.add_done_callback(lambda _: self._forget(owner, future))
        return future

    def _start(self) -> None:
        """Start what may be, each owner's in turn. Locked."""
        while self._free and (owner := self._next()) is not None:
            future, work = self._waiting[owner].popleft()
            self._waiting.move_to_end(owner)
            if not self._waiting[owner]:
                del self._waiting[owner]
            self._free -= 1
            self._running[owner] += 1
            self._pool.submit(self._run, owner, future, work)

    def _next(self) -> str | None:
        return next((owner for owner in self._waiting if self._running[owner] < self._share), None)

    def _run(self, owner: str, future: Future[Any], work: Callable[[], Any]) -> None:
        outcome: Any = None
        error: BaseException | None = None
        is_wanted = future.set_running_or_notify_cancel()
        if is_wanted:
            try:
                outcome = work()
            except BaseException as raised:  # noqa: BLE001 - whoever waits for it gets it
                error = raised
        with self._lock:
            self._free += 1
            _count_down(self._running, owner)
            _count_down(self._asked, owner)
            self._start()
        if error is not None:
            future.set_exception(error)
        elif is_wanted:
            future.set_result(outcome)

    def _forget(self, owner: str, future: Future[Any]) -> None:
        """Take what was cancelled out of what waits."""
        if not future.cancelled():
            return
        with self._lock:
            for waiting in self._waiting.get(owner, ()):
                if waiting[0] is future:
                    self._waiting[owner].remove(waiting)
                    if not self._waiting[owner]:
                        del self._waiting[owner]
                    _count_down(self._asked, owner)
                    return


def _count_down(counts: Counter[str], owner: str) -> None:
    """Count one less, and keep nothing of owners that have none."""
    counts[owner] -= 1
    if not counts[owner]:
        del counts[owner]
