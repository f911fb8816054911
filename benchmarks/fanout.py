"""How many event frames one core can deliver, when one event goes to very many connections.

Each event is a file's update of which the members of a team are told, in frames of 1.6 KB. All receivers are
members, each by a token of its own. A tenth as many guests are subscribed to the same channel and must not get it.
Each frame of the hub bears its connection's subscription ID. Beside it, servers that send frames of the same size to
all, without permissions or subscriptions: a bare uvloop protocol, the least that a server in Python can do;
``websockets`` with its ``broadcast``; and Bun's native ``publish`` if ``bun`` is installed. The budget is 0.9 of Bun,
by CPU time.

- *per CPU second*: events come one by one, each when the one before is done. Deliveries by the server's CPU time,
  in user and kernel: what a delivery costs.
- *per second*: events come as fast as the server takes them. Deliveries by the clock, as the clients see it.

    python -m benchmarks.fanout [--connections 100 1000] [--deliveries 200000] [--rounds 1]
"""

import argparse
import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from benchmarks.common import PROJECT, envelope, query_of, say, show, token
from benchmarks.load import Load, wsload
from benchmarks.servers import Peer, Server, bare_peer, bun_peer, hub, running, valkey, websockets_peer
from realtime.bus import RedisBus, connect

CHANNEL = "buckets.photos.files"
ROLE = "team:readers"
TEXT_BYTES = 1_023
"""So that the frames of the hub have 1,600 bytes."""
ENVELOPE_BYTES = 27
"""What the envelope on the live channel, which the peers pass on, has more than the hub's frame."""
PACE = 40_000
"""Deliveries a second that every server here can do: at this pace each event is done before the next one."""
BATCH = 8
"""Events published at once when there is no pace, so that the server never waits for the publisher."""


class Result(NamedTuple):
    """What one server did in one round."""

    per_cpu_s: float
    per_s: float
    frame_bytes: float


async def publish(redis_url: str, body: bytes, events: int, interval_s: float) -> None:
    """Publish ``events``, one at each interval; for an interval of 0 as fast as Redis takes them."""
    loop = asyncio.get_running_loop()
    async with connect(redis_url) as redis:
        bus = RedisBus(redis)
        if not interval_s:
            for _ in range(events // BATCH):
                await bus.publish(PROJECT, [body] * BATCH)
            return
        start_s = loop.time()
        for number in range(events):
            await asyncio.sleep(start_s + number * interval_s - loop.time())
            await bus.publish(PROJECT, [body])


@contextlib.contextmanager
def guests(program: Path, server: Server, connections: int) -> Iterator[None]:
    """Hold connections that subscribe, and make sure that they get nothing."""
    with Load(program, server, connections, query=query_of(CHANNEL), greeting_frames=1) as load:
        load.opened()
        yield
        if load.stop()["frames"]:
            raise SystemExit("Guests received what is not for them.")


def measure(program: Path, peer: Peer | None, redis_url: str, connections: int, events: int) -> Result:
    """Measure one server, the hub when ``peer`` is None, with so many receivers and events."""
    is_hub = peer is None
    tokens = [token(f"user{number}", "readers") for number in range(connections)] if is_hub else []
    text = "x" * (TEXT_BYTES if is_hub else TEXT_BYTES - ENVELOPE_BYTES)
    body = envelope("buckets.photos.files.cat.update", {"$id": "cat", "text": text}, ROLE)

    def receivers(*, is_busy: bool) -> Load:
        return Load(
            program,
            server,
            connections,
            query=query_of(CHANNEL),
            tokens=tokens,
            greeting_frames=1 if is_hub else 0,
            expected_frames=events,
            is_busy=is_busy,
        )

    starting: AbstractContextManager[Server] = running(peer, redis_url) if peer else hub(redis_url)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(starting)
        if is_hub:
            stack.enter_context(guests(program, server, connections // 10))
        with receivers(is_busy=True) as load:
            load.opened()
            before_s = server.cpu_s()
            asyncio.run(publish(redis_url, body, events, connections / PACE))
            report = load.finished()
            per_cpu_s = report["frames"] / (server.cpu_s() - before_s)
        with receivers(is_busy=False) as load:
            load.opened()
            asyncio.run(publish(redis_url, body, events, 0))
            per_s = connections * events / load.finished()["window_s"]
    return Result(per_cpu_s, per_s, report["bytes"] / report["frames"])


def best_of(program: Path, redis_url: str, connections: int, events: int, rounds: int) -> dict[str, Result]:
    """Return the best that each server did; they take turns, so that all see the same machine."""
    best: dict[str, Result] = {}
    for _ in range(rounds):
        for peer in (None, bare_peer(), websockets_peer(), *filter(None, [bun_peer()])):
            name = peer.name if peer else "hub"
            say(f"{name}: one event to {connections:,} connections")
            result = measure(program, peer, redis_url, connections, events)
            best[name] = Result(*map(max, result, best.get(name, result)))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--deliveries", type=int, default=200_000, help="of each kind, by each server")
    parser.add_argument("--rounds", type=int, default=1, help="the best one counts")
    options = parser.parse_args()
    rows = []
    with wsload() as program, valkey() as redis_url:
        for connections in options.connections:
            events = options.deliveries // connections // BATCH * BATCH
            best = best_of(program, redis_url, connections, events, options.rounds)
            for name, result in best.items():
                ratio = f"{best['hub'].per_cpu_s / result.per_cpu_s:.2f}"
                rows.append(
                    [name, connections, round(result.frame_bytes), result.per_cpu_s, result.per_s, ratio]
                )
    columns = ["server", "connections", "bytes a frame", "per CPU second", "per second", "hub / this, by CPU"]
    show("Deliveries of one event to many connections", columns, rows)


if __name__ == "__main__":
    main()
