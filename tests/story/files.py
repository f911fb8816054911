"""Acts about files: a large one whose upload is interrupted, a picture, and who may see what."""

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.story.cast import ADA_KEEPS, Story

PICTURES = {"bucketId": "pictures"}
CHUNK_BYTES = 5 * 1024 * 1024
LARGE_BYTES = 12_000_000


async def upload_a_large_file(story: Story, folder: Path) -> None:
    """Ada is cut off while she uploads; the SDK sends all again, and the parts that came count once."""
    await story.backend.call(
        "storage.createBucket",
        **PICTURES,
        name="Pictures",
        permissions=['create("users")'],
        fileSecurity=True,
    )
    content = os.urandom(LARGE_BYTES)
    path = folder / "large.bin"
    path.write_bytes(content)
    large = {**PICTURES, "fileId": "large"}
    upload = {
        **large,
        "file": {"path": str(path), "name": "large.bin", "mediaType": "application/octet-stream"},
        "permissions": ['read("users")', *ADA_KEEPS],
    }
    story.proxy.cut_after(CHUNK_BYTES + CHUNK_BYTES // 2)
    with pytest.raises(AssertionError, match="fetch failed"):
        await story.ada.call("storage.createFile", **upload)
    begun = await story.ada.call("storage.getFile", **large)
    assert (begun["chunksUploaded"], begun["chunksTotal"]) == (1, 3)
    await story.refuse(story.bob, "storage.getFile", "storage_file_not_found", **large)

    made = await story.ada.call("storage.createFile", **upload)
    assert (made["chunksUploaded"], made["chunksTotal"], made["sizeOriginal"]) == (3, 3, LARGE_BYTES)
    assert made["signature"] == hashlib.md5(content, usedforsecurity=False).hexdigest()
    await story.bob.until_event("buckets.pictures.files.large.create")
    found = await story.bob.call("storage.getFile", **large)
    assert found["name"] == "large.bin"
    listed = await story.visitor.call("storage.listFiles", **PICTURES)
    assert listed["total"] == 0
    await story.refuse(story.visitor, "storage.getFile", "storage_file_not_found", **large)
    token = await story.backend.call("tokens.createFileToken", **large)
    await _holds(story, "large", content, token=token["secret"])


async def show_a_picture(story: Story, folder: Path) -> None:
    """A picture for all is shown in a smaller size, and then to its owner only."""
    path = folder / "sky.png"
    Image.new("RGB", (640, 480), "#3366cc").save(path)
    sky = {**PICTURES, "fileId": "sky"}
    await story.ada.call(
        "storage.createFile",
        **sky,
        file={"path": str(path), "name": "sky.png", "mediaType": "image/png"},
        permissions=['read("any")', *ADA_KEEPS],
    )
    await story.visitor.until_event("buckets.pictures.files.sky.create")
    address = await story.visitor.call("storage.getFilePreview", **sky, width=64, height=32, output="webp")
    preview = await _fetch(address)
    assert preview.headers["content-type"] == "image/webp"
    with Image.open(io.BytesIO(preview.content)) as small:
        assert (small.size, small.format) == ((64, 32), "WEBP")
    await story.ada.call("storage.updateFile", **sky, name="heaven.png")
    await story.ada.call("storage.updateFile", **sky, permissions=['read("user:ada")', *ADA_KEEPS])
    assert (await _fetch(address, 404)).json()["type"] == "storage_file_not_found"
    await story.refuse(
        story.bob, "storage.updateFile", "storage_file_not_found", **sky, permissions=['read("any")']
    )
    await story.ada.call("storage.deleteFile", **sky)


async def open_a_bucket_to_nobody(story: Story) -> None:
    """What is in a bucket that nobody may read is told to nobody."""
    await story.backend.call("storage.createBucket", bucketId="vault", name="Vault")
    refused: dict[str, Any] = {"bucketId": "vault", "fileId": "coin"}
    await story.refuse(story.bob, "storage.getFile", "storage_file_not_found", **refused)
    await story.backend.call("storage.deleteFile", **PICTURES, fileId="large")
    await story.bob.until_event("buckets.pictures.files.large.delete")
    await story.backend.call("storage.deleteBucket", bucketId="vault")


async def _holds(story: Story, file_id: str, content: bytes, *, token: str) -> None:
    """Check what a file holds, for whoever has a token of it."""
    address = f"{story.endpoint}/storage/buckets/pictures/files/{file_id}/download"
    downloaded = await _fetch(f"{address}?project={story.project}&token={token}")
    assert hashlib.sha256(downloaded.content).digest() == hashlib.sha256(content).digest()


async def _fetch(address: str, status: int = 200) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        response = await client.get(address)
    assert response.status_code == status, response.text
    return response
