"""Pages of random rows by random queries, on both databases, against the same in plain Python."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Boolean, Column, Double, MetaData, String, Table, Text

from realtime.settings import Settings
from workers.store.database import Database, open_database
from workers.store.pages import Field, fetch_page
from workers.store.queries import parse_list
from workers.store.tables import Json, Sequence

Row = dict[str, Any]
Test = Callable[[Row], bool]

THINGS = Table(
    "things",
    MetaData(),
    Column("seq", Sequence, primary_key=True),
    Column("id", String(36), nullable=False),
    Column("text", Text),
    Column("number", BigInteger),
    Column("ratio", Double),
    Column("flag", Boolean),
    Column("moment", String(29)),
    Column("tags", Json),
    Column("kind", Text, nullable=False),
)
FIELDS = {
    "text": Field(THINGS.c.text, "string"),
    "indexed": Field(THINGS.c.text, "string", has_word_index=True),
    "number": Field(THINGS.c.number, "integer"),
    "ratio": Field(THINGS.c.ratio, "double"),
    "flag": Field(THINGS.c.flag, "boolean"),
    "moment": Field(THINGS.c.moment, "datetime"),
    "tags": Field(THINGS.c.tags, "json-array"),
    "kind": Field(THINGS.c.kind, "string"),
}

TEXTS = st.text("aAbBéÉe15%_\\/ -.@:\"'", max_size=7) | st.sampled_from(
    ["Ab", "ab ba", "a_b", "ABBA", "éa b"]
)
NUMBERS = st.integers(-3, 3) | st.sampled_from([2**53, -(2**63), 2**63 - 1])
RATIOS = st.sampled_from([-1.5, 0.0, 0.1, 2.0, 1e300])
MOMENTS = st.sampled_from([f"20{year}-01-02T03:04:05.678+00:00" for year in (24, 25, 26)])
TAGS = st.sampled_from(["a", "A", "1", 1, 2, 1.5, True, False])

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": TEXTS,
    "number": NUMBERS | st.sampled_from([0.5, 1.0]),
    "ratio": RATIOS | st.integers(-2, 2),
    "flag": st.booleans(),
    "moment": MOMENTS,
    "kind": st.sampled_from(["x", "y", "X"]),
}

ROWS = st.lists(
    st.fixed_dictionaries({
        "text": st.none() | TEXTS,
        "number": st.none() | NUMBERS,
        "ratio": st.none() | RATIOS,
        "flag": st.none() | st.booleans(),
        "moment": st.none() | MOMENTS,
        "tags": st.none() | st.lists(TAGS, max_size=3),
        "kind": VALUES["kind"],
    }),
    min_size=1,
    max_size=12,
)  # fmt: skip


@dataclass(frozen=True)
class Condition:
    """A query's JSON beside the same condition in plain Python."""

    query: dict[str, Any]
    holds: Test = field(repr=False)


def condition(method: str, attribute: str, values: list[Any], test: Callable[[Any], bool]) -> Condition:
    """Return a condition that null does not meet."""
    name = "indexed" if method in INDEXED else attribute
    query = {"method": method, "attribute": name, "values": values}
    return Condition(query, lambda row: row[attribute] is not None and test(row[attribute]))


