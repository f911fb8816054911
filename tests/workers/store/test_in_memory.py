"""Pages of lists in memory, against the pages that SQLite gives of the same rows by the same queries."""

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, Boolean, Column, Double, MetaData, String, Table, Text

from realtime.errors import InvalidQueryError
from realtime.settings import Settings
from workers.store.database import Database, open_database
from workers.store.fields import Field
from workers.store.in_memory import MemoryField, MemoryPage, page_of
from workers.store.pages import fetch_page
from workers.store.queries import ListQuery, parse_list
from workers.store.tables import Sequence

Row = dict[str, Any]

THINGS = Table(
    "things_in_memory",
    MetaData(),
    Column("seq", Sequence, primary_key=True),
    Column("id", String(36), nullable=False),
    Column("text", Text),
    Column("moment", String(29)),
    Column("number", BigInteger),
    Column("ratio", Double),
    Column("flag", Boolean),
)
FIELDS = {
    "$id": Field(THINGS.c.id, "id"),
    "text": Field(THINGS.c.text, "string"),
    "moment": Field(THINGS.c.moment, "datetime"),
    "number": Field(THINGS.c.number, "integer"),
    "ratio": Field(THINGS.c.ratio, "double"),
    "flag": Field(THINGS.c.flag, "boolean"),
}


def member(name: str) -> Any:
    return lambda row: row[name]


MEMORY_FIELDS: dict[str, MemoryField[Row]] = {
    name: MemoryField(member(name.removeprefix("$")), each.kind) for name, each in FIELDS.items()
}

TEXTS = st.text("aAbBéÉe15%_\\/ -.@:\"'", max_size=7) | st.sampled_from(["Ab", "ab ba", "a_b", "éa b"])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "$id": st.integers(1, 12).map(str),
    "text": TEXTS,
    "moment": st.sampled_from([f"20{year}-01-02T03:04:05.678+00:00" for year in (24, 25, 26)]),
    "number": st.integers(-3, 3) | st.sampled_from([2**53, -(2**63), 2**63 - 1]),
    "ratio": st.sampled_from([-1.5, 0.0, 0.1, 2.0, 1e300]),
    "flag": st.booleans(),
}
ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | VALUES[name] for name in VALUES if name != "$id"}),
    min_size=1,
    max_size=12,
)
TEXT_METHODS = ["contains", "notContains", "containsAny", "containsAll", "startsWith", "notStartsWith", "endsWith",
                "notEndsWith", "search", "notSearch"]  # fmt: skip
SIZES = {
    "equal": (1, 3),
    "notEqual": (1, 3),
    "between": (2, 2),
    "notBetween": (2, 2),
    "isNull": (0, 0),
} | dict.fromkeys(["contains", "notContains", "containsAny", "containsAll"], (1, 3))
METHODS = ["equal", "notEqual", "lessThan", "lessThanEqual", "greaterThan", "greaterThanEqual", "between",
           "notBetween"]  # fmt: skip


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    name = draw(st.sampled_from(sorted(VALUES)))
    if draw(st.integers(0, 9)) == 0:
        return {"method": draw(st.sampled_from(["isNull", "isNotNull"])), "attribute": name, "values": []}
    method = draw(st.sampled_from(TEXT_METHODS + METHODS if name in ("text", "$id") else METHODS))
    least, most = SIZES.get(method, (1, 1))
    values = draw(st.lists(VALUES[name], min_size=least, max_size=most))
    return {"method": method, "attribute": name, "values": values}


