"""The hub that tests of the client play."""

from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.server import Server, serve

from tests.realtime.client.peer import Hub


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub = Hub()
    server: Server
    async with serve(hub.handle, "127.0.0.1", 0) as server:
        hub.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield hub
