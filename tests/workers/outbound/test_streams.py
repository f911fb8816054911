"""What servers may send before a response, to those who ask by `httpx`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.certificates import make_certificate
from tests.receiver import OK, receiving
from workers.outbound.guard import Guard, PublicOnlyTransport
from workers.outbound.responses import HEAD_MAX_BYTES, MAX_PRELIMINARY

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = PublicOnlyTransport(Guard(allow_private=True), verify=False)
    async with httpx.AsyncClient(transport=transport) as client:
        yield client


class TestBoundedStream:
    async def test_a_few_preliminary_responses_are_passed_over_for_every_request(
        self, client: httpx.AsyncClient
    ) -> None:
        async with receiving(HINT * MAX_PRELIMINARY + OK) as receiver:
            for _ in range(5):
                assert (await client.post(f"http://127.0.0.1:{receiver.port}/", content=b"x")).text == "ok"
        assert receiver.connections == 1

    async def test_response_that_comes_in_pieces_is_read(self, client: httpx.AsyncClient) -> None:
        async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for byte in HINT + OK:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)

        async with receiving(drip) as receiver:
            assert (await client.get(f"http://127.0.0.1:{receiver.port}/")).text == "ok"

    async def test_body_of_any_size_and_look_is_read(self, client: httpx.AsyncClient) -> None:
        body = HINT * 10_000
        async with receiving(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body) as receiver:
            assert (await client.get(f"http://127.0.0.1:{receiver.port}/")).content == body

    @pytest.mark.parametrize("scheme", ["http", "https"])
    @pytest.mark.parametrize(
        "said",
        [
            HINT * (MAX_PRELIMINARY + 1) + OK,
            HINT * 10_000 + OK,
            b"HTTP/1.1 100 Continue\n\n" * 10_000 + OK,
            (HINT[:-2] + b"X: %s\r\n" % (b"x" * 10_000) + b"\r\n") * 7 + OK,
            HINT + b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_MAX_BYTES + b"\r\nContent-Length: 0\r\n\r\n",
        ],
        ids=["one-too-many", "hints", "bare-newlines", "large", "large-response"],
    )
    async def test_more_is_an_error(
        self, client: httpx.AsyncClient, tmp_path: Path, said: bytes, scheme: str
    ) -> None:
        async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(said)
            with contextlib.suppress(ConnectionError):
                await writer.drain()

        tls = make_certificate(tmp_path, "hooks.example.com").serving if scheme == "https" else None
        async with receiving(say, tls=tls) as receiver:
            with pytest.raises(httpx.RemoteProtocolError, match="too"):
                await client.get(f"{scheme}://127.0.0.1:{receiver.port}/")
