"""The board's table and bucket, on each kind of database: the API takes them for its own."""

from pathlib import Path

from realtime.settings import Settings
from tests.api import running_api
from workers.dev.board import seed_board


async def test_board_is_made_once_and_is_a_table_like_any_other(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = Settings(database_url=database_url, redis_url=redis_url, data_dir=tmp_path, limits="off")
    async with running_api(settings) as api:
        store = api.services.store
        await seed_board(store, "demo")
        table = (await api.server.get("/v1/tablesdb/board/tables/cards")).json()
        assert [column["key"] for column in table["columns"]] == [
            "title", "column", "position", "by", "changedBy",
        ]  # fmt: skip
        enum = await api.server.post(
            "/v1/tablesdb/board/tables/cards/columns/enum",
            json={"key": "like", "elements": ["todo", "doing", "done"], "required": True},
        )
        same = ("type", "format", "elements", "size", "array", "status")
        made = table["columns"][1]
        assert {name: made.get(name) for name in same} == {name: enum.json().get(name) for name in same}
        await api.server.delete("/v1/tablesdb/board/tables/cards/columns/like")

        data = {"title": "A", "column": "todo", "position": 1.5, "by": "Ada", "changedBy": "Ada"}
        path = "/v1/tablesdb/board/tables/cards/rows"
        assert (await api.server.post(path, json={"rowId": "a", "data": data})).status_code == 201
        bad = data | {"column": "later"}
        assert (await api.server.post(path, json={"rowId": "b", "data": bad})).status_code == 400

        await seed_board(store, "demo")
        assert (await api.server.get(path)).json()["total"] == 1


async def test_pictures_have_a_bucket_that_a_board_of_before_gets_too(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    settings = Settings(database_url=database_url, redis_url=redis_url, data_dir=tmp_path, limits="off")
    async with running_api(settings) as api:
        path = "/v1/storage/buckets/board-pictures"
        await seed_board(api.services.store, "demo")
        made = (await api.server.get(path)).json()
        assert made["fileSecurity"]
        assert made["$permissions"] == ['create("users")']
        body = {"fileId": "a", "permissions[]": 'read("any")'}
        refused = await api.server.post(f"{path}/files", data=body, files={"file": ("a.svg", b"<svg/>")})
        assert (refused.status_code, refused.json()["type"]) == (400, "storage_file_type_unsupported")
        assert (await api.server.delete(path)).status_code == 204
        await seed_board(api.services.store, "demo")
        again = (await api.server.get(path)).json()
        assert again["allowedFileExtensions"] == ["gif", "jpg", "png", "webp"]
