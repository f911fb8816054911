"""How long it takes to find the receivers of an event among more and more subscriptions it does not concern.

Every row of the table is one index with so many subscriptions, ten to a connection: one to the rows of a busy
table and nine to single rows. The event is the update of a row, with its 16 channels, and has 10 receivers:

- by role: the 10 holders of its one role; everybody subscribes to its channels;
- by channel: the 10 subscribers of that row; everybody holds its role.

Then the same with 1,000 subscriptions to channels with ``*`` beside them, and with a query in every
subscription (the time includes decoding the payload, which happens once an event). The budget is 100 µs, at any size.

The second table has 100,000 subscriptions on ever more connections. The third has 1,000 connections whose
subscriptions all could receive the event, with ever more distinct queries, and 10 that do: equal queries are evaluated
once an event, however many connections share them.

    python -m benchmarks.matching [--max 1000000] [--samples 2000]
"""

import gc
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from benchmarks.common import Table, options_of, say, show
from benchmarks.payloads import sentence
from realtime.hub.index import Subscriber, SubscriptionIndex
from realtime.queries import Filter, compile_filter

RECEIVERS = 10
SUBSCRIPTIONS_PER_CONNECTION = 10
WILDCARD_SUBSCRIPTIONS = 1_000
CONNECTIONS = (100, 1_000, 10_000, 100_000)
SUBSCRIPTIONS = 100_000
CANDIDATES = 1_000
QUERIES = (1, 10, 100, 1_000)

PAYLOAD = msgspec.json.encode(
    {
        "$id": "1",
        "$createdAt": "2026-01-01T00:00:00.000+00:00",
        "status": "open",
        "size": 5,
        "text": sentence(1_000, 0),
    }
)


def row_channels(table: str, row: str) -> list[str]:
    """Return the channels of a row's update, as wire specification 5.4 and 5.5 list them."""
    rows = [f"databases.main.collections.{table}.documents", f"databases.main.tables.{table}.rows"]
    rows.append(f"tablesdb.main.tables.{table}.rows")
    base = [
        "documents",
        rows[0],
        f"{rows[0]}.{row}",
        "rows",
        rows[1],
        f"{rows[1]}.{row}",
        rows[2],
        f"{rows[2]}.{row}",
    ]
    return [*base, *[f"{channel}.update" for channel in base]]


BUSY_TABLE = "tablesdb.main.tables.busy.rows"
QUIET_ROW = "tablesdb.main.tables.quiet.rows.watched"


def size_query(number: int) -> Filter | None:
    """Return one of 1,000 distinct filters, all of which accept the payload."""
    query = {"method": "greaterThan", "attribute": "size", "values": [-(number % 1_000)]}
    return compile_filter([json.dumps(query)])


def no_query(_: int) -> Filter | None:
    return None


