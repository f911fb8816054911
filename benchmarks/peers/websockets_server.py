"""A server to compare with: ``websockets`` with its ``broadcast``, as its documentation has it.

It sends what it hears on a Redis channel to every client: no permissions, no subscriptions.

    python -m benchmarks.peers.websockets_server PORT REDIS_URL CHANNEL [deflate]
"""

import sys

import uvloop
from redis.asyncio import Redis
from websockets.asyncio.server import ServerConnection, broadcast, serve

connections: set[ServerConnection] = set()


async def hold(connection: ServerConnection) -> None:
    connections.add(connection)
    try:
        await connection.wait_closed()
    finally:
        connections.remove(connection)


async def main(port: int, redis_url: str, channel: str, deflate: str = "") -> None:
    async with (
        serve(hold, "127.0.0.1", port, backlog=4096, compression="deflate" if deflate else None),
        Redis.from_url(redis_url) as redis,
        redis.pubsub() as pubsub,
    ):
        await pubsub.subscribe(channel)
        async for message in pubsub.listen():
            if message["type"] == "message":
                broadcast(connections, message["data"].decode())


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), *sys.argv[2:]))
