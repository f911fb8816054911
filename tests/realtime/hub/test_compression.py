"""Wire specification 16.1, end to end: who gets compressed frames, how they look, and that clients read them."""

import asyncio
import json
import struct
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.frames import Frame, Opcode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.realtime.hub.conftest import RunningHub, Start

pytestmark = pytest.mark.asyncio(loop_scope="module")

UPDATE = "databases.main.tables.posts.rows.6a1f0c83e2b94d57.update"
ROW = {
    "$id": "6a1f0c83e2b94d57",
    "$createdAt": "2026-11-21T10:06:40.898+00:00",
    "$updatedAt": "2026-11-21T10:07:11.102+00:00",
    "$permissions": ['read("any")', 'update("user:69c2b1d07e4a3f58")'],
    "title": "Frames that are shorter than they were",
    "status": "published",
}
SMALL = "teams.red.update"
ACCEPTED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


class Received(NamedTuple):
    """A frame of the hub, as it came."""

    compressed: bool
    payload: bytes

    def text(self) -> bytes:
        """Return the message, decompressed as by a client that has seen no other."""
        if not self.compressed:
            return self.payload
        return zlib.decompressobj(-15).decompress(self.payload + b"\x00\x00\xff\xff")

    def subscriptions(self) -> list[str]:
        """Return the subscriptions that an event names."""
        ids: list[str] = json.loads(self.text())["data"]["subscriptions"]
        return ids


class RawClient:
    """A client that keeps frames as they came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        # What the hub answered to the offer of extensions; None if nothing.
        self.extensions: str | None = None

    async def open(self, hub: "RunningHub", offer: str | None) -> None:
        headers = {
            "Host": "localhost",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        if offer is not None:
            headers["Sec-WebSocket-Extensions"] = offer
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._writer.write(f"GET /v1/realtime?project={hub.project} HTTP/1.1\r\n{lines}\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 101 "), head
        answer = dict(line.lower().split(": ", 1) for line in head.strip().split("\r\n")[1:])
        self.extensions = answer.get("sec-websocket-extensions")
        assert json.loads((await self.receive()).text())["type"] == "connected"

    async def receive(self) -> Received:
        async with asyncio.timeout(10):
            first, length = await self._reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack("!H", await self._reader.readexactly(2))
            assert first & 0xBF == 0x80 | Opcode.TEXT
            return Received(bool(first & 0x40), await self._reader.readexactly(length))

    async def subscribe(self, *ids: str) -> None:
        items = [{"subscriptionId": id_, "channels": ["rows", "teams"]} for id_ in ids]
        message = json.dumps({"type": "subscribe", "data": items}).encode()
        self._writer.write(Frame(Opcode.TEXT, message).serialize(mask=True))
        assert json.loads((await self.receive()).text())["type"] == "response"


@asynccontextmanager
async def raw_client(
    hub: "RunningHub", offer: str | None = "permessage-deflate"
) -> "AsyncIterator[RawClient]":
    """Open a connection, and take the greeting."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    client = RawClient(reader, writer)
    try:
        await client.open(hub, offer)
        yield client
    finally:
        writer.transport.abort()


@asynccontextmanager
async def compressing_client(hub: "RunningHub") -> "AsyncIterator[ClientConnection]":
    """Connect as the library ``websockets`` does by default, and take the greeting."""
    async with connect(f"ws://127.0.0.1:{hub.port}/v1/realtime?project={hub.project}") as socket:
        assert [extension.name for extension in socket.protocol.extensions] == ["permessage-deflate"]
        assert json.loads(await socket.recv())["type"] == "connected"
        yield socket


async def ask(socket: ClientConnection, message: object) -> dict[str, Any]:
    await socket.send(json.dumps(message))
    async with asyncio.timeout(10):
        answer: dict[str, Any] = json.loads(await socket.recv())
    return answer