COMPARISONS: dict[str, Callable[..., bool]] = {
    "equal": lambda value, *values: value in values,
    "notEqual": lambda value, *values: value not in values,
    "lessThan": lambda value, bound: value < bound,
    "lessThanEqual": lambda value, bound: value <= bound,
    "greaterThan": lambda value, bound: value > bound,
    "greaterThanEqual": lambda value, bound: value >= bound,
    "between": lambda value, low, high: low <= value <= high,
    "notBetween": lambda value, low, high: not low <= value <= high,
}
MATCHES: dict[str, Callable[..., bool]] = {
    "startsWith": lambda value, part: value.lower().startswith(part.lower()),
    "endsWith": lambda value, part: value.lower().endswith(part.lower()),
    "contains": lambda value, *parts: any(part.lower() in value.lower() for part in parts),
    "containsAny": lambda value, *parts: any(part.lower() in value.lower() for part in parts),
    "containsAll": lambda value, *parts: all(part.lower() in value.lower() for part in parts),
    "search": lambda value, text: is_found(value.lower(), text.lower()),
}
# Of the same column; what an index is asked first must not change what is found.
INDEXED = {"search", "notSearch"}
SIZES = {"equal": (1, 3), "notEqual": (1, 3), "between": (2, 2), "notBetween": (2, 2)} | dict.fromkeys(
    ["contains", "containsAny", "containsAll"], (1, 3)
)
OPPOSITES = {
    "startsWith": "notStartsWith",
    "endsWith": "notEndsWith",
    "contains": "notContains",
    "search": "notSearch",
}


def is_found(value: str, text: str) -> bool:
    words, asked = re.findall(r"\w+", value), re.findall(r"\w+", text)
    if not asked:
        return False
    if len(text) > 1 and text[0] == text[-1] == '"':
        return any(words[start : start + len(asked)] == asked for start in range(len(words)))
    return any(word in asked or word.startswith(asked[-1]) for word in words)


def has_tag(tags: list[Any], wanted: Any) -> bool:
    return any(tag == wanted and isinstance(tag, bool) is isinstance(wanted, bool) for tag in tags)


@st.composite
def comparisons(draw: st.DrawFn) -> Condition:
    method = draw(st.sampled_from(sorted(COMPARISONS)))
    attribute = draw(st.sampled_from(sorted(VALUES)))
    least, most = SIZES.get(method, (1, 1))
    values = draw(st.lists(VALUES[attribute], min_size=least, max_size=most))
    return condition(method, attribute, values, lambda value: COMPARISONS[method](value, *values))


@st.composite
def matches(draw: st.DrawFn) -> Condition:
    method = draw(st.sampled_from(sorted(MATCHES)))
    least, most = SIZES.get(method, (1, 1))
    parts = draw(st.lists(TEXTS | TEXTS.map('"{}"'.format), min_size=least, max_size=most))
    if method in OPPOSITES and draw(st.booleans()):
        return condition(OPPOSITES[method], "text", parts, lambda value: not MATCHES[method](value, *parts))
    return condition(method, "text", parts, lambda value: MATCHES[method](value, *parts))


@st.composite
def containments(draw: st.DrawFn) -> Condition:
    method = draw(st.sampled_from(["contains", "containsAny", "containsAll", "notContains"]))
    wanted = draw(st.lists(TAGS, min_size=1, max_size=3))
    join = all if method == "containsAll" else any
    return condition(
        method,
        "tags",
        wanted,
        lambda tags: join(has_tag(tags, each) for each in wanted) is (method != "notContains"),
    )


@st.composite
def nulls(draw: st.DrawFn) -> Condition:
    attribute = draw(st.sampled_from(sorted(set(FIELDS) - {"indexed"})))
    is_asked = draw(st.booleans())
    query = {"method": "isNull" if is_asked else "isNotNull", "attribute": attribute}
    return Condition(query, lambda row: (row[attribute] is None) is is_asked)


def joined(method: str, parts: list[Condition]) -> Condition:
    join = all if method == "and" else any
    query = {"method": method, "values": [part.query for part in parts]}
    return Condition(query, lambda row: join(part.holds(row) for part in parts))


CONDITIONS = st.recursive(
    comparisons() | matches() | containments() | nulls(),
    lambda inner: st.builds(joined, st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=3)),
    max_leaves=4,
)
ORDERS = st.lists(
    st.tuples(st.sampled_from(["", *sorted(set(FIELDS) - {"tags", "indexed"})]), st.booleans()), max_size=3
)


