"""How many events a second one hub process can take, each of them for one receiver.

Every connection subscribes to the channel that all share, and each event may be read by one user alone. So each
event is received, decoded, matched, framed and sent by itself. They are prepared beforehand, and published in
batches as fast as Redis takes them. Every one of them must arrive. The budget is 15,000 a second.

    python -m benchmarks.events [--connections 1000] [--events 100000] [--rounds 3]
"""

import asyncio
import math
from pathlib import Path

from benchmarks.candidates import hub
from benchmarks.common import PROJECT, Table, options_of, say, show
from benchmarks.load import Load, wsload
from benchmarks.payloads import envelope, sentence
from benchmarks.servers import Server, running, valkey
from realtime.bus import RedisBus, connect

CHANNEL = "buckets.photos.files"
BATCH = 100
"""Events published at once."""


def envelopes(connections: int) -> list[bytes]:
    """Return an event for each connection's user, of about 1 KB."""
    return [
        envelope(
            "buckets.photos.files.cat.update",
            {"$id": "cat", "text": sentence(500, number)},
            f"user:user{number}",
        )
        for number in range(connections)
    ]


async def publish(redis_url: str, bodies: list[bytes], events: int, load: Load) -> None:
    """Publish ``events``, to each user in turn, and wait until all have arrived."""
    async with connect(redis_url) as redis:
        bus = RedisBus(redis)
        for start in range(0, events, BATCH):
            await bus.publish(PROJECT, [bodies[n % len(bodies)] for n in range(start, start + BATCH)])
        await load.received(events)


def per_second(
    program: Path, server: Server, redis_url: str, connections: int, events: int
) -> tuple[float, float]:
    """Return the events for each second of the hub's CPU time, and by the clock."""
    with Load(program, server, connections) as load:
        load.opened()
        bodies = envelopes(connections)
        before_s = server.cpu_s()
        asyncio.run(publish(redis_url, bodies, events, load))
        used_s = server.cpu_s() - before_s
        return events / used_s, events / load.stop()["window_s"]


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--connections", type=int, default=1_000)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3, help="the best one counts")
    options = parser.parse_args()
    # Whole batches, and as many events for each connection.
    events = options.events - options.events % math.lcm(options.connections, BATCH)
    with wsload() as program, valkey() as redis_url, running(hub(CHANNEL), redis_url) as server:
        say(f"{events:,} events, each to one of {options.connections:,} connections")
        results = [
            per_second(program, server, redis_url, options.connections, events) for _ in range(options.rounds)
        ]
    best = map(max, zip(*results, strict=True))
    columns = ["server", "per CPU second", "per second"]
    show(Table("events", "Events with one receiver each", columns, [["hub", *best]]), options)


if __name__ == "__main__":
    main()
