"""An HTTP endpoint as others run it, on bare sockets: what it was sent, byte for byte, and any answer there may be."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Answers a request that was read; the connection goes on to the next one after that, unless it closed it."""


class Request(NamedTuple):
    """A request as it came."""

    line: str
    headers: list[tuple[str, bytes]]
    """In order; names in lower case."""
    body: bytes

    def header(self, name: str) -> str:
        """Return the value of a header that is there once."""
        (value,) = (value for each, value in self.headers if each == name.lower())
        return value.decode()


class Receiver:
    """A running endpoint."""

    def __init__(self, answer: bytes | Answer) -> None:
        self.answer = answer
        self.port = 0
        self.requests: list[Request] = []
        # How many were opened, whether or not anything was sent.
        self.connections = 0
        self.writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        try:
            # A client that goes away, or what it says not being HTTP, is what some tests are about.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                while not writer.is_closing():
                    self.requests.append(await _read(reader))
                    if isinstance(self.answer, bytes):
                        writer.write(self.answer)
                        await writer.drain()
                    else:
                        await self.answer(reader, writer)
        finally:
            self.writers.discard(writer)
            writer.close()


@contextlib.asynccontextmanager
async def receiving(
    answer: bytes | Answer = OK,
    *,
    address: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Receiver]:
    """Run an endpoint that gives one answer to all requests, at a port of its own unless one is named."""
    receiver = Receiver(answer)
    server = await asyncio.start_server(receiver.serve, address, port, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for writer in list(receiver.writers):
            writer.transport.abort()
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    headers = [
        (name.decode().lower(), value.strip()) for name, _, value in (f.partition(b":") for f in fields)
    ]
    length = int(dict(headers).get("content-length", b"0"))
    return Request(line.decode(), headers, await reader.readexactly(length))
