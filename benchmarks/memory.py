"""How much memory an idle connection takes.

Connections of the hub are authenticated, each by a token of its own person, and have one subscription to the table
that all of them show. Beside it ``websockets``, whose connections are just open. The memory is what the process
has resident more than before, when a first few connections had come and gone; the kernel's socket buffers are not
in it. The budget is 8 KB.

    python -m benchmarks.memory [--connections 10000]
"""

import argparse
import time
from pathlib import Path

from benchmarks.common import query_of, say, show, token
from benchmarks.load import Load, wsload
from benchmarks.servers import Server, hub, running, valkey, websockets_peer

CHANNEL = "tablesdb.main.tables.posts.rows"
WARM_UP = 300
SETTLE_S = 2.0
"""How long after the last connection opened the memory is read: two of the hub's ticks."""


def bytes_each(program: Path, server: Server, connections: int) -> tuple[float, float]:
    """Return the resident bytes of a connection, and the megabytes of the process with all of them."""
    is_hub = server.name == "hub"

    def load(number: int) -> Load:
        tokens = [token(f"user{n}", "readers") for n in range(number)] if is_hub else []
        query = query_of(CHANNEL)
        return Load(program, server, number, query=query, tokens=tokens, greeting_frames=int(is_hub))

    with load(WARM_UP) as warm_up:
        warm_up.opened()
    time.sleep(SETTLE_S)
    before = server.resident_bytes()
    with load(connections) as idle:
        idle.opened()
        time.sleep(SETTLE_S)
        after = server.resident_bytes()
    return (after - before) / connections, after / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=10_000)
    connections = parser.parse_args().connections
    rows = []
    with wsload() as program, valkey() as redis_url:
        for starting in (hub(redis_url), running(websockets_peer(), redis_url)):
            with starting as server:
                say(f"{connections:,} idle connections to {server.name}")
                rows.append([server.name, connections, *bytes_each(program, server, connections)])
    show("Memory of idle connections", ["server", "connections", "bytes each", "MB in all"], rows)


if __name__ == "__main__":
    main()
