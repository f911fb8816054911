"""Files that come in chunks, on both databases: in any order, interrupted, resumed, by whoever began."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from tests.api import Api, running_api
from workers.api.storage import uploads
from workers.api.uploads import pending
from workers.files.store import FileStore
from workers.store import tables

Make = Callable[..., Awaitable[dict[str, Any]]]
LogIn = Callable[[str], Awaitable[httpx.AsyncClient]]
Upload = Callable[..., Awaitable[httpx.Response]]
OnDisk = Callable[[], list[Path]]

FILES = "/v1/storage/buckets/photos/files"
CONTENT = bytes(range(256)) * 4
CHUNK = 100
COUNT = -(-len(CONTENT) // CHUNK)


def chunk(number: int) -> dict[str, Any]:
    """Return what uploads the chunk with this number, from 0."""
    start, end = number * CHUNK, min((number + 1) * CHUNK, len(CONTENT))
    return {
        "content": CONTENT[start:end],
        "span": (start, end - 1, len(CONTENT)),
        "name": "data.bin",
        "resource_id": "f1" if number else "",
        "file_id": "unique()" if number else "f1",
    }


class TestChunks:
    async def test_file_is_there_with_its_last_chunk_and_told_once(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload, on_disk: OnDisk
    ) -> None:
        await make_bucket(permissions=['create("users")', 'read("any")'])
        ada = await log_in("ada")
        for number in range(COUNT):
            response = await upload(ada, **chunk(number))
            assert response.status_code == 201, response.text
            file = response.json()
            assert (file["$id"], file["chunksTotal"], file["chunksUploaded"]) == ("f1", COUNT, number + 1)
        assert file["sizeOriginal"] == len(CONTENT)
        assert file["signature"] == hashlib.md5(CONTENT).hexdigest()
        assert (await ada.get(f"{FILES}/f1")).json() == file
        assert (await ada.get(f"{FILES}/f1/download")).content == CONTENT
        names = [name for name in await api.names() if ".files." in name]
        assert names == ["buckets.photos.files.f1.create"]
        assert len(on_disk()) == 1

    async def test_chunks_at_once_make_one_file(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload, on_disk: OnDisk
    ) -> None:
        """As SDKs send them: the first alone, then several at a time, here also each of them twice."""
        await make_bucket(permissions=['create("users")', 'read("any")'])
        ada = await log_in("ada")
        assert (await upload(ada, **chunk(0))).status_code == 201
        numbers = [*range(COUNT - 1, 0, -1), *range(1, COUNT)]
        responses = await asyncio.gather(*(upload(ada, **chunk(number)) for number in numbers))
        complete = [
            response.json()
            for response in responses
            if response.is_success and response.json()["chunksUploaded"] == COUNT
        ]
        assert complete
        assert all(file["signature"] == hashlib.md5(CONTENT).hexdigest() for file in complete)
        assert {response.status_code for response in responses} == {201}
        assert (await ada.get(f"{FILES}/f1/download")).content == CONTENT
        assert [name for name in await api.names() if ".files." in name] == ["buckets.photos.files.f1.create"]
        assert (await api.server.get("/v1/storage/buckets/photos")).json()["totalSize"] == len(CONTENT)
        await api.services.discards.sweep()
        assert len(on_disk()) == 1

    async def test_chunk_that_comes_once_more_behind_the_last_is_answered_with_the_file(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload
    ) -> None:
        """As when the answer to the last one was lost. The first chunk would begin another file."""
        await make_bucket(permissions=['create("users")'], fileSecurity=True)
        ada, bob = await log_in("ada"), await log_in("bob")
        for number in range(COUNT):
            response = await upload(ada, **chunk(number))
        again = await upload(ada, **chunk(COUNT - 1))
        assert (again.status_code, again.json()) == (201, response.json())
        assert (await upload(ada, **chunk(0))).status_code == 409
        assert (await upload(bob, **chunk(COUNT - 1))).status_code == 409
        assert [name for name in await api.names() if ".files." in name] == ["buckets.photos.files.f1.create"]

    @pytest.mark.parametrize(
        ("module", "step"),
        [(pending, "_open"), (pending, "_add"), (pending, "_record"), (uploads, "sign")],
    )
    async def test_chunk_that_comes_once_more_while_the_file_is_made_is_answered_with_it(
        self,
        api: Api,
        make_bucket: Make,
        upload: Upload,
        monkeypatch: pytest.MonkeyPatch,
        module: ModuleType,
        step: str,
    ) -> None:
        """However far the request is by then."""
        await make_bucket()
        for number in range(COUNT - 1):
            await upload(api.server, **chunk(number))
        original = getattr(module, step)

        async def complete_first(*arguments: Any) -> Any:
            patch.undo()
            assert (await upload(api.server, **chunk(COUNT - 1))).json()["chunksUploaded"] == COUNT
            return await original(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(module, step, complete_first)
            response = await upload(api.server, **chunk(COUNT - 1))
        assert (response.status_code, response.json().get("chunksUploaded")) == (201, COUNT)

    async def test_another_process_goes_on_after_an_interruption(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload
    ) -> None:
        await make_bucket(permissions=['create("users")', 'read("any")'])
        ada = await log_in("ada")
        for number in (0, 1, 2):
            await upload(ada, **chunk(number))
        async with resumed(api) as other:
            client = other.guest(**{"X-Appwrite-Session": ada.headers["X-Appwrite-Session"]})
            pending = (await client.get(f"{FILES}/f1")).json()
            assert (pending["chunksUploaded"], pending["chunksTotal"]) == (3, COUNT)
            for number in range(pending["chunksUploaded"], COUNT):
                response = await upload(client, **chunk(number))
            assert response.json()["chunksUploaded"] == COUNT
        assert (await ada.get(f"{FILES}/f1/download")).content == CONTENT

    async def test_last_chunk_can_be_sent_again_when_the_server_failed_behind_it(
        self, api: Api, make_bucket: Make, upload: Upload, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Until the file can be read, whoever uploads it is not told that all of its chunks are there."""
        await make_bucket()
        for number in range(COUNT - 1):
            await upload(api.server, **chunk(number))

        async def fail(_files: FileStore, _stored: object) -> str:
            raise OSError

        with monkeypatch.context() as patch:
            patch.setattr("workers.api.storage.uploads.sign", fail)
            assert (await upload(api.server, **chunk(COUNT - 1))).status_code == 503
        pending = (await api.server.get(f"{FILES}/f1")).json()
        assert pending["chunksUploaded"] == COUNT - 1
        response = await upload(api.server, **chunk(COUNT - 1))
        assert response.json()["chunksUploaded"] == COUNT
        assert (await api.server.get(f"{FILES}/f1/download")).content == CONTENT


