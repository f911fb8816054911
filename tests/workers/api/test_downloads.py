"""Files as they are sent: ranges, conditions, and nothing that runs on the origin of the API."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response

from workers.api import errors
from workers.api.downloads import (
    SAFE_TYPES,
    Disposition,
    Download,
    content_disposition,
    file_response,
    parse_range,
)
from workers.files.folder import FolderStore

KEY = "demo/file/photo-1"
CONTENT = bytes(range(256)) * 2_000
SIZE = len(CONTENT)
CHANGED = "2026-01-02T03:04:05.678+00:00"
LAST_MODIFIED = "Fri, 02 Jan 2026 03:04:05 GMT"
ETAG = '"one"'

PHOTO = Download(KEY, SIZE, "photo.png", "image/png", etag="one")
SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}

Message = MutableMapping[str, Any]
Get = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
async def files(tmp_path: Path) -> FolderStore:
    store = FolderStore(tmp_path / "files")
    with tempfile.TemporaryFile(dir=tmp_path) as source:
        source.write(CONTENT)
        source.flush()
        await store.put(KEY, source, SIZE)
    return store


@pytest.fixture
async def get(files: FolderStore) -> AsyncIterator[Get]:
    """Ask for the file: its type and disposition can be chosen."""
    app = FastAPI()
    errors.install(app)

    @app.api_route("/file", methods=["GET", "HEAD"])
    async def send(
        request: Request, kind: str, disposition: Disposition, name: str, key: str = KEY
    ) -> Response:
        download = Download(key, SIZE, name, kind, etag="one", changed_at=CHANGED)
        return await file_response(request, files, download, disposition=disposition)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.test") as client:

        async def ask(
            kind: str = "image/png",
            disposition: str = "inline",
            *,
            name: str = "photo.png",
            method: str = "GET",
            key: str = KEY,
            **headers: str,
        ) -> httpx.Response:
            return await client.request(
                method,
                "/file",
                params={"kind": kind, "disposition": disposition, "name": name, "key": key},
                headers={key.replace("_", "-"): value for key, value in headers.items()},
            )

        yield ask


class TestWhole:
    async def test_all_of_it_is_sent_with_what_a_client_must_know(self, get: Get) -> None:
        response = await get()
        assert (response.status_code, response.content) == (200, CONTENT)
        assert dict(response.headers) == {
            "accept-ranges": "bytes",
            "cache-control": "private, no-cache",
            "content-disposition": 'inline; filename="photo.png"',
            "content-length": str(SIZE),
            "content-security-policy": "default-src 'none'; img-src 'self'; media-src 'self'; style-src "
            "'unsafe-inline'; sandbox",
            "content-type": "image/png",
            "etag": ETAG,
            "last-modified": LAST_MODIFIED,
            "x-content-type-options": "nosniff",
        }

    async def test_head_sends_the_head_only(self, get: Get) -> None:
        response = await get(method="HEAD")
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["content-length"] == str(SIZE)

    async def test_bytes_that_are_gone_are_not_found(self, get: Get) -> None:
        response = await get(key="demo/file/gone-1")
        assert (response.status_code, response.json()["type"]) == (404, "storage_file_not_found")


class TestRange:
    @pytest.mark.parametrize(
        ("header", "first", "last"),
        [
            ("bytes=0-0", 0, 0),
            ("bytes=100-199", 100, 199),
            ("bytes=511999-", SIZE - 1, SIZE - 1),
            ("bytes=-10", SIZE - 10, SIZE - 1),
            ("bytes=-999999999", 0, SIZE - 1),
            ("bytes=10-999999999", 10, SIZE - 1),
            ("BYTES=0-1", 0, 1),
        ],
    )
    async def test_a_range_is_sent_alone(self, get: Get, header: str, first: int, last: int) -> None:
        response = await get(range=header)
        assert response.status_code == 206
        assert response.headers["content-range"] == f"bytes {first}-{last}/{SIZE}"
        assert response.headers["content-length"] == str(last - first + 1)
        assert response.content == CONTENT[first : last + 1]

    @pytest.mark.parametrize(
        "header", ["bytes=0-1,5-6", "items=0-1", "bytes=5-4", "bytes=-", "bytes=x", "0-1", "bytes 0-1"]
    )
    async def test_what_is_not_understood_is_ignored(self, get: Get, header: str) -> None:
        assert (await get(range=header)).status_code == 200

    @pytest.mark.parametrize("header", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE}", "bytes=-0"])
    async def test_a_range_without_bytes_is_refused_with_the_size(self, get: Get, header: str) -> None:
        response = await get(range=header)
        assert (response.status_code, response.json()["type"]) == (416, "storage_invalid_range")
        assert response.headers["content-range"] == f"bytes */{SIZE}"

    @pytest.mark.parametrize(
        ("condition", "status"), [(ETAG, 206), ('"two"', 200), (LAST_MODIFIED, 206), ('W/"one"', 200)]
    )
    async def test_a_range_of_other_bytes_is_not_sent(self, get: Get, condition: str, status: int) -> None:
        assert (await get(range="bytes=0-1", if_range=condition)).status_code == status

    async def test_head_tells_the_size_of_a_range(self, get: Get) -> None:
        response = await get(method="HEAD", range="bytes=0-9")
        assert (response.status_code, response.headers["content-length"]) == (206, "10")

    @given(
        size=st.integers(0, 40),
        first=st.none() | st.integers(0, 50),
        last=st.none() | st.integers(0, 50),
    )
    def test_it_is_the_slice_that_rfc_9110_says(self, size: int, first: int | None, last: int | None) -> None:
        if first is None and last is None:
            return
        header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
        chosen = parse_range(header, size)
        if first is not None and last is not None and last < first:
            assert chosen is None
            return
        assert chosen is not None
        data = list(range(size))
        if first is None:
            expected = data[-last:] if last else []
        else:
            expected = data[first:] if last is None else data[first : last + 1]
        assert data[slice(*chosen)] == expected

    @given(st.text(max_size=20))
    def test_any_header_is_understood_or_ignored(self, header: str) -> None:
        chosen = parse_range(header, 10)
        assert chosen is None or chosen[0] >= 0


class TestConditions:
    @pytest.mark.parametrize(
        ("headers", "status"),
        [
            ({"if_none_match": ETAG}, 304),
            ({"if_none_match": f'"two", W/{ETAG}'}, 304),
            ({"if_none_match": "*"}, 304),
            ({"if_none_match": '"two"'}, 200),
            ({"if_modified_since": LAST_MODIFIED}, 304),
            ({"if_modified_since": "Fri, 02 Jan 2026 03:04:04 GMT"}, 200),
            ({"if_modified_since": "yesterday"}, 200),
            ({"if_modified_since": "Fri, 02 Jan 99999999999999999999 03:04:05 GMT"}, 200),
            # RFC 9110 section 13.1.3: the tag counts, not the time.
            ({"if_none_match": '"two"', "if_modified_since": LAST_MODIFIED}, 200),
        ],
    )
    async def test_what_the_client_has_is_not_sent_again(
        self, get: Get, headers: dict[str, str], status: int
    ) -> None:
        response = await get(**headers)
        assert response.status_code == status
        if status == 304:
            assert response.content == b""
            assert set(response.headers) == {"cache-control", "etag", "last-modified"}


class TestWhatABrowserMakesOfIt:
    @pytest.mark.parametrize("kind", sorted(SAFE_TYPES - {"text/plain", "application/pdf"}))
    async def test_a_safe_type_is_shown_as_it_is(self, get: Get, kind: str) -> None:
        headers = (await get(kind, range="bytes=0-0")).headers
        assert (headers["content-type"], headers["content-disposition"][:6]) == (kind, "inline")

    @pytest.mark.parametrize(
        "kind",
        ["text/html", "TEXT/HTML; charset=utf-8", "image/svg+xml", "application/xhtml+xml", "text/xml",
         "text/javascript", "application/xml", "application/javascript", "text/plain"],
    )  # fmt: skip
    async def test_a_text_that_could_run_scripts_is_shown_as_text(self, get: Get, kind: str) -> None:
        headers = (await get(kind)).headers
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert headers["content-disposition"].startswith("inline")
        assert headers["content-security-policy"].endswith("; sandbox")

    @pytest.mark.parametrize(
        "kind", ["application/zip", "application/x-shockwave-flash", "model/gltf-binary"]
    )
    async def test_what_is_neither_is_saved(self, get: Get, kind: str) -> None:
        headers = (await get(kind)).headers
        assert (headers["content-type"], headers["content-disposition"][:10]) == (kind, "attachment")

    @pytest.mark.parametrize("kind", ["", "html", "text/html\r\nSet-Cookie: a=b", "text/", "ä/ö", "a b/c"])
    async def test_what_is_no_type_is_unknown(self, get: Get, kind: str) -> None:
        headers = (await get(kind)).headers
        assert headers["content-type"] == "application/octet-stream"
        assert headers["content-disposition"].startswith("attachment")
        assert "set-cookie" not in headers

    async def test_a_download_keeps_its_type_and_is_saved(self, get: Get) -> None:
        headers = (await get("image/svg+xml", "attachment")).headers
        assert (headers["content-type"], headers["content-disposition"][:10]) == (
            "image/svg+xml",
            "attachment",
        )

    async def test_a_pdf_has_no_sandbox_which_would_keep_its_viewer_off(self, get: Get) -> None:
        headers = (await get("application/pdf")).headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "sandbox" not in headers["content-security-policy"]


class TestTheConnection:
    async def test_a_client_that_goes_away_closes_the_file(self, files: FolderStore) -> None:
        gone = asyncio.Event()

        async def receive() -> Message:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                gone.set()
                await asyncio.Event().wait()

        response = await file_response(Request(SCOPE), files, PHOTO)
        assert _held(files)
        await response(SCOPE, receive, send)
        assert not _held(files)

    async def test_a_client_that_takes_nothing_is_given_up(
        self, files: FolderStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workers.api.downloads._STALL_TIMEOUT_S", 0.05)

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                await asyncio.Event().wait()

        response = await file_response(Request(SCOPE), files, PHOTO)
        async with asyncio.timeout(5):
            await response(SCOPE, _stays, send)
        assert not _held(files)

    async def test_bytes_that_vanish_break_the_response_off(self, files: FolderStore) -> None:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)
            if len(sent) == 1:
                os.truncate(files._root / KEY, 300_000)

        response = await file_response(Request(SCOPE), files, PHOTO)
        async with asyncio.timeout(5):
            await response(SCOPE, _stays, send)
        assert b"".join(message["body"] for message in sent[1:]) == CONTENT[:300_000]
        assert sent[-1]["more_body"]
        assert not _held(files)


async def _stays() -> Message:
    """Receive from a client that neither says anything nor goes away."""
    await asyncio.Event().wait()
    raise AssertionError


def _held(files: FolderStore) -> bool:
    """Tell whether a file of the store is open."""
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.readlink().is_relative_to(files._root):
                return True
    return False


class TestContentDisposition:
    @pytest.mark.parametrize(
        ("name", "header"),
        [
            ("photo.jpg", 'attachment; filename="photo.jpg"'),
            ("a b;c.jpg", 'attachment; filename="a b;c.jpg"'),
            ("Über.pdf", "attachment; filename=\"_ber.pdf\"; filename*=UTF-8''%C3%9Cber.pdf"),
            ('a"b\\c%41.txt', "attachment; filename=\"a_b_c_41.txt\"; filename*=UTF-8''a%22b%5Cc%2541.txt"),
            ("a\r\nb", "attachment; filename=\"a__b\"; filename*=UTF-8''a%0D%0Ab"),
        ],
    )
    def test_every_name_has_a_form_in_ascii(self, name: str, header: str) -> None:
        assert content_disposition("attachment", name) == header

    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
    def test_no_name_leaves_its_header(self, name: str) -> None:
        header = content_disposition("inline", name)
        assert header.isascii()
        assert header.isprintable()
        plain = header.partition('filename="')[2].partition('"')
        assert plain[2] == "" or plain[2].startswith("; filename*=UTF-8''")
