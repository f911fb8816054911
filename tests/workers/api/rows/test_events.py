"""The event of each change of a row: its names, channels, readers and payload."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.api import Api, Published

MakeTable = Callable[..., Awaitable[None]]

ROWS = "/v1/tablesdb/main/tables/posts/rows"
DOCUMENTS = "/v1/databases/main/collections/posts/documents"
CHANNELS = {
    "rows",
    "documents",
    "tablesdb.main.tables.posts.rows",
    "tablesdb.main.tables.posts.rows.r",
    "databases.main.tables.posts.rows",
    "databases.main.tables.posts.rows.r",
    "databases.main.collections.posts.documents",
    "databases.main.collections.posts.documents.r",
}


async def change(api: Api, path: str, word: str) -> list[dict[str, Any]]:
    """Make every change of a single row; return the answers, of the deletion what was there before."""
    data = {"data": {"title": "x"}}
    answers = [
        await api.server.post(path, json={f"{word}Id": "r", "permissions": ['read("any")']} | data),
        await api.server.patch(f"{path}/r", json=data),
        await api.server.put(f"{path}/r", json=data),
        await api.server.patch(f"{path}/r/votes/increment", json={}),
        await api.server.patch(f"{path}/r/votes/decrement", json={}),
    ]
    assert (await api.server.delete(f"{path}/r")).status_code == 204
    models = [answer.json() for answer in answers]
    return [*models, models[-1]]


def actions(events: list[Published]) -> list[str]:
    return [event.name.rpartition(".")[2] for event in events]


class TestEvents:
    @pytest.mark.parametrize(("path", "word"), [(ROWS, "row"), (DOCUMENTS, "document")])
    async def test_each_change_is_told_once_with_the_answer_as_its_payload(
        self, api: Api, make_table: MakeTable, path: str, word: str
    ) -> None:
        await make_table(permissions=['read("users")', 'update("guests")'], row_security=True)
        models = await change(api, path, word)
        events = await api.published()
        assert actions(events) == ["create", "update", "upsert", "update", "update", "delete"]
        assert [event.payload for event in events] == models
        for event in events:
            assert set(event.channels) == CHANNELS | {
                f"{channel}.{event.name.rpartition('.')[2]}" for channel in CHANNELS
            }
            assert event.roles == ["users", "any"]
            assert event.user_id is None

    async def test_names_of_a_tables_database_have_all_three_forms(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table()
        await change(api, ROWS, "row")
        created, updated, *_ = await api.published()
        assert created.events[:3] == [
            "tablesdb.main.tables.posts.rows.r.create",
            "databases.main.collections.posts.documents.r.create",
            "databases.main.tables.posts.rows.r.create",
        ]
        assert len(created.events) == len(updated.events) == 64
        # Creates are told in the older words, whose placeholders decide the order (wire specification 7.3).
        assert created.events[6] == "tablesdb.main.tables.*.rows.r.create"
        assert updated.events[6] == "tablesdb.*.tables.posts.rows.r.update"

    async def test_names_of_an_older_database_begin_with_the_words_of_the_call(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table(database_type="legacy")
        await change(api, ROWS, "row")
        await change(api, DOCUMENTS, "document")
        names = [event.events[:2] for event in await api.published()]
        rows, documents = "databases.main.tables.posts.rows.r", "databases.main.collections.posts.documents.r"
        assert names[0] == [f"{documents}.create", f"{rows}.create"]
        assert names[1] == [f"{rows}.update", f"{documents}.update"]
        assert names[6] == [f"{documents}.create", f"{rows}.create"]
        assert names[7] == [f"{documents}.update", f"{rows}.update"]

    async def test_permissions_of_the_row_count_only_with_row_security(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table(permissions=['read("users")'])
        await change(api, ROWS, "row")
        assert {tuple(event.roles) for event in await api.published()} == {("users",)}

    async def test_reader_who_was_removed_is_not_told(self, api: Api, make_table: MakeTable) -> None:
        """An event has the permissions that the row has after it (wire specification 8.2)."""
        await make_table(row_security=True)
        body = {"rowId": "r", "data": {"title": "x"}, "permissions": ['read("user:ada")']}
        await api.server.post(ROWS, json=body)
        await api.server.patch(f"{ROWS}/r", json={"permissions": ['read("user:bob")']})
        assert [event.roles for event in await api.published()] == [["user:ada"], ["user:bob"]]

    async def test_refused_change_is_not_told(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        body = {"rowId": "r", "data": {"title": "x", "slug": "s"}}
        for row_id in ("r", "r", "other"):
            await api.server.post(ROWS, json=body | {"rowId": row_id})
        assert len(await api.names()) == 1
