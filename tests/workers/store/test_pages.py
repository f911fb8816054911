"""Pages of lists: what random rows do not show (:mod:`test_pages_oracle`), on both databases."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, FromClause, MetaData, String, Table, Text, select
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.errors import InvalidQueryError
from workers.store.conditions import contains_text
from workers.store.database import Database
from workers.store.fields import Field
from workers.store.pages import MAX_TOTAL, Page, fetch_page
from workers.store.queries import CursorNotFoundError, parse_list
from workers.store.tables import Json
from workers.store.tables import Sequence as SequenceType

THINGS = Table(
    "things",
    MetaData(),
    Column("seq", SequenceType, primary_key=True),
    Column("id", String(36), nullable=False),
    Column("owner", String(36), nullable=False),
    Column("name", Text),
    Column("size", BigInteger),
    Column("moment", String(29)),
    Column("tags", Json),
)
FIELDS = {
    "name": Field(THINGS.c.name, "string"),
    "size": Field(THINGS.c.size, "integer"),
    "moment": Field(THINGS.c.moment, "datetime"),
    "tags": Field(THINGS.c.tags, "json-array", "string"),
    "shape": Field(THINGS.c.tags, "opaque"),
}


def thing(seq: int, **values: Any) -> dict[str, Any]:
    defaults = {"id": f"t{seq}", "owner": "me", "name": None, "size": None, "moment": None, "tags": None}
    return {"seq": seq, **defaults, **values}


def text(method: str, attribute: str = "", *values: object) -> str:
    return json.dumps({"method": method, "attribute": attribute, "values": values})


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[AsyncConnection]:
    """A transaction in which the table `things` is there."""
    async with database.writing() as connection:
        await connection.run_sync(THINGS.metadata.create_all)
        yield connection


async def insert(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    await connection.execute(THINGS.insert(), list(rows))


async def page(
    connection: AsyncConnection, *texts: str, count: bool = True, source: FromClause = THINGS
) -> Page:
    where = [source.c.owner == "me"]
    return await fetch_page(connection, source, FIELDS, parse_list(texts), where=where, count=count)


def ids(page: Page) -> list[str]:
    return [row["id"] for row in page.rows]


class TestFetchPage:
    async def test_an_empty_list_is_a_page(self, connection: AsyncConnection) -> None:
        assert await page(connection) == Page([], 0)
        assert await page(connection, text("offset", "", 3)) == Page([], 0)

    async def test_the_total_is_counted_up_to_its_bound(self, connection: AsyncConnection) -> None:
        await insert(connection, [thing(seq) for seq in range(1, MAX_TOTAL + 2)])
        assert (await page(connection, text("limit", "", 1))).total == MAX_TOTAL
        short = await page(connection, text("offset", "", MAX_TOTAL - 1), text("limit", "", 10))
        assert (len(short.rows), short.total) == (2, MAX_TOTAL)

    async def test_the_total_is_not_counted_when_nobody_asks(self, connection: AsyncConnection) -> None:
        await insert(connection, [thing(1), thing(2)])
        found = await page(connection, text("limit", "", 1), count=False)
        assert (ids(found), found.total) == (["t1"], 0)

    async def test_a_random_order_has_the_same_rows(self, connection: AsyncConnection) -> None:
        await insert(connection, [thing(seq) for seq in range(1, 41)])
        orders = {
            tuple(ids(await page(connection, text("orderRandom"), text("limit", "", 40)))) for _ in range(3)
        }
        assert len(orders) > 1
        assert {frozenset(order) for order in orders} == {frozenset(f"t{seq}" for seq in range(1, 41))}

    @pytest.mark.parametrize("cursor", ["missing", "theirs", "nul\0"])
    async def test_a_cursor_that_is_not_in_the_list_is_refused(
        self, connection: AsyncConnection, cursor: str
    ) -> None:
        await insert(connection, [thing(1), thing(2, id="theirs", owner="them")])
        with pytest.raises(CursorNotFoundError) as caught:
            await page(connection, text("cursorAfter", "", cursor))
        assert caught.value.type == "general_cursor_not_found"

    async def test_a_cursor_is_refused_by_a_list_without_ids(self, connection: AsyncConnection) -> None:
        await insert(connection, [thing(1)])
        source = select(THINGS.c.seq, THINGS.c.owner).subquery()
        with pytest.raises(CursorNotFoundError):
            await page(connection, text("cursorAfter", "", "t1"), source=source)

    async def test_a_cursor_need_not_meet_the_filters(self, connection: AsyncConnection) -> None:
        """Somebody may have changed that row since the page before was fetched."""
        await insert(connection, [thing(seq, size=seq) for seq in range(1, 6)])
        found = await page(connection, text("notEqual", "size", 3), text("cursorAfter", "", "t3"))
        assert (ids(found), found.total) == (["t4", "t5"], 4)

    async def test_no_row_is_skipped_or_shown_twice_page_by_page(self, connection: AsyncConnection) -> None:
        """Not even those that are alike in what they are ordered by, or have nothing there."""
        await insert(connection, [thing(seq, size=seq % 3 or None) for seq in range(1, 21)])
        seen: list[str] = []
        while True:
            after = [text("cursorAfter", "", seen[-1])] if seen else []
            found = ids(await page(connection, text("orderDesc", "size"), text("limit", "", 3), *after))
            if not found:
                break
            seen += found
        assert seen == sorted(seen, key=lambda each: (-((int(each[1:]) % 3) or 0), -int(each[1:])))
        assert len(seen) == 20


class TestConditions:
    @pytest.mark.parametrize(
        ("query", "reason"),
        [
            (text("equal", "nothing", 1), "Attribute not found in schema: nothing"),
            (text("orderAsc", "nothing"), "Attribute not found in schema: nothing"),
            (text("equal", "name", 1), 'Query value is invalid for attribute "name"'),
            (text("equal", "name", "nul\0"), 'Query value is invalid for attribute "name"'),
            (text("equal", "name", None), 'Query value is invalid for attribute "name"'),
            (text("equal", "size", "1"), 'Query value is invalid for attribute "size"'),
            (text("equal", "size", True), 'Query value is invalid for attribute "size"'),
            (text("lessThan", "size", [1]), 'Query value is invalid for attribute "size"'),
            (text("equal", "moment", "soon"), 'Query value is invalid for attribute "moment"'),
            (text("equal", "moment", "0001-01-01T00:00:00+14:00"), 'Query value is invalid for attribute "moment"'),
            (text("equal", "moment", 5), 'Query value is invalid for attribute "moment"'),
            (text("contains", "tags", 5), 'Query value is invalid for attribute "tags"'),
            (text("contains", "tags", "nul\0"), 'Query value is invalid for attribute "tags"'),
            (text("equal", "tags", "a"), 'Cannot query equal on attribute "tags" because it is an array.'),
            (text("search", "tags", "a"), 'Cannot query search on attribute "tags" because it is not a string.'),
            (text("contains", "size", 1),
             'Cannot query contains on attribute "size" because it is not an array or string.'),
            (text("startsWith", "size", "1"),
             'Cannot query startsWith on attribute "size" because it is not a string.'),
            (text("equal", "shape", 1), 'Cannot query equal on attribute "shape" because it is not comparable.'),
            (text("orderAsc", "tags"), 'Cannot order by attribute "tags".'),
            (text("search", "name", " ".join(["word"] * 51)),
             "Search queries may have at most 50 words, taken together."),
        ],
    )  # fmt: skip
    async def test_what_cannot_be_asked_is_refused(
        self, connection: AsyncConnection, query: str, reason: str
    ) -> None:
        with pytest.raises(InvalidQueryError) as caught:
            await page(connection, query)
        assert str(caught.value) == f"Invalid query: {reason}"

    async def test_whatever_is_opaque_can_still_be_null(self, connection: AsyncConnection) -> None:
        await insert(connection, [thing(1), thing(2, tags=["a"])])
        assert ids(await page(connection, text("isNull", "shape"))) == ["t1"]

    @pytest.mark.parametrize(
        "moment",
        ["2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678", "2026-01-02T05:04:05.678999+02:00"],
    )
    async def test_times_are_compared_whatever_their_form(
        self, connection: AsyncConnection, moment: str
    ) -> None:
        await insert(connection, [thing(1, moment="2026-01-02T03:04:05.678+00:00")])
        assert ids(await page(connection, text("equal", "moment", moment))) == ["t1"]

    @pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 1e300, 0.5])
    async def test_numbers_that_no_column_holds_are_equal_to_nothing(
        self, connection: AsyncConnection, number: float
    ) -> None:
        await insert(connection, [thing(1, size=1)])
        assert ids(await page(connection, text("equal", "size", number))) == []
        assert ids(await page(connection, text("notEqual", "size", number))) == ["t1"]

    async def test_as_many_values_as_are_allowed_are_not_too_many_for_the_database(
        self, connection: AsyncConnection
    ) -> None:
        await insert(connection, [thing(1, size=1, name="word1")])
        words = " ".join(f"word{number}" for number in range(49))
        queries = [
            *[text("equal", "size", *range(100))] * 60,
            text("contains", "name", *(f"{number}" for number in range(38))),
            text("search", "name", words),
            text("search", "name", "w" * 3900),
        ]
        assert ids(await page(connection, *queries)) == []
        assert ids(await page(connection, *queries[:-1])) == ["t1"]

    @pytest.mark.parametrize("method", ["search", "notSearch"])
    async def test_searches_are_counted_wherever_they_are(
        self, connection: AsyncConnection, method: str
    ) -> None:
        """Each of them scans every text."""

        def nested(words: str, number: int) -> str:
            search = {"method": method, "attribute": "name", "values": [words]}
            return json.dumps({"method": "or", "values": [{"method": "and", "values": [search] * number}]})

        most = [nested("word " * 10, 4), text("search", "name", "word " * 10)]
        await page(connection, *most)
        with pytest.raises(InvalidQueryError, match="At most 5 search queries are allowed"):
            await page(connection, *most, text("search", "name", "a"))
        with pytest.raises(InvalidQueryError, match="at most 50 words, taken together"):
            await page(connection, nested("word " * 13, 4))

    async def test_search_looks_at_the_beginning_of_a_long_text(self, connection: AsyncConnection) -> None:
        """As subscriptions do."""
        await insert(connection, [thing(1, name="x" * 9_995 + " word"), thing(2, name="x" * 9_996 + " word")])
        assert ids(await page(connection, text("search", "name", '"word"'))) == ["t1"]


class TestContainsText:
    async def test_any_of_the_columns_may_contain_it_in_any_case(self, connection: AsyncConnection) -> None:
        await insert(
            connection, [thing(1, name="50% ÉLAN"), thing(2, id="élan"), thing(3, name="none"), thing(4)]
        )
        for wanted, found in [
            ("éLan", ["t1", "élan"]),
            ("0%", ["t1"]),
            ("%", ["t1"]),
            ("_", []),
            ("\0", None),
        ]:
            condition = contains_text([THINGS.c.name, THINGS.c.id], wanted)
            rows = await connection.execute(select(THINGS.c.id).where(condition).order_by(THINGS.c.seq))
            expected = ["t1", "élan", "t3", "t4"] if found is None else found
            assert list(rows.scalars()) == expected
