"""How much memory an idle connection takes.

Connections of the hub are authenticated, each by a token of its own person, and have one subscription to the table
that all of them show: made by a message with the client's own ID, so that the hub keeps what it needs to resume it;
or in the URL; or by message and with permessage-deflate agreed upon. Those of the peers are just open. All have
received a few events of 1.6 KB, since some servers set up their compression with the first. The memory is what the
process has resident more than before, when a first few connections had come and gone; the kernel's socket buffers are
not in it. The budget is 8 KB, the goal 4 KB.

    python -m benchmarks.memory [--full] [--only hub Bun] [--connections 10000]
"""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.candidates import Candidate, bare, bun, channels, hub, node_ws, socketio, websockets
from benchmarks.common import PROJECT, TEAM, Table, options_of, say, show
from benchmarks.load import Load, Stuck, wsload
from benchmarks.payloads import bodies, subject_of
from benchmarks.servers import Server, running, valkey
from realtime.bus import RedisBus, connect

FRAME_BYTES = 1_600
EVENTS = 3
WARM_UP = 300
SETTLE_S = 2.0
"""How long after the last event the memory is read: two of the hub's ticks."""
MANY, FEW = 10_000, 1_000


class Case(NamedTuple):
    """One row of the table."""

    name: str
    candidate: Candidate
    connections: int
    deflates: bool = False


def cases_of(connections: Sequence[int], few: Sequence[int]) -> list[Case]:
    """Return the rows: each server with so many ``connections``; those that are slow to open them, with ``few``."""
    channel = subject_of(FRAME_BYTES).channel
    by_url = hub(channel, by_url=True, name="hub, subscribed by URL")
    plain = [hub(channel), by_url, bun(), node_ws(), websockets(), bare()]
    compressing = [hub(channel), bun(), node_ws(), websockets()]
    cases = [Case(it.name, it, number) for number in connections for it in plain]
    cases += [
        Case(f"{it.name}, compressing", it, number, True) for number in connections for it in compressing
    ]
    return cases + [Case(it.name, it, number) for number in few for it in (socketio(), channels())]


async def tell(redis_url: str, server: Server, load: Load) -> None:
    """Deliver a few events to all connections."""
    messages = bodies(FRAME_BYTES, f"team:{TEAM}", is_hub=server.is_hub)
    async with connect(redis_url) as redis:
        bus = RedisBus(redis)
        for number in range(EVENTS):
            await bus.publish(PROJECT, [messages[number]])
            await load.received((number + 1) * load.connections)


def resident(program: Path, redis_url: str, server: Server, connections: int, *, deflates: bool) -> int:
    """Return the resident bytes of the server with so many idle connections, which are gone afterwards."""
    with Load(program, server, connections, deflates=deflates) as load:
        load.opened()
        asyncio.run(tell(redis_url, server, load))
        time.sleep(SETTLE_S)
        return server.resident_bytes()


def measure(program: Path, redis_url: str, case: Case) -> list[object]:
    """Return a row of the table."""
    row = [case.name, case.connections]
    if case.candidate.missing:
        return [*row, case.candidate.missing, ""]
    say(f"{case.name}: {case.connections:,} connections")
    try:
        with running(case.candidate, redis_url, deflates=case.deflates) as server:
            resident(program, redis_url, server, WARM_UP, deflates=case.deflates)
            time.sleep(SETTLE_S / 2)
            before = server.resident_bytes()
            after = resident(program, redis_url, server, case.connections, deflates=case.deflates)
    except Stuck as problem:
        return [*row, str(problem), ""]
    return [*row, (after - before) / case.connections, after / 1e6]


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--full", action="store_true", help="every server with 1,000 and 10,000 connections")
    parser.add_argument("--connections", type=int, nargs="+", help="every server with so many")
    parser.add_argument("--only", nargs="+", help="the rows of these names")
    options = parser.parse_args()
    if options.connections or options.full:
        many = few = options.connections or [FEW, MANY]
    else:
        many, few = [MANY], [FEW]
    cases = [case for case in cases_of(many, few) if not options.only or case.name in options.only]
    with wsload() as program, valkey() as redis_url:
        rows = [measure(program, redis_url, case) for case in cases]
    columns = ["server", "connections", "bytes each", "MB in all"]
    show(Table("memory", "Resident memory of idle connections", columns, rows), options)


if __name__ == "__main__":
    main()
