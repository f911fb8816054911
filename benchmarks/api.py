"""How many rows a second one API process creates in PostgreSQL, each with its event; and how fast it lists them.

The process has one core to itself; PostgreSQL, which keeps what it answers, Valkey and the clients share the others.
The event of a row is awaited at the hub by a subscriber, and its way is timed from the moment at which PostgreSQL says
that the row was committed. Lists are of 25 among many rows, by an index. The peer creates rows too, and nothing else.

    python -m benchmarks.api [--requests 5000] [--rounds 3] [--rows 100000] [--database-url URL]
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import asyncpg  # type: ignore[import-untyped]
import httpx
import uvloop

from benchmarks.candidates import Candidate, hub
from benchmarks.common import PROJECT, Table, options_of, say, show
from benchmarks.latency import Receiver, open_websocket
from benchmarks.payloads import sentence
from benchmarks.servers import Server, running, valkey
from realtime.settings import Settings
from tests.api import KEY, running_api
from tests.postgres import Postgres
from workers.store.database import open_database
from workers.store.migrate import migrate

TABLE = "/v1/tablesdb/main/tables/posts"
CHANNEL = "tablesdb.main.tables.posts.rows"
HEADERS = {"X-Appwrite-Project": PROJECT, "X-Appwrite-Key": KEY}
CONNECTIONS = 32
"""How many clients there are; each sends a request when it has the answer to the one before."""
PAUSE_S = 0.002
"""Between two requests that are timed one by one, so that each finds everybody idle."""


class Caller(asyncio.Protocol):
    """A connection to an HTTP server, for one request after another."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where requests go."""
        self._transport = cast("asyncio.WriteTransport", transport)
        self._answered = asyncio.get_running_loop().create_future()

    async def call(self, request: bytes) -> None:
        """Send a request, and return when its answer has arrived, which must tell of success."""
        self._received = b""
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._answered

    def data_received(self, data: bytes) -> None:
        """Look whether the answer is complete."""
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if found and len(body) >= int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
            if not head.startswith(b"HTTP/1.1 20"):
                self._answered.set_exception(RuntimeError(self._received.decode()))
            else:
                self._answered.set_result(None)

    def connection_lost(self, _error: Exception | None) -> None:
        """Let nobody wait for an answer that does not come."""
        if not self._answered.done():
            self._answered.set_exception(ConnectionError("the server has closed the connection"))


Requests = Callable[[int], bytes]
"""Makes the request of each number."""


