"""How long it takes to find the receivers of an event among more and more subscriptions it does not concern.

Every row of the table is one index with so many subscriptions, ten to a connection: one to the rows of a busy
table and nine to single rows. The event is the update of a row, with its 16 channels, and has 10 receivers:

- by role: the 10 holders of its one role; everybody subscribes to its channels;
- by channel: the 10 subscribers of that row; everybody holds its role.

Then the same with 1,000 subscriptions to channels with ``*`` beside them, and with a query in every
subscription (the time includes decoding the payload, which happens once an event). The budget is 100 µs, at any size.

    python -m benchmarks.matching [--max 1000000]
"""

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from benchmarks.common import say, show
from realtime.hub.index import Subscriber, SubscriptionIndex
from realtime.queries import Filter, compile_filter

RECEIVERS = 10
SUBSCRIPTIONS_PER_CONNECTION = 10
WILDCARD_SUBSCRIPTIONS = 1_000
SAMPLES = 2_000

PAYLOAD = msgspec.json.encode(
    {
        "$id": "1",
        "$createdAt": "2026-01-01T00:00:00.000+00:00",
        "status": "open",
        "size": 5,
        "text": "x" * 1_000,
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


def build(subscriptions: int, query: Callable[[int], Filter | None]) -> SubscriptionIndex:
    """Return an index with ``subscriptions`` that the events do not concern, and the 10 receivers."""
    index = SubscriptionIndex()
    for n in range(max(1, subscriptions // SUBSCRIPTIONS_PER_CONNECTION)):
        user = Subscriber(frozenset({"users", f"user:{n}", "users/verified", f"user:{n}/verified"}))
        index.add(user)
        index.subscribe(user, "0", [BUSY_TABLE], query(n))
        for k in range(1, SUBSCRIPTIONS_PER_CONNECTION):
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


def median_us(index: SubscriptionIndex, channels: Sequence[str], role: str) -> float:
    """Return the median time in microseconds that one match takes."""

    def payload() -> Mapping[str, Any]:
        decoded: dict[str, Any] = msgspec.json.decode(PAYLOAD)
        return decoded

    assert len(index.match(channels, [role], payload)) == RECEIVERS
    times = []
    for _ in range(SAMPLES):
        start = time.perf_counter_ns()
        index.match(channels, [role], payload)
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1_000


def measure(index: SubscriptionIndex) -> tuple[float, float]:
    """Return the medians by role and by channel, in microseconds."""
    by_role = median_us(index, row_channels("busy", "1"), "team:few")
    by_channel = median_us(index, row_channels("quiet", "watched"), "users")
    return by_role, by_channel


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--max", type=int, default=100_000, help="the largest number of subscriptions")
    largest = parser.parse_args().max
    rows = []
    subscriptions = 10
    # What the index holds is not garbage; collecting it again and again would only make building slower.
    gc.disable()
    while subscriptions <= largest:
        say(f"{subscriptions:,} subscriptions")
        index = build(subscriptions, no_query)
        results = [*measure(index)]
        add_wildcards(index)
        results += measure(index)
        del index
        gc.collect()
        results += measure(build(subscriptions, size_query))
        gc.collect()
        rows.append([f"{subscriptions:,}", *(f"{median:.1f}" for median in results)])
        subscriptions *= 10
    kinds = ["by role", "by channel"]
    columns = [
        *kinds,
        *(f"{kind}, 1,000 wildcards" for kind in kinds),
        *(f"{kind}, queries" for kind in kinds),
    ]
    title = f"Matching an event with {RECEIVERS} receivers, median of {SAMPLES:,} in µs"
    show(title, ["subscriptions", *columns], rows)


if __name__ == "__main__":
    main()