class TestNegotiation:
    @pytest.mark.parametrize(
        ("offer", "answer"),
        [
            (None, None),
            ("permessage-deflate", ACCEPTED),
            # Chromium, Firefox and `ws`.
            ("permessage-deflate; client_max_window_bits", ACCEPTED),
            ("permessage-deflate; client_max_window_bits=12", f"{ACCEPTED}; client_max_window_bits=12"),
            ("permessage-deflate; server_max_window_bits=10", None),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", ACCEPTED),
            ("x-webkit-deflate-frame", None),
        ],
    )
    async def test_offer_is_answered(
        self, shared: "RunningHub", offer: str | None, answer: str | None
    ) -> None:
        """An event is compressed for those who were told so, and for nobody else."""
        async with raw_client(shared, offer) as client:
            await client.subscribe("s")
            await shared.deliver(UPDATE, ROW, roles=["any"])

            assert client.extensions == answer
            assert (await client.receive()).compressed == (answer is not None)

    async def test_switched_off(self, start_hub: "Start") -> None:
        async with start_hub(compression=False) as hub, raw_client(hub) as client:
            await client.subscribe("s")
            await hub.deliver(UPDATE, ROW, roles=["any"])

            assert client.extensions is None
            assert not (await client.receive()).compressed


class TestEvents:
    async def test_compressed_frame_says_the_same_in_a_third_of_the_bytes(self, shared: "RunningHub") -> None:
        async with raw_client(shared) as compressed, raw_client(shared, None) as plain:
            await compressed.subscribe("a")
            await plain.subscribe("a")
            for _ in range(3):
                await shared.deliver(UPDATE, ROW, roles=["any"])
                one, other = await compressed.receive(), await plain.receive()

                assert one.text() == other.payload
                assert json.loads(one.text())["data"]["payload"] == ROW
                assert len(one.payload) * 3 < len(other.payload)

    async def test_each_connection_gets_its_own_subscriptions(self, shared: "RunningHub") -> None:
        async with raw_client(shared) as one, raw_client(shared) as two, raw_client(shared, None) as plain:
            await one.subscribe("short")
            await two.subscribe(*[f"{number:036}" for number in range(100)])
            await plain.subscribe("plain")
            await shared.deliver(UPDATE, ROW, roles=["any"])

            assert (await one.receive()).subscriptions() == ["short"]
            assert sorted((await two.receive()).subscriptions()) == [f"{number:036}" for number in range(100)]
            assert (await plain.receive()).subscriptions() == ["plain"]

    async def test_small_event_stays_plain(self, shared: "RunningHub") -> None:
        async with raw_client(shared) as client:
            await client.subscribe("s")
            await shared.deliver(SMALL, {"$id": "red"}, roles=["any"])
            small = await client.receive()
            await shared.deliver(SMALL, {"$id": "red", "name": "Red" * 200}, roles=["any"])
            large = await client.receive()

        assert not small.compressed
        assert json.loads(small.payload)["data"]["payload"] == {"$id": "red"}
        assert large.compressed

    async def test_threshold_is_a_setting(self, start_hub: "Start") -> None:
        async with start_hub(compression_threshold_bytes=100_000) as hub, raw_client(hub) as client:
            await client.subscribe("s")
            await hub.deliver(UPDATE, ROW, roles=["any"])

            assert client.extensions == ACCEPTED
            assert not (await client.receive()).compressed


class TestWebsocketsClient:
    """The library's own client, which compresses every message that it sends."""

    async def test_events_arrive(self, shared: "RunningHub") -> None:
        async with compressing_client(shared) as socket:
            item = {"subscriptionId": "s", "channels": ["rows", "teams"]}
            assert (await ask(socket, {"type": "subscribe", "data": [item]}))["type"] == "response"
            payloads: list[dict[str, Any]] = [ROW, {"$id": "1"}, {**ROW, "text": "é" * 100_000}, ROW]
            for payload in payloads:
                await shared.deliver(UPDATE, payload, roles=["any"])
            async with asyncio.timeout(10):
                received = [json.loads(await socket.recv())["data"] for _ in payloads]

        assert [data["payload"] for data in received] == payloads
        assert [data["subscriptions"] for data in received] == [["s"]] * len(payloads)

    async def test_messages_are_read_in_any_size_and_in_fragments(self, shared: "RunningHub") -> None:
        async with compressing_client(shared) as socket:
            for size in (0, 10, 1_000, 60_000):
                assert await ask(socket, {"type": "ping", "data": "x" * size}) == {"type": "pong"}
            await socket.send(['{"type":', '"pi', "", 'ng"}'])
            async with asyncio.timeout(10):
                assert json.loads(await socket.recv()) == {"type": "pong"}

    async def test_nothing_is_kept_between_messages(self, shared: "RunningHub") -> None:
        async with compressing_client(shared) as socket:
            assert await ask(socket, {"type": "ping", "data": "x" * 1_000}) == {"type": "pong"}

            (connection,) = shared.hub.registry.rooms[shared.project].connections
            assert connection.wire._incoming is None  # type: ignore[attr-defined]