FILTERS = st.recursive(
    conditions(),
    lambda inner: st.builds(
        lambda method, children: {"method": method, "values": children},
        st.sampled_from(["and", "or"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=4,
)
ORDERS = st.builds(
    lambda method, name: {"method": method, "attribute": name},
    st.sampled_from(["orderAsc", "orderDesc"]),
    st.sampled_from([*sorted(VALUES), "", "$sequence"]),
)


@st.composite
def lists(draw: st.DrawFn) -> list[dict[str, Any]]:
    queries = draw(st.lists(FILTERS, max_size=2)) + draw(st.lists(ORDERS, max_size=3))
    if draw(st.booleans()):
        queries.append({"method": "limit", "values": [draw(st.integers(1, 5))]})
    if draw(st.booleans()):
        queries.append({"method": "offset", "values": [draw(st.integers(0, 3))]})
    if draw(st.booleans()):
        method = draw(st.sampled_from(["cursorAfter", "cursorBefore"]))
        queries.append({"method": method, "values": [str(draw(st.integers(1, 14)))]})
    return queries


def parse(queries: list[dict[str, Any]]) -> ListQuery:
    return parse_list([json.dumps(each) for each in queries], attributes=FIELDS)


def page(rows: list[Row], *queries: dict[str, Any], count: bool = True) -> MemoryPage[Row]:
    return page_of(rows, MEMORY_FIELDS, parse(list(queries)), shuffle=random.shuffle, count=count)


def numbered(rows: list[Row]) -> list[Row]:
    return [row | {"seq": seq, "id": str(seq)} for seq, row in enumerate(rows, 1)]


def kept(rows: list[Row], query: ListQuery) -> tuple[list[str], int] | str:
    """Return IDs and total of the page in memory; or the error."""
    try:
        found = page_of(rows, MEMORY_FIELDS, query, shuffle=random.shuffle)
    except InvalidQueryError as error:
        return str(error)
    return [row["id"] for row in found.items], found.total


async def stored(database: Database, rows: list[Row], query: ListQuery) -> tuple[list[str], int] | str:
    """Return IDs and total of the page that SQLite gives; or the error."""
    async with database.writing() as connection:
        await connection.execute(THINGS.delete())
        await connection.execute(THINGS.insert(), rows)
        try:
            found = await fetch_page(connection, THINGS, FIELDS, query, where=[])
        except InvalidQueryError as error:
            return str(error)
    return [row["id"] for row in found.rows], found.total


@pytest.fixture
def database(tmp_path: Path) -> Iterator[tuple[asyncio.Runner, Database]]:
    async def prepare(opened: Database) -> None:
        async with opened.writing() as connection:
            await connection.run_sync(THINGS.metadata.create_all)

    with asyncio.Runner() as runner:
        opened = open_database(Settings(database_url=f"sqlite:///{tmp_path / 'things.db'}"))
        runner.run(prepare(opened))
        yield runner, opened
        runner.run(opened.aclose())


class TestPageOf:
    def test_page_is_that_of_a_database(
        self, database: tuple[asyncio.Runner, Database], random_runs: int
    ) -> None:
        runner, opened = database

        @settings(max_examples=200 * random_runs, suppress_health_check=list(HealthCheck))
        @given(ROWS.map(numbered), lists())
        def check(rows: list[Row], queries: list[dict[str, Any]]) -> None:
            query = parse(queries)
            assert kept(rows, query) == runner.run(stored(opened, rows, query))

        check()

    def test_random_order_has_all_of_them(self) -> None:
        rows = numbered([{"text": "a"}] * 20)
        found = page(rows, {"method": "orderRandom"})
        assert sorted(row["seq"] for row in found.items) == list(range(1, 21))
        orders = {tuple(row["id"] for row in page(rows, {"method": "orderRandom"}).items) for _ in range(5)}
        assert len(orders) > 1

    def test_nothing_is_counted_unless_asked(self) -> None:
        assert page(numbered([{"text": "a"}]), count=False).total == 0

    def test_count_has_an_end(self) -> None:
        assert page(numbered([{"text": "a"}] * 5001), {"method": "limit", "values": [1]}).total == 5000

    @pytest.mark.parametrize(
        "query",
        [
            {"method": "equal", "attribute": "$sequence", "values": [1]},
            {"method": "equal", "attribute": "text", "values": [1]},
            {"method": "startsWith", "attribute": "moment", "values": ["20"]},
            {"method": "contains", "attribute": "number", "values": [1]},
            {"method": "equal", "attribute": "moment", "values": ["soon"]},
            {"method": "cursorAfter", "values": ["9"]},
        ],
    )
    def test_what_a_database_refuses_is_refused(
        self, query: dict[str, Any], database: tuple[asyncio.Runner, Database]
    ) -> None:
        rows = numbered([{name: None for name in FIELDS if name != "$id"}])
        refused = kept(rows, parse([query]))
        assert isinstance(refused, str)
        assert refused == database[0].run(stored(database[1], rows, parse([query])))

    def test_order_by_what_is_not_there_is_refused(self) -> None:
        query = parse_list([json.dumps({"method": "orderAsc", "attribute": "x"})])
        with pytest.raises(InvalidQueryError, match="not found in schema: x"):
            page_of([], MEMORY_FIELDS, query, shuffle=random.shuffle)

    def test_too_much_searching_is_refused(self) -> None:
        search = {"method": "search", "attribute": "text", "values": ["a"]}
        with pytest.raises(InvalidQueryError, match="At most 5 search queries"):
            page([], *[search] * 6)
