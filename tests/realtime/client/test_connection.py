"""One connection, against a hub of which the test plays every part."""

import asyncio
import json

import pytest
from websockets.asyncio.server import ServerConnection, serve

from realtime.client import Event, RealtimeClient, UnreachableError
from realtime.client.connection import Connection, Timeouts

CONNECTED = json.dumps({"type": "connected", "data": {"channels": [], "subscriptions": [], "user": None}})


def event(event_id: str, payload: str) -> str:
    return (
        f'{{"type":"event","data":{{"id":"{event_id}","events":[],"channels":[],"timestamp":"",'
        f'"subscriptions":["s"],"payload":{payload}}}}}'
    )


async def read(*frames: str) -> list[str]:
    """Return the IDs of the events that a hub sends with ``frames``, before it closes the connection."""

    async def speak(websocket: ServerConnection) -> None:
        for frame in frames:
            await websocket.send(frame)

    events: list[Event] = []

    async def ready() -> None:
        pass

    async with serve(speak, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        connection = await Connection.open(
            f"ws://127.0.0.1:{port}",
            {},
            on_event=events.append,
            on_system=lambda _: None,
            timeouts=Timeouts(open_s=5),
        )
        await connection.receive(ready)
    return [each.id for each in events]


class TestFailure:
    async def test_client_that_fails_leaves_no_connection_open(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The hub would go on sending to it, and the library answering its pings."""
        is_closed = asyncio.Event()

        async def speak(websocket: ServerConnection) -> None:
            await websocket.send(CONNECTED)
            await websocket.send(event("1-0", "{}"))
            await websocket.wait_closed()
            is_closed.set()

        def fail(_: Event) -> None:
            raise ZeroDivisionError

        async with serve(speak, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            client = RealtimeClient(f"http://127.0.0.1:{port}/v1", "demo")
            monkeypatch.setattr(client, "_deliver", fail)
            async with client, asyncio.timeout(5):
                await is_closed.wait()


class TestDeepFrames:
    """JSON that is nested more deeply than Python can follow; there are publishers that can."""

    async def test_event_is_skipped_and_the_connection_goes_on(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        deep = event("1-0", "[" * 2000 + "]" * 2000)

        assert await read(CONNECTED, deep, event("2-0", "{}")) == ["2-0"]
        assert "not understood" in caplog.text

    async def test_first_frame_is_a_hub_that_cannot_be_talked_to(self) -> None:
        with pytest.raises(UnreachableError):
            await read(CONNECTED.replace("null", "[" * 2000 + "]" * 2000))
