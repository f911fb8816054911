"""Buckets, on both databases."""

from typing import Any

import pytest

from realtime.identity.model import Project
from tests.api import PROJECT, Api
from workers.store import tables

BUCKETS = "/v1/storage/buckets"


async def create(api: Api, bucket_id: str = "photos", **members: Any) -> dict[str, Any]:
    response = await api.server.post(
        BUCKETS, json={"bucketId": bucket_id, "name": bucket_id.title()} | members
    )
    assert response.status_code == 201, response.text
    bucket: dict[str, Any] = response.json()
    return bucket


async def insert_files(api: Api, bucket_id: str, count: int) -> None:
    """Insert records of files, with permissions and a token each."""
    async with api.services.store.write(Project(id=PROJECT)) as tx:
        found = await tx.connection.execute(tables.buckets.select().where(tables.buckets.c.id == bucket_id))
        seq = found.mappings().one()["seq"]
        times = {"created_at": tx.now_text, "updated_at": tx.now_text}
        await tx.connection.execute(
            tables.files.insert(),
            [
                {
                    "project_id": PROJECT, "bucket_seq": seq, "id": f"f{number}", "name": "a.txt", "permissions": [],
                    "signature": "", "mime_type": "text/plain", "size_bytes": 10, "chunks": 1,
                    "storage_key": f"demo/files/{bucket_id}/{number}", **times,
                }
                for number in range(count)
            ],
        )  # fmt: skip
        files = await tx.connection.execute(
            tables.files.select().where(tables.files.c.bucket_seq == seq).order_by(tables.files.c.seq)
        )
        seqs = [row["seq"] for row in files.mappings()]
        await tx.connection.execute(
            tables.file_permissions.insert(),
            [
                {"project_id": PROJECT, "bucket_seq": seq, "file_seq": each, "action": "read", "role": "any"}
                for each in seqs
            ],
        )
        await tx.connection.execute(
            tables.file_tokens.insert(),
            [
                {
                    "project_id": PROJECT, "id": f"t{each}", "file_seq": each, "bucket_id": bucket_id,
                    "file_id": "f", **times,
                }
                for each in seqs
            ],
        )  # fmt: skip
        await tx.connection.execute(
            tables.buckets.update().where(tables.buckets.c.seq == seq).values(total_bytes=10 * count)
        )


async def rows_of(api: Api, table: Any) -> int:
    async with api.services.store.read() as connection:
        return len((await connection.execute(table.select())).all())


class TestCreate:
    async def test_bucket_has_what_was_asked_for_and_defaults(self, api: Api) -> None:
        bucket = await create(api)
        assert bucket == {
            "$id": "photos",
            "$createdAt": bucket["$createdAt"],
            "$updatedAt": bucket["$createdAt"],
            "$permissions": [],
            "fileSecurity": False,
            "name": "Photos",
            "enabled": True,
            "maximumFileSize": 5_000_000_000,
            "allowedFileExtensions": [],
            "compression": "none",
            "encryption": False,
            "antivirus": False,
            "transformations": True,
            "totalSize": 0,
        }

    async def test_every_member_can_be_given(self, api: Api) -> None:
        given: dict[str, Any] = {
            "fileSecurity": True, "enabled": False, "maximumFileSize": 1000, "compression": "none",
            "encryption": False, "antivirus": False, "transformations": False,
        }  # fmt: skip
        bucket = await create(
            api,
            permissions=['read("any")', 'write("users")'],
            allowedFileExtensions=[".PNG", "jpg", "png"],
            **given,
        )
        assert bucket.items() >= given.items()
        assert bucket["allowedFileExtensions"] == ["png", "jpg"]
        assert bucket["$permissions"] == [
            'read("any")', 'create("users")', 'update("users")', 'delete("users")',
        ]  # fmt: skip
        assert (await api.server.get(f"{BUCKETS}/photos")).json() == bucket

    async def test_larger_files_than_the_server_takes_are_refused(self, api: Api) -> None:
        body = {"bucketId": "photos", "name": "Photos", "maximumFileSize": 5_000_000_001}
        response = await api.server.post(BUCKETS, json=body)
        assert response.status_code == 400
        assert response.json()["type"] == "general_argument_invalid"
        assert "between 1 and 5,000,000,000" in response.json()["message"]
        assert await rows_of(api, tables.buckets) == 0

    async def test_taken_id_is_a_conflict(self, api: Api) -> None:
        await create(api)
        response = await api.server.post(BUCKETS, json={"bucketId": "photos", "name": "Again"})
        assert response.status_code == 409
        assert response.json()["type"] == "storage_bucket_already_exists"

    async def test_only_keys_with_the_scope_manage_buckets(self, api: Api) -> None:
        await create(api)
        async with api.guest() as guest, await api.add_key("buckets.read") as reader:
            for client, status in ((guest, 401), (reader, 200)):
                assert (await client.get(f"{BUCKETS}/photos")).status_code == status
                assert (await client.get(BUCKETS)).status_code == status
            for client in (guest, reader):
                assert (await client.post(BUCKETS, json={})).status_code == 401
                assert (await client.delete(f"{BUCKETS}/photos")).status_code == 401


