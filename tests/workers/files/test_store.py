"""What every file store promises, whatever it keeps bytes in."""

import asyncio
import random
from collections.abc import Callable
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.files.s3 import MIN_PART_BYTES
from workers.files.store import FileStore, FileStoreError, MissingFileError, check_key, new_key

Source = Callable[[bytes], BinaryIO]
KEY = "demo/file/12/picture-1"
PARTS = [b"a" * MIN_PART_BYTES, b"b" * MIN_PART_BYTES, b"the end"]
WHOLE = b"".join(PARTS)


async def read(store: FileStore, key: str, start: int, end: int) -> bytes:
    return b"".join([block async for block in store.read(key, start, end)])


async def put_part(store: FileStore, token: str, number: int, source: Source, data: bytes = b"") -> None:
    part = data or PARTS[number - 1]
    await store.put_part(
        KEY,
        token,
        number=number,
        offset=(number - 1) * MIN_PART_BYTES,
        source=source(part),
        size_bytes=len(part),
    )


class TestPut:
    async def test_what_was_put_is_read_in_ranges(self, store: FileStore, source: Source) -> None:
        data = random.Random(1).randbytes(700_000)
        await store.put(KEY, source(data), len(data))
        assert await read(store, KEY, 0, len(data)) == data
        assert await read(store, KEY, 300_000, 300_001) == data[300_000:300_001]
        assert await read(store, KEY, 1, len(data) - 1) == data[1:-1]

    async def test_a_large_file_is_put_in_one_piece(self, store: FileStore, source: Source) -> None:
        data = random.Random(2).randbytes(9 * 1024 * 1024)
        await store.put(KEY, source(data), len(data))
        assert await read(store, KEY, 0, len(data)) == data

    async def test_a_source_that_is_too_short_leaves_nothing(self, store: FileStore, source: Source) -> None:
        with pytest.raises(FileStoreError, match="fewer bytes"):
            await store.put(KEY, source(b"abc"), 4)
        with pytest.raises(MissingFileError):
            await read(store, KEY, 0, 3)

    async def test_a_large_source_that_is_too_short_leaves_no_parts(
        self, store: FileStore, source: Source
    ) -> None:
        with pytest.raises(FileStoreError, match="fewer bytes"):
            await store.put(KEY, source(b"x" * 9_000_000), 10_000_000)
        assert await store.unfinished(-60) == []


class TestParts:
    async def test_parts_may_come_in_any_order_and_at_once(self, store: FileStore, source: Source) -> None:
        token = await store.begin(KEY, len(WHOLE))
        await put_part(store, token, 1, source)
        await asyncio.gather(put_part(store, token, 3, source), put_part(store, token, 2, source))
        await store.complete(KEY, token, len(WHOLE))
        assert await read(store, KEY, 0, len(WHOLE)) == WHOLE

    async def test_nothing_is_read_before_the_upload_is_complete(
        self, store: FileStore, source: Source
    ) -> None:
        token = await store.begin(KEY, len(WHOLE))
        await put_part(store, token, 1, source)
        with pytest.raises(MissingFileError):
            await read(store, KEY, 0, 1)

    async def test_a_part_that_comes_again_replaces_itself(self, store: FileStore, source: Source) -> None:
        token = await store.begin(KEY, len(WHOLE))
        for number in (1, 2, 3):
            await put_part(store, token, number, source)
        await put_part(store, token, 2, source, b"c" * MIN_PART_BYTES)
        await store.complete(KEY, token, len(WHOLE))
        assert await read(store, KEY, MIN_PART_BYTES - 1, MIN_PART_BYTES + 1) == b"ac"

    async def test_completing_again_does_nothing(self, store: FileStore, source: Source) -> None:
        token = await store.begin(KEY, 5)
        await put_part(store, token, 1, source, b"small")
        await store.complete(KEY, token, 5)
        await store.complete(KEY, token, 5)
        assert await read(store, KEY, 0, 5) == b"small"

    async def test_a_total_that_the_parts_do_not_make_is_refused(
        self, store: FileStore, source: Source
    ) -> None:
        token = await store.begin(KEY, 5)
        await put_part(store, token, 1, source, b"small")
        with pytest.raises(FileStoreError, match="do not make 6 bytes"):
            await store.complete(KEY, token, 6)
        with pytest.raises(MissingFileError):
            await read(store, KEY, 0, 5)

    async def test_an_aborted_upload_is_gone(self, store: FileStore, source: Source) -> None:
        token = await store.begin(KEY, 5)
        await put_part(store, token, 1, source, b"small")
        await store.abort(KEY, token)
        await store.abort(KEY, token)
        await store.abort(KEY, "")
        with pytest.raises(MissingFileError):
            await store.complete(KEY, token, 5)


class TestUnfinished:
    async def test_uploads_are_listed_until_they_end(self, store: FileStore, source: Source) -> None:
        assert await store.unfinished(-60) == []
        tokens = [await store.begin(KEY, 5) for _ in range(3)]
        assert {token for _, token in await store.unfinished(-60)} == set(tokens)
        await store.abort(KEY, tokens[0])
        await put_part(store, tokens[1], 1, source, b"small")
        await store.complete(KEY, tokens[1], 5)
        ((key, token),) = await store.unfinished(-60)
        assert token == tokens[2]
        await store.abort(key, token)
        assert await store.unfinished(-60) == []


class TestCopyAndDelete:
    async def test_a_copy_outlives_its_source(self, store: FileStore, source: Source) -> None:
        await store.put(KEY, source(b"bytes"), 5)
        await store.copy(KEY, "demo/deployment/copy-1")
        await store.delete(KEY)
        assert await read(store, "demo/deployment/copy-1", 0, 5) == b"bytes"
        with pytest.raises(MissingFileError):
            await read(store, KEY, 0, 5)

    async def test_copying_nothing_is_refused(self, store: FileStore) -> None:
        with pytest.raises(MissingFileError):
            await store.copy(KEY, "demo/other")

    async def test_deleting_nothing_does_nothing(self, store: FileStore) -> None:
        await store.delete(KEY)

    async def test_a_store_that_works_passes_its_check(self, store: FileStore) -> None:
        await store.check()

    async def test_a_key_that_leaves_the_root_is_refused(self, store: FileStore, source: Source) -> None:
        with pytest.raises(ValueError, match="no key"):
            await store.put("../outside", source(b"bytes"), 5)
        with pytest.raises(ValueError, match="no key"):
            await read(store, "/etc/passwd", 0, 5)
        with pytest.raises(ValueError, match="no key"):
            await store.delete("demo/../../x")


class TestKeys:
    def test_new_keys_differ_and_say_what_they_are_of(self) -> None:
        first, second = new_key("demo", "file", "photos", "me"), new_key("demo", "file", "photos", "me")
        assert first != second
        assert first.startswith("demo/file/photos/me-")

    @pytest.mark.parametrize(
        "key",
        ["", "/a", "a/", "a//b", "..", "a/..", "a/../b", ".a", "a/.b", "a\x00b", "a b", "a\n", "ä", "a\\b"],
    )
    def test_what_is_not_made_of_ids_is_refused(self, key: str) -> None:
        with pytest.raises(ValueError, match="no key"):
            check_key(key)

    @given(st.text(alphabet="ab./\\-_\x00 ", max_size=12))
    def test_no_segment_of_a_key_is_hidden_or_climbs(self, text: str) -> None:
        try:
            key = check_key(text)
        except ValueError:
            return
        assert all(segment and not segment.startswith(".") for segment in key.split("/"))
