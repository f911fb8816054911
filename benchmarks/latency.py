"""How long an event takes from the publisher's call to its one subscriber, through Redis and the hub.

One event after another, each published as any event is: appended to the project's log and sent on its live channel,
in one step. Beside it a bare client that is subscribed to such a channel at Redis itself: what is more than that,
the hub costs. The two take turns, so that both see the same machine. The budget is 1 ms.

    python -m benchmarks.latency [--events 5000]
"""

import asyncio
import statistics
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import uvloop

from benchmarks.candidates import hub
from benchmarks.common import PROJECT, TEAM, Table, options_of, query_of, say, show, token
from benchmarks.payloads import envelope, sentence
from benchmarks.servers import Server, running, valkey
from realtime.bus import RedisBus, connect
from realtime.bus.keys import live_channel

BARE_PROJECT = "bare"
CHANNEL = "tablesdb.main.tables.posts.rows"
EVENT = "databases.main.tables.posts.rows.42.update"
PAUSE_S = 0.001
"""Between two events, so that each finds everybody idle."""
TIMEOUT_S = 10.0


class Receiver(asyncio.Protocol):
    """A connection that notes when what it waits for arrives."""

    def __init__(self) -> None:
        self._mark = b""
        self._arrived: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Note the time if it is what is waited for."""
        if self._mark in data and not self._arrived.done():
            self._arrived.set_result(time.perf_counter())

    async def arrival(self, mark: bytes) -> float:
        """Return when bytes with ``mark`` in them arrive next."""
        self._mark = mark
        self._arrived = asyncio.get_running_loop().create_future()
        return await asyncio.wait_for(self._arrived, TIMEOUT_S)


async def open_receiver(port: int, request: bytes, answer: bytes) -> Receiver:
    """Connect, send ``request``, and wait for ``answer``."""
    transport, receiver = await asyncio.get_running_loop().create_connection(Receiver, "127.0.0.1", port)
    transport.write(request)
    await receiver.arrival(answer)
    return receiver


async def open_bare(redis_url: str) -> Receiver:
    """Subscribe to the channel of another project at Redis."""
    port = urlsplit(redis_url).port
    assert port is not None
    return await open_receiver(port, b"SUBSCRIBE %s\r\n" % live_channel(BARE_PROJECT).encode(), b"subscribe")


async def open_websocket(server: Server) -> Receiver:
    """Subscribe at the hub, as somebody who may read the event."""
    target = f"/v1/realtime?project={PROJECT}&{query_of(CHANNEL)}&jwt={token('user')}"
    request = (
        f"GET {target} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    return await open_receiver(server.port, request.encode(), b'"connected"')


async def measure(redis_url: str, server: Server, events: int) -> tuple[list[float], list[float]]:
    """Return the times of both ways, in milliseconds."""
    body = envelope(EVENT, {"$id": "42", "text": sentence(800, 0)}, f"team:{TEAM}")
    ways = {BARE_PROJECT: await open_bare(redis_url), PROJECT: await open_websocket(server)}
    times: dict[str, list[float]] = {BARE_PROJECT: [], PROJECT: []}
    async with connect(redis_url) as redis:
        bus = RedisBus(redis)
        for _ in range(events):
            for project, receiver in ways.items():
                arrival = asyncio.ensure_future(receiver.arrival(b'"payload"'))
                await asyncio.sleep(PAUSE_S)
                start_s = time.perf_counter()
                await bus.publish(project, [body])
                times[project].append((await arrival - start_s) * 1000)
    return times[BARE_PROJECT], times[PROJECT]


def row(name: str, times_ms: list[float]) -> list[object]:
    """Return a row of the table."""
    percentile: Callable[[int], float] = statistics.quantiles(times_ms, n=100).__getitem__
    return [name, *(f"{value:.3f}" for value in (percentile(49), percentile(89), percentile(98)))]


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--events", type=int, default=5_000)
    options = parser.parse_args()
    with valkey() as redis_url, running(hub(CHANNEL, by_url=True), redis_url) as server:
        say(f"{options.events:,} events, one after another")
        bare, through_hub = uvloop.run(measure(redis_url, server, options.events))
    added = statistics.median(through_hub) - statistics.median(bare)
    rows = [row("a client subscribed at Redis", bare), row("a client subscribed at the hub", through_hub)]
    title = "From the call of publish to one subscriber, in milliseconds"
    note = f"The hub adds {added:.3f} ms to the median."
    show(Table("latency", title, ["to", "p50", "p90", "p99"], rows, [note]), options)


if __name__ == "__main__":
    main()