class TestList:
    async def test_filters_search_and_order_select_buckets(self, api: Api) -> None:
        for bucket_id, size in (("photos", 10), ("videos", 30), ("documents", 20)):
            await create(api, bucket_id, maximumFileSize=size)

        async def ids(*queries: str, **params: str) -> list[str]:
            response = await api.server.get(BUCKETS, params={"queries[]": list(queries), **params})
            assert response.status_code == 200, response.text
            return [bucket["$id"] for bucket in response.json()["buckets"]]

        assert await ids() == ["photos", "videos", "documents"]
        assert await ids('{"method":"orderDesc","attribute":"maximumFileSize"}') == [
            "videos", "documents", "photos",
        ]  # fmt: skip
        assert await ids('{"method":"equal","attribute":"encryption","values":[true]}') == []
        assert await ids('{"method":"greaterThan","attribute":"maximumFileSize","values":[15]}') == [
            "videos", "documents",
        ]  # fmt: skip
        assert await ids(search="VID") == ["videos"]
        assert await ids('{"method":"equal","attribute":"antivirus","values":[false]}') == [
            "photos", "videos", "documents",
        ]  # fmt: skip


class TestUpdate:
    async def test_what_is_left_out_stays(self, api: Api) -> None:
        before = await create(api, permissions=['read("any")'], maximumFileSize=1000, fileSecurity=True)
        response = await api.server.put(f"{BUCKETS}/photos", json={"name": "New", "enabled": False})
        assert response.status_code == 200
        after = response.json()
        assert after == before | {"name": "New", "enabled": False, "$updatedAt": after["$updatedAt"]}
        assert (await api.server.get(f"{BUCKETS}/photos")).json() == after

    async def test_unknown_bucket_is_not_found(self, api: Api) -> None:
        for bucket_id in ("none", "%00", "-"):
            response = await api.server.put(f"{BUCKETS}/{bucket_id}", json={"name": "New"})
            assert response.status_code == 404


class TestDelete:
    async def test_files_go_along_and_their_bytes_are_discarded(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also if they are more than are deleted at once; other buckets keep theirs."""
        monkeypatch.setattr("workers.api.storage.buckets.FILES_AT_ONCE", 3)
        await create(api)
        await create(api, "videos")
        await insert_files(api, "photos", 7)
        await insert_files(api, "videos", 2)
        assert (await api.server.delete(f"{BUCKETS}/photos")).status_code == 204
        assert (await api.server.get(f"{BUCKETS}/photos")).status_code == 404
        for table in (tables.files, tables.file_permissions, tables.file_tokens):
            assert await rows_of(api, table) == 2
        assert (await api.server.get(f"{BUCKETS}/videos")).json()["totalSize"] == 20

    async def test_events_tell_each_change_once(self, api: Api) -> None:
        created = await create(api)
        updated = (await api.server.put(f"{BUCKETS}/photos", json={"name": "New"})).json()
        await api.server.delete(f"{BUCKETS}/photos")
        events = await api.published()
        assert [(event.name, event.payload) for event in events] == [
            ("buckets.photos.create", created),
            ("buckets.photos.update", updated),
            ("buckets.photos.delete", updated),
        ]
        assert all(event.roles == [] for event in events)
