"""Lists of files, on both databases."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from tests.api import Api

Make = Callable[..., Awaitable[dict[str, Any]]]
LogIn = Callable[[str], Awaitable[httpx.AsyncClient]]
Upload = Callable[..., Awaitable[httpx.Response]]

FILES = "/v1/storage/buckets/photos/files"


def query(method: str, attribute: str = "", *values: Any) -> str:
    return json.dumps({"method": method, "attribute": attribute, "values": list(values)})


async def ids(client: httpx.AsyncClient, *queries: str, **params: str) -> list[str]:
    response = await client.get(FILES, params={"queries[]": list(queries), **params})
    assert response.status_code == 200, response.text
    return [file["$id"] for file in response.json()["files"]]


class TestList:
    async def test_filters_search_order_and_pages_select_files(
        self, api: Api, make_bucket: Make, upload: Upload
    ) -> None:
        await make_bucket()
        await make_bucket("other")
        await upload(api.server, b"in another bucket", bucket_id="other", file_id="a")
        for file_id, content, name in (
            ("a", b"12345", "Letter.txt"),
            ("b", b"%PDF-1.7", "letter.pdf"),
            ("c", b"123", "notes.txt"),
        ):
            await upload(api.server, content, file_id=file_id, name=name)
        assert await ids(api.server) == ["a", "b", "c"]
        assert await ids(api.server, query("orderAsc", "sizeOriginal")) == ["c", "a", "b"]
        assert await ids(api.server, query("equal", "mimeType", "application/pdf")) == ["b"]
        assert await ids(api.server, query("greaterThan", "sizeOriginal", 4)) == ["a", "b"]
        assert await ids(api.server, query("startsWith", "name", "Letter")) == ["a", "b"]
        assert await ids(api.server, query("equal", "chunksTotal", 1), query("limit", "", 2)) == ["a", "b"]
        assert await ids(api.server, query("cursorAfter", "", "a")) == ["b", "c"]
        assert await ids(api.server, search="LETTER") == ["a", "b"]
        signature = (await api.server.get(f"{FILES}/c")).json()["signature"]
        assert await ids(api.server, query("equal", "signature", signature)) == ["c"]
        for wrong in (query("equal", "bucketId", "photos"), query("equal", "storageKey", "x"), "x"):
            response = await api.server.get(FILES, params={"queries[]": wrong})
            assert response.status_code == 400
            assert response.json()["type"] == "general_query_invalid"

    async def test_only_what_the_caller_may_read_is_listed_and_counted(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload
    ) -> None:
        await make_bucket(permissions=['create("users")'], fileSecurity=True)
        ada, bob = await log_in("ada"), await log_in("bob")
        await upload(ada, file_id="own")
        await upload(ada, file_id="shared", permissions=['read("users")', 'read("any")'])
        await upload(ada, file_id="hidden", permissions=['update("any")'])
        guest = api.guest()
        for client, expected in (
            (ada, ["own", "shared"]),
            (bob, ["shared"]),
            (guest, ["shared"]),
            (api.server, ["own", "shared", "hidden"]),
        ):
            assert await ids(client) == expected
            assert (await client.get(FILES)).json()["total"] == len(expected)
        response = await bob.get(FILES, params={"queries[]": query("cursorAfter", "", "own")})
        assert response.json()["type"] == "general_cursor_not_found"
