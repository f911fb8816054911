"""Who may do what to files, on both databases. What a bucket and a file decide together is in test_opened.py."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.api import Api

Make = Callable[..., Awaitable[dict[str, Any]]]
LogIn = Callable[[str], Awaitable[httpx.AsyncClient]]
Upload = Callable[..., Awaitable[httpx.Response]]

FILES = "/v1/storage/buckets/photos/files"
FILE = f"{FILES}/f1"


async def outcomes(client: httpx.AsyncClient) -> dict[str, int]:
    """Return what somebody is answered for each thing that can be done to the file ``f1``, deleting it at last."""
    return {
        "list": (await client.get(FILES)).status_code,
        "get": (await client.get(FILE)).status_code,
        "view": (await client.get(f"{FILE}/view")).status_code,
        "download": (await client.get(f"{FILE}/download")).status_code,
        "update": (await client.put(FILE, json={"name": "new.txt"})).status_code,
        "delete": (await client.delete(FILE)).status_code,
    }


def answers(listed: int, read: int, changed: int, deleted: int) -> dict[str, int]:
    return {
        "list": listed, "get": read, "view": read, "download": read, "update": changed, "delete": deleted,
    }  # fmt: skip


class TestPermissions:
    @pytest.mark.parametrize(
        ("bucket", "file_security", "file", "expected"),
        [
            ([], False, ['read("users")', 'write("users")'], answers(401, 404, 404, 404)),
            (['read("user:ada")', 'update("users")'], False, [], answers(200, 200, 200, 401)),
            ([], True, ['read("users")', 'delete("users")'], answers(200, 200, 401, 204)),
            ([], True, ['read("user:bob")'], answers(200, 404, 404, 404)),
        ],
    )
    async def test_bucket_and_file_decide_together(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload,
        bucket: list[str], file_security: bool, file: list[str], expected: dict[str, int],
    ) -> None:  # fmt: skip
        await make_bucket(permissions=bucket, fileSecurity=file_security)
        assert (await upload(api.server, permissions=file)).status_code == 201
        assert await outcomes(await log_in("ada")) == expected

    async def test_guests_are_let_in_by_any(self, api: Api, make_bucket: Make, upload: Upload) -> None:
        await make_bucket(permissions=['create("guests")', 'read("any")'], fileSecurity=True)
        guest = api.guest()
        file = (await upload(guest, permissions=['update("any")'])).json()
        assert file["$permissions"] == ['update("any")']
        assert await outcomes(guest) == answers(200, 200, 200, 401)

    async def test_disabled_bucket_exists_for_servers_only(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload
    ) -> None:
        await make_bucket(permissions=['read("any")', 'write("any")'], enabled=False)
        assert (await upload(api.server)).status_code == 201
        assert set((await outcomes(await log_in("ada"))).values()) == {404}
        assert await outcomes(api.server) == answers(200, 200, 200, 204)

    async def test_keys_need_the_scopes(self, api: Api, make_bucket: Make, upload: Upload) -> None:
        await make_bucket()
        await upload(api.server)
        async with await api.add_key("files.read") as reader, await api.add_key("buckets.read") as other:
            assert await outcomes(reader) == answers(200, 200, 401, 401)
            assert (await upload(reader, file_id="f2")).status_code == 401
            assert set((await outcomes(other)).values()) == {401}


class TestUpdate:
    async def test_name_and_permissions_change_and_readers_are_told(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload
    ) -> None:
        await make_bucket(permissions=['create("users")'], fileSecurity=True)
        ada, bob = await log_in("ada"), await log_in("bob")
        before = (await upload(ada)).json()
        assert (await bob.get(FILES)).json()["total"] == 0
        permissions = ['read("users")', 'update("user:ada")']
        response = await ada.put(FILE, json={"name": "../new\u202e.txt", "permissions": permissions})
        assert response.status_code == 200
        after = response.json()
        assert after == before | {
            "name": "new.txt", "$permissions": permissions, "$updatedAt": after["$updatedAt"],
        }  # fmt: skip
        assert (await bob.get(FILES)).json() == {"total": 1, "files": [after]}
        event = (await api.published())[-1]
        assert (event.name, event.payload) == ("buckets.photos.files.f1.update", after)
        assert event.roles == ["users"]

    async def test_what_is_left_out_stays(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload
    ) -> None:
        await make_bucket(permissions=['create("users")'], fileSecurity=True)
        ada = await log_in("ada")
        before = (await upload(ada)).json()
        for body in ({}, {"name": None, "permissions": None}):
            after = (await ada.put(FILE, json=body)).json()
            assert after == before | {"$updatedAt": after["$updatedAt"]}

    async def test_who_may_not_read_is_answered_what_they_sent(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload
    ) -> None:
        await make_bucket(permissions=['update("users")'])
        await upload(api.server, permissions=['read("user:bob")'])
        after = (await (await log_in("ada")).put(FILE, json={"name": "new.txt"})).json()
        assert (after["$id"], after["name"], after["$permissions"]) == ("f1", "new.txt", [])
        assert (after["signature"], after["mimeType"], after["sizeOriginal"]) == ("", "", 0)
        whole = (await api.server.get(FILE)).json()
        assert (await api.published())[-1].payload == whole
        assert whole["$permissions"] == ['read("user:bob")']

    async def test_only_roles_that_are_held_can_be_granted(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload
    ) -> None:
        await make_bucket(permissions=['create("users")'], fileSecurity=True)
        ada = await log_in("ada")
        await upload(ada)
        for permissions, status in (
            (['read("team:red")'], 401),
            (['read("user:bob")'], 401),
            (['create("any")'], 400),
            (["read"], 400),
            (['read("users")', 'update("users")'], 200),
        ):
            response = await ada.put(FILE, json={"permissions": permissions})
            assert response.status_code == status, response.text
        response = await api.server.put(FILE, json={"permissions": ['read("team:red")']})
        assert response.status_code == 200

    async def test_extension_must_be_one_that_the_bucket_takes(
        self, api: Api, make_bucket: Make, upload: Upload
    ) -> None:
        await make_bucket(allowedFileExtensions=["txt", "tar.gz"])
        await upload(api.server)
        for name, status in (
            ("a.TXT", 200),
            ("a.tar.gz", 200),
            ("a.gz", 400),
            ("a.exe", 400),
            ("n" * 256, 400),
        ):
            assert (await api.server.put(FILE, json={"name": name})).status_code == status, name


class TestDelete:
    async def test_bytes_permissions_and_tokens_go_along(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload, on_disk: Callable[[], list[Any]]
    ) -> None:
        await make_bucket(permissions=['create("users")'], fileSecurity=True)
        ada = await log_in("ada")
        await upload(ada, b"12345")
        file = (await upload(ada, b"123", file_id="f2")).json()
        assert (await ada.delete(f"{FILES}/f2")).status_code == 204
        assert (await ada.get(f"{FILES}/f2/view")).status_code == 404
        await api.services.discards.sweep()
        assert len(on_disk()) == 1
        assert (await api.server.get("/v1/storage/buckets/photos")).json()["totalSize"] == 5
        event = (await api.published())[-1]
        assert (event.name, event.payload) == ("buckets.photos.files.f2.delete", file)
        assert event.roles == ["user:ada"]

    async def test_id_can_be_used_again(self, api: Api, make_bucket: Make, upload: Upload) -> None:
        """Bytes are removed later, and never those of the new file."""
        await make_bucket()
        await upload(api.server, b"old")
        await api.server.delete(FILE)
        await upload(api.server, b"new")
        await api.services.discards.sweep()
        assert (await api.server.get(f"{FILE}/download")).content == b"new"
