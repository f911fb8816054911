"""Answers to lists that the caller lets be a little old, kept in memory by each API process."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

MAX_BYTES = 16_777_216
"""How much is kept; the oldest goes first."""

_MAX_SHARE = 0.1
"""Which part of the room one answer may take."""

_OVERHEAD_BYTES = 1_024
"""About what an answer takes besides its bytes."""


class ListCache:
    """Answers by what was asked. Used from one event loop.

    Args:
        max_bytes: how much is kept.
        clock: the time in seconds; only differences count.
    """

    def __init__(self, *, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._answers: OrderedDict[Hashable, tuple[float, bytes]] = OrderedDict()
        self._size_bytes = 0

    def get(self, asked: Hashable) -> bytes | None:
        """Return the answer to what is asked; None when there is none, or it is too old."""
        found = self._answers.get(asked)
        if found is None:
            return None
        until, answer = found
        if until > self._clock():
            return answer
        self._remove(asked)
        return None

    def put(self, asked: Hashable, answer: bytes, *, ttl_s: float) -> None:
        """Keep an answer for ``ttl_s`` seconds, or until there is no room for it; not one that takes others' room."""
        self._remove(asked)
        if len(answer) > self._max_bytes * _MAX_SHARE:
            return
        self._answers[asked] = self._clock() + ttl_s, answer
        self._size_bytes += len(answer) + _OVERHEAD_BYTES
        while self._size_bytes > self._max_bytes:
            self._remove(next(iter(self._answers)))

    def _remove(self, asked: Hashable) -> None:
        removed = self._answers.pop(asked, None)
        if removed is not None:
            self._size_bytes -= len(removed[1]) + _OVERHEAD_BYTES
