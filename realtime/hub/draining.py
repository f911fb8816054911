"""Sending the clients of a hub that stops away: spread over a window, and each knowing what it has received.

A client that is sent away is first told so. Then it is sent no more events, and asked what it has received; only when
it has answered, or does not, is it closed. So a subscription that returns misses nothing and gets nothing twice.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from random import SystemRandom
from typing import Any

import structlog

from realtime.errors import CloseCode
from realtime.hub.batches import STEP_S, batches
from realtime.hub.connection import Connection
from realtime.hub.frames import text_frame
from realtime.hub.registry import Registry
from realtime.hub.resumption import Resumption
from realtime.messages import encode_system

log = structlog.get_logger("realtime.hub")

_ANSWER_STEPS = 10
"""How many steps a client may take to say what it has received."""

_MAX_RETRY_S = 5.0
"""The longest time after which a client is told to come back."""

_TEXT = "The server restarts."


class Draining:
    """Closes the connections of a hub, when it stops.

    Args:
        window_s: Over how long, in seconds.
        spawn: Runs a task.
    """

    def __init__(
        self,
        registry: Registry,
        resumption: Resumption,
        *,
        window_s: float,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._registry = registry
        self._resumption = resumption
        self._window_s = window_s
        self._spawn = spawn
        self._random = SystemRandom()
        self._leaving: list[Connection] = []

    def add(self, connection: Connection) -> None:
        """Close ``connection`` too; all that are added at once share one window."""
        if not self._leaving:
            self._spawn(self._run())
        self._leaving.append(connection)

    async def _run(self) -> None:
        log.info("draining", connections=len(self._leaving), window_s=self._window_s)
        asked: deque[list[Connection]] = deque()
        for batch in batches(self._leaving, self._window_s, self._random):
            asked.append(batch)
            for connection in batch:
                self._ask(connection)
            await asyncio.sleep(STEP_S)
            if len(asked) > _ANSWER_STEPS:
                self._close(asked.popleft())
        for _ in range(_ANSWER_STEPS):
            if not any(self._resumption.is_parting(each) for batch in asked for each in batch):
                break
            await asyncio.sleep(STEP_S)
        for batch in asked:
            self._close(batch)

    def _ask(self, connection: Connection) -> None:
        """Announce the end, send no more events, and ask what the client has received."""
        retry_after_ms = int(self._random.uniform(0, min(self._window_s, _MAX_RETRY_S)) * 1000)
        notice = encode_system("draining", _TEXT, retryAfterMs=retry_after_ms)
        connection.wire.send(text_frame(notice))
        self._resumption.part(connection)
        self._registry.leave(connection, "drained")

    def _close(self, batch: Sequence[Connection]) -> None:
        for connection in batch:
            self._resumption.gone(connection)
            connection.wire.close(CloseCode.GOING_AWAY, _TEXT)
