"""How many events a second one core can expand, and how many it can prepare in full.

*Expand* turns a pattern and its IDs into all names of the event. *Prepare* is everything between the call of a
publisher and Redis: parsing the name, expanding it, finding channels and readers, encoding a payload of 1 KB. The
budget is 50,000 expansions a second of a row's 42 names. The row "formatted one by one" is the plain way to
fill in 42 names, for comparison.

    python -m benchmarks.expansion [--seconds 1]
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import orjson

from benchmarks.common import Table, options_of, say, show
from benchmarks.payloads import sentence
from realtime.events.event import Event, prepare
from realtime.events.names import expand

ROUNDS = 3
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROW_ID = "63c98b9baea0938e1206"
ROW = {"databaseId": "default", "tableId": "sample", "rowId": ROW_ID}
FIVE = {
    "databaseId": "default",
    "collectionId": "sample",
    "tableId": "sample",
    "documentId": ROW_ID,
    "rowId": ROW_ID,
}
ROW_PATTERN = "databases.[databaseId].tables.[tableId].rows.[rowId].update"
PAYLOAD = {
    "$id": ROW_ID,
    "$tableId": "sample",
    "$databaseId": "default",
    "$permissions": ['read("any")', 'read("team:red")', 'update("user:owner")'],
    "text": sentence(800, 0),
    "numbers": list(range(20)),
}

Case = tuple[str, int, Callable[[], object]]


def formatted(pattern: str, params: Mapping[str, str]) -> Callable[[], list[str]]:
    """Return a function that fills in the names of an event one by one."""
    marks = {param: f"mark{position}" for position, param in enumerate(params)}
    names = expand(pattern, marks)
    for param, mark in marks.items():
        names = [name.replace(mark, f"{{{param}}}") for name in names]
    return lambda: [name.format(**params) for name in names]


def cases() -> list[Case]:
    """Return a label, the number of names, and what to measure, for each row of the table."""
    user = {"userId": "owner"}
    file = {"bucketId": "photos", "fileId": "cat"}
    name = f"databases.default.tables.sample.rows.{ROW_ID}.update"
    as_mapping, as_bytes = Event(name, PAYLOAD), Event(name, orjson.dumps(PAYLOAD))
    as_pattern = Event(ROW_PATTERN, PAYLOAD, ROW)
    return [
        ("expand users.*.update.email", 6, lambda: expand("users.[userId].update.email", user)),
        (
            "expand buckets.*.files.*.create",
            10,
            lambda: expand("buckets.[bucketId].files.[fileId].create", file),
        ),
        ("expand databases.*.tables.*.rows.*.update", 42, lambda: expand(ROW_PATTERN, ROW)),
        ("the same, formatted one by one", 42, formatted(ROW_PATTERN, ROW)),
        (
            "expand it, five parameters, tablesdb",
            64,
            lambda: expand(ROW_PATTERN, FIVE, database_type="tablesdb"),
        ),
        ("prepare a row's update", 42, lambda: prepare(as_mapping, "demo", now=NOW)),
        ("prepare it, pattern with parameters", 42, lambda: prepare(as_pattern, "demo", now=NOW)),
        ("prepare it, payload as bytes", 42, lambda: prepare(as_bytes, "demo", now=NOW)),
    ]


def per_second(call: Callable[[], object], seconds: float) -> float:
    """Return how often ``call`` runs in a second, the best of some rounds of ``seconds`` each."""
    best = 0.0
    for _ in range(ROUNDS):
        count = 0
        start = time.process_time()
        while (spent := time.process_time() - start) < seconds:
            for _ in range(500):
                call()
            count += 500
        best = max(best, count / spent)
    return best


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--seconds", type=float, default=0.5, help="CPU time for each round of each row")
    options = parser.parse_args()
    rows = []
    for label, names, call in cases():
        say(label)
        rows.append([label, names, per_second(call, options.seconds)])
    title = "Events expanded or prepared, for each second of one core's CPU time"
    show(Table("expansion", title, ["", "names", "events/s"], rows), options)


if __name__ == "__main__":
    main()