def creations(path: str, mark: str) -> Requests:
    """Return requests that each create a row, with an ID that begins with ``mark``."""

    def request(number: int) -> bytes:
        data = {"title": sentence(200, number), "score": number % 1000}
        body = json.dumps({"rowId": f"{mark}-{number}", "data": data}).encode()
        head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
        return (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{head}Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    return request


def lists(*queries: dict[str, Any]) -> Requests:
    """Return requests for the same list."""
    parameters = "&".join(f"queries[]={quote(json.dumps(query))}" for query in queries)
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    request = f"GET {TABLE}/rows?{parameters} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode()
    return lambda _number: request


async def open_caller(port: int) -> Caller:
    """Connect to the server on ``port``."""
    return (await asyncio.get_running_loop().create_connection(Caller, "127.0.0.1", port))[1]


async def drive(server: Server, requests: Requests, count: int, connections: int) -> list[float]:
    """Have ``count`` requests answered, over that many connections at once; return their times in seconds."""
    numbers = iter(range(count))
    bodies = [requests(number) for number in range(count)]
    times: list[float] = []

    async def go(caller: Caller) -> None:
        for number in numbers:
            start_s = time.perf_counter()
            await caller.call(bodies[number])
            times.append(time.perf_counter() - start_s)

    callers = [await open_caller(server.port) for _ in range(connections)]
    await asyncio.gather(*map(go, callers))
    return times


def burst(server: Server, requests: Requests, count: int) -> list[float]:
    """Return requests by the clock and by CPU second, and p50 and p99 in milliseconds, of a server that is busy."""
    used_s, start_s = server.cpu_s(), time.perf_counter()
    times = uvloop.run(drive(server, requests, count, CONNECTIONS))
    took_s, used_s = time.perf_counter() - start_s, server.cpu_s() - used_s
    percentiles = statistics.quantiles(times, n=100)
    return [count / took_s, count / used_s, percentiles[49] * 1000, percentiles[98] * 1000]


async def ways(api: Server, events: Server, database_url: str, count: int) -> dict[str, list[float]]:
    """Create rows one by one; return the times of answers and events, in milliseconds."""
    receiver: Receiver = await open_websocket(events)
    caller = await open_caller(api.port)
    connection = await asyncpg.connect(database_url)
    committed = f"SELECT pg_xact_commit_timestamp(xmin) FROM {await rows_table(connection)} WHERE id = $1"
    requests = creations(f"{TABLE}/rows", "way")
    times: dict[str, list[float]] = {"answer": [], "event": [], "event after the commit": []}
    # How the clock that events are timed by differs from the one that PostgreSQL reads.
    offset_s = time.time() - time.perf_counter()
    for number in range(count):
        arrival = asyncio.ensure_future(receiver.arrival(b'"payload"'))
        await asyncio.sleep(PAUSE_S)
        start_s = time.perf_counter()
        await caller.call(requests(number))
        times["answer"].append((time.perf_counter() - start_s) * 1000)
        arrived_s = await arrival
        times["event"].append((arrived_s - start_s) * 1000)
        committed_at = await connection.fetchval(committed, f"way-{number}")
        times["event after the commit"].append((arrived_s + offset_s - committed_at.timestamp()) * 1000)
    await connection.close()
    return times


async def prepare(settings: Settings) -> None:
    """Make the project and its key in an empty database."""
    database = open_database(settings)
    await migrate(database)
    await database.aclose()
    async with running_api(settings):
        pass


def make_table(port: int) -> None:
    """Make the table of posts, with an index on their scores."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/v1", headers=HEADERS) as client:
        for path, body in [
            ("/tablesdb", {"databaseId": "main", "name": "Main"}),
            ("/tablesdb/main/tables", {"tableId": "posts", "name": "Posts", "permissions": ['read("any")']}),
            ("/tablesdb/main/tables/posts/columns/string", {"key": "title", "size": 1000, "required": True}),
            ("/tablesdb/main/tables/posts/columns/integer", {"key": "score", "required": False}),
            ("/tablesdb/main/tables/posts/indexes", {"key": "by_score", "type": "key", "columns": ["score"]}),
        ]:
            answer = client.post(path, json=body)
            if answer.is_error:
                sys.exit(f"{path}: {answer.text}")


async def rows_table(connection: Any) -> str:
    """Return what the table of posts is called in SQL."""
    seq = await connection.fetchval("SELECT seq FROM tables WHERE id = 'posts'")
    return f"rows_{seq}"


async def fill_table(database_url: str, rows: int) -> None:
    """Insert rows that are only to be listed, past the API."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        f"INSERT INTO {await rows_table(connection)} (id, permissions, created_at, updated_at, c1, c2) "
        "SELECT 'listed-' || n, '[]', '2026-01-02T03:04:05.678+00:00', '2026-01-02T03:04:05.678+00:00', "
        f"'{sentence(200, 0)} ' || n, n * 7919 % 1000 FROM generate_series(1, {rows}) AS n"
    )
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


def api_server(settings: Settings) -> Candidate:
    """Return the API, in one process."""
    command = (sys.executable, "-c", "from workers.cli import main; main()", "api")
    named = {"database_url": settings.database_url, "secret": settings.secret, "limits": "off"}
    return Candidate("api", command, settings=(*named.items(), ("data_dir", str(settings.data_dir))))


def peer(settings: Settings) -> Candidate:
    """Return the server that does nothing but insert."""
    command = (sys.executable, "-m", "benchmarks.peers.insert_server", settings.database_url)
    return Candidate("Starlette + asyncpg, inserts alone", command)


