"""What the tests of storage share: buckets, people who are logged in, and files that are uploaded."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from realtime.identity.model import Project
from realtime.identity.secrets import encode_session, hash_secret
from tests.api import PROJECT, Api
from workers.api.people.users import create_user
from workers.models.users import show_user
from workers.store import tables

BUCKETS = "/v1/storage/buckets"


@pytest.fixture
def make_bucket(api: Api) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Make a bucket, `photos` unless it is named otherwise, with the members given."""

    async def make(bucket_id: str = "photos", **members: Any) -> dict[str, Any]:
        body = {"bucketId": bucket_id, "name": bucket_id.title()} | members
        response = await api.server.post(BUCKETS, json=body)
        assert response.status_code == 201, response.text
        bucket: dict[str, Any] = response.json()
        return bucket

    return make


@pytest.fixture
def log_in(api: Api) -> Callable[[str], Awaitable[httpx.AsyncClient]]:
    """Make a user, and return a browser where they are logged in."""

    async def log_in(user_id: str) -> httpx.AsyncClient:
        secret = f"secret-of-{user_id}"
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            await create_user(tx, user_id=user_id, name=user_id.title(), show=show_user)
            await tx.connection.execute(
                tables.sessions.insert().values(
                    project_id=PROJECT,
                    id=f"session-{user_id}",
                    user_id=user_id,
                    provider="anonymous",
                    secret_hash=hash_secret(secret),
                    expires_at="2999-01-01T00:00:00.000+00:00",
                    agent={},
                    factors=["anonymous"],
                    created_at=tx.now_text,
                    updated_at=tx.now_text,
                )
            )
            tx.change_user(user_id)
        return api.guest(**{"X-Appwrite-Session": encode_session(user_id, secret)})

    return log_in


@pytest.fixture
def upload() -> Callable[..., Awaitable[httpx.Response]]:
    """Upload a file whole, or a chunk of one if a range is given, as the SDKs do."""

    async def upload(
        client: httpx.AsyncClient,
        content: bytes = b"Hello",
        *,
        bucket_id: str = "photos",
        file_id: str = "f1",
        name: str = "hello.txt",
        permissions: list[str] | None = None,
        span: tuple[int, int, int] | None = None,
        resource_id: str = "",
    ) -> httpx.Response:
        headers = {}
        if span is not None:
            first, last, total = span
            headers["Content-Range"] = f"bytes {first}-{last}/{total}"
        if resource_id:
            headers["X-Appwrite-ID"] = resource_id
        fields = {"fileId": file_id}
        fields |= {f"permissions[{index}]": text for index, text in enumerate(permissions or ())}
        return await client.post(
            f"{BUCKETS}/{bucket_id}/files",
            data=fields,
            files={"file": (name, content, "application/octet-stream")},
            headers=headers,
        )

    return upload


@pytest.fixture
def on_disk(api: Api) -> Callable[[], list[Path]]:
    """Return every file below the folder where bytes are kept, those of incomplete uploads too."""
    root = api.settings.data_dir / "files"
    return lambda: sorted(path for path in root.rglob("*") if path.is_file())
