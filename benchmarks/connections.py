"""How many new connections a second one process can open.

Each is a TCP connection, the WebSocket handshake, a token of one's own that is verified, one subscription, and the
``connected`` frame, whose arrival ends it; at most 256 are under way at once. Beside it ``websockets``, which has
only the handshake to do. The budget is 2,000 a second.

    python -m benchmarks.connections [--connections 5000] [--rounds 3]
"""

import argparse
from pathlib import Path

from benchmarks.common import query_of, say, show, token
from benchmarks.load import Load, wsload
from benchmarks.servers import Server, hub, running, valkey, websockets_peer

CHANNEL = "tablesdb.main.tables.posts.rows"


def per_second(program: Path, server: Server, connections: int) -> tuple[float, float]:
    """Open ``connections``; return how many a second by the server's CPU time, and by the clock."""
    is_hub = server.name == "hub"
    tokens = [token(f"user{number}", "readers") for number in range(connections)] if is_hub else []
    before_s = server.cpu_s()
    with Load(
        program, server, connections, query=query_of(CHANNEL), tokens=tokens, greeting_frames=int(is_hub)
    ) as load:
        open_s = load.opened()
        return connections / (server.cpu_s() - before_s), connections / open_s


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3, help="the best one counts")
    options = parser.parse_args()
    rows = []
    with wsload() as program, valkey() as redis_url:
        for starting in (hub(redis_url), running(websockets_peer(), redis_url)):
            with starting as server:
                say(f"{options.connections:,} new connections to {server.name}")
                results = [per_second(program, server, options.connections) for _ in range(options.rounds)]
                rows.append([server.name, *map(max, zip(*results, strict=True))])
    show("New connections", ["server", "per CPU second", "per second"], rows)


if __name__ == "__main__":
    main()