def build(
    subscriptions: int,
    query: Callable[[int], Filter | None],
    *,
    per_connection: int = SUBSCRIPTIONS_PER_CONNECTION,
) -> SubscriptionIndex:
    """Return an index with ``subscriptions`` that the events do not concern, and the 10 receivers."""
    index = SubscriptionIndex()
    for n in range(max(1, subscriptions // per_connection)):
        user = Subscriber(frozenset({"users", f"user:{n}", "users/verified", f"user:{n}/verified"}))
        index.add(user)
        index.subscribe(user, "0", [BUSY_TABLE], query(n))
        for k in range(1, per_connection):
            index.subscribe(user, str(k), [f"tablesdb.main.tables.quiet.rows.{n}-{k}"], query(n + k))
    for n in range(RECEIVERS):
        receiver = Subscriber(frozenset({"users", f"user:r{n}", "team:few"}))
        index.add(receiver)
        index.subscribe(receiver, "table", [BUSY_TABLE], query(n))
        index.subscribe(receiver, "row", [QUIET_ROW], query(n))
    return index


def add_wildcards(index: SubscriptionIndex) -> None:
    """Add subscriptions to channels with ``*``, of several shapes that rows have, and none that matches."""
    names = [
        "tablesdb.other{}.tables.*.rows",
        "tablesdb.*.tables.other{}.rows",
        "tablesdb.*.tables.other{}.rows.*",
        "databases.other{}.collections.*.documents.*.update",
        "databases.*.collections.other{}.documents.update",
    ]
    for n in range(WILDCARD_SUBSCRIPTIONS // SUBSCRIPTIONS_PER_CONNECTION):
        user = Subscriber(frozenset({"users", f"user:w{n}"}))
        index.add(user)
        for k in range(SUBSCRIPTIONS_PER_CONNECTION):
            index.subscribe(user, str(k), [names[k % len(names)].format(f"{n}-{k}")], None)


def build_candidates(queries: int) -> SubscriptionIndex:
    """Return an index of connections that could all receive the event, but for their ``queries``; 10 do."""
    index = SubscriptionIndex()
    for n in range(CANDIDATES):
        wanted = "closed" if n >= RECEIVERS else "open"
        conditions = [
            {"method": "equal", "attribute": "status", "values": [wanted]},
            {"method": "greaterThan", "attribute": "size", "values": [-(n % queries)]},
        ]
        user = Subscriber(frozenset({"users", f"user:{n}", "team:few"}))
        index.add(user)
        index.subscribe(user, "table", [BUSY_TABLE], compile_filter([json.dumps(it) for it in conditions]))
    return index


def median_us(index: SubscriptionIndex, channels: Sequence[str], role: str, samples: int) -> float:
    """Return the median time in microseconds that one match takes."""

    def payload() -> Mapping[str, Any]:
        decoded: dict[str, Any] = msgspec.json.decode(PAYLOAD)
        return decoded

    assert len(index.match(channels, [role], payload)) == RECEIVERS
    times = []
    for sample in range(samples):
        # A role that nobody holds, so that the index cannot answer with what it found for the event before.
        roles = [role, f"user:nobody{sample}"]
        start = time.perf_counter_ns()
        index.match(channels, roles, payload)
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1_000


def measure(index: SubscriptionIndex, samples: int) -> tuple[float, float]:
    """Return the medians by role and by channel, in microseconds."""
    by_role = median_us(index, row_channels("busy", "1"), "team:few", samples)
    by_channel = median_us(index, row_channels("quiet", "watched"), "users", samples)
    return by_role, by_channel


def by_subscriptions(largest: int, samples: int) -> Table:
    """Return the table of ever more subscriptions."""
    rows = []
    subscriptions = 10
    while subscriptions <= largest:
        say(f"{subscriptions:,} subscriptions")
        start_s = time.perf_counter()
        index = build(subscriptions, no_query)
        build_us = (time.perf_counter() - start_s) / subscriptions * 1e6
        results = [*measure(index, samples)]
        add_wildcards(index)
        results += measure(index, samples)
        del index
        gc.collect()
        results += measure(build(subscriptions, size_query), samples)
        gc.collect()
        rows.append([f"{subscriptions:,}", *(f"{value:.1f}" for value in (*results, build_us))])
        subscriptions *= 10
    kinds = ["by role", "by channel"]
    columns = [
        *kinds,
        *(f"{kind}, 1,000 wildcards" for kind in kinds),
        *(f"{kind}, queries" for kind in kinds),
    ]
    title = f"Matching an event with {RECEIVERS} receivers, median of {samples:,} in µs"
    note = "subscribing: the time that each subscription took to make, its connection included."
    return Table("matching", title, ["subscriptions", *columns, "subscribing"], rows, [note])


def by_connections(samples: int) -> Table:
    """Return the table of ever more connections."""
    rows = []
    for connections in CONNECTIONS:
        say(f"{SUBSCRIPTIONS:,} subscriptions of {connections:,} connections")
        index = build(SUBSCRIPTIONS, no_query, per_connection=SUBSCRIPTIONS // connections)
        rows.append([f"{connections:,}", *(f"{value:.1f}" for value in measure(index, samples))])
        del index
        gc.collect()
    title = f"Matching it among {SUBSCRIPTIONS:,} subscriptions, in µs"
    return Table("matching-connections", title, ["connections", "by role", "by channel"], rows)


def by_queries(samples: int) -> Table:
    """Return the table of ever more distinct queries."""
    rows = []
    channels = row_channels("busy", "1")
    for queries in QUERIES:
        say(f"{queries:,} distinct queries of {CANDIDATES:,} connections")
        index = build_candidates(queries)
        rows.append([f"{queries:,}", f"{median_us(index, channels, 'team:few', samples // 4):.1f}"])
    title = f"Matching it among {CANDIDATES:,} connections that only their queries keep from it, in µs"
    return Table("matching-queries", title, ["distinct queries", "median"], rows)


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--max", type=int, default=1_000_000, help="the largest number of subscriptions")
    parser.add_argument("--samples", type=int, default=2_000, help="how often each match is repeated")
    options = parser.parse_args()
    # What the index holds is not garbage; collecting it again and again would only make building slower.
    gc.disable()
    show(by_subscriptions(options.max, options.samples), options)
    show(by_connections(options.samples), options)
    show(by_queries(options.samples), options)


if __name__ == "__main__":
    main()
