"""Joining pairs that are one parameter: the same rows on both databases, found by an index."""

from sqlalchemy import insert, select, text

from workers.store.database import Database
from workers.store.dialects import matching
from workers.store.tables import webhook_events


async def _put(database: Database, *keys: tuple[str, str]) -> None:
    async with database.writing() as connection:
        for project_id, event_id in keys:
            await connection.execute(
                insert(webhook_events),
                {
                    "project_id": project_id, "event_id": event_id, "names": [], "actor_id": "", "payload": b"",
                    "created_at": "",
                },
            )  # fmt: skip


class TestMatching:
    async def test_rows_are_those_of_the_pairs_and_no_others(self, database: Database) -> None:
        await _put(database, ("p", "1"), ("p", "2"), ("q", "1"), ("q", "ä'\"\\"))
        columns = webhook_events.c
        listed, matches = matching(
            columns.project_id, columns.event_id, [("p", "1"), ("q", "2"), ("q", "ä'\"\\")]
        )
        async with database.reading() as connection:
            found = await connection.execute(
                select(columns.project_id, columns.event_id).select_from(listed).join(webhook_events, matches)
            )
            assert sorted(tuple(row) for row in found) == [("p", "1"), ("q", "ä'\"\\")]

    async def test_no_pairs_are_no_rows(self, database: Database) -> None:
        await _put(database, ("p", "1"))
        columns = webhook_events.c
        listed, matches = matching(columns.project_id, columns.event_id, [])
        async with database.reading() as connection:
            found = await connection.execute(
                select(columns.seq).select_from(listed).join(webhook_events, matches)
            )
            assert found.all() == []

    async def test_sqlite_finds_them_by_the_whole_key(self, database: Database) -> None:
        if not database.is_sqlite:
            # It does so as soon as there are enough rows.
            return
        columns = webhook_events.c
        listed, matches = matching(columns.project_id, columns.event_id, [("p", "1")])
        statement = select(columns.seq).select_from(listed).join(webhook_events, matches)
        async with database.reading() as connection:
            compiled = statement.compile(dialect=connection.dialect)
            plan = await connection.execute(
                text("EXPLAIN QUERY PLAN " + str(compiled).replace("?", "'[]'", 1).replace("?", "0"))
            )
            assert any("project_id=? AND event_id=?" in str(row) for row in plan)
