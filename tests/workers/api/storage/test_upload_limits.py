"""How much of uploading there is for people who hold no key, which the database has no part in."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.api import Api
from workers.api.storage.callers import WRITES_PER_MINUTE

Make = Callable[..., Awaitable[dict[str, Any]]]
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


async def send(client: httpx.AsyncClient, content_range: str, **headers: str) -> httpx.Response:
    return await client.post(
        FILES,
        data={"fileId": "f1"},
        files={"file": ("a.txt", b"Hello")},
        headers={"Content-Range": content_range, **headers},
    )
