"""What the client lets others see of its user, on each connection anew (wire specification 13.4)."""

import asyncio
import logging
import random
from typing import Any

from realtime.client.connection import Connection
from realtime.client.errors import RefusedError
from realtime.client.schedule import Backoff

_logger = logging.getLogger("realtime.client")


class OwnPresence:
    """The presence that was last set, if one was. Used from one event loop."""

    def __init__(self) -> None:
        # What is sent; None when there is nothing to be seen.
        self._data: dict[str, Any] | None = None
        # Set while the hub has to be sent it.
        self._is_due = asyncio.Event()
        # Done when the hub has confirmed what was last set; None when nobody waits for that.
        self._confirmed: asyncio.Future[dict[str, Any]] | None = None

    def set(self, data: dict[str, Any]) -> asyncio.Future[dict[str, Any]]:
        """Set what is to be sent; return what becomes the presence as the hub shows it.

        Who waits for an earlier one that was not confirmed yet gets the newer one too.
        """
        self._data = data
        self._is_due.set()
        if self._confirmed is None:
            self._confirmed = asyncio.get_running_loop().create_future()
            # Whoever waited may have given up: nobody is to be blamed for not looking at an error then.
            self._confirmed.add_done_callback(lambda done: done.cancelled() or done.exception())
        return self._confirmed

    async def keep_sent(self, connection: Connection, backoff: Backoff) -> None:
        """Send what was last set on a connection, and whatever is set later, until cancelled.

        One that the hub refuses for the time being is sent again, after the delays of ``backoff``; any other refusal
        ends it: it is told to who waits, and not sent again.

        Raises:
            RefusedError: the refusal ends the connection.
            ConnectionLostError: the connection ended; the next one is to be sent it.
        """
        self._is_due.set()
        attempt = 0
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            try:
                await self._send(connection)
                attempt = 0
            except RefusedError as refusal:
                if not refusal.retryable or connection.is_refused:
                    raise
                delay_s = backoff.delay_s(attempt, random.random())  # noqa: S311  (spreads load, guards nothing)
                attempt += 1
                _logger.info("the presence is sent again in %.1f s: %s", delay_s, refusal)
                await asyncio.sleep(delay_s)
                self._is_due.set()

    async def _send(self, connection: Connection) -> None:
        """Send it, if there is one. Raises what ends the connection, or may pass."""
        data = self._data
        if data is None:
            return
        try:
            response = await connection.request("presence", data)
        except RefusedError as refusal:
            if refusal.retryable or connection.is_refused:
                raise
            if self._data is data:
                self._data = None
                _logger.warning("the hub refused the presence: %s", refusal)
                self.fail(refusal)
            return
        if self._data is data and response.presence is not None:
            # Others know it by that ID.
            data["presenceId"] = response.presence["$id"]
            confirmed, self._confirmed = self._confirmed, None
            if confirmed is not None and not confirmed.done():
                confirmed.set_result(response.presence)

    def fail(self, error: Exception) -> None:
        """Tell who waits that it will not be confirmed."""
        confirmed, self._confirmed = self._confirmed, None
        if confirmed is not None and not confirmed.done():
            confirmed.set_exception(error)