def resumed(api: Api) -> Any:
    """Run another application on the same database and folder, as after a restart or beside the first one."""
    return running_api(api.settings, is_first=False)


class TestPending:
    async def test_only_whoever_began_sees_it_and_goes_on(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload
    ) -> None:
        await make_bucket(permissions=['create("any")', 'read("any")', 'delete("any")'])
        ada, bob = await log_in("ada"), await log_in("bob")
        await upload(ada, **chunk(0))
        assert (await ada.get(f"{FILES}/f1")).json()["chunksUploaded"] == 1
        for other in (bob, api.guest()):
            assert (await other.get(f"{FILES}/f1")).status_code == 404
            assert (await other.delete(f"{FILES}/f1")).status_code == 404
            for number in (0, 1):
                assert (await upload(other, **chunk(number))).status_code == 409
            assert (await upload(other, b"whole")).status_code == 409
        for reader in (ada, bob, api.server):
            assert (await reader.get(FILES)).json() == {"total": 0, "files": []}
            assert (await reader.get(f"{FILES}/f1/view")).status_code == 404
        assert [name for name in await api.names() if ".files." in name] == []

    async def test_server_sees_and_cancels_that_of_a_person(
        self, api: Api, make_bucket: Make, upload: Upload, on_disk: OnDisk
    ) -> None:
        await make_bucket(permissions=['create("any")'])
        guest = api.guest()
        await upload(guest, **chunk(0))
        seen = (await api.server.get(f"{FILES}/f1")).json()
        assert (seen["$id"], seen["chunksUploaded"], seen["chunksTotal"]) == ("f1", 1, COUNT)
        assert (await api.server.delete(f"{FILES}/f1")).status_code == 204
        assert (await upload(guest, **chunk(1))).json()["type"] == "storage_invalid_appwrite_id"
        await api.services.discards.sweep()
        assert on_disk() == []

    @pytest.mark.parametrize("is_whole", [False, True])
    async def test_server_uploads_in_the_place_of_a_person(
        self, api: Api, make_bucket: Make, upload: Upload, on_disk: OnDisk, is_whole: bool
    ) -> None:
        """Or anybody could keep the IDs from it that it is about to use. It does not go on with what they sent."""
        await make_bucket(permissions=['create("any")', 'read("any")'])
        guest = api.guest()
        await upload(guest, **chunk(0) | {"content": b"x" * CHUNK})
        assert (await upload(api.server, **chunk(1))).json()["type"] == "storage_invalid_appwrite_id"
        if is_whole:
            response = await upload(api.server, CONTENT)
            assert (await upload(guest, **chunk(1))).status_code == 409
        else:
            assert (await upload(api.server, **chunk(0))).json()["chunksUploaded"] == 1
            assert (await upload(guest, **chunk(1))).status_code == 409
            assert (await upload(guest, **chunk(0))).status_code == 409
            for number in range(1, COUNT):
                response = await upload(api.server, **chunk(number))
        assert response.json()["signature"] == hashlib.md5(CONTENT).hexdigest()
        await api.services.discards.sweep()
        assert len(on_disk()) == 1

    async def test_it_is_said_to_be_there_up_to_the_first_gap(
        self, api: Api, make_bucket: Make, upload: Upload
    ) -> None:
        """As an upload of several chunks at once leaves it, when it is interrupted: who goes on there misses none."""
        await make_bucket()
        for number, count in ((0, 1), (3, 2), (4, 3)):
            assert (await upload(api.server, **chunk(number))).json()["chunksUploaded"] == count
        assert (await api.server.get(f"{FILES}/f1")).json()["chunksUploaded"] == 1
        await upload(api.server, **chunk(1))
        assert (await api.server.get(f"{FILES}/f1")).json()["chunksUploaded"] == 2
        for number in range(2, COUNT):
            response = await upload(api.server, **chunk(number))
        assert response.json()["chunksUploaded"] == COUNT

    async def test_chunk_that_comes_again_and_again_keeps_it_no_longer(
        self, api: Api, make_bucket: Make, upload: Upload
    ) -> None:
        """It is given up by when the last new one came."""
        await make_bucket()

        async def last_change() -> str:
            async with api.services.store.read() as connection:
                return str((await connection.execute(select(tables.uploads.c.updated_at))).scalar_one())

        await upload(api.server, **chunk(0))
        moment = await last_change()
        await asyncio.sleep(0.002)
        assert (await upload(api.server, **chunk(0))).status_code == 201
        assert await last_change() == moment
        await upload(api.server, **chunk(1))
        assert await last_change() > moment

    async def test_deleting_it_cancels_the_upload(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload, on_disk: OnDisk
    ) -> None:
        await make_bucket(permissions=['create("users")'], fileSecurity=True)
        ada = await log_in("ada")
        await upload(ada, **chunk(0))
        assert on_disk()
        assert (await ada.delete(f"{FILES}/f1")).status_code == 204
        await api.services.discards.sweep()
        assert on_disk() == []
        assert (await upload(ada, **chunk(1))).json()["type"] == "storage_invalid_appwrite_id"
        assert (await upload(ada, b"whole")).status_code == 201

    async def test_bucket_that_is_deleted_meanwhile_takes_it_along(
        self, api: Api, make_bucket: Make, upload: Upload, on_disk: OnDisk
    ) -> None:
        """Also if there is a new bucket of the same ID."""
        await make_bucket()
        await upload(api.server, **chunk(0))
        assert (await api.server.delete("/v1/storage/buckets/photos")).status_code == 204
        assert (await upload(api.server, **chunk(1))).status_code == 404
        await make_bucket()
        assert (await upload(api.server, **chunk(1))).status_code == 400
        await api.services.discards.sweep()
        assert on_disk() == []

    async def test_bucket_that_is_deleted_while_the_last_chunk_is_read_has_no_file(
        self, api: Api, make_bucket: Make, upload: Upload, on_disk: OnDisk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await make_bucket()

        async def delete_bucket(_received: object) -> str:
            assert (await api.server.delete("/v1/storage/buckets/photos")).status_code == 204
            await make_bucket()
            return ""

        monkeypatch.setattr("workers.api.storage.uploads.sign_received", delete_bucket)
        response = await upload(api.server)
        assert response.json()["type"] == "storage_bucket_not_found"
        async with api.services.store.read() as connection:
            assert (await connection.execute(tables.files.select())).all() == []
        await api.services.discards.sweep()
        assert on_disk() == []

    async def test_chunk_of_another_size_is_refused(
        self, api: Api, make_bucket: Make, upload: Upload
    ) -> None:
        await make_bucket()
        await upload(api.server, **chunk(0))
        for span in ((100, 149, 1024), (100, 199, 1000), (150, 249, 1024)):
            content = bytes(span[1] - span[0] + 1)
            response = await upload(api.server, content, span=span, resource_id="f1")
            assert response.json()["type"] == "storage_invalid_content_range"
        assert (await api.server.get(f"{FILES}/f1")).json()["chunksUploaded"] == 1
