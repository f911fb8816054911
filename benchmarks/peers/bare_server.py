"""A server to compare with: the least that Python and uvloop can do, so what the hub's own work costs beside it.

It sends what it hears on a Redis channel to every client, with an end of each client's own: no permissions, no
subscriptions, not even a WebSocket handshake that a browser would believe.

    python -m benchmarks.peers.bare_server PORT REDIS_URL CHANNEL
"""

import asyncio
import sys
from typing import cast

import uvloop
from redis.asyncio import Redis

from realtime.hub.frames import text_header

HANDSHAKE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
ENDING_BYTES = 25

endings: dict[asyncio.Transport, bytes] = {}


class Client(asyncio.Protocol):
    """One client, from its request on."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the request."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, _: bytes) -> None:
        """Take the first bytes for a request, and ignore what follows."""
        if self.transport not in endings:
            endings[self.transport] = b"%025d" % len(endings)
            self.transport.write(HANDSHAKE)

    def connection_lost(self, _: Exception | None) -> None:
        """Forget the client."""
        endings.pop(self.transport, None)


async def main(port: int, redis_url: str, channel: str) -> None:
    await asyncio.get_running_loop().create_server(Client, "127.0.0.1", port, backlog=4096)
    async with Redis.from_url(redis_url) as redis, redis.pubsub() as pubsub:
        await pubsub.subscribe(channel)
        async for message in pubsub.listen():
            if message["type"] == "message":
                shared = text_header(len(message["data"])) + message["data"][:-ENDING_BYTES]
                for transport, ending in endings.items():
                    transport.write(shared + ending)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), *sys.argv[2:]))
