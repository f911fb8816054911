"""How many event frames one core can deliver, when one event goes to very many connections.

Each event is a change of a resource that the members of a team may read. All receivers are members, each by a token
of its own, and have subscribed by a message with an ID that they made themselves, as the SDKs do. A tenth as many
guests are subscribed to the same channel and must not get it. Each frame of the hub bears its connection's
subscription ID. Beside it, servers that send frames of the same size to all, without permissions or subscriptions:
Bun's native ``publish``; a bare uvloop protocol, the least that a server in Python can do; ``ws`` of Node.js;
``websockets`` with its ``broadcast``; python-socketio; Django Channels on Redis. Texts are words, so that compression
finds what it finds in texts. The budgets: 0.9 of Bun by CPU time; compressed no slower than plain, and at most a third
of the bytes.

- *per CPU second*: the next event is published when everybody has the one before. Deliveries by the server's CPU time,
  in user and kernel: what a delivery costs. The client never sleeps, so that no server has to wake it.
- *per second*: several events are under way. Deliveries by the clock, as the clients see it.
- *busy*: the CPU time of the server and of the load client for each second of that. The server is to be the bottleneck
  and the client is not: 100 % and less.

Without options, the servers meet at 1,000 connections and 1.6 KB, and the hub and Bun at some other points.

    python -m benchmarks.fanout [--full] [--only hub Bun] [--connections 1000] [--sizes 1600] [--seconds 1.5]
                                [--rounds 2]
"""

import argparse
import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.candidates import Candidate, bare, bun, guests, hub, peers, websockets
from benchmarks.common import PROJECT, TEAM, Table, options_of, say, show
from benchmarks.load import Load, Stuck, wsload
from benchmarks.payloads import bodies, subject_of
from benchmarks.servers import Server, running, valkey
from realtime.bus import RedisBus, connect

