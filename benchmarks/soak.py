"""Whether the hub's memory grows while everything changes all the time, for as many minutes as you like.

A steady thousand of clients receives events of several sizes, compressed. Beside them groups of a hundred come and go,
half of the time without a farewell; some clients make, change and drop subscriptions with queries, and return under
new IDs; and some stop reading and are closed for it. Every ten seconds a line says how things are. In the end the slope
of the resident memory is found by least squares over all but the warm-up; it counts as growth if it is more than
64 KB a minute and more than three times its standard error. Then the exit status is 1. Less than five minutes show that
all of this works, and are too short for a verdict.

    python -m benchmarks.soak MINUTES
"""

import asyncio
import contextlib
import json
import math
import random
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import uvloop
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed

from benchmarks.candidates import hub
from benchmarks.common import PROJECT, TEAM, Table, options_of, say, show, token
from benchmarks.load import Load, Stuck, wsload
from benchmarks.payloads import SUBJECTS, bodies
from benchmarks.servers import Server, running, valkey
from realtime.bus import RedisBus, connect

STEADY, GROUP, CHANGING, SLOW = 1_000, 100, 20, 10
"""Clients of each kind."""
SIZES = (400, 1_600, 8_000)
EVENT_INTERVAL_S = 0.05
CHANGE_INTERVAL_S = 0.2
CHANGES = 40
"""How often a changing client changes before it leaves and another one comes."""
GROUP_S = 3.0
"""How long a group stays."""
SLOW_S = 30.0
"""The same for slow clients: long enough to fill their send buffers."""
SAMPLE_S = 1.0
SAY_EVERY = 10
WARM_UP_S = 40.0
"""What does not count: until the first slow clients have been closed and replaced."""
LEAST_MINUTES = 5
LEAST_GROWTH = 64 * 1024
"""Bytes a minute."""


class Slope(NamedTuple):
    """A line through samples."""

    per_s: float
    error: float
    """Its standard error."""


def slope_of(points: Sequence[tuple[float, float]]) -> Slope:
    """Return the slope of a line through ``points``, at least three, by least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    residue = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in points)
    return Slope(slope, math.sqrt(residue / (len(points) - 2) / spread))


async def publish(redis_url: str) -> None:
    """Publish events of all sizes in turn, for ever."""
    turns = [bodies(size, f"team:{TEAM}") for size in SIZES]
    async with connect(redis_url) as redis:
        bus = RedisBus(redis)
        number = 0
        while True:
            messages = turns[number % len(turns)]
            await bus.publish(PROJECT, [messages[number % len(messages)]])
            number += 1
            await asyncio.sleep(EVENT_INTERVAL_S)


async def come_and_go(program: Path, server: Server) -> None:
    """Open groups of connections, each when the one before has gone, for ever."""
    while True:
        with Load(program, server, GROUP, deflates=random.random() < 0.5) as load:
            await asyncio.to_thread(load.opened)
            await asyncio.sleep(GROUP_S * random.random())
            if random.random() < 0.5:
                load.stop()


async def be_slow(program: Path, server: Server) -> None:
    """Hold connections that nobody reads from, and replace them now and then, for ever."""
    while True:
        with Load(program, server, SLOW, stalls=True) as load:
            await asyncio.to_thread(load.opened)
            await asyncio.sleep(SLOW_S)


def change(held: list[str]) -> str:
    """Return the next message of a changing client, and note in ``held`` which subscriptions it has after that."""
    if len(held) > 5 or (held and random.random() < 0.4):
        gone = held.pop(random.randrange(len(held)))
        return json.dumps({"type": "unsubscribe", "data": [{"subscriptionId": gone}]})
    if not held or random.random() < 0.7:
        held.append(secrets.token_hex(10))
    query = {"method": "greaterThan", "attribute": "votes", "values": [random.randrange(200)]}
    channels = [random.choice(SUBJECTS).channel, f"tablesdb.main.tables.t{random.randrange(1_000_000)}.rows"]
    item = {"subscriptionId": held[-1], "channels": channels, "queries": [json.dumps(query)]}
    return json.dumps({"type": "subscribe", "data": [item]})


async def keep_changing(server: Server, number: int) -> None:
    """Be one client after the other that changes its subscriptions, for ever."""
    while True:
        url = f"ws://127.0.0.1:{server.port}/v1/realtime?project={PROJECT}&jwt={token(f'changing{number}')}"
        async with connect_websocket(url) as client, asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(read_all(client))
            held: list[str] = []
            with contextlib.suppress(ConnectionClosed):
                for _ in range(CHANGES):
                    await client.send(change(held))
                    await asyncio.sleep(CHANGE_INTERVAL_S * 2 * random.random())
            reading.cancel()


async def read_all(client: ClientConnection) -> None:
    """Read and forget what ``client`` receives."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await client.recv()


