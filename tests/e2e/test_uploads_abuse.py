"""Uploads that no honest client makes, to a real server: each is refused plainly, and nothing of it stays on disk."""

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

MAX_BYTES = 6_000_000
FILES = "/storage/buckets/box/files"
BOUNDARY = "between-the-parts"


def form(
    content: bytes = b"content", *, name: bytes = b"a.txt", file_id: bytes = b"a", part: bytes = b"file"
) -> bytes:
    """Return a form with a file in it, made by hand: libraries would mend what is wrong with it."""
    return b"".join(
        (
            b'--%b\r\nContent-Disposition: form-data; name="fileId"\r\n\r\n%b\r\n'
            % (BOUNDARY.encode(), file_id),
            b'--%b\r\nContent-Disposition: form-data; name="%b"; filename="%b"\r\n'
            % (BOUNDARY.encode(), part, name),
            b"Content-Type: application/octet-stream\r\n\r\n%b\r\n--%b--\r\n" % (content, BOUNDARY.encode()),
        )
    )


def png(width: int, height: int, pixels: bytes) -> bytes:
    """Return a PNG that claims to be so large, with these bytes as its pixels, packed."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def packed(size_bytes: int) -> bytes:
    """Return so many zeros, packed."""
    packer = zlib.compressobj(1)
    block = bytes(1_000_000)
    return b"".join([*(packer.compress(block) for _ in range(size_bytes // len(block))), packer.flush()])


class Abuse(NamedTuple):
    """What is sent, and how it is refused."""

    body: bytes
    error_type: str
    content_range: str | None = None
    upload_id: str | None = None


ABUSES = {
    "larger than any file": Abuse(form(bytes(MAX_BYTES + 1)), "storage_invalid_file_size"),
    "larger by what it announces": Abuse(
        form(bytes(100)), "storage_invalid_file_size", content_range=f"bytes 0-99/{MAX_BYTES + 1}"
    ),
    "empty": Abuse(form(b""), "storage_file_empty"),
    "no file": Abuse(form(part=b"elsewhere"), "general_argument_invalid"),
    "less than its range": Abuse(
        form(bytes(99)), "storage_invalid_content_range", content_range="bytes 0-99/200"
    ),
    "more than its range": Abuse(
        form(bytes(101)), "storage_invalid_content_range", content_range="bytes 0-99/200"
    ),
    "range that ends before it begins": Abuse(
        form(), "storage_invalid_content_range", content_range="bytes 9-3/20"
    ),
    "range beyond the end": Abuse(form(), "storage_invalid_content_range", content_range="bytes 0-6/5"),
    "range below zero": Abuse(form(), "storage_invalid_content_range", content_range="bytes -7-0/7"),
    "range of digits without end": Abuse(
        form(), "storage_invalid_content_range", content_range=f"bytes 0-6/{'9' * 5000}"
    ),
    "range of other digits": Abuse(
        form(), "storage_invalid_content_range", content_range="bytes 0-\u0666/7"
    ),
    "range of another unit": Abuse(form(), "storage_invalid_content_range", content_range="lines 0-6/7"),
    "chunk of nothing that was begun": Abuse(
        form(), "storage_invalid_appwrite_id", content_range="bytes 7-13/14", upload_id="never-begun"
    ),
    "chunk of an ID that leads elsewhere": Abuse(
        form(), "storage_invalid_appwrite_id", content_range="bytes 7-13/14", upload_id="../../b"
    ),
    "ID that leads elsewhere": Abuse(form(file_id=b"../../a"), "general_argument_invalid"),
    "ID of 300 characters": Abuse(form(file_id=b"a" * 300), "general_argument_invalid"),
    "ID with a NUL": Abuse(form(file_id=b"a\0b"), "general_argument_invalid"),
    "form that never ends": Abuse(form()[:-30], "general_argument_invalid"),
    "form of many fields": Abuse(
        b"--%b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n%b\r\n" % (BOUNDARY.encode(), b"y" * 9) * 5000
        + form(),
        "general_argument_invalid",
    ),
}  # fmt: skip

NAMES = {
    "../../../etc/passwd": "passwd",
    "..\\..\\boot.ini": "boot.ini",
    "/etc/cron.d/job": "job",
    "a\0b.txt": "ab.txt",
    f"{'a' * 300}.txt": f"{'a' * 251}.txt",
    "..": None,
}
"""What somebody claims that a file is called, and what it is then called; None for any harmless name."""

BOMBS: dict[str, Callable[[], bytes]] = {
    "pixels that fill the memory": lambda: png(40_000, 40_000, packed(200_000_000)),
    "size that is only claimed": lambda: png(2**31 - 1, 2**31 - 1, packed(1_000_000)),
    "page": lambda: b"<html><script>alert(1)</script></html>",
    "nothing but a beginning": lambda: b"\x89PNG\r\n\x1a\n",
}


@pytest.fixture(scope="module")
def own_server(serve_dev: Callable[..., "Server"]) -> "Server":
    """A server of these tests alone, which takes small files only."""
    return serve_dev(REALTIME_FILES_MAX_BYTES=str(MAX_BYTES))


@pytest.fixture
async def backend(own_server: "Server") -> AsyncIterator[httpx.AsyncClient]:
    """Somebody with a key, and an empty bucket."""
    headers = {"X-Appwrite-Project": own_server.project, "X-Appwrite-Key": own_server.key}
    async with httpx.AsyncClient(
        base_url=own_server.endpoint, headers=headers, trust_env=False, timeout=30
    ) as client:
        await client.delete("/storage/buckets/box")
        made = await client.post("/storage/buckets", json={"bucketId": "box", "name": "Box"})
        assert made.status_code == 201, made.text
        yield client


async def send(client: httpx.AsyncClient, abuse: Abuse) -> httpx.Response:
    headers = {
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Content-Range": abuse.content_range,
        "X-Appwrite-ID": abuse.upload_id,
    }
    # Any bytes may be in a header.
    given = {name.encode(): value.encode() for name, value in headers.items() if value is not None}
    return await client.post(FILES, content=abuse.body, headers=given)


def kept_by(server: "Server") -> dict[Path, int]:
    """Return the sizes of the files in the data folder that are none of the database, and none of the server's own."""
    own = ("realtime.db", "secret", "encryption.key")
    folder = server.log_file.parent / "data"
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(own))
    return {path: path.stat().st_size for path in found}


