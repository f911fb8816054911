"""A few slots, which parties take turns in."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from workers.images.turns import Party, Turns


class CrowdedError(Exception):
    """As many wait as may, and nobody else has more of the places; it helps to come again."""


class Gate:
    """Lets a few in at a time. For one event loop.

    Args:
        slots: how many may be in.
        places: how many may wait.
    """

    def __init__(self, slots: int, places: int) -> None:
        self._free = slots
        self._turns = Turns[asyncio.Future[None]](places)

    @contextlib.asynccontextmanager
    async def entered(self, party: Party) -> AsyncIterator[None]:
        """Wait for a slot, and keep it until the block ends.

        Raises:
            CrowdedError: too many wait; also after having waited, since others with fewer came.
        """
        await self._wait(party)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, party: Party) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        refused = self._turns.put(party, turn)
        if refused is not None and not refused.done():
            refused.set_exception(CrowdedError())
        try:
            await turn
        except asyncio.CancelledError:
            self._turns.remove(party, turn)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # Its turn came as it was going away.
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Let in whoever is next."""
        turn = self._turns.take()
        # One who just went away waits until it learns that.
        while turn is not None and turn.done():
            turn = self._turns.take()
        if turn is None:
            self._free += 1
        else:
            turn.set_result(None)
