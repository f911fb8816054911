from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import func, inspect, select

from realtime.identity.model import Project, User
from tests.api import PROJECT, Api
from workers.store import tables
from workers.store.row_tables import create_row_tables
from workers.store.schema import Schema, TableRecord, encode_schema

ROOT = "the-root-key"


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"root_key": ROOT}


@pytest.fixture
async def root(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """Whoever runs the server; no project is named."""
    async with api.holder(ROOT) as client:
        del client.headers["X-Appwrite-Project"]
        yield client


async def create(root: httpx.AsyncClient, project_id: str = "shop", **members: Any) -> httpx.Response:
    return await root.post("/v1/projects", json={"projectId": project_id, "name": "The shop"} | members)


class TestAccess:
    async def test_key_of_a_project_does_not_manage_projects(self, api: Api) -> None:
        for method, path in (
            ("GET", "/v1/projects"),
            ("POST", "/v1/projects"),
            ("DELETE", "/v1/projects/demo"),
        ):
            response = await api.server.request(method, path, json={})
            assert response.status_code == 401, path
            assert response.json()["type"] == "general_unauthorized_scope"

    async def test_root_key_acts_in_any_project(self, api: Api) -> None:
        async with api.holder(ROOT) as client:
            assert (await client.get("/v1/project")).json()["$id"] == PROJECT


class TestCreate:
    async def test_project_can_be_connected_to_at_once(self, api: Api, root: httpx.AsyncClient) -> None:
        response = await create(root, teamId="staff", region="default")
        assert response.status_code == 201, response.text
        model = response.json()
        assert (model["$id"], model["name"], model["teamId"]) == ("shop", "The shop", "staff")
        assert model["region"] == "default"
        assert model["protocols"] == [{"$id": "websocket", "enabled": True}]
        record = await api.services.identities.get_project("shop")
        assert record is not None
        assert msgspec.structs.replace(record, schema_version=0) == Project(
            id="shop", name="The shop", team_id="staff", region="default", managed=True
        )

    async def test_team_that_owns_it_hears_of_it_on_the_console(
        self, api: Api, root: httpx.AsyncClient
    ) -> None:
        await create(root, teamId="staff")
        (event,) = await api.published("console")
        assert event.name == "projects.shop.create"
        assert event.roles == ["team:staff"]
        assert event.payload["name"] == "The shop"

    async def test_taken_id_is_a_conflict(self, root: httpx.AsyncClient) -> None:
        await create(root)
        response = await create(root)
        assert (response.status_code, response.json()["type"]) == (409, "project_already_exists")

    async def test_console_is_reserved(self, root: httpx.AsyncClient) -> None:
        response = await create(root, "console")
        assert (response.status_code, response.json()["type"]) == (400, "project_reserved_name")

    @pytest.mark.parametrize(
        "members", [{"projectId": "a b"}, {"name": ""}, {"teamId": "a:b"}, {"region": "x" * 65}]
    )
    async def test_wrong_member_is_named(self, root: httpx.AsyncClient, members: dict[str, Any]) -> None:
        response = await create(root, **members)
        assert response.status_code == 400
        assert response.json()["message"].startswith(f"Invalid `{next(iter(members))}` param: ")


class TestList:
    async def test_projects_are_found_by_queries_and_by_search(self, root: httpx.AsyncClient) -> None:
        await create(root)
        await create(root, "other", name="Another")
        listed = (await root.get("/v1/projects")).json()
        assert [each["$id"] for each in listed["projects"]] == ["demo", "shop", "other"]
        assert listed["total"] == 3
        named = '{"method":"equal","attribute":"name","values":["Another"]}'
        listed = (await root.get("/v1/projects", params={"queries[0]": named})).json()
        assert [each["$id"] for each in listed["projects"]] == ["other"]
        listed = (await root.get("/v1/projects", params={"search": "SHO"})).json()
        assert [each["$id"] for each in listed["projects"]] == ["shop"]


class TestUpdate:
    async def test_what_is_left_out_stays(self, api: Api, root: httpx.AsyncClient) -> None:
        await create(root, teamId="staff")
        response = await root.patch("/v1/projects/shop", json={"name": "New"})
        assert (response.json()["name"], response.json()["teamId"]) == ("New", "staff")
        record = await api.services.identities.get_project("shop")
        assert record is not None
        assert (record.name, record.team_id) == ("New", "staff")

    async def test_unknown_project_is_not_found(self, root: httpx.AsyncClient) -> None:
        for method in ("GET", "PATCH", "DELETE"):
            response = await root.request(method, "/v1/projects/nix", json={})
            assert (response.status_code, response.json()["type"]) == (404, "project_not_found")


class TestDelete:
    async def test_nothing_of_it_is_left_and_others_stay(self, api: Api, root: httpx.AsyncClient) -> None:
        await create(root)
        store = api.services.store
        async with store.write(Project(id="shop")) as tx:
            times = {"created_at": tx.now_text, "updated_at": tx.now_text}
            await tx.connection.execute(
                tables.teams.insert().values(project_id="shop", id="t", name="T", prefs={}, **times)
            )
            made = await tx.connection.execute(
                tables.tables.insert().values(
                    project_id="shop",
                    database_id="d",
                    id="t",
                    name="T",
                    permissions=[],
                    schema=encode_schema(Schema()),
                    **times,
                )
            )
            assert made.inserted_primary_key is not None
            record = TableRecord(
                seq=made.inserted_primary_key[0],
                id="t",
                name="T",
                database_id="d",
                database_type="tablesdb",
                table_enabled=True,
                database_enabled=True,
                row_security=False,
                permissions=(),
                created_at=tx.now_text,
                updated_at=tx.now_text,
                schema=Schema(),
            )
            await create_row_tables(tx.connection, record)
        await api.services.identities.put_user("shop", User(id="ada"))

        assert (await root.delete("/v1/projects/shop")).status_code == 204

        async with store.read() as connection:
            for table in tables.metadata.sorted_tables:
                if "project_id" in table.c and table is not tables.outbox:
                    left = select(func.count()).where(table.c.project_id == "shop")
                    assert await connection.scalar(left) == 0, table.name
            names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        assert record.sql_name not in names
        assert await api.services.identities.get_project("shop") is None
        assert await api.services.identities.get_user("shop", "ada") is None
        assert (await root.get("/v1/projects/demo")).status_code == 200

    async def test_key_of_the_project_may_delete_it(self, api: Api) -> None:
        assert (await api.server.delete("/v1/project")).status_code == 204
        assert (await api.server.get("/v1/project")).json()["type"] == "project_not_found"
        async with api.services.store.read() as connection:
            assert await connection.scalar(select(func.count()).select_from(tables.keys)) == 0
