"""What slow clients cost the others: events to 900 readers while 100 more read nothing at all.

The same events go to 1,000 connections twice: first all of them read, then 100 of them stop once they are open. What
is sent to those piles up, first in the kernel, then in the hub, until their send buffers are full (1 MB) and the hub
closes them. All of that happens while the readers' times are taken, from the call of publish to each of the 900. The
budget: their p99 is at most 1.2 times what it is without stalled clients.

    python -m benchmarks.stalled [--connections 1000] [--stalled 100] [--seconds 10] [--rounds 2]
"""

import argparse
import asyncio
import contextlib
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.candidates import hub
from benchmarks.common import PROJECT, TEAM, Table, options_of, say, show
from benchmarks.load import Load, wsload
from benchmarks.payloads import envelope, sentence, subject_of
from benchmarks.servers import Server, running, valkey
from realtime.bus import RedisBus, connect

FRAME_BYTES = 8_000
TEXT_BYTES = 4_500
"""With the names of a row's update, a frame of about 8 KB."""
INTERVAL_S = 0.05
SUBJECT = subject_of(FRAME_BYTES)


class Result(NamedTuple):
    """What the readers saw, in milliseconds, and what became of the others."""

    p50: float
    p90: float
    p99: float
    closed: int
    """Connections that the hub closed since they were too slow."""
    peak_mb: float
    """The most resident memory that the hub had, in MB."""


async def publish(redis_url: str, server: Server, seconds: float) -> float:
    """Publish an event at each interval, with the time in it; return the hub's largest resident memory, in MB."""
    body = envelope(
        SUBJECT.event, {**SUBJECT.payload, "sent": 0, "text": sentence(TEXT_BYTES, 0)}, f"team:{TEAM}"
    )
    loop = asyncio.get_running_loop()
    peak = 0
    async with connect(redis_url) as redis:
        bus = RedisBus(redis)
        start_s = loop.time()
        for number in range(int(seconds / INTERVAL_S)):
            await asyncio.sleep(start_s + number * INTERVAL_S - loop.time())
            await bus.publish(PROJECT, [body.replace(b'"sent":0', b'"sent":%d' % time.monotonic_ns())])
            if number % 10 == 0:
                peak = max(peak, server.resident_bytes())
    return peak / 1e6


def measure(
    program: Path, redis_url: str, readers: int, others: int, seconds: float, *, stalls: bool
) -> Result:
    """Measure the readers' times, while the others read as well, or do not."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running(hub(SUBJECT.channel), redis_url))
        reading = stack.enter_context(Load(program, server, readers, times=True))
        reading.opened()
        stack.enter_context(Load(program, server, others, stalls=stalls)).opened()
        peak_mb = asyncio.run(publish(redis_url, server, seconds))
        time.sleep(0.5)
        if reading.counts().lost:
            raise SystemExit("Readers were closed.")
        closed = int(server.metric('realtime_connections_closed_total{reason="too_slow"}'))
        report = reading.stop()
        return Result(report["p50"], report["p90"], report["p99"], closed, peak_mb)


def best_of(program: Path, redis_url: str, options: argparse.Namespace, *, stalls: bool) -> Result:
    """Return the round with the lowest p99."""
    say(f"{options.stalled} that {'stall' if stalls else 'read'} among {options.connections:,}")
    readers = options.connections - options.stalled
    results = [
        measure(program, redis_url, readers, options.stalled, options.seconds, stalls=stalls)
        for _ in range(options.rounds)
    ]
    return min(results, key=lambda result: result.p99)


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--connections", type=int, default=1_000)
    parser.add_argument("--stalled", type=int, default=100, help="how many of them stall")
    parser.add_argument("--seconds", type=float, default=10, help="for each round")
    parser.add_argument("--rounds", type=int, default=2, help="the best one counts")
    options = parser.parse_args()
    with wsload() as program, valkey() as redis_url:
        without, with_stalled = (
            best_of(program, redis_url, options, stalls=stalls) for stalls in (False, True)
        )
    rows = [
        ["all read", *without, ""],
        [f"{options.stalled} stall", *with_stalled, f"{with_stalled.p99 / without.p99:.2f}"],
    ]
    columns = ["", "p50 ms", "p90 ms", "p99 ms", "closed", "peak MB", "p99 / without"]
    title = f"From the call of publish to each of {options.connections - options.stalled} readers"
    show(Table("stalled", title, columns, rows), options)


if __name__ == "__main__":
    main()
