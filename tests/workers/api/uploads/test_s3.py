"""Files by way of the API, kept in S3: everything that the folder does too."""

import asyncio
import hashlib
import random
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api import Api
from tests.s3 import new_bucket, running_s3

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

CHUNK = 5 * 1024 * 1024
FILES = "/v1/storage/buckets/photos/files"
CONTENT = random.Random(1).randbytes(2 * CHUNK + 1_000)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with running_s3() as url:
        yield url


@pytest.fixture
def overrides(endpoint: str) -> dict[str, Any]:
    return {"files_url": new_bucket(endpoint)}


@pytest.fixture
async def bucket(api: Api) -> None:
    answer = await api.server.post("/v1/storage/buckets", json={"bucketId": "photos", "name": "Photos"})
    assert answer.status_code == 201, answer.text


async def send(api: Api, number: int, chunk: int = CHUNK) -> httpx.Response:
    start, end = number * chunk, min((number + 1) * chunk, len(CONTENT))
    headers = {"Content-Range": f"bytes {start}-{end - 1}/{len(CONTENT)}"}
    return await api.server.post(
        FILES,
        files={"file": ("large.bin", CONTENT[start:end])},
        data={"fileId": "large"},
        headers=headers | ({"X-Appwrite-ID": "large"} if number else {}),
    )


@pytest.mark.usefixtures("bucket")
class TestFilesInS3:
    async def test_chunks_become_a_file_that_is_read_in_ranges_and_deleted(self, api: Api) -> None:
        assert (await send(api, 0)).status_code == 201
        answers = await asyncio.gather(send(api, 2), send(api, 1))
        assert {answer.status_code for answer in answers} == {201}
        (complete,) = {
            answer.json()["signature"] for answer in answers if answer.json()["chunksUploaded"] == 3
        }
        assert complete == hashlib.md5(CONTENT).hexdigest()
        part = await api.server.get(
            f"{FILES}/large/download", headers={"Range": f"bytes={CHUNK - 2}-{CHUNK + 1}"}
        )
        assert (part.status_code, part.content) == (206, CONTENT[CHUNK - 2 : CHUNK + 2])
        assert (await api.server.get(f"{FILES}/large/download")).content == CONTENT
        assert (await api.server.delete(f"{FILES}/large")).status_code == 204
        assert await api.services.discards.sweep() == 1

    async def test_a_small_file_is_one_request(self, api: Api) -> None:
        answer = await api.server.post(FILES, files={"file": b"small"}, data={"fileId": "small"})
        assert answer.status_code == 201, answer.text
        assert (await api.server.get(f"{FILES}/small/download")).content == b"small"

    async def test_chunks_smaller_than_s3_takes_are_refused_plainly(self, api: Api) -> None:
        answer = await send(api, 0, chunk=CHUNK - 1)
        assert (answer.status_code, answer.json()["type"]) == (400, "storage_invalid_content_range")
        assert "5242880 bytes at least" in answer.json()["message"]

    async def test_a_cancelled_upload_leaves_no_parts(self, api: Api) -> None:
        await send(api, 0)
        assert (await api.server.delete(f"{FILES}/large")).status_code == 204
        assert await api.services.discards.sweep() == 1
        answer = await send(api, 1)
        assert (answer.status_code, answer.json()["type"]) == (400, "storage_invalid_appwrite_id")
