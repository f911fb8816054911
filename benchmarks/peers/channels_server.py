"""A server to compare with: Django Channels on its Redis layer, served by uvicorn and uvloop, which sends to a group.

It sends what it hears on a Redis channel to every client, by way of the layer, as any Django program does: no
permissions, no subscriptions.

    python -m benchmarks.peers.channels_server PORT REDIS_URL CHANNEL [deflate]
"""

import asyncio
import sys

import uvicorn
import uvloop
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter
from django.conf import settings
from redis.asyncio import Redis

GROUP = "all"


class Consumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One client."""

    async def connect(self) -> None:
        """Join the group."""
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    async def disconnect(self, _code: int) -> None:
        """Leave the group."""
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def event(self, message: dict[str, str]) -> None:
        """Pass on what was sent to the group."""
        await self.send(text_data=message["text"])


async def pass_on(redis_url: str, channel: str) -> None:
    layer = get_channel_layer()
    async with Redis.from_url(redis_url) as redis, redis.pubsub() as pubsub:
        await pubsub.subscribe(channel)
        async for message in pubsub.listen():
            if message["type"] == "message":
                await layer.group_send(GROUP, {"type": "event", "text": message["data"].decode()})


async def main(port: int, redis_url: str, channel: str, deflate: str = "") -> None:
    # With the defaults of the Redis client, a hundred clients at once or five idle seconds are errors.
    host = {"address": redis_url, "max_connections": 20_000, "socket_timeout": None}
    layer = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [host]}}
    settings.configure(CHANNEL_LAYERS={"default": layer})
    config = uvicorn.Config(
        ProtocolTypeRouter({"websocket": Consumer.as_asgi()}),
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
