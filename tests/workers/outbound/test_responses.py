"""What endpoints may send before and after a response, over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest

from tests.receiver import OK, Receiver, receiving
from workers.outbound.connector import KEEP_ALIVE_S, PublicOnlyConnector
from workers.outbound.guard import Guard
from workers.outbound.responses import HEAD_MAX_BYTES, MAX_PRELIMINARY, FramingError, HeadError

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    connector = PublicOnlyConnector(Guard(allow_private=True), max_connections=10)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


async def post(session: aiohttp.ClientSession, receiver: Receiver) -> tuple[int, bytes]:
    async with session.post(f"http://127.0.0.1:{receiver.port}/", data=b"x") as response:
        return response.status, await response.read()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is nothing that would set an event
            await asyncio.sleep(0.001)


class TestHeads:
    async def test_a_few_preliminary_responses_are_passed_over_for_every_request(
        self, session: aiohttp.ClientSession
    ) -> None:
        async with receiving(HINT * MAX_PRELIMINARY + OK) as receiver:
            for _ in range(5):
                assert await post(session, receiver) == (200, b"ok")
        assert receiver.connections == 1

    @pytest.mark.parametrize(
        "said",
        [
            HINT * (MAX_PRELIMINARY + 1) + OK,
            HINT * 10_000 + OK,
            b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000 + OK,
            b"\r\n" * HEAD_MAX_BYTES + OK,
            (HINT[:-2] + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 5_000) for n in range(16)) + b"\r\n") + OK,
        ],
        ids=["one-too-many", "hints", "continue", "empty-lines", "large"],
    )
    async def test_more_is_an_error_whatever_the_response_would_be(
        self, session: aiohttp.ClientSession, said: bytes
    ) -> None:
        async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(said)
            with contextlib.suppress(ConnectionError):
                await writer.drain()

        async with receiving(say) as receiver:
            with pytest.raises(HeadError):
                await post(session, receiver)
            await until(lambda: not receiver.writers)

    async def test_endless_preliminary_responses_hold_up_nobody(self, session: aiohttp.ClientSession) -> None:
        block = HINT * 10_000

        async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                writer.write(block)
                await writer.drain()

        async with receiving(flood) as bad, receiving() as good, asyncio.timeout(5):
            floods = await asyncio.gather(*(post(session, bad) for _ in range(10)), return_exceptions=True)
            assert {type(flood) for flood in floods} == {HeadError}
            assert await post(session, good) == (200, b"ok")


class TestBodies:
    async def test_body_of_any_size_is_read(self, session: aiohttp.ClientSession) -> None:
        body = bytes(range(256)) * 4_096
        async with receiving(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body) as receiver:
            for _ in range(2):
                assert await post(session, receiver) == (200, body)
        assert receiver.connections == 1

    @pytest.mark.parametrize(("size", "chunks"), [(1, 5_000), (64, 20_000), (100_000, 50)])
    async def test_chunks_of_usual_sizes_are_read_however_late(
        self, session: aiohttp.ClientSession, size: int, chunks: int
    ) -> None:
        body = b"%x\r\n%b\r\n" % (size, b"x" * size) * chunks + b"0\r\n\r\n"
        async with receiving(CHUNKED + body) as receiver:
            for _ in range(2):
                async with session.get(f"http://127.0.0.1:{receiver.port}/") as response:
                    await asyncio.sleep(0.02)
                    count = 0
                    async for block in response.content.iter_any():
                        count += len(block)
                        await asyncio.sleep(0)
                assert count == size * chunks
        assert receiver.connections == 1

    @pytest.mark.parametrize(
        "said", [b"1\r\nx\r\n" * 100_000, b"1;" + b"x" * 1_000_000], ids=["chunks", "extension"]
    )
    async def test_body_with_more_around_it_than_in_it_is_an_error(
        self, session: aiohttp.ClientSession, said: bytes
    ) -> None:
        async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(CHUNKED)
            while True:
                writer.write(said)
                await writer.drain()

        async with receiving(endless) as receiver, asyncio.timeout(5):
            with pytest.raises(FramingError):
                await post(session, receiver)
            await until(lambda: not receiver.writers)


class TestAfterwards:
    async def test_connection_that_is_kept_ends_when_it_is_flooded(
        self, session: aiohttp.ClientSession
    ) -> None:
        answered = asyncio.Event()

        async def linger(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(OK)
            await answered.wait()
            writer.write(HINT)
            await writer.drain()

        async with receiving(linger) as receiver:
            assert await post(session, receiver) == (200, b"ok")
            answered.set()
            async with asyncio.timeout(KEEP_ALIVE_S / 2):
                await until(lambda: not receiver.writers)