@contextlib.contextmanager
def database(url: str) -> Iterator[str]:
    """Return ``url``, or that of a database of a server that runs until the block ends."""
    if url:
        yield url
        return
    # As it is by default: what is answered is on the disk.
    durable = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "shared_buffers": "256MB"}
    with Postgres(lambda _url: None, **durable, track_commit_timestamp="on") as server:
        yield server.url_of(server.create(is_empty=True))


def creating(settings: Settings, options: argparse.Namespace, api: Server) -> None:
    """Measure how rows are created, the API and its peer in turns."""
    best: dict[str, list[float]] = {}
    with running(peer(settings), settings.redis_url) as other:
        for turn in range(options.rounds):
            for server, path in ((api, f"{TABLE}/rows"), (other, "/rows")):
                say(f"{options.requests:,} rows at {server.name}")
                result = burst(server, creations(path, f"row-{turn}"), options.requests)
                best[server.name] = max(best.get(server.name, result), result, key=lambda each: each[1])
    ratio = best[api.name][1] / best[other.name][1]
    columns = ["server", "per second", "per CPU second", "p50 ms", "p99 ms"]
    notes = [
        f"{CONNECTIONS} clients at once; the best of {options.rounds} rounds.",
        f"A row of the API, with its permissions checked and its event published, costs {1 / ratio:.1f} bare ones.",
    ]
    rows = [[name, *result] for name, result in best.items()]
    show(Table("api-create", "Rows created by one process on one core", columns, rows, notes), options)


def listing(options: argparse.Namespace, api: Server) -> None:
    """Measure lists, one request after another and many at once."""
    order = {"method": "orderDesc", "attribute": "score"}
    cases: dict[str, list[dict[str, Any]]] = {
        "the first 25": [],
        "25 in the order of an index": [order],
        "25 with a value of an index": [{"method": "equal", "attribute": "score", "values": [500]}],
        "25 after a cursor, in that order": [
            order,
            {"method": "cursorAfter", "values": [f"listed-{options.rows // 2}"]},
        ],
    }
    rows: list[list[object]] = []
    for name, queries in cases.items():
        say(name)
        alone = statistics.quantiles(uvloop.run(drive(api, lists(*queries), 500, 1)), n=100)
        busy = burst(api, lists(*queries), options.requests // 5)
        rows.append([name, alone[49] * 1000, alone[98] * 1000, busy[1]])
    columns = ["list", "p50 ms", "p99 ms", "per CPU second"]
    show(Table("api-list", f"Lists among {options.rows:,} rows", columns, rows), options)


def telling(settings: Settings, options: argparse.Namespace, api: Server) -> None:
    """Measure how long events take, on machines that have nothing else to do."""
    with running(hub(CHANNEL, by_url=True), settings.redis_url) as events:
        say(f"{options.requests // 10:,} rows, one after another")
        times = uvloop.run(ways(api, events, settings.database_url, options.requests // 10))
    rows = [
        [name, *(statistics.quantiles(values, n=100)[percent - 1] for percent in (50, 90, 99))]
        for name, values in times.items()
    ]
    columns = ["from the request to", "p50 ms", "p90 ms", "p99 ms"]
    show(Table("api-events", "One row created, and its event at a subscriber", columns, rows), options)


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3, help="the best one counts")
    parser.add_argument("--rows", type=int, default=100_000, help="how many there are to list")
    parser.add_argument(
        "--database-url", default="", help="an empty database; a server is started if left out"
    )
    options = parser.parse_args()
    with (
        valkey() as redis_url,
        database(options.database_url) as database_url,
        tempfile.TemporaryDirectory() as folder,
    ):
        settings = Settings(
            database_url=database_url,
            redis_url=redis_url,
            data_dir=Path(folder),
            secret="a" * 32,
            limits="off",
        )
        uvloop.run(prepare(settings))
        with running(api_server(settings), redis_url) as api:
            make_table(api.port)
            telling(settings, options, api)
            creating(settings, options, api)
            uvloop.run(fill_table(database_url, options.rows))
            listing(options, api)


if __name__ == "__main__":
    main()
