"""Files, on both databases: uploaded, shown, listed, changed and deleted, by those who may."""

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from realtime.identity.model import Project
from tests.api import PROJECT, Api
from workers.store import tables
from workers.store.projects import delete_project

Make = Callable[..., Awaitable[dict[str, Any]]]
LogIn = Callable[[str], Awaitable[httpx.AsyncClient]]
Upload = Callable[..., Awaitable[httpx.Response]]
OnDisk = Callable[[], list[Path]]

FILES = "/v1/storage/buckets/photos/files"


class TestCreate:
    async def test_file_in_one_piece_is_there_at_once(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload
    ) -> None:
        await make_bucket(permissions=['create("users")', 'read("any")'], fileSecurity=True)
        ada = await log_in("ada")
        response = await upload(ada, b"Hello", name="../dir/hello.txt", permissions=['read("user:ada")'])
        assert response.status_code == 201, response.text
        file = response.json()
        assert file == {
            "$id": "f1",
            "bucketId": "photos",
            "$createdAt": file["$createdAt"],
            "$updatedAt": file["$createdAt"],
            "$permissions": ['read("user:ada")'],
            "name": "hello.txt",
            "signature": hashlib.md5(b"Hello").hexdigest(),
            "mimeType": "text/plain",
            "sizeOriginal": 5,
            "sizeActual": 5,
            "chunksTotal": 1,
            "chunksUploaded": 1,
            "encryption": False,
            "compression": "none",
        }
        assert (await ada.get(f"{FILES}/f1")).json() == file
        assert (await ada.get(f"{FILES}/f1/view")).content == b"Hello"
        assert (await api.server.get("/v1/storage/buckets/photos")).json()["totalSize"] == 5
        (_bucket, _user, event) = (await api.published())[-3:]
        assert event.name == "buckets.photos.files.f1.create"
        assert event.payload == file
        assert event.roles == ["any", "user:ada"]
        assert event.channels[:3] == ["files", "buckets.photos.files", "buckets.photos.files.f1"]

    async def test_creator_may_do_everything_unless_permissions_are_given(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload
    ) -> None:
        await make_bucket(permissions=['create("users")'], fileSecurity=True)
        ada = await log_in("ada")
        file = (await upload(ada, file_id="unique()")).json()
        assert file["$permissions"] == ['read("user:ada")', 'update("user:ada")', 'delete("user:ada")']
        by_server = (await upload(api.server, file_id="unique()")).json()
        assert by_server["$permissions"] == []
        assert file["$id"] != by_server["$id"]

    async def test_name_is_kept_for_people_and_leads_nowhere(
        self, api: Api, make_bucket: Make, on_disk: OnDisk
    ) -> None:
        await make_bucket()
        names = {
            "../../etc/passwd": "passwd",
            "C:\\\\dir\\\\a.txt": "a.txt",
            "a\0b\x01.txt": "ab.txt",
            "n" * 300 + ".txt": "n" * 251 + ".txt",
            "..": "file",
            "größe \u202egpj.exe": "größe gpj.exe",
        }
        for given, kept in names.items():
            body = (
                b'--b\r\nContent-Disposition: form-data; name="fileId"\r\n\r\nunique()\r\n'
                b'--b\r\nContent-Disposition: form-data; name="file"; filename="'
                + given.encode()
                + b'"\r\n\r\n'
                b"Hello\r\n--b--\r\n"
            )
            headers = {"Content-Type": "multipart/form-data; boundary=b"}
            response = await api.server.post(FILES, content=body, headers=headers)
            assert response.status_code == 201, (given, response.text)
            assert response.json()["name"] == kept
        root = api.settings.data_dir / "files"
        paths = [str(path.relative_to(root)) for path in on_disk()]
        assert len(paths) == len(names)
        assert all(path.startswith("demo/file/") and path.isascii() for path in paths)

    async def test_taken_id_is_a_conflict(
        self, api: Api, make_bucket: Make, upload: Upload, on_disk: OnDisk
    ) -> None:
        await make_bucket()
        await upload(api.server, b"first")
        for span in (None, (0, 4, 10)):
            response = await upload(api.server, b"other", span=span)
            assert response.status_code == 409
            assert response.json()["type"] == "storage_file_already_exists"
        assert (await api.server.get(f"{FILES}/f1/download")).content == b"first"
        assert len(on_disk()) == 1

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    @pytest.mark.parametrize(
        ("members", "given", "status", "error"),
        [
            ({"maximumFileSize": 4}, {}, 400, "storage_invalid_file_size"),
            ({"maximumFileSize": 9}, {"span": (0, 4, 10)}, 400, "storage_invalid_file_size"),
            ({"allowedFileExtensions": ["png"]}, {}, 400, "storage_file_type_unsupported"),
            ({"allowedFileExtensions": ["txt"]}, {"name": "txt"}, 400, "storage_file_type_unsupported"),
            ({}, {"content": b""}, 400, "storage_file_empty"),
            ({}, {"file_id": "../f1"}, 400, "general_argument_invalid"),
            ({}, {"file_id": "f" * 37}, 400, "general_argument_invalid"),
            ({}, {"permissions": ['create("any")']}, 400, "general_argument_invalid"),
            ({}, {"permissions": ['read("user:bob")']}, 401, "user_unauthorized"),
            ({}, {"span": (0, 5, 10)}, 400, "storage_invalid_content_range"),
            ({}, {"span": (5, 9, 10)}, 400, "storage_invalid_appwrite_id"),
            ({}, {"span": (5, 9, 10), "resource_id": "../f1"}, 400, "storage_invalid_appwrite_id"),
            ({}, {"span": (5, 9, 10), "resource_id": "other"}, 400, "storage_invalid_appwrite_id"),
            ({"permissions": ['read("any")']}, {}, 401, "user_unauthorized"),
            ({"enabled": False}, {}, 404, "storage_bucket_not_found"),
            ({}, {"bucket_id": "other"}, 404, "storage_bucket_not_found"),
        ],
    )
    async def test_refused_upload_leaves_nothing_behind(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload, on_disk: OnDisk,
        members: dict[str, Any], given: dict[str, Any], status: int, error: str,
    ) -> None:  # fmt: skip
        await make_bucket(**{"permissions": ['create("users")'], "fileSecurity": True} | members)
        response = await upload(await log_in("ada"), **given)
        assert (response.status_code, response.json()["type"]) == (status, error), response.text
        assert on_disk() == []
        async with api.services.store.read() as connection:
            for table in (tables.files, tables.uploads, tables.file_permissions):
                assert (await connection.execute(table.select())).all() == []


class TestProject:
    async def test_everything_goes_with_the_project(
        self, api: Api, make_bucket: Make, upload: Upload, on_disk: OnDisk
    ) -> None:
        await make_bucket(fileSecurity=True)
        await upload(api.server, permissions=['read("any")'])
        await upload(api.server, file_id="f2", span=(0, 4, 10))
        assert (await api.server.post("/v1/tokens/buckets/photos/files/f1", json={})).status_code == 201
        assert len(on_disk()) == 2
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            assert await delete_project(tx)
        await api.services.discards.sweep()
        assert on_disk() == []
        async with api.services.store.read() as connection:
            for table in (
                tables.buckets, tables.files, tables.file_permissions, tables.file_tokens, tables.uploads,
                tables.discarded_files,
            ):  # fmt: skip
                assert (await connection.execute(table.select())).all() == []
