"""What the tests of presences share: a store on a real Valkey server, and a clock that they put forward."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from realtime.bus import RedisBus, connect
from realtime.presences.store import PresenceStore

LEASE_S = 10.0


class Clock:
    """A clock that tests put forward."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **delta: float) -> None:
        self.now += timedelta(**delta)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(redis_url: str, clock: Clock) -> AsyncIterator[PresenceStore]:
    client = connect(redis_url)
    yield PresenceStore(RedisBus(client), lease_s=LEASE_S, clock=clock)
    await client.aclose()