SIZES = (400, 1_600, 8_000)
CONNECTIONS = (100, 1_000, 10_000)
MIDDLE = (1_000, 1_600)
"""Connections and bytes of the point where all servers meet."""
BATCH = 8
"""Events published at once when several are under way."""
LEAST_EVENTS = 10
"""So many at least are published to be measured, even if that takes longer."""
SETTLE_S = 0.5
"""Between the last connection and the first event."""
UNDER_WAY_BYTES = 131_072
"""How much may be under way to a connection: less than what the smallest of the servers' buffers holds."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    candidate: Candidate
    connections: int
    frame_bytes: int
    compresses: bool

    @property
    def point(self) -> tuple[int, int, bool]:
        """Where it can be compared with others."""
        return self.connections, self.frame_bytes, self.compresses


class Result(NamedTuple):
    """What a server did in one round."""

    per_cpu_s: float
    per_s: float
    server_share: float
    """CPU time of the server for each second, while ``per_s`` was measured."""
    client_share: float
    """The same of the client."""
    frame_bytes: float


class Publisher:
    """Publishes as fast as the receivers of ``load`` let it, and counts deliveries."""

    def __init__(self, bus: RedisBus, load: Load, messages: Sequence[bytes]) -> None:
        self._bus = bus
        self._load = load
        self._messages = messages
        self._published = 0

    async def deliver(self, seconds: float, batch: int, under_way: int) -> int:
        """Publish for some time, and wait for the last delivery; return how many deliveries there were.

        Args:
            seconds: For how long, at least.
            batch: Events published at once.
            under_way: How many of them may not have been delivered while the next batch is published.
        """
        first = self._published
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s or self._published < first + LEAST_EVENTS:
            numbers = range(self._published, self._published + batch)
            await self._bus.publish(PROJECT, [self._messages[n % len(self._messages)] for n in numbers])
            self._published += batch
            await self._load.received((self._published - under_way) * self._load.connections)
        await self._load.received(self._published * self._load.connections)
        return (self._published - first) * self._load.connections


@contextlib.contextmanager
def uninvited(program: Path, server: Server, connections: int, channel: str) -> Iterator[None]:
    """Hold connections of guests, and make sure that they get nothing."""
    with Load(program, server, connections, speech=guests(channel)) as load:
        load.opened()
        yield
        if load.counts().frames:
            raise SystemExit("Guests received what is not for them.")


async def deliver(redis_url: str, server: Server, load: Load, frame_bytes: int, seconds: float) -> Result:
    """Deliver in both ways, for ``seconds`` each."""
    messages = bodies(frame_bytes, f"team:{TEAM}", is_hub=server.is_hub)
    async with connect(redis_url) as redis:
        publisher = Publisher(RedisBus(redis), load, messages)
        load.toggle_busy()
        await asyncio.sleep(SETTLE_S)
        await publisher.deliver(0.2, 1, 0)
        before_s = server.cpu_s()
        delivered = await publisher.deliver(seconds, 1, 0)
        per_cpu_s = delivered / (server.cpu_s() - before_s)
        load.toggle_busy()
        batch = max(1, min(BATCH, UNDER_WAY_BYTES // frame_bytes // 2))
        before = time.monotonic(), server.cpu_s(), load.process.cpu_s()
        delivered = await publisher.deliver(seconds, batch, batch)
        after = time.monotonic(), server.cpu_s(), load.process.cpu_s()
    passed_s, server_s, client_s = (late - early for early, late in zip(before, after, strict=True))
    counts = load.counts()
    return Result(
        per_cpu_s,
        delivered / passed_s,
        server_s / passed_s,
        client_s / passed_s,
        counts.bytes / counts.frames,
    )


def measure(program: Path, redis_url: str, case: Case, seconds: float) -> Result:
    """Measure one server in one case.

    Raises:
        Stuck: It did not manage.
    """
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running(case.candidate, redis_url, deflates=case.compresses))
        if server.is_hub:
            channel = subject_of(case.frame_bytes).channel
            stack.enter_context(uninvited(program, server, case.connections // 10, channel))
        load = Load(program, server, case.connections, deflates=case.compresses)
        stack.enter_context(load).opened()
        result = asyncio.run(deliver(redis_url, server, load, case.frame_bytes, seconds))
        if case.compresses and not load.counts().deflated:
            raise Stuck("frames are not compressed")
    return result


def attempt(program: Path, redis_url: str, case: Case, seconds: float) -> Result | str:
    """Return what a server did in one round; or why it did nothing."""
    if case.candidate.missing:
        return case.candidate.missing
    how = "compressed" if case.compresses else "plain"
    say(f"{case.candidate.name}: {case.frame_bytes:,} bytes to {case.connections:,} connections, {how}")
    try:
        return measure(program, redis_url, case, seconds)
    except Stuck as problem:
        return str(problem)


def best_of(
    program: Path, redis_url: str, cases: Sequence[Case], options: argparse.Namespace
) -> dict[Case, Result | str]:
    """Return the best of the rounds of each case. The servers take turns, so that all see the same machine."""
    best: dict[Case, Result | str] = {}
    for number in range(options.rounds):
        for case in cases:
            if number >= rounds_of(case, options.rounds):
                continue
            result, before = attempt(program, redis_url, case, options.seconds), best.get(case)
            if not isinstance(before, Result) or (isinstance(result, Result) and result > before):
                best[case] = result
    return best


def default_cases() -> list[Case]:
    """Return all servers at one point, plain and compressed; then the hub and Bun along each axis."""
    connections, frame_bytes = MIDDLE
    channel = subject_of(frame_bytes).channel
    by_url = hub(channel, by_url=True, name="hub, subscribed by URL")
    cases = [Case(it, *MIDDLE, compresses=False) for it in (hub(channel), by_url, *peers())]
    cases += [Case(it, *MIDDLE, compresses=True) for it in (hub(channel), *peers()[:-2]) if it.compresses]
    points = [(100, frame_bytes), (10_000, frame_bytes), (connections, 400), (connections, 8_000)]
    for point in points:
        for compresses in (False, True):
            # Small events are not compressed by the hub, and 10,000 take long to open.
            if not compresses or point[1] > 1_000:
                both = hub(subject_of(point[1]).channel), bun()
                cases += [Case(it, *point, compresses=compresses) for it in both]
    return cases


def all_cases(connections: Sequence[int], sizes: Sequence[int]) -> list[Case]:
    """Return every server at every point, plain and compressed."""
    return [
        Case(candidate, number, size, compresses=compresses)
        for compresses in (False, True)
        for number in connections
        for size in sizes
        for candidate in (hub(subject_of(size).channel), *peers())
        if candidate.compresses or not compresses
    ]


def cases_of(options: argparse.Namespace) -> list[Case]:
    """Return what ``options`` ask for."""
    if options.full or options.connections or options.sizes:
        cases = all_cases(options.connections or CONNECTIONS, options.sizes or SIZES)
    else:
        cases = default_cases()
    return [case for case in cases if not options.only or case.candidate.name in options.only]


def rounds_of(case: Case, rounds: int) -> int:
    """Return how often a case is measured: those that are close to each other as often as was asked for."""
    rivals = {"hub", bun().name, bare().name, websockets().name}
    return rounds if case.candidate.name in rivals and case.connections <= MIDDLE[0] else 1


def rows_of(results: dict[Case, Result | str]) -> list[list[object]]:
    """Return the table's rows; those of one point follow each other, the hub first."""
    rows: list[list[object]] = []
    hubs = {case.point: result for case, result in results.items() if case.candidate.name == "hub"}
    for case, result in results.items():
        how = "compressed" if case.compresses else "plain"
        row: list[object] = [case.candidate.name, case.connections, case.frame_bytes, how]
        if isinstance(result, str):
            rows.append([*row, result, *[""] * 4])
            continue
        of_hub = hubs.get(case.point)
        ratio = f"{of_hub.per_cpu_s / result.per_cpu_s:.2f}" if isinstance(of_hub, Result) else ""
        busy = f"{result.server_share:.0%} / {result.client_share:.0%}"
        rows.append([*row, result.per_cpu_s, ratio, result.per_s, busy, round(result.frame_bytes)])
    return rows


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--full", action="store_true", help="every server at every point: half an hour")
    parser.add_argument("--connections", type=int, nargs="+", help="every server with so many")
    parser.add_argument("--sizes", type=int, nargs="+", help="every server with frames of so many bytes")
    parser.add_argument("--only", nargs="+", help="the servers of these names")
    parser.add_argument("--seconds", type=float, default=1.5, help="for each of the two ways")
    parser.add_argument("--rounds", type=int, default=2, help="the best one counts")
    options = parser.parse_args()
    with wsload() as program, valkey() as redis_url:
        results = best_of(program, redis_url, cases_of(options), options)
    columns = ["server", "connections", "bytes", "", "per CPU s", "hub / this", "per s", "busy", "sent"]
    notes = [
        "hub / this: by CPU time. sent: bytes of a frame on the wire, on average.",
        "busy: CPU time of server and load client for each second of 'per s': the client is not the bottleneck.",
    ]
    show(
        Table("fanout", "Deliveries of one event to many connections", columns, rows_of(results), notes),
        options,
    )


if __name__ == "__main__":
    main()
