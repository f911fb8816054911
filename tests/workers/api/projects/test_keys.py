from typing import Any

import httpx
import pytest
from sqlalchemy import select

from tests.api import PROJECT, Api
from workers.store import tables

KEYS = "/v1/project/keys"


async def create(client: httpx.AsyncClient, **members: Any) -> httpx.Response:
    return await client.post(
        KEYS, json={"keyId": "k1", "name": "Backend", "scopes": ["users.read"]} | members
    )


class TestCreate:
    async def test_secret_is_shown_once_and_opens_what_its_scopes_say(self, api: Api) -> None:
        response = await create(api.server, scopes=["keys.read"])
        assert response.status_code == 201, response.text
        model = response.json()
        assert model["scopes"] == ["keys.read"]
        assert model["expire"] is None
        async with api.holder(model["secret"]) as client:
            assert (await client.get(f"{KEYS}/k1")).json() == model | {"secret": ""}
            assert (await client.delete(f"{KEYS}/k1")).status_code == 401
        async with api.services.store.read() as connection:
            stored = (await connection.execute(select(tables.keys))).all()
        assert model["secret"] not in str(stored)
        (event,) = await api.published()
        assert event.name == "keys.k1.create"
        assert event.channels == []
        assert event.payload == model | {"secret": ""}

    async def test_taken_id_is_a_conflict(self, api: Api) -> None:
        await create(api.server)
        response = await create(api.server)
        assert (response.status_code, response.json()["type"]) == (409, "key_already_exists")

    @pytest.mark.parametrize(
        ("members", "text"),
        [
            (
                {"scopes": ["users.fly"]},
                "Invalid `scopes.0` param: Value must be one of the scopes of API keys.",
            ),
            ({"scopes": ["users.read"] * 201}, "Invalid `scopes` param: List should have at most 200 items"),
            ({"expire": "soon"}, "Invalid `expire` param: Value must be a valid date in ISO 8601 format."),
            ({"keyId": "-"}, "Invalid `keyId` param: "),
            ({"name": "x" * 129}, "Invalid `name` param: String should have at most 128 characters."),
            ({"name": "a\0b"}, "The request body holds a NUL character, which cannot be stored."),
        ],
    )
    async def test_wrong_member_is_named(self, api: Api, members: dict[str, Any], text: str) -> None:
        response = await create(api.server, **members)
        assert (response.status_code, response.json()["type"]) == (400, "general_argument_invalid")
        assert response.json()["message"].startswith(text)

    async def test_missing_member_is_not_optional(self, api: Api) -> None:
        response = await api.server.post(KEYS, json={"keyId": "k1", "scopes": []})
        assert response.json()["message"] == 'Param "name" is not optional.'

    async def test_every_scope_is_given_only_by_who_has_it(self, api: Api) -> None:
        assert (await create(api.server, scopes=["*"])).status_code == 201
        async with await api.add_key("keys.write") as client:
            response = await create(client, keyId="k2", scopes=["*"])
        assert response.status_code == 400

    async def test_scope_is_given_only_by_who_has_it(self, api: Api) -> None:
        async with await api.add_key("keys.write", "rows.read") as client:
            response = await create(client, scopes=["rows.read", "users.read"])
            assert response.status_code == 400
            assert response.json()["message"] == (
                "Invalid `scopes` param: only a key with the scope users.read can give it."
            )
            # The older name of a scope that it has.
            assert (await create(client, scopes=["rows.read", "documents.read"])).status_code == 201

    async def test_key_that_has_expired_is_good_for_nothing(self, api: Api) -> None:
        made = (await create(api.server, scopes=["keys.read"], expire="2020-01-01T00:00:00Z")).json()
        assert made["expire"] == "2020-01-01T00:00:00.000+00:00"
        async with api.holder(made["secret"]) as client:
            assert (await client.get(KEYS)).status_code == 401


class TestUpdate:
    async def test_scopes_count_at_once_and_the_secret_stays(self, api: Api) -> None:
        secret = (await create(api.server, scopes=["keys.read"])).json()["secret"]
        response = await api.server.put(f"{KEYS}/k1", json={"name": "New", "scopes": ["users.read"]})
        assert (response.json()["name"], response.json()["secret"]) == ("New", "")
        async with api.holder(secret) as client:
            assert (await client.get(KEYS)).status_code == 401
        key = await api.services.identities.get_key(PROJECT, secret)
        assert key is not None
        assert key.scopes == ("users.read",)

    @pytest.mark.parametrize("scope", ["users.read", "*"])
    async def test_key_that_may_do_more_is_out_of_reach(self, api: Api, scope: str) -> None:
        made = (await create(api.server, scopes=[scope])).json()
        async with await api.add_key("keys.read", "keys.write") as client:
            for method in ("PUT", "DELETE"):
                body = {"name": "n", "scopes": []}
                response = await client.request(method, f"{KEYS}/k1", json=body)
                assert (response.status_code, response.json()["type"]) == (401, "general_unauthorized_scope")
                assert scope in response.json()["message"]
            assert (await client.get(f"{KEYS}/k1")).json() == made | {"secret": ""}

    async def test_key_that_may_do_no_more_is_changed_and_deleted(self, api: Api) -> None:
        await create(api.server, scopes=["keys.write"])
        async with await api.add_key("keys.read", "keys.write") as client:
            changed = await client.put(f"{KEYS}/k1", json={"name": "n", "scopes": ["keys.read"]})
            assert (changed.status_code, changed.json()["scopes"]) == (200, ["keys.read"])
            assert (await client.delete(f"{KEYS}/k1")).status_code == 204

    async def test_unknown_key_is_not_found(self, api: Api) -> None:
        for method in ("GET", "PUT", "DELETE"):
            response = await api.server.request(method, f"{KEYS}/nix", json={"name": "n", "scopes": []})
            assert (response.status_code, response.json()["type"]) == (404, "key_not_found")


class TestDelete:
    async def test_secret_is_good_no_longer(self, api: Api) -> None:
        secret = (await create(api.server)).json()["secret"]
        assert (await api.server.delete(f"{KEYS}/k1")).status_code == 204
        assert await api.services.identities.get_key(PROJECT, secret) is None
        assert await api.names() == ["keys.k1.create", "keys.k1.delete"]


class TestList:
    async def test_keys_are_found_by_name_and_scope_without_secrets(self, api: Api) -> None:
        await create(api.server)
        await create(api.server, keyId="k2", name="Other", scopes=["rows.read"])
        for query, ids in (
            ('{"method":"equal","attribute":"name","values":["Backend"]}', ["k1"]),
            ('{"method":"contains","attribute":"scopes","values":["rows.read"]}', ["k2"]),
        ):
            listed = (await api.server.get(KEYS, params={"queries[0]": query})).json()
            assert [key["$id"] for key in listed["keys"]] == ids
            assert [key["secret"] for key in listed["keys"]] == [""]
