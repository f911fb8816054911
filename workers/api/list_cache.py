"""Answers to lists that the caller lets be a little old, kept in memory by each API process."""

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

MAX_BYTES = 16_777_216
"""How much is kept; the oldest goes first."""

_MAX_SHARE = 0.1
"""Which part of the room one answer may take."""

_OVERHEAD_BYTES = 1_024
"""About what an answer takes besides its bytes, its digest among it."""


def digest_of(*asked: Any) -> bytes:
    """Return what an answer is kept under: a digest, since what is asked may take more room than the answer.

    Args:
        asked: all that the answer depends on, as JSON values.
    """
    return hashlib.sha256(json.dumps(asked).encode()).digest()


class ListCache:
    """Answers by the digest of what was asked. Used from one event loop.

    Args:
        max_bytes: how much is kept.
        clock: the time in seconds; only differences count.
    """

    def __init__(self, *, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        # When each was kept, and the answer.
        self._answers: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._size_bytes = 0

    def get(self, digest: bytes, *, ttl_s: float) -> bytes | None:
        """Return the answer to what is asked; None when there is none that is less than ``ttl_s`` seconds old."""
        found = self._answers.get(digest)
        if found is None:
            return None
        since, answer = found
        return answer if self._clock() - since < ttl_s else None

    def put(self, digest: bytes, answer: bytes) -> None:
        """Keep an answer until there is no room for it; not one that takes others' room."""
        self._remove(digest)
        if len(answer) > self._max_bytes * _MAX_SHARE:
            return
        self._answers[digest] = self._clock(), answer
        self._size_bytes += len(answer) + _OVERHEAD_BYTES
        while self._size_bytes > self._max_bytes:
            self._remove(next(iter(self._answers)))

    def _remove(self, digest: bytes) -> None:
        removed = self._answers.pop(digest, None)
        if removed is not None:
            self._size_bytes -= len(removed[1]) + _OVERHEAD_BYTES
