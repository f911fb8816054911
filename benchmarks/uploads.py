"""How fast files come in and go out of `realtime dev`, and how much memory that takes: the same whatever their size.

A file is uploaded in one piece, and in chunks of 5 MiB, eight at once, as the SDKs do it; then it is downloaded. Memory
is what the process has at its peak over what it had when it was idle. Files are on a disk that others use too, and the
client shares the machine, so times are bounds rather than results.

    python -m benchmarks.uploads [--megabytes 2150]
"""

import argparse
import asyncio
import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx

from benchmarks.common import PROJECT, Table, options_of, show
from benchmarks.servers import START_TIMEOUT_S, Process, free_port

CHUNK_BYTES = 5 * 1024 * 1024
CONCURRENCY = 8
"""What the SDKs have."""
MEGABYTE = 1_000_000
KEY = "benchmark"
FORM_TYPE = "multipart/form-data; boundary=edge"
HEADERS = {"X-Appwrite-Project": PROJECT, "X-Appwrite-Key": KEY}
BUCKET = "/v1/storage/buckets"
FILES = f"{BUCKET}/files/files"


class Peak(Process):
    """A process whose highest use of memory is watched."""

    def reset(self) -> None:
        """Begin anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """Return the most memory that was in use since."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("the kernel does not say how much memory a process used")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[tuple[Peak, str]]:
    """Run a server with its data in ``folder``; yield its process and its address."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REALTIME_")}
    settings = {"DATA_DIR": str(folder), "DEV_KEY": KEY, "DEV_PROJECT": PROJECT, "DRAIN_WINDOW_S": "0"}
    server = subprocess.Popen(
        [Path(sys.executable).parent / "realtime", "dev", "--port", str(port)],
        env=environment | {f"REALTIME_{name}": value for name, value in settings.items()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{url}{BUCKET}", headers=HEADERS).status_code == 200:
                    break
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit("the server does not start")
            time.sleep(0.1)
        yield Peak(server.pid), url
    finally:
        server.terminate()
        server.wait()


def block(number: int) -> bytes:
    """Return the bytes of a chunk; no two are alike."""
    return hashlib.sha256(str(number).encode()).digest() * (CHUNK_BYTES // 32)


def form(data: bytes, file_id: str) -> tuple[bytes, bytes]:
    """Return what stands before and after the bytes of a file in its form."""
    field = f'--edge\r\nContent-Disposition: form-data; name="fileId"\r\n\r\n{file_id}\r\n'
    head = f'{field}--edge\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n\r\n'
    return head.encode() + data, b"\r\n--edge--\r\n"


async def upload_whole(client: httpx.AsyncClient, chunks: int) -> None:
    """Upload a file in one request."""
    head, tail = form(b"", "whole")

    async def body() -> AsyncIterator[bytes]:
        yield head
        for number in range(chunks):
            yield block(number)
        yield tail

    size = len(head) + chunks * CHUNK_BYTES + len(tail)
    (await _post(client, body(), {"Content-Length": str(size)})).raise_for_status()


async def upload_chunks(client: httpx.AsyncClient, chunks: int) -> None:
    """Upload a file in chunks: the first alone, then several at once."""
    numbers = iter(range(1, chunks))

    async def send(number: int) -> None:
        start, total = number * CHUNK_BYTES, chunks * CHUNK_BYTES
        span = {"Content-Range": f"bytes {start}-{start + CHUNK_BYTES - 1}/{total}"}
        body = b"".join(form(block(number), "chunks"))
        (await _post(client, body, span | ({"X-Appwrite-ID": "chunks"} if number else {}))).raise_for_status()

    async def send_some() -> None:
        for number in numbers:
            await send(number)

    await send(0)
    await asyncio.gather(*(send_some() for _ in range(CONCURRENCY)))


async def download(client: httpx.AsyncClient, chunks: int) -> None:
    """Download a file, and look whether it is what was sent."""
    received, expected = hashlib.sha256(), hashlib.sha256()
    async with client.stream("GET", f"{FILES}/chunks/download") as answer:
        async for data in answer.aiter_bytes():
            received.update(data)
    for number in range(chunks):
        expected.update(block(number))
    if received.digest() != expected.digest():
        sys.exit("the file that came back is another one")


async def _post(
    client: httpx.AsyncClient, body: bytes | AsyncIterator[bytes], headers: dict[str, str]
) -> httpx.Response:
    return await client.post(FILES, content=body, headers={"Content-Type": FORM_TYPE, **headers})


async def measure(options: argparse.Namespace, server: Peak, url: str) -> list[list[object]]:
    """Return a row for each way to move the file."""
    chunks = max(2, options.megabytes * MEGABYTE // CHUNK_BYTES)
    rows: list[list[object]] = []
    async with httpx.AsyncClient(base_url=url, headers=HEADERS, timeout=600) as client:
        (await client.post(BUCKET, json={"bucketId": "files", "name": "Files"})).raise_for_status()
        ways = {"upload in one piece": upload_whole, "upload in chunks": upload_chunks, "download": download}
        for name, move in ways.items():
            server.reset()
            idle_bytes, start_s = server.resident_bytes(), time.perf_counter()
            await move(client, chunks)
            took_s = time.perf_counter() - start_s
            size = chunks * CHUNK_BYTES / MEGABYTE
            growth = (server.peak_bytes() - idle_bytes) / MEGABYTE
            rows.append([name, size, took_s, size / took_s, idle_bytes / MEGABYTE, growth])
    return rows


def main() -> None:
    """Print one row for each way."""
    options = options_of(__doc__)
    options.add_argument("--megabytes", type=int, default=2150)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as (server, url):
        rows = asyncio.run(measure(given, server, url))
    show(
        Table(
            name="uploads",
            title="Files through `realtime dev`: one process, on the local disk",
            columns=["way", "MB", "seconds", "MB/s", "idle RSS MB", "RSS growth MB"],
            rows=rows,
            notes=[
                "Growth: peak memory of the process over what it had before. No process has a core to itself."
            ],
        ),
        given,
    )


if __name__ == "__main__":
    main()
