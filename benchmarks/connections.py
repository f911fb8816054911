"""How many new connections a second one process can open.

At the hub each is a TCP connection, the WebSocket handshake, a token of one's own that is verified, the ``connected``
frame, and one subscription by a message that is answered; or by the URL. At most 256 are under way at once. Beside
it Bun and ``websockets``, which have only the handshake to do. The budget is 2,000 a second.

    python -m benchmarks.connections [--connections 5000] [--rounds 2]
"""

from pathlib import Path

from benchmarks.candidates import bun, hub, websockets
from benchmarks.common import Table, options_of, say, show
from benchmarks.load import Load, wsload
from benchmarks.servers import Server, running, valkey

CHANNEL = "tablesdb.main.tables.posts.rows"


def per_second(program: Path, server: Server, connections: int) -> tuple[float, float]:
    """Open ``connections``; return how many a second by the server's CPU time, and by the clock."""
    before_s = server.cpu_s()
    with Load(program, server, connections) as load:
        open_s = load.opened()
        return connections / (server.cpu_s() - before_s), connections / open_s


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--connections", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=2, help="the best one counts")
    options = parser.parse_args()
    rows: list[list[object]] = []
    by_url = hub(CHANNEL, by_url=True, name="hub, subscribed by URL")
    with wsload() as program, valkey() as redis_url:
        for candidate in (hub(CHANNEL), by_url, bun(), websockets()):
            if candidate.missing:
                rows.append([candidate.name, candidate.missing, ""])
                continue
            with running(candidate, redis_url) as server:
                say(f"{options.connections:,} new connections to {server.name}")
                results = [per_second(program, server, options.connections) for _ in range(options.rounds)]
                rows.append([server.name, *map(max, zip(*results, strict=True))])
    table = Table("connections", "New connections", ["server", "per CPU second", "per second"], rows)
    show(table, options)


if __name__ == "__main__":
    main()
