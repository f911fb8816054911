"""What the tests of the functions service share: people, archives, and an executor that does as it is told."""

import asyncio
import gzip
import io
import tarfile
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.api import Api
from workers.functions.executor import Call, Outcome

Deploy = Callable[..., Awaitable[dict[str, Any]]]


class ToldExecutor:
    """Answers with what it is called with; a path says what else it does."""

    def __init__(self) -> None:
        # Every call, as it began.
        self.calls: list[Call] = []
        # How many calls were cancelled.
        self.cancelled = 0
        self.may_end = asyncio.Event()
        self._called = asyncio.Condition()

    async def until_called(self, count: int) -> None:
        """Wait until there were ``count`` calls."""
        async with asyncio.timeout(10), self._called:
            await self._called.wait_for(lambda: len(self.calls) >= count)

    async def execute(self, call: Call) -> Outcome:
        self.calls.append(call)
        async with self._called:
            self._called.notify_all()
        match call.path:
            case "/hang":
                try:
                    await self.may_end.wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
                    raise
            case "/crash":
                raise RuntimeError("a text with a secret in it")
            case "/fail":
                return Outcome(503, {"content-type": "text/plain"}, b"no", errors="It failed.")
        headers = {"content-type": "text/plain", "X-Custom": "yes", "content-length": str(len(call.body))}
        return Outcome(200, headers, call.body, logs="It ran.", duration_s=0.25)


@pytest.fixture
def executor(api: Api) -> ToldExecutor:
    """What runs functions in this test."""
    executor = ToldExecutor()
    api.services.executions.executor = executor
    return executor


@pytest.fixture
def archive() -> Callable[..., bytes]:
    """Make a tar.gz with a file of this name and content."""

    def make(name: str = "main.py", content: bytes = b"def main(context): pass") -> bytes:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        return gzip.compress(packed.getvalue(), mtime=0)

    return make


@pytest.fixture
def deploy(api: Api, archive: Callable[..., bytes]) -> Deploy:
    """Make a function ``hello`` with an active deployment; return the deployment."""

    async def deploy(**settings: Any) -> dict[str, Any]:
        body = {
            "functionId": "hello",
            "name": "Hello",
            "runtime": "python-3.11",
            "entrypoint": "main.py",
            **settings,
        }
        made = await api.server.post("/v1/functions", json=body)
        assert made.status_code == 201, made.text
        answer = await api.server.post(
            f"/v1/functions/{body['functionId']}/deployments",
            data={"activate": "true"},
            files={"code": ("code.tar.gz", archive(), "application/gzip")},
        )
        assert answer.status_code == 202, answer.text
        deployment: dict[str, Any] = answer.json()
        return deployment

    return deploy


@pytest.fixture
def sign_up(api: Api) -> Callable[[str], Awaitable[httpx.AsyncClient]]:
    """Sign somebody up as <name>@example.com, and return their browser, where they are logged in."""

    async def sign_up(name: str) -> httpx.AsyncClient:
        browser = api.guest()
        login = {"email": f"{name}@example.com", "password": f"password-of-{name}"}
        made = await browser.post("/v1/account", json={**login, "userId": name, "name": name.title()})
        assert made.status_code == 201, made.text
        begun = await browser.post("/v1/account/sessions/email", json=login)
        assert begun.status_code == 201, begun.text
        return browser

    return sign_up
