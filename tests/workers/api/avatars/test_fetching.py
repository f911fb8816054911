"""Fetching what strangers name, from a server on this machine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from ipaddress import IPv4Address

import pytest

from workers.api.avatars import fetching
from workers.api.avatars.fetching import FetchError, fetch
from workers.outbound.guard import Guard
from workers.outbound.lookups import LookUps, LookUpsBusyError
from workers.outbound.targets import TargetError

Answering = Callable[[bytes], Awaitable[str]]


@pytest.fixture
async def answering() -> AsyncIterator[Answering]:
    """Answer every request with these bytes, and return the URL to ask."""
    async with contextlib.AsyncExitStack() as servers:

        async def start(answer: bytes) -> str:
            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                if b"never" in answer:
                    await reader.read()
                writer.close()

            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            await servers.enter_async_context(server)
            return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

        yield start


@pytest.fixture
def open_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine be connected to."""
    monkeypatch.setattr(fetching, "strict_guard", lambda: Guard(allow_private=True))


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


class TestFetch:
    async def test_body_is_returned(self, open_guard: None, answering: Answering) -> None:
        url = await answering(answer(b"Hello"))
        assert await fetch(url, max_bytes=5) == b"Hello"

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1/",
            "http://localhost:8080/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://169.254.169.254/latest/meta-data/",
            "http://10.0.0.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://example.com:22/",
            "http://user@example.com/",
            "file:///etc/passwd",
            "gopher://example.com/",
            "http://example.com/\r\nX: y",
            "",
        ],
    )
    async def test_what_is_not_public_is_not_connected_to(self, url: str) -> None:
        with pytest.raises(TargetError):
            await fetch(url, max_bytes=5)

    async def test_name_that_does_not_resolve_is_looked_up_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []

        async def look_up(host: str, port: int) -> Sequence[IPv4Address]:
            asked.append(host)
            raise OSError

        monkeypatch.setattr(fetching, "strict_guard", lambda: Guard(look_up=look_up))
        with pytest.raises(FetchError):
            await fetch("http://slow.example.com/", max_bytes=5)
        assert asked == ["slow.example.com"]

    async def test_too_many_look_ups_are_told_apart(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            fetching, "_LOOK_UPS", LookUps(threads=1, max_waiting=-1, thread_name="test-names")
        )
        with pytest.raises(LookUpsBusyError):
            await fetch("http://example.com/", max_bytes=5)

    @pytest.mark.parametrize(
        "sent",
        [
            answer(b"Hello!"),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nHello!\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHel",
            answer(b"", "Location: http://127.0.0.1/", status="302 Found"),
            answer(b"no", status="404 Not Found"),
            answer(b"\x1f\x8b", "Content-Encoding: gzip"),
            b"nonsense\r\n\r\n",
            b"",
        ],
    )
    async def test_what_is_of_no_use_is_refused(
        self, open_guard: None, answering: Answering, sent: bytes
    ) -> None:
        with pytest.raises(FetchError):
            await fetch(await answering(sent), max_bytes=5)

    async def test_rest_is_cut_off_where_it_does_not_matter(
        self, open_guard: None, answering: Answering
    ) -> None:
        assert await fetch(await answering(answer(b"Hello!")), max_bytes=5, truncate=True) == b"Hello"

    async def test_server_that_does_not_finish_is_given_up(
        self, open_guard: None, answering: Answering, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fetching, "FETCH_TIMEOUT_S", 0.1)
        with pytest.raises(FetchError):
            await fetch(await answering(answer(b"", "X: never").replace(b": 0", b": 5")), max_bytes=5)

    async def test_nobody_who_listens_is_a_failure(
        self, open_guard: None, free_port: Callable[[], int]
    ) -> None:
        with pytest.raises(FetchError):
            await fetch(f"http://127.0.0.1:{free_port()}/", max_bytes=5)