def in_order(rows: list[Row], orders: list[tuple[str, bool]]) -> list[Row]:
    """Sort as pages are: by each attribute, null before any value, then by ``seq`` in the last direction."""
    keys = [*orders, ("", bool(orders) and orders[-1][1])]
    ordered = list(rows)
    for attribute, is_descending in reversed(keys):
        name = attribute or "seq"
        # A sequence, so that null is never compared with a value.
        ordered.sort(key=lambda row: [] if row[name] is None else [row[name]], reverse=is_descending)
    return ordered


@dataclass(frozen=True)
class Asker:
    """Asks a database for pages of rows that are there only meanwhile."""

    database: Database
    runner: asyncio.Runner

    def pages(self, rows: list[Row], *queries: list[Mapping[str, Any]]) -> list[tuple[list[str], int]]:
        """Return the IDs and the total of the page for each of ``queries``."""
        return self.runner.run(self._pages(rows, queries))

    async def _pages(
        self, rows: list[Row], queries: tuple[list[Mapping[str, Any]], ...]
    ) -> list[tuple[list[str], int]]:
        async with self.database.writing() as connection:
            await connection.execute(THINGS.delete())
            await connection.execute(THINGS.insert(), rows)
            found = []
            for query in queries:
                parsed = parse_list([json.dumps(each) for each in query])
                page = await fetch_page(connection, THINGS, FIELDS, parsed, where=[THINGS.c.kind != "X"])
                found.append(([row["id"] for row in page.rows], page.total))
            return found


@pytest.fixture
def asker(database_url: str) -> Iterator[Asker]:
    async def prepare(database: Database) -> None:
        async with database.writing() as connection:
            await connection.run_sync(THINGS.metadata.create_all)

    with asyncio.Runner() as runner:
        database = open_database(Settings(database_url=database_url))
        runner.run(prepare(database))
        yield Asker(database, runner)
        runner.run(database.aclose())


def numbered(rows: list[Row]) -> list[Row]:
    return [row | {"seq": seq, "id": f"r{seq}"} for seq, row in enumerate(rows, 1)]


class TestFetchPage:
    def test_filtered_rows_are_those_of_plain_python(self, asker: Asker, random_runs: int) -> None:
        @settings(max_examples=150 * random_runs, suppress_health_check=list(HealthCheck))
        @given(ROWS.map(numbered), st.lists(CONDITIONS, min_size=1, max_size=3))
        def check(rows: list[Row], conditions: list[Condition]) -> None:
            ((ids, total),) = asker.pages(rows, [each.query for each in conditions])
            wanted = [
                row["id"]
                for row in rows
                if row["kind"] != "X" and all(each.holds(row) for each in conditions)
            ]
            assert (ids, total) == (wanted, len(wanted))

        check()

    def test_pages_are_cut_as_from_a_sorted_list(self, asker: Asker, random_runs: int) -> None:
        @settings(max_examples=150 * random_runs, suppress_health_check=list(HealthCheck))
        @given(ROWS.map(numbered), ORDERS, st.integers(1, 4), st.integers(0, 3), st.data())
        def check(
            rows: list[Row], orders: list[tuple[str, bool]], limit: int, offset: int, data: st.DataObject
        ) -> None:
            visible = in_order([row for row in rows if row["kind"] != "X"], orders)
            ids = [row["id"] for row in visible]
            query: list[Mapping[str, Any]] = [
                {"method": "orderDesc" if is_descending else "orderAsc", "attribute": attribute}
                for attribute, is_descending in orders
            ]
            query += [{"method": "limit", "values": [limit]}, {"method": "offset", "values": [offset]}]
            queries, wanted = [query], [ids[offset : offset + limit]]
            if ids:
                place = data.draw(st.integers(0, len(ids) - 1))
                queries.append([*query, {"method": "cursorAfter", "values": [ids[place]]}])
                wanted.append(ids[place + 1 :][offset : offset + limit])
                queries.append([*query, {"method": "cursorBefore", "values": [ids[place]]}])
                wanted.append(ids[:place][::-1][offset : offset + limit][::-1])
            assert asker.pages(rows, *queries) == [(each, len(ids)) for each in wanted]

        check()
