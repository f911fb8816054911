"""What is particular to files in S3."""

import asyncio
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

    async def test_whoever_is_slow_to_read_holds_no_connection(
        self, s3_url: str, source: Callable[[bytes], BinaryIO], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workers.files.s3._CONNECTIONS", 1)
        content = random.Random(4).randbytes(5 * 1024 * 1024 + 1)
        store = S3Store(S3Location.parse(s3_url))
        await store.put("demo/large-1", source(content), len(content))
        slow = [store.read("demo/large-1", 0, len(content)) for _ in range(3)]
        async with asyncio.timeout(20):
            begun = [await anext(blocks) for blocks in slow]
            await store.put("demo/small-1", source(b"small"), 5)
            rest = b"".join([block async for block in slow[1]])
        assert begun[1] + rest == content
        for blocks in slow:
            await blocks.aclose()
        await store.aclose()

    async def test_a_range_is_read_to_its_byte_over_the_ends_of_pieces(
        self, s3_url: str, source: Callable[[bytes], BinaryIO], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workers.files.s3._READ_BYTES", 10)
        content = bytes(range(45))
        store = S3Store(S3Location.parse(s3_url))
        await store.put("demo/small-1", source(content), len(content))
        for start, end in [(0, 45), (0, 10), (3, 13), (3, 14), (9, 41), (44, 45), (5, 5)]:
            found = [block async for block in store.read("demo/small-1", start, end)]
            assert b"".join(found) == content[start:end]
        await store.aclose()

    async def test_an_object_that_ends_early_is_an_error_of_the_store(
        self, s3_url: str, source: Callable[[bytes], BinaryIO]
    ) -> None:
        store = S3Store(S3Location.parse(s3_url))
        await store.put("demo/small-1", source(b"small"), 5)
        with pytest.raises(FileStoreError, match="shorter"):
            await anext(store.read("demo/small-1", 0, 6))
        await store.aclose()

    async def test_waiting_for_a_connection_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("workers.files.s3._CONNECTIONS", 1)
        monkeypatch.setattr("workers.files.s3._WAIT_TIMEOUT_S", 0.05)
        store = S3Store(S3Location(bucket="bucket"))
        asked, answered = asyncio.Event(), asyncio.Event()

        class Slow:
            async def delete_object(self, **_arguments: str) -> None:
                asked.set()
                await answered.wait()

        async def client() -> Slow:
            return Slow()

        monkeypatch.setattr(store, "_client", client)
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            tasks.create_task(store.delete("demo/one-1"))
            await asked.wait()
            with pytest.raises(FileStoreError, match="in use"):
                await store.delete("demo/two-1")
            answered.set()
        await store.delete("demo/two-1")

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
