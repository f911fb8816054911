"""A hub of which the test plays every part, frame by frame; and a client that is connected to it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from websockets.asyncio.server import ServerConnection

from realtime.client import Event, RealtimeClient
from realtime.client.connection import Timeouts
from realtime.client.schedule import Backoff

AT_ONCE = Backoff(base_s=0.0, max_s=0.0)
DEADLINE_S = 30.0
"""How long anything may take that a test waits for: far longer than it does."""


class Peer:
    """The hub's end of one connection."""

    def __init__(self, websocket: ServerConnection) -> None:
        self.websocket = websocket

    @property
    def headers(self) -> dict[str, str]:
        assert self.websocket.request is not None
        return dict(self.websocket.request.headers.raw_items())

    async def send(self, frame_type: str, data: object) -> None:
        await self.websocket.send(json.dumps({"type": frame_type, "data": data}))

    async def connected(self, position: str = "", user: object = None) -> None:
        await self.send(
            "connected", {"channels": [], "subscriptions": [], "user": user, "position": position}
        )

    async def refuse(self, code: int, message: str, close_code: int) -> None:
        await self.send("error", {"code": code, "message": message})
        await self.websocket.close(close_code)

    async def message(self, expected_type: str) -> Any:
        """Return ``data`` of the client's next message."""
        async with asyncio.timeout(DEADLINE_S):
            message = json.loads(await self.websocket.recv())
        assert message["type"] == expected_type
        return message["data"]

    async def subscribed(self, position: str = "", **extra: object) -> list[dict[str, Any]]:
        """Take a subscribe message and confirm it at a position of the log; return its items."""
        items: list[dict[str, Any]] = await self.message("subscribe")
        answers = [
            {"subscriptionId": item["subscriptionId"], "channels": item["channels"], "queries": [], **extra}
            for item in items
        ]
        response = {"to": "subscribe", "success": True, "subscriptions": answers, "position": position}
        await self.send("response", response)
        return items

    async def unsubscribed(self) -> list[str]:
        ids = [item["subscriptionId"] for item in await self.message("unsubscribe")]
        answers = [{"subscriptionId": subscription_id, "removed": True} for subscription_id in ids]
        await self.send("response", {"to": "unsubscribe", "success": True, "subscriptions": answers})
        return ids

    async def event(self, event_id: str, *subscriptions: str, **payload: object) -> None:
        data = {"events": ["a.b"], "channels": ["a"], "timestamp": "t", "payload": payload}
        await self.send("event", {**data, "id": event_id, "subscriptions": list(subscriptions)})


class Hub:
    """Hands every connection to the test, in the order of arrival."""

    def __init__(self) -> None:
        self.endpoint = ""
        self._arrived: asyncio.Queue[Peer] = asyncio.Queue()
        self.connections = 0

    async def handle(self, websocket: ServerConnection) -> None:
        self.connections += 1
        self._arrived.put_nowait(Peer(websocket))
        await websocket.wait_closed()

    async def accept(self) -> Peer:
        async with asyncio.timeout(DEADLINE_S):
            return await self._arrived.get()


@contextlib.asynccontextmanager
async def opened(
    hub: Hub, *, position: str = "", **options: Any
) -> AsyncIterator[tuple[RealtimeClient, Peer]]:
    """Yield a client and its first connection."""
    client = RealtimeClient(hub.endpoint, "demo", **{"backoff": AT_ONCE, **options})
    async with asyncio.TaskGroup() as tasks:
        entering = tasks.create_task(client.__aenter__())
        peer = await hub.accept()
        await peer.connected(position)
    await entering
    try:
        yield client, peer
    finally:
        await client.__aexit__(None, None, None)


def be_patient(client: RealtimeClient) -> None:
    """Give the connections after this one, and the readers from now on, more time than a slow machine needs."""
    client._timeouts = Timeouts()


async def next_event(events: AsyncIterator[Event]) -> Event:
    async with asyncio.timeout(DEADLINE_S):
        return await anext(events)


async def collect(events: AsyncIterator[Event], count: int = 0) -> list[Event]:
    """Return the next ``count`` events, or all until the end."""
    received = []
    async for event in events:
        received.append(event)
        if len(received) == count:
            break
    return received


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  (the client has no event for it)
            await asyncio.sleep(0.005)
