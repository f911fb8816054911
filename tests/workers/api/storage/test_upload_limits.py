"""How much of uploading there is for people who hold no key, which the database has no part in."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.api import Api
from workers.api.storage.callers import WRITES_PER_MINUTE
from workers.api.uploads import pending

Make = Callable[..., Awaitable[dict[str, Any]]]
LogIn = Callable[[str], Awaitable[httpx.AsyncClient]]
Upload = Callable[..., Awaitable[httpx.Response]]

FILES = "/v1/storage/buckets/photos/files"

TRIES = 2 * WRITES_PER_MINUTE + 1
"""However the minutes fall, more than are allowed are then in one of them."""


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestRates:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"limits": "on"}

    @pytest.mark.parametrize("content_range", ["bytes 0-4/10", "\tbytes 0-4/10"])
    async def test_first_chunks_are_counted_however_they_are_spelt(
        self, api: Api, make_bucket: Make, content_range: str
    ) -> None:
        await make_bucket(permissions=['create("any")'])
        guest = api.guest()
        for _ in range(TRIES):
            response = await send(guest, content_range)
            if response.status_code == 429:
                return
        pytest.fail(f"still answered with {response.status_code}")

    async def test_chunks_behind_the_first_are_not_counted(self, api: Api, make_bucket: Make) -> None:
        await make_bucket(permissions=['create("any")'])
        guest = api.guest()
        await send(guest, "bytes 0-4/15")
        statuses = {
            (await send(guest, "bytes 5-9/15", **{"X-Appwrite-ID": "f1"})).status_code for _ in range(TRIES)
        }
        assert statuses == {201}

    async def test_a_range_in_another_spelling_is_refused(self, api: Api, make_bucket: Make) -> None:
        """Or one that begins at `00` would begin an upload, and be counted as none."""
        await make_bucket(permissions=['create("any")'])
        response = await send(api.guest(), "bytes 00-4/10")
        assert response.json()["type"] == "storage_invalid_content_range"
        assert (await api.server.get(f"{FILES}/f1")).status_code == 404


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestOpen:
    """Uploads that are begun and not completed."""

    @pytest.fixture(autouse=True)
    def few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pending, "MAX_OPEN", 3)

    async def test_one_too_many_is_refused_until_another_is_done_with(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload
    ) -> None:
        await make_bucket(permissions=['create("any")', 'delete("any")'])
        ada = await log_in("ada")
        for client in (ada, api.guest()):
            name = "ada" if client is ada else "guest"
            for number in range(3):
                assert (await begin(client, f"{name}-{number}")).status_code == 201
            refused = await begin(client, f"{name}-3")
            assert (refused.status_code, refused.json()["type"]) == (429, "general_rate_limit_exceeded")
            assert "3 uploads of yours" in refused.json()["message"]
            # What was begun goes on, and files in one piece are not kept waiting.
            assert (await begin(client, f"{name}-0")).status_code == 201
            assert (await upload(client, file_id=f"{name}-whole")).status_code == 201
            assert (await send(client, "bytes 5-9/10", **{"X-Appwrite-ID": f"{name}-0"})).json()[
                "chunksUploaded"
            ] == 2
            assert (await begin(client, f"{name}-3")).status_code == 201
            assert (await client.delete(f"{FILES}/{name}-1")).status_code == 204
            assert (await begin(client, f"{name}-4")).status_code == 201
        root = api.settings.data_dir / "files/.uploads"
        await api.services.discards.sweep()
        assert len(list(root.iterdir())) == 6

    async def test_servers_begin_as_many_as_they_like(self, api: Api, make_bucket: Make) -> None:
        await make_bucket()
        assert {(await begin(api.server, f"f{number}")).status_code for number in range(5)} == {201}


async def begin(client: httpx.AsyncClient, file_id: str) -> httpx.Response:
    return await send(client, "bytes 0-4/10", file_id)


async def send(
    client: httpx.AsyncClient, content_range: str, file_id: str = "f1", **headers: str
) -> httpx.Response:
    return await client.post(
        FILES,
        data={"fileId": file_id},
        files={"file": ("a.txt", b"Hello")},
        headers={"Content-Range": content_range, **headers},
    )
