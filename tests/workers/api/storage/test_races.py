"""What meets at the same moment, on PostgreSQL, where it really does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.api import Api
from workers.store import tables

Make = Callable[..., Awaitable[dict[str, Any]]]
Upload = Callable[..., Awaitable[httpx.Response]]

FILES = "/v1/storage/buckets/photos/files"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
class TestAtOnce:
    async def test_one_of_many_uploads_to_an_id_makes_the_file(
        self, api: Api, make_bucket: Make, upload: Upload, on_disk: Callable[[], list[Any]]
    ) -> None:
        """Uploads of one slot take each other's place; the file is that of one of them, whole."""
        await make_bucket()
        contents = [bytes([number]) * 1000 for number in range(8)]
        responses = await asyncio.gather(*(upload(api.server, content) for content in contents))
        assert [response.status_code for response in responses].count(201) == 1
        types = {response.json()["type"] for response in responses if response.status_code != 201}
        # The latter if another one has taken the upload's place, and is complete, before this one was written.
        assert types <= {"storage_file_already_exists", "storage_invalid_appwrite_id"}
        stored = (await api.server.get(f"{FILES}/f1/download")).content
        assert stored in contents
        bucket = (await api.server.get("/v1/storage/buckets/photos")).json()
        assert bucket["totalSize"] == 1000
        assert len([name for name in await api.names() if name.endswith("f1.create")]) == 1
        await api.services.discards.sweep()
        assert len(on_disk()) == 1

    async def test_files_come_and_go_while_their_bucket_is_deleted(
        self, api: Api, make_bucket: Make, upload: Upload, on_disk: Callable[[], list[Any]]
    ) -> None:
        """Nobody waits for another for ever, and nothing is left of what came too late."""
        await make_bucket(fileSecurity=True)
        for number in range(10):
            await upload(api.server, file_id=f"f{number}", permissions=['read("any")'])
        work = [
            *(upload(api.server, file_id=f"new{number}") for number in range(10)),
            *(api.server.delete(f"{FILES}/f{number}") for number in range(5)),
            *(
                api.server.put(f"{FILES}/f{number}", json={"permissions": ['read("users")']})
                for number in range(5, 10)
            ),
            *(api.server.post(f"/v1/tokens/buckets/photos/files/f{number}", json={}) for number in range(10)),
        ]
        tasks = [asyncio.ensure_future(each) for each in work]
        await asyncio.sleep(0)
        response = await api.server.delete("/v1/storage/buckets/photos")
        assert response.status_code == 204
        responses = await asyncio.gather(*tasks)
        assert {response.status_code for response in responses} <= {200, 201, 204, 400, 404}
        async with api.services.store.read() as connection:
            for table in (tables.files, tables.file_permissions, tables.file_tokens, tables.buckets):
                assert (await connection.execute(table.select())).all() == []
        await api.services.discards.sweep()
        async with api.services.store.read() as connection:
            left = (await connection.execute(tables.uploads.select())).all()
        assert len(on_disk()) == len(left)
