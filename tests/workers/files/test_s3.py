"""What is particular to files in S3."""

import random
from collections.abc import Callable
from typing import Any, BinaryIO

import pytest

from workers.files.s3 import S3Location, S3Store
from workers.files.store import FileStoreError


class TestS3Location:
    def test_a_url_names_bucket_prefix_place_and_credentials(self) -> None:
        assert S3Location.parse(
            "s3://k%2Fey:s%40cret@My-bucket/a/b/?region=eu-west-1&endpoint=http://127.0.0.1:9000"
        ) == S3Location(
            bucket="My-bucket",
            prefix="a/b/",
            region="eu-west-1",
            endpoint="http://127.0.0.1:9000",
            access_key="k/ey",
            secret_key="s@cret",
        )

    def test_what_is_not_named_is_left_to_the_environment(self) -> None:
        assert S3Location.parse("s3://bucket") == S3Location(bucket="bucket")

    @pytest.mark.parametrize(
        "url", ["s3://", "http://bucket", "s3:///prefix", "s3://bucket?acl=public", "bucket"]
    )
    def test_what_names_no_bucket_is_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match="s3://bucket/prefix"):
            S3Location.parse(url)

    def test_credentials_are_not_shown(self) -> None:
        assert "s3cret" not in repr(S3Location.parse("s3://key:s3cret@bucket"))


class TestS3Store:
    async def test_a_bucket_that_is_not_there_fails_the_check(self, s3_endpoint: str) -> None:
        store = S3Store(S3Location.parse(f"s3://k:s@nobody?region=us-east-1&endpoint={s3_endpoint}"))
        with pytest.raises(FileStoreError):
            await store.check()
        await store.aclose()

    async def test_a_server_that_is_away_is_an_error_of_the_store(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workers.files.s3._ATTEMPTS", 1)
        store = S3Store(S3Location.parse("s3://k:s3cret@bucket?region=us-east-1&endpoint=http://127.0.0.1:1"))
        with pytest.raises(FileStoreError) as raised:
            await store.check()
        assert "s3cret" not in str(raised.value)
        await store.aclose()

    async def test_a_part_that_is_not_held_in_memory_is_sent_as_it_is(
        self, s3_url: str, source: Callable[[bytes], BinaryIO]
    ) -> None:
        part = random.Random(3).randbytes(9 * 1024 * 1024)
        store = S3Store(S3Location.parse(s3_url))
        token = await store.begin("demo/large-1", len(part) + 3)
        for number, data in enumerate([part, b"end"], start=1):
            file = source(data)
            await store.put_part(
                "demo/large-1",
                token,
                number=number,
                offset=(number - 1) * len(part),
                source=file,
                size_bytes=len(data),
            )
            assert not file.closed
        await store.complete("demo/large-1", token, len(part) + 3)
        found = b"".join([block async for block in store.read("demo/large-1", 0, len(part) + 3)])
        assert found == part + b"end"
        await store.aclose()

    async def test_all_pages_of_parts_are_completed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """S3 lists a thousand at a time."""
        store = S3Store(S3Location(bucket="bucket"))
        completed: list[int] = []

        async def answer(operation: str, key: str, **arguments: Any) -> dict[str, Any]:
            if operation == "complete_multipart_upload":
                completed.extend(part["PartNumber"] for part in arguments["MultipartUpload"]["Parts"])
                return {}
            first = arguments["PartNumberMarker"] + 1
            parts = [{"PartNumber": n, "ETag": str(n), "Size": 1} for n in range(first, first + 2)]
            return {"Parts": parts, "IsTruncated": first < 5, "NextPartNumberMarker": first + 1}

        monkeypatch.setattr(store, "_call", answer)
        await store.complete("demo/file-1", "token", 6)
        assert completed == [1, 2, 3, 4, 5, 6]
