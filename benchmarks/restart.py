"""How long it takes until everybody is back after a hub went away.

All connections of a hub are lost, and each returns a second later, as the SDKs do, until it is accepted,
authenticated and subscribed again under the subscription ID that its client made. Nobody waits for the others, so
after a kill they all come at once.

- *killed*: the hub is killed with SIGKILL and started again on the same port.
- *drained*: the hub is stopped with SIGTERM, as in a deploy, while another one runs. It sends its clients away
  spread over its drain window of 10 seconds, so the time is that and the last clients' second.

    python -m benchmarks.restart [--connections 10000]
"""

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.candidates import hub
from benchmarks.common import Table, options_of, say, show
from benchmarks.load import Load, Stuck, wsload
from benchmarks.servers import Server, free_port, running, valkey

CHANNEL = "tablesdb.main.tables.posts.rows"
SAMPLE_S = 0.5
"""Over how long the peak of the CPU time is taken."""
SETTLE_S = 2.0
TIMEOUT_S = 120.0


class Result(NamedTuple):
    """How a return went."""

    all_back_s: float
    """From the signal until the last one was subscribed again."""
    half_back_s: float
    """The same for half of them."""
    cpu_s: float
    """CPU time of the hub they returned to, from when it listened."""
    peak_share: float
    """The most of a second's CPU time that it took."""
    before_mb: float
    """Resident memory of the first hub with all connections."""
    peak_mb: float
    """The most that the second had."""
    after_mb: float
    """What it had in the end."""


def watch(server: Server, load: Load, start_s: float) -> tuple[float, float, float, float]:
    """Wait until all have returned.

    Returns:
        When all and when half of them were back, in seconds since ``start_s``; the peak of the server's CPU share;
        and of its memory, in MB.

    Raises:
        Stuck: They did not.
    """
    all_back_s = half_back_s = peak_share = 0.0
    peak_bytes = 0
    sample = time.monotonic(), server.cpu_s()
    while not all_back_s:
        time.sleep(0.02)
        now_s, returned = time.monotonic(), load.counts().returned
        if not half_back_s and returned >= load.connections / 2:
            half_back_s = now_s - start_s
        if returned >= load.connections:
            all_back_s = now_s - start_s
        if now_s - sample[0] >= SAMPLE_S or all_back_s:
            used_s = server.cpu_s()
            if now_s - sample[0] >= SAMPLE_S:
                peak_share = max(peak_share, (used_s - sample[1]) / (now_s - sample[0]))
            sample = now_s, used_s
            peak_bytes = max(peak_bytes, server.resident_bytes())
        if now_s - start_s > TIMEOUT_S:
            raise Stuck(f"only {returned:,} of {load.connections:,} connections returned")
    return all_back_s, half_back_s, peak_share, peak_bytes / 1e6


@contextlib.contextmanager
def killed(first: Server, redis_url: str) -> Iterator[tuple[Server, float]]:
    """Kill the hub, and start it again on the same port; yield it, and when the first was killed."""
    start_s = time.monotonic()
    first.popen.kill()
    first.popen.wait()
    with running(hub(CHANNEL), redis_url, port=first.port) as second:
        yield second, start_s


@contextlib.contextmanager
def drained(first: Server, redis_url: str, port: int) -> Iterator[tuple[Server, float]]:
    """Stop the hub once another one runs on ``port``; yield that, and when the first was told to stop."""
    with running(hub(CHANNEL), redis_url, port=port) as second:
        start_s = time.monotonic()
        first.popen.send_signal(signal.SIGTERM)
        yield second, start_s


def measure(program: Path, redis_url: str, connections: int, *, is_killed: bool) -> Result:
    """Take the hub away from so many clients in one of the two ways, and watch them return.

    Raises:
        Stuck: They did not, within two minutes.
    """
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(running(hub(CHANNEL), redis_url))
        port = first.port if is_killed else free_port()
        load = stack.enter_context(Load(program, first, connections, returns_to=port))
        load.opened()
        time.sleep(SETTLE_S)
        before_mb = first.resident_bytes() / 1e6
        ending = killed(first, redis_url) if is_killed else drained(first, redis_url, port)
        second, start_s = stack.enter_context(ending)
        idle_s = second.cpu_s()
        all_back_s, half_back_s, peak_share, peak_mb = watch(second, load, start_s)
        cpu_s = second.cpu_s() - idle_s
        time.sleep(SETTLE_S)
        after_mb = second.resident_bytes() / 1e6
    return Result(all_back_s, half_back_s, cpu_s, peak_share, before_mb, max(peak_mb, after_mb), after_mb)


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--connections", type=int, default=10_000)
    options = parser.parse_args()
    connections = options.connections
    rows: list[list[object]] = []
    with wsload() as program, valkey() as redis_url:
        for name, is_killed in (("killed, started again", True), ("drained, to another hub", False)):
            say(f"{connections:,} clients of a hub that is {name}")
            try:
                result = measure(program, redis_url, connections, is_killed=is_killed)
            except Stuck as problem:
                rows.append([name, connections, str(problem), *[""] * 6])
                continue
            share = f"{result.peak_share:.0%}"
            rows.append([name, connections, *result[:3], share, *result[4:]])
    columns = ["the hub is", "clients", "all back, s", "half back, s", "CPU s", "peak CPU"]
    columns += ["MB before", "MB peak", "MB after"]
    note = "From the signal on: the hub's own start, and the second that clients wait, are in it."
    show(Table("restart", "A return of all clients", columns, rows, [note]), options)


if __name__ == "__main__":
    main()