async def watch(server: Server, steady: Load, end_s: float) -> list[tuple[float, float]]:
    """Sample the memory until ``end_s``, and say now and then how things are; return times and bytes."""
    start_s = time.monotonic()
    samples: list[tuple[float, float]] = []
    while time.monotonic() < end_s:
        await asyncio.sleep(SAMPLE_S)
        samples.append((time.monotonic() - start_s, server.resident_bytes()))
        if len(samples) % SAY_EVERY == 0:
            say(await asyncio.to_thread(report, server, steady, *samples[-1]))
        if steady.counts().lost:
            raise Stuck(f"{steady.counts().lost} of the steady clients were lost")
    return samples


def report(server: Server, steady: Load, passed_s: float, resident: float) -> str:
    """Return a line about what there is and what has happened."""
    open_now, opened, slow = (
        server.metric(f"realtime_connections{suffix}")
        for suffix in ("", "_opened_total", '_closed_total{reason="too_slow"}')
    )
    return (
        f"{passed_s:5,.0f} s: {resident / 1e6:.1f} MB, {open_now:,.0f} connections of {opened:,.0f} opened, "
        f"{steady.counts().frames:,} events read, {slow:,.0f} too slow"
    )


async def soak(program: Path, redis_url: str, server: Server, minutes: float) -> list[tuple[float, float]]:
    """Let everything change for so many minutes; return the samples of the memory, in seconds and bytes."""
    with Load(program, server, STEADY, deflates=True) as steady:
        await asyncio.to_thread(steady.opened)
        changing = [keep_changing(server, number) for number in range(CHANGING)]
        others = [publish(redis_url), come_and_go(program, server), be_slow(program, server), *changing]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(other) for other in others]
            samples = await watch(server, steady, time.monotonic() + minutes * 60)
            for task in tasks:
                task.cancel()
    return samples


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("minutes", type=float)
    options = parser.parse_args()
    channel = SUBJECTS[0].channel
    with wsload() as program, valkey() as redis_url, running(hub(channel), redis_url) as server:
        samples = uvloop.run(soak(program, redis_url, server, options.minutes))
    slope = slope_of([sample for sample in samples if sample[0] >= min(WARM_UP_S, samples[-1][0] / 2)])
    per_minute, error = slope.per_s * 60, slope.error * 60
    grows = options.minutes >= LEAST_MINUTES and per_minute > max(LEAST_GROWTH, 3 * error)
    verdict = "memory grows" if grows else "memory does not grow"
    if options.minutes < LEAST_MINUTES:
        verdict = "too short to tell"
    row = [
        verdict,
        options.minutes,
        samples[0][1] / 1e6,
        samples[-1][1] / 1e6,
        per_minute / 1024,
        error / 1024,
    ]
    columns = ["", "minutes", "MB at first", "MB in the end", "KB a minute", "standard error"]
    note = f"The slope is that of all but the first {WARM_UP_S:.0f} seconds."
    show(Table("soak", "A hub while everything changes", columns, [row], [note]), options)
    sys.exit(int(grows))


if __name__ == "__main__":
    main()
