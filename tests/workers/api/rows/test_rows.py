"""Single rows by API key, in both vocabularies, on both databases."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.api import Api

MakeTable = Callable[..., Awaitable[None]]

ROWS = "/v1/tablesdb/main/tables/posts/rows"
DOCUMENTS = "/v1/databases/main/collections/posts/documents"

BAD_BODIES = {
    b"": "general_argument_invalid",
    b"[]": "general_argument_invalid",
    b"{": "general_argument_invalid",
    b'{"data": {}}': "general_argument_invalid",
    b'{"rowId": 5, "data": {}}': "general_argument_invalid",
    b'{"rowId": "-x", "data": {}}': "general_argument_invalid",
    b'{"rowId": "%s", "data": {}}' % (b"x" * 37): "general_argument_invalid",
    b'{"rowId": "x"}': "row_missing_data",
    b'{"rowId": "x", "data": []}': "general_argument_invalid",
    b'{"rowId": "x", "data": "nonsense"}': "general_argument_invalid",
    b'{"rowId": "x", "data": "[]"}': "general_argument_invalid",
    b'{"rowId": "x", "data": {"title": "x"}, "permissions": "x"}': "general_argument_invalid",
    b'{"rowId": "x", "data": {"title": "x"}, "permissions": ["x"]}': "general_argument_invalid",
    b'{"rowId": "x", "data": {"title": "x"}, "transactionId": 5}': "general_argument_invalid",
}

BAD_STEPS: list[tuple[str, dict[str, Any], int, str]] = [
    ("votes/increment", {"value": 98}, 400, "column_limit_exceeded"),
    ("votes/increment", {"value": 2, "max": 4}, 400, "column_limit_exceeded"),
    ("votes/decrement", {"value": 9}, 400, "column_limit_exceeded"),
    ("votes/decrement", {"min": 3}, 400, "column_limit_exceeded"),
    ("votes/increment", {"value": 0}, 400, "general_argument_invalid"),
    ("votes/increment", {"value": -1}, 400, "general_argument_invalid"),
    ("votes/increment", {"value": "1"}, 400, "general_argument_invalid"),
    ("votes/increment", {"value": True}, 400, "general_argument_invalid"),
    ("votes/increment", {"value": 0.5}, 400, "general_argument_invalid"),
    ("votes/increment", {"value": 10**30}, 400, "general_argument_invalid"),
    ("votes/increment", {"max": "x"}, 400, "general_argument_invalid"),
    ("title/increment", {}, 400, "column_type_invalid"),
    ("tags/increment", {}, 400, "column_type_invalid"),
    ("color/increment", {}, 404, "column_not_found"),
]


async def create(api: Api, row_id: str, **data: Any) -> dict[str, Any]:
    created = await api.server.post(ROWS, json={"rowId": row_id, "data": {"title": "Title"} | data})
    assert created.status_code == 201, created.text
    row: dict[str, Any] = created.json()
    return row


class TestCreate:
    async def test_row_with_all_kinds_of_values_is_shown_as_stored(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table()
        data = {
            "title": "Hello",
            "votes": 3,
            "score": 1,
            "done": True,
            "due": "2026-05-06T07:08:09+02:00",
            "tags": ["a", "b"],
            "slug": "hello",
        }
        row = await create(api, "first", **data)
        assert list(row) == [
            "$id", "$sequence", "$createdAt", "$updatedAt", "$permissions", "$databaseId", "$tableId", *data,
        ]  # fmt: skip
        assert row["$id"] == "first"
        assert row["$sequence"] == "1"
        assert row["$permissions"] == []
        assert (row["$databaseId"], row["$tableId"]) == ("main", "posts")
        assert row["score"] == 1.0
        assert row["due"] == "2026-05-06T05:08:09.000+00:00"
        assert (await api.server.get(f"{ROWS}/first")).json() == row

    async def test_columns_that_are_not_given_have_their_defaults(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table()
        row = await create(api, "unique()")
        assert len(row["$id"]) == 20
        assert (row["votes"], row["score"], row["done"], row["tags"]) == (0, None, False, [])

    async def test_null_is_not_replaced_by_the_default(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        assert (await create(api, "first", votes=None))["votes"] is None

    async def test_document_is_the_same_row_in_other_words(self, api: Api, make_table: MakeTable) -> None:
        await make_table(database_type="legacy")
        created = await api.server.post(DOCUMENTS, json={"documentId": "first", "data": {"title": "x"}})
        document = created.json()
        assert document["$collectionId"] == "posts"
        assert "$tableId" not in document
        row = (await api.server.get(f"{ROWS}/first")).json()
        assert row == {name: value for name, value in document.items() if name != "$collectionId"} | {
            "$tableId": "posts"
        }

    async def test_data_may_be_a_text_as_older_sdks_send_it(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        created = await api.server.post(ROWS, json={"rowId": "first", "data": '{"title": "x"}'})
        assert created.json()["title"] == "x"

    async def test_key_may_set_the_times(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        times = {"$createdAt": "2020-01-01T00:00:00Z", "$updatedAt": "2021-01-01T00:00:00.5Z"}
        row = await create(api, "first", **times)
        assert row["$createdAt"] == "2020-01-01T00:00:00.000+00:00"
        assert row["$updatedAt"] == "2021-01-01T00:00:00.500+00:00"

    async def test_members_of_a_model_that_comes_back_are_passed_over(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table()
        row = await create(api, "first")
        copy = await create(api, "second", **row)
        assert copy["$id"] == "second"
        assert copy["$sequence"] == "2"

    async def test_time_that_is_none_is_refused(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        for time in ("soon", 5, "2026-13-01"):
            body = {"rowId": "first", "data": {"title": "x", "$createdAt": time}}
            refused = await api.server.post(ROWS, json=body)
            assert (refused.status_code, refused.json()["type"]) == (400, "row_invalid_structure")

    async def test_id_that_is_taken_is_a_conflict(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await create(api, "first")
        again = await api.server.post(ROWS, json={"rowId": "first", "data": {"title": "x"}})
        assert (again.status_code, again.json()["type"]) == (409, "row_already_exists")

    async def test_value_that_is_taken_in_a_unique_index_is_a_conflict(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table()
        await create(api, "first", slug="s")
        again = await api.server.post(ROWS, json={"rowId": "second", "data": {"title": "x", "slug": "s"}})
        assert (again.status_code, again.json()["type"]) == (409, "row_already_exists")
        assert (await api.server.get(f"{ROWS}/second")).status_code == 404

    async def test_data_that_does_not_fit_is_refused_in_the_words_of_the_call(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table()
        for path, word in ((ROWS, "row"), (DOCUMENTS, "document")):
            refused = await api.server.post(path, json={f"{word}Id": "first", "data": {"title": 5}})
            assert (refused.status_code, refused.json()["type"]) == (400, f"{word}_invalid_structure")
            assert 'Attribute "title" has invalid type' in refused.json()["message"]
        assert await api.names() == []

    async def test_body_of_another_form_is_refused(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        for body, error in BAD_BODIES.items():
            refused = await api.server.post(ROWS, content=body)
            assert (refused.status_code, refused.json()["type"]) == (400, error), body

    async def test_unknown_table_is_not_found(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        body = {"rowId": "x", "documentId": "x", "data": {"title": "x"}}
        for path, error in (
            ("/v1/tablesdb/none/tables/posts/rows", "database_not_found"),
            ("/v1/tablesdb/-/tables/posts/rows", "database_not_found"),
            ("/v1/tablesdb/main/tables/none/rows", "table_not_found"),
            ("/v1/tablesdb/main/tables/%00/rows", "table_not_found"),
            ("/v1/databases/main/collections/none/documents", "collection_not_found"),
        ):
            refused = await api.server.post(path, json=body)
            assert (refused.status_code, refused.json()["type"]) == (404, error)


class TestGet:
    async def test_unknown_row_is_not_found_in_the_words_of_the_call(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table()
        for path, word in ((ROWS, "row"), (DOCUMENTS, "document")):
            refused = await api.server.get(f"{path}/none")
            assert (refused.status_code, refused.json()["type"]) == (404, f"{word}_not_found")

    async def test_select_shows_only_those_columns(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await create(api, "first", votes=3)
        shown = await api.server.get(
            f"{ROWS}/first", params={"queries[]": '{"method":"select","values":["votes","$id"]}'}
        )
        assert [name for name in shown.json() if not name.startswith("$")] == ["votes"]

    async def test_select_of_unknown_column_is_refused(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await create(api, "first")
        refused = await api.server.get(
            f"{ROWS}/first", params={"queries[]": '{"method":"select","values":["color"]}'}
        )
        assert (refused.status_code, refused.json()["type"]) == (400, "general_query_invalid")


class TestUpdate:
    async def test_only_what_is_given_changes(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        row = await create(api, "first", votes=3, tags=["a"])
        updated = await api.server.patch(f"{ROWS}/first", json={"data": {"votes": 4, "tags": None}})
        assert updated.status_code == 200
        changed = updated.json()
        assert changed["$updatedAt"] >= row["$updatedAt"]
        assert changed == row | {"votes": 4, "tags": [], "$updatedAt": changed["$updatedAt"]}
        assert (await api.server.get(f"{ROWS}/first")).json() == changed

    async def test_permissions_alone_can_change(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await create(api, "first")
        for given, kept in (
            (
                ['read("any")', 'write("user:ada")'],
                ['read("any")', 'update("user:ada")', 'delete("user:ada")'],
            ),
            ([], []),
        ):
            updated = await api.server.patch(f"{ROWS}/first", json={"permissions": given})
            assert updated.json()["$permissions"] == kept
        assert (await api.server.get(f"{ROWS}/first")).json()["$permissions"] == []

    async def test_nothing_to_change_is_refused(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await create(api, "first")
        bodies: list[dict[str, Any]] = [{}, {"data": {}}, {"data": None, "permissions": None}]
        for body in bodies:
            for path, word in ((ROWS, "row"), (DOCUMENTS, "document")):
                refused = await api.server.patch(f"{path}/first", json=body)
                assert (refused.status_code, refused.json()["type"]) == (400, f"{word}_missing_payload")

    async def test_required_column_cannot_be_emptied(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await create(api, "first")
        refused = await api.server.patch(f"{ROWS}/first", json={"data": {"title": None}})
        assert (refused.status_code, refused.json()["type"]) == (400, "row_invalid_structure")

    async def test_unique_value_of_another_row_is_a_conflict(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await create(api, "first", slug="one")
        await create(api, "second", slug="two")
        refused = await api.server.patch(f"{ROWS}/second", json={"data": {"slug": "one"}})
        assert refused.status_code == 409
        own = await api.server.patch(f"{ROWS}/second", json={"data": {"slug": "two"}})
        assert own.status_code == 200

    async def test_unknown_row_is_not_found(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        refused = await api.server.patch(f"{ROWS}/none", json={"data": {"votes": 1}})
        assert (refused.status_code, refused.json()["type"]) == (404, "row_not_found")


class TestUpsert:
    async def test_row_is_created_and_then_changed(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        created = await api.server.put(f"{ROWS}/first", json={"data": {"title": "x", "votes": 1}})
        assert created.status_code == 201
        changed = await api.server.put(f"{ROWS}/first", json={"data": {"title": "y"}})
        assert changed.status_code == 201
        assert changed.json()["$sequence"] == created.json()["$sequence"]
        assert (changed.json()["title"], changed.json()["votes"]) == ("y", 1)

    async def test_row_that_is_created_needs_the_required_columns(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table()
        refused = await api.server.put(f"{ROWS}/first", json={"data": {"votes": 1}})
        assert (refused.status_code, refused.json()["type"]) == (400, "row_invalid_structure")

    async def test_nothing_to_store_is_refused(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        refused = await api.server.put(f"{ROWS}/first", json={})
        assert (refused.status_code, refused.json()["type"]) == (400, "row_missing_payload")

    async def test_id_of_another_form_is_refused(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        refused = await api.server.put(f"{ROWS}/-first", json={"data": {"title": "x"}})
        assert (refused.status_code, refused.json()["type"]) == (400, "general_argument_invalid")


class TestDelete:
    async def test_row_is_gone_and_its_id_free(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await create(api, "first", slug="s")
        deleted = await api.server.request("DELETE", f"{ROWS}/first", json={})
        assert (deleted.status_code, deleted.content) == (204, b"")
        assert (await api.server.get(f"{ROWS}/first")).status_code == 404
        assert (await api.server.delete(f"{ROWS}/first")).status_code == 404
        # The number is not used again.
        assert (await create(api, "first", slug="s"))["$sequence"] == "2"


class TestCount:
    async def test_number_goes_up_and_down(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await create(api, "first", votes=3)
        steps = [
            ("increment", {}, 4),
            ("increment", {"value": 2, "max": 6}, 6),
            ("decrement", {"value": 6.0}, 0),
            ("decrement", {"min": -1}, -1),
        ]
        for verb, body, votes in steps:
            counted = await api.server.patch(f"{ROWS}/first/votes/{verb}", json=body)
            assert (counted.status_code, counted.json()["votes"]) == (200, votes)
        assert (await api.server.get(f"{ROWS}/first")).json()["votes"] == -1

    async def test_null_counts_from_zero(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await create(api, "first")
        counted = await api.server.patch(f"{DOCUMENTS}/first/score/increment", json={"value": 0.5})
        assert counted.json()["score"] == 0.5

    async def test_step_that_cannot_be_made_is_refused(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await create(api, "first", votes=3)
        for path, body, status, error in BAD_STEPS:
            refused = await api.server.patch(f"{ROWS}/first/{path}", json=body)
            assert (refused.status_code, refused.json()["type"]) == (status, error), (path, body)
        assert (await api.server.get(f"{ROWS}/first")).json()["votes"] == 3

    async def test_unknown_row_is_not_found(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        refused = await api.server.patch(f"{ROWS}/none/votes/increment", json={})
        assert (refused.status_code, refused.json()["type"]) == (404, "row_not_found")


class TestConcurrency:
    async def test_no_step_is_lost_among_many_at_once(self, api: Api, make_table: MakeTable) -> None:
        await make_table()
        await create(api, "first")
        steps = [api.server.patch(f"{ROWS}/first/votes/increment", json={}) for _ in range(20)]
        answers = await asyncio.gather(*steps)
        assert sorted(answer.json()["votes"] for answer in answers) == list(range(1, 21))
        # Events come in the order in which the changes were made.
        assert [event.payload["votes"] for event in await api.published()] == list(range(21))

    async def test_same_new_row_put_many_times_at_once_is_made_once(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table()
        puts = [
            api.server.put(f"{ROWS}/first", json={"data": {"title": f"Title {number}"}})
            for number in range(8)
        ]
        answers = await asyncio.gather(*puts)
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["$sequence"] for answer in answers}) == 1
        last = (await api.published())[-1].payload
        assert (await api.server.get(f"{ROWS}/first")).json() == last
        assert len(await api.names()) == 8

    async def test_same_id_created_many_times_at_once_is_made_once(
        self, api: Api, make_table: MakeTable
    ) -> None:
        await make_table()
        body = {"rowId": "first", "data": {"title": "x"}}
        answers = await asyncio.gather(*(api.server.post(ROWS, json=body) for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
        assert len(await api.names()) == 1