class TestRefusals:
    @pytest.mark.parametrize("abuse", ABUSES.values(), ids=ABUSES)
    async def test_abuse_is_refused_and_leaves_nothing(
        self, own_server: "Server", backend: httpx.AsyncClient, abuse: Abuse
    ) -> None:
        before = kept_by(own_server).keys()
        response = await send(backend, abuse)
        assert response.status_code == 400, response.text
        assert response.json()["type"] == abuse.error_type, response.text
        assert (await backend.get(FILES)).json()["total"] == 0
        assert kept_by(own_server).keys() <= before

    async def test_upload_that_breaks_off_leaves_nothing(
        self, own_server: "Server", backend: httpx.AsyncClient
    ) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield form(bytes(3_000_000))[:2_000_000]
            raise ConnectionAbortedError

        before = kept_by(own_server).keys()
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        with pytest.raises(ConnectionAbortedError):
            await backend.post(FILES, content=broken(), headers=headers)
        assert (await backend.get(FILES)).json()["total"] == 0
        assert kept_by(own_server).keys() <= before


class TestNames:
    @pytest.mark.parametrize(
        ("claimed", "kept"),
        NAMES.items(),
        ids=["parents", "backslashes", "absolute", "NUL", "long", "dots"],
    )
    async def test_name_leads_nowhere(
        self, own_server: "Server", backend: httpx.AsyncClient, claimed: str, kept: str | None
    ) -> None:
        before = kept_by(own_server)
        response = await send(backend, Abuse(form(name=claimed.encode()), ""))
        assert response.status_code == 201, response.text
        name = response.json()["name"]
        assert name == kept or (kept is None and not {"/", "\\", "\0", ".."} & {name, *name})
        (made,) = kept_by(own_server).keys() - before.keys()
        assert made.is_relative_to(own_server.log_file.parent / "data" / "files")
        downloaded = await backend.get(f"{FILES}/a/download")
        assert downloaded.content == b"content"
        assert not any(sign in downloaded.headers["content-disposition"] for sign in ("/", "\\"))


class TestBombs:
    @pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
    async def test_bomb_is_not_drawn(
        self, own_server: "Server", backend: httpx.AsyncClient, make: Callable[[], bytes]
    ) -> None:
        uploaded = await send(backend, Abuse(form(make(), name=b"bomb.png"), ""))
        assert uploaded.status_code == 201, uploaded.text
        before = memory_kib(own_server)
        response = await backend.get(f"{FILES}/a/preview", params={"width": 100})
        assert response.status_code == 400, response.text
        assert response.json()["type"] in ("storage_file_type_unsupported", "storage_invalid_file_size")
        assert memory_kib(own_server) < before + 100_000

    async def test_what_is_unpacked_without_end_is_read_as_far_as_its_size_says(
        self, own_server: "Server", backend: httpx.AsyncClient
    ) -> None:
        uploaded = await send(backend, Abuse(form(png(100, 100, packed(400_000_000)), name=b"a.png"), ""))
        assert uploaded.status_code == 201, uploaded.text
        before = memory_kib(own_server)
        response = await backend.get(f"{FILES}/a/preview", params={"width": 50})
        assert response.status_code == 200, response.text
        assert memory_kib(own_server) < before + 100_000

    async def test_bucket_takes_its_files_along(
        self, own_server: "Server", backend: httpx.AsyncClient
    ) -> None:
        assert (await send(backend, Abuse(form(), ""))).status_code == 201
        assert kept_by(own_server)
        assert (await backend.delete("/storage/buckets/box")).status_code == 204
        async with asyncio.timeout(30):
            while kept_by(own_server):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)


def memory_kib(server: "Server") -> int:
    """Return how much memory the server itself uses; pictures are drawn by processes of their own."""
    status: dict[str, Any] = dict(
        line.split(":", 1) for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    )
    return int(status["VmRSS"].split()[0])
