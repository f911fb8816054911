"""What strangers may send to the hub's port, and what comes of it: a documented refusal, and nothing else.

After each test of this file somebody who was connected before must be undisturbed: still there, still receiving events,
nothing received that was not theirs; and the hub must have logged no error.
"""

import asyncio
import contextlib
import json
import struct
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple

import pytest
import pytest_asyncio
import structlog.testing

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import RunningHub, Start

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEGABYTES_10 = 10_000_000
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
COMPRESSED = 4
"""The reserved bit that marks a compressed message."""
PING_MESSAGE = b'{"type":"ping"}'
UPGRADE = {
    "Host": "localhost",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


@contextlib.asynccontextmanager
async def undisturbed(hub: "RunningHub") -> AsyncIterator[None]:
    """Check that somebody who is connected all the while notices nothing of what is done within."""
    with structlog.testing.capture_logs() as logs:
        async with hub.greeted() as bystander:
            await bystander.subscribe("rows")
            yield
            await hub.deliver("databases.main.tables.posts.rows.1.create", {"$id": "1"}, roles=["any"])
            assert (await bystander.receive_event())["payload"] == {"$id": "1"}
            await bystander.assert_silent()
        assert (await hub.greeting())["channels"] == []
    assert [entry for entry in logs if entry["log_level"] in ("error", "critical")] == []


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def bystander(shared: "RunningHub", caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    async with undisturbed(shared):
        yield
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


class Answer(NamedTuple):
    """A response of HTTP."""

    status: int
    headers: dict[str, str]
    body: str


class Wire:
    """A TCP connection: bytes out, bytes in, and no rules."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def read_answer(self) -> Answer:
        """Read the head of a response, and the body if its length is given."""
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            status, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(status.split()[1]), headers, body.decode())

    async def read_to_the_end(self) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.read()

    async def read_frame(self) -> tuple[int, bytes]:
        """Read a frame of the server: its opcode and payload."""
        async with asyncio.timeout(10):
            first, length = await self.reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            return first & 0x0F, await self.reader.readexactly(length)

    async def read_close(self) -> tuple[int, str]:
        """Return code and reason of the close frame that comes next, with the end of the stream behind it."""
        opcode, payload = await self.read_frame()
        assert opcode == CLOSE, payload
        self.send(frame(CLOSE, payload))
        assert await self.read_to_the_end() == b""
        return int.from_bytes(payload[:2]), payload[2:].decode()


@contextlib.asynccontextmanager
async def wire(hub: "RunningHub") -> AsyncIterator[Wire]:
    """Open a TCP connection to the hub."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


@contextlib.asynccontextmanager
async def websocket(hub: "RunningHub", *, compresses: bool = False) -> AsyncIterator[Wire]:
    """Open a WebSocket, and take the greeting."""
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate"} if compresses else {}
    async with wire(hub) as raw:
        raw.send(request("GET", f"/v1/realtime?project={hub.project}", UPGRADE | offer))
        answer = await raw.read_answer()
        assert answer.status == 101
        assert ("sec-websocket-extensions" in answer.headers) == compresses
        opcode, greeting = await raw.read_frame()
        assert opcode == TEXT
        assert json.loads(greeting)["type"] == "connected"
        yield raw


def request(method: str, target: str, headers: dict[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    masked: bool = True,
    reserved: int = 0,
    length: int | None = None,
) -> bytes:
    """Return a client's frame; the mask is all zeros. ``length`` is what its head claims, if not the truth."""
    claimed = len(payload) if length is None else length
    first = fin << 7 | reserved << 4 | opcode
    mask = masked << 7
    if claimed < 126:
        head = struct.pack("!BB", first, mask | claimed)
    elif claimed < 65536:
        head = struct.pack("!BBH", first, mask | 126, claimed)
    else:
        head = struct.pack("!BBQ", first, mask | 127, claimed)
    return head + bytes(4 * masked) + payload


def deflated(text: bytes) -> bytes:
    """Return the payload of a compressed message (RFC 7692 section 7.2.1)."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\x00\x00\xff\xff")


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


class TestMessages:
    """Well-formed frames with bad content are answered, and the connection stays."""

    @pytest.mark.parametrize(
        ("message", "reason"),
        [
            ("", "Message format is not valid."),
            ("not JSON", "Message format is not valid."),
            ("\x00\x01\x02", "Message format is not valid."),
            ("5", "Message format is not valid."),
            ("[" * 60_000, "Message format is not valid."),
            (nested(30_000), "Message format is not valid."),
            ('{"type":"ping","data":' + nested(30_000) + "}", "Message format is not valid."),
            ('{"a":' * 9_000 + "1" + "}" * 9_000, "Message format is not valid."),
            ('{"type":"ping","data":1e999}', "Message format is not valid."),
            ('{"type":{"$ne":null}}', "Message type is not valid."),
            ('{"type":"' + "x" * 60_000 + '"}', "Message type is not valid."),
            ('{"type":"subscribe","data":{"0":{}}}', "items: Payload is not valid."),
            ('{"type":"subscribe","data":[[]]}', "items: channels is not present in payload."),
            ('{"type":"subscribe","data":[{"channels":{}}]}', "items: channels is not a valid array."),
            (
                json.dumps({"type": "subscribe", "data": [{"channels": ["c"] * 10_000}]}),
                "At most 100 channels are allowed in a subscription.",
            ),
            (
                json.dumps({"type": "subscribe", "data": [{"channels": []}] * 2_000}),
                "At most 100 subscriptions are allowed in a message.",
            ),
            (
                json.dumps({"type": "subscribe", "data": [{"channels": [], "queries": [nested(500)]}]}),
                "Invalid query: Invalid query: Maximum stack depth exceeded",
            ),
        ],
        ids=lambda value: value[:40],
    )
    async def test_content_is_refused(self, shared: "RunningHub", message: str, reason: str) -> None:
        async with shared.greeted() as client:
            await client.send(message)

            expected = {"type": "error", "data": {"code": 1003, "message": reason}}
            assert await client.receive() == expected
            await client.assert_silent()

    async def test_one_over_the_limit_closes(self, shared: "RunningHub") -> None:
        async with shared.greeted() as client:
            await client.send("x" * 64_001)

            assert await client.closed() == 1009

    async def test_one_at_the_limit_is_read(self, shared: "RunningHub") -> None:
        padding = "x" * (64_000 - len('{"type":"ping","data":""}'))

        async with shared.greeted() as client:
            assert await client.ask("ping") == {"type": "pong"}
            await client.send('{"type":"ping","data":"' + padding + '"}')

            assert await client.receive() == {"type": "pong"}


class TestFrames:
    """RFC 6455 section 5: what breaks the framing closes the connection, with a code that says why."""

    @pytest.mark.parametrize(
        ("sent", "code"),
        [
            pytest.param([frame(TEXT, PING_MESSAGE, masked=False)], 1002, id="not masked"),
            pytest.param([frame(TEXT, PING_MESSAGE, reserved=4)], 1002, id="compressed, not negotiated"),
            pytest.param([frame(TEXT, PING_MESSAGE, reserved=2)], 1002, id="reserved bit 2"),
            pytest.param([frame(TEXT, PING_MESSAGE, reserved=1)], 1002, id="reserved bit 3"),
            pytest.param([frame(0x3, PING_MESSAGE)], 1002, id="reserved data opcode"),
            pytest.param([frame(0xB)], 1002, id="reserved control opcode"),
            pytest.param([frame(CONTINUATION, PING_MESSAGE)], 1002, id="continuation of nothing"),
            pytest.param(
                [frame(TEXT, b'{"type"', fin=False), frame(TEXT, b':"ping"}')],
                1002,
                id="new message within one",
            ),
            pytest.param([frame(PING, fin=False)], 1002, id="fragmented ping"),
            pytest.param([frame(PING, b"x" * 126)], 1002, id="long ping"),
            pytest.param([frame(CLOSE, b"\x03")], 1002, id="half a close code"),
            pytest.param([frame(CLOSE, struct.pack("!H", 1005))], 1002, id="forbidden close code"),
            pytest.param([frame(CLOSE, struct.pack("!H", 1000) + b"\xff")], 1007, id="reason is not UTF-8"),
            pytest.param([frame(TEXT, b"\xff\xfe")], 1007, id="not UTF-8"),
            pytest.param([frame(TEXT, b'{"type":"\xed\xa0\x80"}')], 1007, id="surrogate"),
            pytest.param(
                [frame(TEXT, b"\xc3", fin=False), frame(CONTINUATION, b"(")], 1007, id="not UTF-8, in parts"
            ),
            pytest.param([frame(TEXT, length=MEGABYTES_10)], 1009, id="claims to be too large"),
            pytest.param([frame(TEXT, length=2**63 - 1)], 1009, id="claims to be huge"),
            pytest.param([frame(TEXT, length=2**63)], 1009, id="claims to be impossible"),
            pytest.param(
                [frame(TEXT, b"x" * 32_000, fin=False), *[frame(CONTINUATION, b"x" * 32_001, fin=False)]],
                1009,
                id="too large in two parts",
            ),
            pytest.param(
                [frame(TEXT, fin=False), *[frame(CONTINUATION, b"x", fin=False)] * 64_001],
                1009,
                id="too large in tiny parts",
            ),
            pytest.param([b"GET / HTTP/1.1\r\n\r\n" * 10], 1002, id="HTTP"),
            pytest.param([b"\xff" * 100_000], 1002, id="noise"),
        ],
    )
    async def test_violation_closes(self, shared: "RunningHub", sent: Sequence[bytes], code: int) -> None:
        async with websocket(shared) as raw:
            raw.send(b"".join(sent))

            assert (await raw.read_close())[0] == code

    async def test_violation_is_told_though_more_is_on_its_way(self, shared: "RunningHub") -> None:
        """A reset, for what the hub would leave unread, could overtake the close frame."""
        async with websocket(shared) as raw:
            raw.send(frame(TEXT, b"x" * MEGABYTES_10))

            assert (await raw.read_close())[0] == 1009

    async def test_nothing_is_answered_after_a_violation(self, shared: "RunningHub") -> None:
        async with websocket(shared) as raw:
            raw.send(frame(0x3) + frame(TEXT, PING_MESSAGE) + frame(PING, b"x"))

            assert (await raw.read_close())[0] == 1002

    async def test_valid_frames_arrive_however_they_are_cut(self, shared: "RunningHub") -> None:
        """One byte at a time; in fragments, between letters of one character, with a ping in between."""
        text = '{"type":"ping","data":"é"}'.encode()
        fragments = [frame(TEXT, text[:1], fin=False)]
        for byte in text[1:]:
            fragments += [
                frame(PING, b"p"),
                frame(CONTINUATION, fin=False),
                frame(CONTINUATION, bytes([byte]), fin=False),
            ]

        async with websocket(shared) as raw:
            for byte in b"".join([*fragments, frame(CONTINUATION)]):
                raw.send(bytes([byte]))
                await asyncio.sleep(0)
            answers = [await raw.read_frame() for _ in range(len(text))]

        assert answers == [(PONG, b"p")] * (len(text) - 1) + [(TEXT, b'{"type":"pong"}')]

    async def test_empty_fragments_take_no_memory(self, shared: "RunningHub") -> None:
        """They are not counted by the limit on a message's size."""
        async with websocket(shared) as raw:
            raw.send(frame(TEXT, b'{"type":', fin=False))
            for _ in range(50):
                raw.send(frame(CONTINUATION, fin=False) * 2_000)
                await raw.writer.drain()
            raw.send(frame(PING))
            assert await raw.read_frame() == (PONG, b"")
            (incoming,) = [
                incoming
                for connection in shared.hub.registry.rooms[shared.project].connections
                if (incoming := getattr(connection.wire, "_incoming", None)) is not None
            ]
            assert incoming._fragments == [b'{"type":']
            raw.send(frame(CONTINUATION, b'"ping"}'))

            assert await raw.read_frame() == (TEXT, b'{"type":"pong"}')

    async def test_close_is_answered_with_the_same_code(self, shared: "RunningHub") -> None:
        async with websocket(shared) as raw:
            raw.send(frame(CLOSE, struct.pack("!H", 4321) + b"bye"))

            assert await raw.read_close() == (4321, "bye")


class TestCompressedFrames:
    """16.1 and RFC 7692: what was negotiated is no way around the limits."""

    @pytest.mark.parametrize(
        ("sent", "code"),
        [
            pytest.param([frame(TEXT, b"\xff" * 100, reserved=COMPRESSED)], 1002, id="corrupt"),
            pytest.param([frame(TEXT, deflated(b"\xff\xfe"), reserved=COMPRESSED)], 1007, id="not UTF-8"),
            pytest.param([frame(TEXT, deflated(b"x" * 60_000_000), reserved=COMPRESSED)], 1009, id="bomb"),
            pytest.param(
                [frame(TEXT, deflated(b"x" * 64_001), reserved=COMPRESSED)], 1009, id="a little too large"
            ),
            pytest.param(
                [
                    frame(TEXT, b"\x00\x00\x00\xff\xff", reserved=COMPRESSED, fin=False),
                    *[frame(CONTINUATION, b"\x00\x00\x00\xff\xff", fin=False)] * 20_000,
                ],
                1009,
                id="endless and empty",
            ),
            pytest.param([frame(PING, reserved=COMPRESSED)], 1002, id="compressed ping"),
            pytest.param(
                [
                    frame(TEXT, b"{", fin=False),
                    frame(CONTINUATION, deflated(b"}"), reserved=COMPRESSED),
                ],
                1002,
                id="compressed from the middle on",
            ),
        ],
    )
    async def test_violation_closes(self, shared: "RunningHub", sent: Sequence[bytes], code: int) -> None:
        async with websocket(shared, compresses=True) as raw:
            raw.send(b"".join(sent))

            assert (await raw.read_close())[0] == code

    async def test_malformed_offer_is_refused(self, shared: "RunningHub") -> None:
        """RFC 6455 section 9.1."""
        async with wire(shared) as raw:
            headers = UPGRADE | {"Sec-WebSocket-Extensions": "permessage-deflate; ="}
            raw.send(request("GET", f"/v1/realtime?project={shared.project}", headers))

            assert (await raw.read_answer()).status == 400

    async def test_valid_frames_arrive_however_they_are_cut(self, shared: "RunningHub") -> None:
        """One byte at a time, in fragments of one byte; and one that is not compressed among them."""
        message = deflated(PING_MESSAGE)
        fragments = [frame(TEXT, message[:1], fin=False, reserved=COMPRESSED)]
        fragments += [frame(CONTINUATION, bytes([byte]), fin=False) for byte in message[1:]]

        async with websocket(shared, compresses=True) as raw:
            for byte in b"".join([*fragments, frame(CONTINUATION), frame(TEXT, PING_MESSAGE)]):
                raw.send(bytes([byte]))
                await asyncio.sleep(0)

            assert [await raw.read_frame() for _ in range(2)] == [(TEXT, b'{"type":"pong"}')] * 2


class TestPongs:
    async def test_hub_is_told_what_a_pong_repeats(
        self, shared: "RunningHub", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whether it comes alone, in pieces, with others, or between the fragments of a message."""
        pongs: list[bytes] = []
        monkeypatch.setattr(shared.hub, "ponged", lambda _, payload: pongs.append(payload))

        async with websocket(shared) as raw:
            for count, sent in (
                (1, [frame(PONG, b"alone")]),
                (2, [frame(PONG, b"in pieces")[:4], frame(PONG, b"in pieces")[4:]]),
                (4, [frame(PONG) + frame(PONG, b"x" * 125)]),
                (5, [frame(TEXT, b'{"type":', fin=False), frame(PONG, b"between")]),
            ):
                for data in sent:
                    raw.send(data)
                    # Each is to be read by itself.
                    await asyncio.sleep(0.01)
                await shared.until(lambda: len(pongs) == count)  # noqa: B023 - it has ended before the next turn
            raw.send(frame(CONTINUATION, b'"ping"}'))

            assert await raw.read_frame() == (TEXT, b'{"type":"pong"}')
        assert pongs == [b"alone", b"in pieces", b"", b"x" * 125, b"between"]


class TestVanishing:
    """Clients that are suddenly gone leave nothing behind."""

    @pytest.mark.parametrize(
        "last_words",
        [
            b"",
            frame(TEXT, PING_MESSAGE),
            frame(TEXT, PING_MESSAGE)[:3],
            frame(TEXT, b"{", fin=False),
            frame(PING) * 500,
        ],
        ids=["nothing", "a message", "half a head", "a fragment", "pings"],
    )
    async def test_open_connection(self, shared: "RunningHub", last_words: bytes) -> None:
        room = shared.hub.registry.rooms[shared.project]
        async with websocket(shared) as raw:
            assert len(room.connections) == 2
            raw.send(last_words)

        await shared.until(lambda: len(room.connections) == 1)

    @pytest.mark.parametrize("sent", [b"", b"GE", request("GET", "/v1/realtime", UPGRADE)])
    async def test_connection_that_opens(self, shared: "RunningHub", sent: bytes) -> None:
        async with wire(shared) as raw:
            raw.send(sent)
            await raw.writer.drain()


class TestHandshake:
    """RFC 6455 section 4.2: what is not a WebSocket handshake is refused by HTTP."""

    @pytest.mark.parametrize(
        ("method", "target", "changes", "status"),
        [
            ("GET", "/", {}, 404),
            ("GET", "/v1/realtime/x", {}, 404),
            ("GET", "/v1/Realtime", {}, 404),
            ("GET", "/v1/realtime", {"Sec-WebSocket-Key": None}, 400),
            ("GET", "/v1/realtime", {"Sec-WebSocket-Key": "short"}, 400),
            ("GET", "/v1/realtime", {"Sec-WebSocket-Key": "AAAA"}, 400),
            ("GET", "/v1/realtime", {"Sec-WebSocket-Key": "\xff\xff"}, 400),
            ("GET", "/v1/realtime", {"Sec-WebSocket-Version": None}, 400),
            ("GET", "/v1/realtime", {"Sec-WebSocket-Version": "8"}, 400),
            ("POST", "/v1/realtime", {}, 405),
            ("POST", "/v1/realtime", {"Content-Length": "0"}, 405),
            ("GET", "/v1/realtime", {"Upgrade": None}, 426),
            ("GET", "/v1/realtime", {"Connection": None}, 426),
            ("GET", "/v1/realtime", {"Connection": "keep-alive"}, 426),
            ("GET", "/v1/realtime", {"Upgrade": "h2c"}, 426),
            ("GET", "/v1/realtime", {"Upgrade": "websocket, h2c"}, 426),
            ("GET", "/v1/realtime", {"Connection": None, "Upgrade": None}, 426),
            ("GET", "/v1/realtime/?project=demo", {"Upgrade": None}, 426),
            ("POST", "/v1/realtime", {"Upgrade": None}, 426),
        ],
    )
    async def test_wrong_one_is_refused(
        self, shared: "RunningHub", method: str, target: str, changes: dict[str, str | None], status: int
    ) -> None:
        headers = {name: value for name, value in (UPGRADE | changes).items() if value is not None}

        async with wire(shared) as raw:
            raw.send(request(method, target, headers))
            answer = await raw.read_answer()

        assert answer.status == status
        assert answer.headers.get("upgrade") == ("websocket" if status == 426 else None)

    async def test_refusals_say_what_to_do(self, shared: "RunningHub") -> None:
        async with wire(shared) as raw:
            raw.send(request("GET", "/elsewhere", UPGRADE))
            assert (await raw.read_answer()).body == "WebSocket clients connect to /v1/realtime.\n"
            assert await raw.read_to_the_end() == b""
        async with wire(shared) as raw:
            raw.send(request("GET", "/v1/realtime", {"Host": "x"}))
            assert (await raw.read_answer()).body == "Connect with a WebSocket client.\n"

    async def test_other_upgrades_are_ignored(self, shared: "RunningHub") -> None:
        """Some HTTP clients offer HTTP/2 with each request; a server may go on with HTTP/1.1 (RFC 9110, 7.8)."""
        offer = {"Host": "x", "Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": ""}

        async with wire(shared) as raw:
            for _ in range(2):
                raw.send(request("GET", "/v1/health", offer))
                assert (await raw.read_answer()).status == 200

    async def test_upgrade_behind_an_unanswered_request_is_refused(self, shared: "RunningHub") -> None:
        """The answer to that request would end up among the frames."""
        handshake = request("GET", f"/v1/realtime?project={shared.project}", UPGRADE)

        async with wire(shared) as raw:
            raw.send(request("GET", "/v1/health", {"Host": "x"}) + handshake)
            assert b"400 Bad Request" in await raw.read_to_the_end()

    async def test_frames_may_follow_the_handshake_at_once(self, shared: "RunningHub") -> None:
        handshake = request("GET", f"/v1/realtime?project={shared.project}", UPGRADE)

        async with wire(shared) as raw:
            raw.send(handshake + frame(TEXT, PING_MESSAGE))
            assert (await raw.read_answer()).status == 101
            kinds = [json.loads((await raw.read_frame())[1])["type"] for _ in range(2)]

        assert kinds == ["connected", "pong"]


class TestHttp:
    """Anybody can connect to a port and send anything."""

    @pytest.mark.parametrize(
        "sent",
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
            b"\x00" * 1000,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"hello\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET /v1/realtime HTTP/9.9\r\n\r\n",
            b"GET /v1/realtime HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET /v1/realtime HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"GET /v1/realtime HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET /v1/realtime HTTP/1.1\r\nX: a\x00b\r\n\r\n",
            b"A" * 100_000,
            *[b"*1\r\n$4\r\nPING\r\n"],
        ],
        ids=lambda sent: repr(sent[:24]),
    )
    async def test_garbage_is_refused(self, shared: "RunningHub", sent: bytes) -> None:
        async with wire(shared) as raw:
            raw.send(sent)

            assert (await raw.read_answer()).status == 400
            assert await raw.read_to_the_end() == b""

    @pytest.mark.parametrize("headers", [{"Host": "x"}, UPGRADE], ids=["plain", "upgrade"])
    @pytest.mark.parametrize("steps", [1, 4], ids=["at once", "in parts"])
    @pytest.mark.parametrize("where", ["one header", "many headers", "target"])
    async def test_head_over_the_limit_is_refused(
        self, shared: "RunningHub", headers: dict[str, str], steps: int, where: str
    ) -> None:
        """65,536 bytes; whether or not the rest of it comes."""
        target = "/v1/realtime?x=" + ("x" * 70_000 if where == "target" else "")
        many = {f"X-{number}": "x" * 1000 for number in range(70)} if where == "many headers" else {}
        one = {"X-Large": "x" * 70_000} if where == "one header" else {}
        sent = request("GET", target, headers | many | one)

        async with wire(shared) as raw:
            for start in range(0, len(sent), len(sent) // steps + 1):
                raw.send(sent[start : start + len(sent) // steps + 1])
                await raw.writer.drain()
                await asyncio.sleep(0.002)
            answer = await raw.read_answer()

        assert answer.status == 431
        assert answer.body == "The request's line and headers are larger than 65536 bytes."

    async def test_head_within_the_limit_is_accepted(self, shared: "RunningHub") -> None:
        headers = UPGRADE | {"X-Large": "x" * 64_000}

        async with wire(shared) as raw:
            raw.send(request("GET", f"/v1/realtime?project={shared.project}", headers))

            assert (await raw.read_answer()).status == 101

    async def test_10_000_channels_in_the_url_are_too_many(self, shared: "RunningHub") -> None:
        """Already as bytes; fewer, that fit, are too many parameters."""
        async with wire(shared) as raw:
            target = "/v1/realtime?" + "&".join(f"channels[]=c{number}" for number in range(10_000))
            raw.send(request("GET", target, UPGRADE))
            assert (await raw.read_answer()).status == 431

        refused = await shared.refusal(query="&".join(["channels[]=c"] * 4_000))
        assert refused == (1008, "At most 1000 parameters are allowed in the URL.", 1008)


class TestSlowness:
    """A head must be complete in time: here 0.2 seconds."""

    async def test_incomplete_head_is_refused(self, start_hub: "Start") -> None:
        handshake = request("GET", "/v1/realtime", UPGRADE)

        async with start_hub(handshake_timeout_s=0.2) as hub, undisturbed(hub), AsyncExitStack() as stack:
            wires = []
            for sent in (b"", b"G", handshake[:50], handshake[:-2]):
                wires.append(await stack.enter_async_context(wire(hub)))
                wires[-1].send(sent)

            for raw in wires:
                answer = await raw.read_answer()
                assert answer.status == 408
                assert answer.body == "No complete request came within 0.2 seconds."
                assert await raw.read_to_the_end() == b""

    async def test_a_byte_now_and_then_does_not_help(self, start_hub: "Start") -> None:
        async with start_hub(handshake_timeout_s=0.2) as hub, undisturbed(hub), wire(hub) as raw:
            raw.send(b"GET / HTTP/1.1\r\nX: ")
            answer = asyncio.ensure_future(raw.read_answer())
            while not answer.done():
                raw.send(b"x")
                await asyncio.sleep(0.02)

            assert (await answer).status == 408

    async def test_second_request_of_a_connection_must_be_complete_in_time_too(
        self, start_hub: "Start"
    ) -> None:
        async with start_hub(handshake_timeout_s=0.2) as hub, undisturbed(hub), wire(hub) as raw:
            raw.send(request("GET", "/v1/health", {"Host": "x"}))
            assert (await raw.read_answer()).status == 200
            raw.send(b"GET / HTTP/1.1\r\n")

            assert (await raw.read_answer()).status == 408

    async def test_open_connection_may_be_silent(self, start_hub: "Start") -> None:
        async with start_hub(handshake_timeout_s=0.2) as hub, undisturbed(hub), websocket(hub) as raw:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(raw.reader.read(1), 0.3)
