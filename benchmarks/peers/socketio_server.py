"""A server to compare with: python-socketio on uvicorn and uvloop, which emits to a room.

It sends what it hears on a Redis channel to every client: no permissions, no subscriptions.

    python -m benchmarks.peers.socketio_server PORT REDIS_URL CHANNEL [deflate]
"""

import asyncio
import sys
from typing import Any

import orjson
import socketio
import uvicorn
import uvloop
from redis.asyncio import Redis

ROOM = "all"

sio = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])


@sio.event  # type: ignore[untyped-decorator]
async def connect(sid: str, _environ: dict[str, Any]) -> None:
    await sio.enter_room(sid, ROOM)


async def pass_on(redis_url: str, channel: str) -> None:
    async with Redis.from_url(redis_url) as redis, redis.pubsub() as pubsub:
        await pubsub.subscribe(channel)
        async for message in pubsub.listen():
            if message["type"] == "message":
                await sio.emit("event", orjson.loads(message["data"]), room=ROOM)


async def main(port: int, redis_url: str, channel: str, deflate: str = "") -> None:
    config = uvicorn.Config(
        socketio.ASGIApp(sio),
        port=port,
        backlog=4096,
        ws_per_message_deflate=bool(deflate),
        access_log=False,
        lifespan="off",
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(pass_on(redis_url, channel))
        tasks.create_task(uvicorn.Server(config).serve())


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), *sys.argv[2:]))
