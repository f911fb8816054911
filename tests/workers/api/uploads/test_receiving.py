"""Forms that are streamed to disk: limits, refusals, and what is left behind, which is nothing."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.requests import Request
from starlette.types import ASGIApp

from realtime.settings import Settings
from workers.api import errors
from workers.api.bodies import BodyLimits
from workers.api.uploads.paths import PATHS
from workers.api.uploads.receiving import receive_upload

PATH = "/v1/storage/buckets/photos/files"
MAX_BYTES = 3_000_000
IDLE_S = 0.2

Message = MutableMapping[str, Any]


class NewFile(BaseModel):
    """What the route of these tests takes."""

    fileId: str  # noqa: N815 - as the API names it


@pytest.fixture
def app(tmp_path: Path) -> ASGIApp:
    """An application that says what it received."""
    app = FastAPI()
    app.state.services = SimpleNamespace(settings=Settings(data_dir=tmp_path))
    errors.install(app)

    @app.post(PATH)
    async def receive(request: Request) -> dict[str, Any]:
        async with receive_upload(request, max_bytes=MAX_BYTES) as received:
            received.file.seek(0)
            return {
                "id": received.validated(NewFile).fileId,
                "fields": received.fields,
                "digest": hashlib.sha256(received.file.read()).hexdigest(),
                "name": received.file_name,
                "type": received.content_type,
                "range": [received.range.start, received.range.end, received.range.total],
                "resource": received.resource_id,
            }

    @app.post("/v1/other")
    async def other(request: Request) -> int:
        return len(await request.body())

    return BodyLimits(app, max_bytes=1_000, timeout_s=IDLE_S, upload_paths=PATHS)


@pytest.fixture
async def client(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.test") as client:
        yield client


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path) -> Iterator[None]:
    """Whatever a test does: no file stays on the disk, and none stays open."""
    yield
    assert list(tmp_path.iterdir()) == []
    held = [path for path in Path("/proc/self/fd").iterdir() if str(tmp_path) in _target(path)]
    assert held == []


def _target(path: Path) -> str:
    try:
        return str(path.readlink())
    except FileNotFoundError:
        return ""


async def post(
    client: httpx.AsyncClient, data: bytes, *, name: str = "photo.jpg", **headers: str
) -> httpx.Response:
    return await client.post(
        PATH,
        files={"file": (name, data, "image/jpeg")},
        data={"fileId": "me"},
        headers={key.replace("_", "-"): value for key, value in headers.items()},
    )


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["type"]


class TestReceiveUpload:
    async def test_a_whole_file_is_received(self, client: httpx.AsyncClient) -> None:
        data = bytes(range(256)) * 8_000
        response = await post(client, data)
        assert response.json() == {
            "id": "me",
            "fields": {"fileId": "me"},
            "digest": hashlib.sha256(data).hexdigest(),
            "name": "photo.jpg",
            "type": "image/jpeg",
            "range": [0, len(data), len(data)],
            "resource": "",
        }

    async def test_a_chunk_is_received(self, client: httpx.AsyncClient) -> None:
        response = await post(client, b"chunk", content_range="bytes 5-9/12", x_appwrite_id="me")
        assert response.json()["range"] == [5, 10, 12]
        assert response.json()["resource"] == "me"

    @pytest.mark.parametrize("name", ["../../etc/passwd", "..\\passwd", "/etc/passwd"])
    async def test_a_name_loses_its_path(self, client: httpx.AsyncClient, name: str) -> None:
        assert (await post(client, b"x", name=name)).json()["name"] == "passwd"

    async def test_a_missing_field_is_named(self, client: httpx.AsyncClient) -> None:
        response = await client.post(PATH, files={"file": b"x"})
        assert refusal(response) == (400, "general_argument_invalid")
        assert response.json()["message"] == 'Param "fileId" is not optional.'

    @pytest.mark.parametrize("header", ["bytes 0-4/4", "bytes 5-4/10", "x", "bytes 0-4/*"])
    async def test_a_wrong_range_is_refused(self, client: httpx.AsyncClient, header: str) -> None:
        response = await post(client, b"chunk", content_range=header)
        assert refusal(response) == (400, "storage_invalid_content_range")

    @pytest.mark.parametrize("data", [b"chun", b"chunks", b"x" * 2_000_000])
    async def test_a_chunk_of_another_size_than_its_range_is_refused(
        self, client: httpx.AsyncClient, data: bytes
    ) -> None:
        response = await post(client, data, content_range="bytes 0-4/10")
        assert refusal(response) == (400, "storage_invalid_content_range")

    async def test_a_chunk_without_a_range_is_refused(self, client: httpx.AsyncClient) -> None:
        response = await post(client, b"chunk", x_appwrite_id="me")
        assert refusal(response) == (400, "storage_invalid_content_range")

    async def test_a_total_beyond_the_limit_is_refused_before_it_is_sent(
        self, client: httpx.AsyncClient
    ) -> None:
        response = await post(client, b"chunk", content_range=f"bytes 0-4/{MAX_BYTES + 1}")
        assert refusal(response) == (400, "storage_invalid_file_size")

    async def test_a_file_beyond_the_limit_is_refused(self, client: httpx.AsyncClient) -> None:
        assert refusal(await post(client, b"x" * (MAX_BYTES + 1))) == (400, "storage_invalid_file_size")
        assert (await post(client, b"x" * MAX_BYTES)).status_code == 200

    async def test_a_body_that_declares_too_much_is_not_read(self, app: ASGIApp) -> None:
        size = str(MAX_BYTES * 2).encode()
        sent = await speak(app, [request(b"--edge\r\n")], headers=[(b"content-length", size)])
        assert sent[0]["status"] == 400

    async def test_an_endless_form_is_refused(self, client: httpx.AsyncClient) -> None:
        async def preamble() -> AsyncIterator[bytes]:
            yield b"--edge--\r\n"
            while True:
                yield b"\r\n" * 100_000

        response = await client.post(
            PATH, content=preamble(), headers={"Content-Type": "multipart/form-data; boundary=edge"}
        )
        assert refusal(response) == (413, "general_request_too_large")

    @pytest.mark.parametrize("files", [{"file": ("x", b"")}, {"fileId": (None, b"me")}])
    async def test_no_file_is_refused(self, client: httpx.AsyncClient, files: Any) -> None:
        response = await client.post(PATH, files=files, data={"fileId": "me"})
        assert refusal(response) == (400, "storage_file_empty")

    async def test_json_is_refused(self, client: httpx.AsyncClient) -> None:
        assert refusal(await client.post(PATH, json={})) == (400, "general_argument_invalid")


class TestTheConnection:
    async def test_a_client_that_goes_away_leaves_nothing(self, app: ASGIApp) -> None:
        await speak(app, [request(b"--edge\r\n" + HEAD + b"x" * 2_000_000), {"type": "http.disconnect"}])

    async def test_a_client_that_pauses_for_too_long_is_told_so(self, app: ASGIApp) -> None:
        sent = await speak(app, [request(b"--edge\r\n" + HEAD + b"x")])
        assert sent[0]["status"] == 408

    async def test_a_slow_upload_may_take_longer_than_a_pause(
        self, app: ASGIApp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loop, passed_s = asyncio.get_running_loop(), 0.0
        start = loop.time()
        monkeypatch.setattr(loop, "time", lambda: start + passed_s)

        def pass_time() -> None:
            nonlocal passed_s
            passed_s += IDLE_S * 3 / 4

        pieces = [b"--edge\r\n" + HEAD, *[b"x"] * 6, FIELD, b"--edge--\r\n"]
        messages = [request(piece, is_last=piece == pieces[-1]) for piece in pieces]
        sent = await speak(app, messages, before_each=pass_time)
        assert sent[0]["status"] == 200

    async def test_a_cancelled_request_leaves_nothing(self, app: ASGIApp) -> None:
        taken = asyncio.Event()
        piece = request(b"--edge\r\n" + HEAD + b"x" * 2_000_000)
        task = asyncio.create_task(speak(app, [piece], before_each=taken.set))
        await taken.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def test_a_full_disk_leaves_nothing(
        self, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("workers.api.uploads.receiving._write", fail)
        assert (await post(client, b"x")).status_code == 503


HEAD = b'Content-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
FIELD = b'\r\n--edge\r\nContent-Disposition: form-data; name="fileId"\r\n\r\nme\r\n'


def request(body: bytes, *, is_last: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": not is_last}


async def speak(
    app: ASGIApp,
    messages: list[Message],
    *,
    before_each: Callable[[], None] = lambda: None,
    headers: list[tuple[bytes, bytes]] | None = None,
) -> list[Message]:
    """Send an upload piece by piece, and then nothing; return what was answered."""
    sent: list[Message] = []
    waiting = list(messages)

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        before_each()
        # So that what is too late by now is told so.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return waiting.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"multipart/form-data; boundary=edge"), *(headers or [])],
    }
    call: Callable[..., Awaitable[None]] = app
    await call(scope, receive, send)
    return sent


class TestOtherRoutes:
    async def test_elsewhere_a_form_has_the_limits_of_any_body(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/v1/other", files={"file": b"x" * 2_000})
        assert refusal(response) == (413, "general_request_too_large")
        response = await client.post("/v1/other", files={"file": b"\x00"})
        assert refusal(response) == (400, "general_argument_invalid")

    async def test_what_is_no_form_has_them_too(self, client: httpx.AsyncClient) -> None:
        response = await client.post(PATH, json={"name": "x" * 2_000})
        assert refusal(response) == (400, "general_argument_invalid")
