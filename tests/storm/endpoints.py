"""Endpoints of webhooks that behave as endpoints do, in a process of their own that keeps what each was sent.

    python -m tests.storm.endpoints RECORDS ENDPOINTS

RECORDS is a file, to which a line is added for each request before it is answered; ENDPOINTS are JSON, as
:func:`dump` writes them.
"""

import asyncio
import contextlib
import enum
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import httptools
import uvloop

TROUBLE_S = 3.0
"""How long a passing trouble lasts, from the first request to any of the endpoints on."""
SLOW_S = (0.1, 0.5)
"""How long a slow endpoint takes, at least and at most."""
UNANSWERED = 0
"""Stands for the status of a request that was not answered."""


class Kind(enum.StrEnum):
    """How an endpoint behaves."""

    FAST = "fast"
    SLOW = "slow"
    FAILS_AT_FIRST = "fails-at-first"
    """It answers 500 for a while."""
    STARTS_LATE = "starts-late"
    """Nothing listens for a while."""
    FLAKY = "flaky"
    """It takes a delivery at the first, second or third attempt."""
    REFUSES = "refuses"
    """Nothing ever listens."""
    HANGS = "hangs"
    """It never answers."""
    GONE = "gone"
    """It wants nothing more."""

    @property
    def is_hopeless(self) -> bool:
        """Whether nothing can arrive."""
        return self in (Kind.REFUSES, Kind.HANGS, Kind.GONE)


class Endpoint(NamedTuple):
    """One endpoint, on a port of its own."""

    name: str
    kind: Kind
    port: int


class Seen(NamedTuple):
    """One request, as the endpoint saw it."""

    endpoint: str
    delivery_id: str
    """Its ``webhook-id``."""
    number: int
    """Of the event, from its payload."""
    status: int
    """What was answered, or ``UNANSWERED``."""


def dump(endpoints: Iterable[Endpoint]) -> str:
    """Return endpoints as text."""
    return json.dumps([[*endpoint] for endpoint in endpoints])


def load(text: str) -> list[Endpoint]:
    """Return the endpoints that :func:`dump` was given."""
    return [Endpoint(name, Kind(kind), port) for name, kind, port in json.loads(text)]


def read_records(path: Path) -> Iterator[Seen]:
    """Return every request up to now, in the order of their answers."""
    with path.open() as lines:
        for line in lines:
            _, endpoint, delivery_id, number, status = line.split()
            yield Seen(endpoint, delivery_id, int(number), int(status))


class Records:
    """The file of records. What was written is there, whatever becomes of this process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        # Set by the first request.
        self.began = asyncio.Event()

    def write(self, seen: Seen) -> None:
        # The time is for people.
        os.write(self._file, (" ".join(map(str, (time.time(), *seen))) + "\n").encode())


class Connection(asyncio.Protocol):
    """A connection to one endpoint, for one request after another."""

    def __init__(self, endpoint: Endpoint, records: Records) -> None:
        self._endpoint = endpoint
        self._records = records
        self._parser = httptools.HttpRequestParser(self)
        self._delivery_id = ""
        self._body = b""
        # The answer that is on its way.
        self._later: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, _error: Exception | None) -> None:
        if self._later is not None:
            self._later.cancel()
            self._record(UNANSWERED)

    def on_message_begin(self) -> None:
        self._delivery_id, self._body = "", b""

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"webhook-id":
            self._delivery_id = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        first, last = SLOW_S
        self._records.began.set()
        match self._endpoint.kind:
            case Kind.HANGS:
                self._record(UNANSWERED)
            case Kind.SLOW:
                pause_s = random.uniform(first, last)
                self._later = asyncio.get_running_loop().call_later(pause_s, self._answer, 200)
            case Kind.GONE:
                self._answer(410)
            case Kind.FAILS_AT_FIRST if not PASSED.is_set():
                self._answer(500)
            case Kind.FLAKY:
                self._be_moody()
            case _:
                self._answer(204)

    def _be_moody(self) -> None:
        """Take the delivery, or else answer 503, or break the connection; take it when it comes for the third time."""
        turn = TURNS[self._delivery_id] = TURNS.get(self._delivery_id, 0) + 1
        match random.randrange(4) if turn < 3 else 0:
            case 0 | 1:
                self._answer(200)
            case 2:
                self._answer(503)
            case _:
                self._record(UNANSWERED)
                self._transport.abort()

    def _answer(self, status: int) -> None:
        self._later = None
        # Before it is answered: nobody can know of an answer that is not among the records.
        self._record(status)
        body = b"" if status == 204 else b"Content-Length: 2\r\n"
        head = b"HTTP/1.1 %d As It Is\r\n%s\r\n" % (status, body)
        self._transport.write(head if status == 204 else head + b"ok")

    def _record(self, status: int) -> None:
        number = int(json.loads(self._body)["number"])
        self._records.write(Seen(self._endpoint.name, self._delivery_id, number, status))


PASSED = asyncio.Event()
"""Set when passing troubles are over."""
TURNS: dict[str, int] = {}
"""How often a flaky endpoint has seen each delivery."""


async def serve(path: Path, endpoints: list[Endpoint]) -> None:
    """Serve until the process is killed."""
    records = Records(path)
    loop = asyncio.get_running_loop()

    async def listen(endpoint: Endpoint) -> None:
        await loop.create_server(lambda: Connection(endpoint, records), "127.0.0.1", endpoint.port)

    late = [endpoint for endpoint in endpoints if endpoint.kind is Kind.STARTS_LATE]
    for endpoint in endpoints:
        if endpoint.kind not in (Kind.STARTS_LATE, Kind.REFUSES):
            await listen(endpoint)
    print("listening", flush=True)  # noqa: T201 - it is waited for
    await records.began.wait()
    await asyncio.sleep(TROUBLE_S)
    PASSED.set()
    for endpoint in late:
        await listen(endpoint)
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def running(path: Path, endpoints: list[Endpoint]) -> AsyncIterator[None]:
    """Run the endpoints in a process of their own until the block ends; their records are in ``path``."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __spec__.name, str(path), dump(endpoints)),
        cwd=Path(__file__).parent.parent.parent,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"listening\n"
        yield
        assert process.returncode is None, "the endpoints ended by themselves"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), load(sys.argv[2])))
