"""Tokens of files, on both databases: whoever has the secret sees the file, for as long as the token says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
from sqlalchemy import update

from realtime.identity.jwt import mint
from realtime.identity.model import Project
from tests.api import PROJECT, Api
from workers.store import tables
from workers.store.times import to_text

FILES = "/v1/storage/buckets/photos/files"
TOKENS = "/v1/tokens/buckets/photos/files/f1"


@pytest.fixture
async def photos(api: Api) -> Api:
    """The API with two files that only servers may read."""
    response = await api.server.post("/v1/storage/buckets", json={"bucketId": "photos", "name": "Photos"})
    assert response.status_code == 201
    for file_id in ("f1", "f2"):
        response = await api.server.post(
            FILES, data={"fileId": file_id}, files={"file": (f"{file_id}.txt", file_id.encode())}
        )
        assert response.status_code == 201, response.text
    return api


async def create(api: Api, **body: Any) -> dict[str, Any]:
    response = await api.server.post(TOKENS, json=body)
    assert response.status_code == 201, response.text
    token: dict[str, Any] = response.json()
    return token


async def view(client: httpx.AsyncClient, secret: str, file_id: str = "f1") -> httpx.Response:
    return await client.get(f"{FILES}/{file_id}/view", params={"token": secret, "project": PROJECT})


async def refusal(client: httpx.AsyncClient, secret: str, file_id: str = "f1") -> tuple[int, str]:
    response = await view(client, secret, file_id)
    return response.status_code, response.json()["type"]


ON_ONE_DATABASE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

NOT_FOUND = (404, "storage_file_not_found")


class TestToken:
    async def test_secret_opens_its_file_and_no_other(self, photos: Api) -> None:
        token = await create(photos)
        assert token == {
            "$id": token["$id"],
            "$createdAt": token["$createdAt"],
            "resourceId": "photos:f1",
            "resourceType": "files",
            "expire": "",
            "secret": token["secret"],
            "accessedAt": "",
        }
        guest = photos.guest()
        assert (await guest.get(f"{FILES}/f1/view")).status_code == 404
        response = await view(guest, token["secret"])
        assert (response.status_code, response.content) == (200, b"f1")
        response = await guest.get(f"{FILES}/f1/download", params={"token": token["secret"]})
        assert response.content == b"f1"
        assert await refusal(guest, token["secret"], "f2") == NOT_FOUND
        # It opens the bytes, not what is known of the file.
        assert (await guest.get(f"{FILES}/f1", params={"token": token["secret"]})).status_code == 404

    async def test_use_is_kept_once_a_day(self, photos: Api) -> None:
        token = await create(photos)
        await view(photos.guest(), token["secret"])
        first = (await photos.server.get(f"/v1/tokens/{token['$id']}")).json()["accessedAt"]
        assert first > token["$createdAt"]
        await view(photos.guest(), token["secret"])
        assert (await photos.server.get(f"/v1/tokens/{token['$id']}")).json()["accessedAt"] == first
        async with photos.services.store.write(Project(id=PROJECT)) as tx:
            long_ago = to_text(tx.now - timedelta(hours=25))
            await tx.connection.execute(update(tables.file_tokens).values(accessed_at=long_ago))
        await view(photos.guest(), token["secret"])
        assert (await photos.server.get(f"/v1/tokens/{token['$id']}")).json()["accessedAt"] > first

    async def test_expired_one_opens_nothing_until_it_is_prolonged(self, photos: Api) -> None:
        """The same secret counts again: what a token may do is said by its row."""
        expire = to_text(datetime.now(UTC) + timedelta(hours=1))
        token = await create(photos, expire=expire)
        assert token["expire"] == expire
        assert (await view(photos.guest(), token["secret"])).status_code == 200
        async with photos.services.store.write(Project(id=PROJECT)) as tx:
            ended = to_text(tx.now - timedelta(seconds=1))
            await tx.connection.execute(update(tables.file_tokens).values(expires_at=ended))
        assert await refusal(photos.guest(), token["secret"]) == (401, "token_expired")
        response = await photos.server.patch(f"/v1/tokens/{token['$id']}", json={"expire": None})
        assert response.json()["expire"] == ""
        assert (await view(photos.guest(), token["secret"])).status_code == 200
        assert (await view(photos.guest(), response.json()["secret"])).status_code == 200

    async def test_deleted_one_opens_nothing(self, photos: Api) -> None:
        token = await create(photos)
        assert (await photos.server.delete(f"/v1/tokens/{token['$id']}")).status_code == 204
        assert await refusal(photos.guest(), token["secret"]) == NOT_FOUND
        assert (await photos.server.get(f"/v1/tokens/{token['$id']}")).status_code == 404
        assert (await photos.server.delete(f"/v1/tokens/{token['$id']}")).status_code == 404

    async def test_file_that_replaces_another_is_not_opened_by_its_token(self, photos: Api) -> None:
        token = await create(photos)
        await photos.server.delete(f"{FILES}/f1")
        await photos.server.post(FILES, data={"fileId": "f1"}, files={"file": ("f1.txt", b"new")})
        assert await refusal(photos.guest(), token["secret"]) == NOT_FOUND

    @ON_ONE_DATABASE
    async def test_other_tokens_and_forgeries_open_nothing(self, photos: Api) -> None:
        token = await create(photos)
        claims = jwt.decode(token["secret"], options={"verify_signature": False})
        secret = photos.settings.secrets[-1]
        response = await photos.server.post("/v1/users", json={"userId": "ada"})
        assert response.status_code == 201
        login = (await photos.server.post("/v1/users/ada/jwts", json={})).json()["jwt"]
        head, body, _ = token["secret"].split(".")
        for forged in (
            mint(claims, secret), jwt.encode(claims, "", algorithm="none"), f"{head}.{body}.", login, "x",
            "x" * 5000, "\0", " ",
        ):  # fmt: skip
            assert await refusal(photos.guest(), forged) == NOT_FOUND

    @ON_ONE_DATABASE
    async def test_it_is_no_login(self, photos: Api) -> None:
        token = await create(photos)
        response = await photos.guest(**{"X-Appwrite-JWT": token["secret"]}).get("/v1/account")
        assert response.status_code == 401

    @ON_ONE_DATABASE
    async def test_who_may_read_anyway_needs_no_good_token(self, photos: Api) -> None:
        assert (await view(photos.server, "stale")).content == b"f1"


class TestRoutes:
    async def test_tokens_of_a_file_are_listed(self, photos: Api) -> None:
        tokens = [await create(photos) for _ in range(3)]
        response = await photos.server.get(TOKENS)
        assert response.json() == {"total": 3, "tokens": tokens}
        response = await photos.server.get("/v1/tokens/buckets/photos/files/f2")
        assert response.json() == {"total": 0, "tokens": []}

    @ON_ONE_DATABASE
    async def test_expiry_must_be_a_time_to_come(self, photos: Api) -> None:
        for expire in ("yesterday", "2020-01-01T00:00:00.000+00:00", 1):
            response = await photos.server.post(TOKENS, json={"expire": expire})
            assert response.status_code == 400
            assert "`expire`" in response.json()["message"]

    @ON_ONE_DATABASE
    async def test_only_keys_with_the_scope_use_them(self, photos: Api) -> None:
        token = await create(photos)
        async with await photos.add_key("tokens.read") as reader:
            assert (await reader.get(f"/v1/tokens/{token['$id']}")).json() == token
            assert (await reader.post(TOKENS, json={})).status_code == 401
            assert (await reader.delete(f"/v1/tokens/{token['$id']}")).status_code == 401
        for path in (TOKENS, f"/v1/tokens/{token['$id']}"):
            assert (await photos.guest().get(path)).status_code == 401

    @ON_ONE_DATABASE
    async def test_unknown_ones_are_not_found(self, photos: Api) -> None:
        for path in ("/v1/tokens/none", "/v1/tokens/%00", "/v1/tokens/buckets/photos/files/none"):
            assert (await photos.server.get(path)).status_code == 404
