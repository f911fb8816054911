"""Processes know tables without asking for them each time: every one of them must notice that a table changed."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from realtime.identity.store import IdentityStore
from tests.api import BASE_URL, KEY, PROJECT, Api
from workers.api.app import create_app
from workers.api.services import Services

ROOT = "the-root-key"


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"root_key": ROOT}


@pytest.fixture
async def elsewhere(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """A server's client of another process of the API, with connections of its own to the database."""
    services = Services.from_settings(
        api.settings,
        identities=IdentityStore(api.services.bus.redis),
        resolver=api.services.resolver,
        bus=api.services.bus,
    )
    async with (
        services.running(),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(create_app(services=services)),
            base_url=BASE_URL,
            headers={"X-Appwrite-Project": PROJECT, "X-Appwrite-Key": KEY},
        ) as client,
    ):
        yield client


class TestOtherProcesses:
    async def test_new_column_is_known_at_once(
        self, api: Api, posts: str, elsewhere: httpx.AsyncClient
    ) -> None:
        for number in range(3):
            row = {"rowId": f"r{number}", "data": {f"c{each}": "x" for each in range(number)}}
            assert (await elsewhere.post(f"{posts}/rows", json=row)).status_code == 201
            column = {"key": f"c{number}", "size": 9, "required": False}
            assert (await api.server.post(f"{posts}/columns/string", json=column)).status_code == 202

    async def test_permission_taken_away_counts_at_once(
        self, api: Api, posts: str, elsewhere: httpx.AsyncClient
    ) -> None:
        guest = {"X-Appwrite-Key": ""}
        for reader, status in (("any", 200), ("users", 401), ("any", 200)):
            permissions = [f'read("{reader}")']
            changed = await api.server.put(posts, json={"name": "Posts", "permissions": permissions})
            assert changed.status_code == 200
            listed = await elsewhere.get(f"{posts}/rows", headers=guest)
            assert (listed.status_code, listed.json().get("total", 0)) == (status, 0)

    async def test_table_made_anew_is_another_one(
        self, api: Api, posts: str, elsewhere: httpx.AsyncClient
    ) -> None:
        row = {"rowId": "r", "data": {}}
        assert (await elsewhere.post(f"{posts}/rows", json=row)).status_code == 201
        assert (await api.server.delete(posts)).status_code == 204
        assert (await elsewhere.get(f"{posts}/rows")).status_code == 404
        table = {"tableId": "posts", "name": "Posts", "permissions": []}
        assert (await api.server.post(posts.removesuffix("/posts"), json=table)).status_code == 201
        assert (await elsewhere.get(f"{posts}/rows")).json() == {"total": 0, "rows": []}

    async def test_closed_database_is_closed_at_once(
        self, api: Api, posts: str, elsewhere: httpx.AsyncClient
    ) -> None:
        guest = {"X-Appwrite-Key": ""}
        assert (await elsewhere.get(f"{posts}/rows", headers=guest)).status_code == 200
        closed = await api.server.put("/v1/tablesdb/main", json={"name": "Main", "enabled": False})
        assert closed.status_code == 200
        assert (await elsewhere.get(f"{posts}/rows", headers=guest)).status_code == 404

    async def test_table_of_a_project_made_anew_is_another_one(
        self, api: Api, elsewhere: httpx.AsyncClient
    ) -> None:
        """Its counting of changes does not begin where that of the former one did."""
        shop = {"X-Appwrite-Project": "shop", "X-Appwrite-Key": ROOT}
        rows = "/v1/tablesdb/main/tables/posts/rows"
        async with api.guest(**shop) as root:
            for permissions, status in ((['read("any")'], 200), ([], 401)):
                for path, body in (
                    ("/v1/projects", {"projectId": "shop", "name": "Shop"}),
                    ("/v1/tablesdb", {"databaseId": "main", "name": "Main"}),
                    (
                        "/v1/tablesdb/main/tables",
                        {"tableId": "posts", "name": "Posts", "permissions": permissions},
                    ),
                ):
                    assert (await root.post(path, json=body)).status_code == 201
                guest = shop | {"X-Appwrite-Key": ""}
                assert (await elsewhere.get(rows, headers=guest)).status_code == status
                assert (await elsewhere.get(rows, headers=shop)).json() == {"total": 0, "rows": []}
                assert (await root.delete("/v1/projects/shop")).status_code == 204
