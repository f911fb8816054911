"""`realtime webhooks` and `realtime functions` for real: processes that work, wait for Redis, and end when told to."""

import asyncio
import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from realtime.settings import Settings
from tests.api import Api, running_api
from workers.cli import app
from workers.embedded import EmbeddedValkey

pytestmark = pytest.mark.integration

REALTIME = str(Path(sys.executable).parent / "realtime")
DEADLINE_S = 30.0

EVENT = "databases.main.tables.posts.rows.1.create"
PATTERN = "databases.*.tables.*.rows.*.create"
CODE = b"""
def main(context):
    context.log("called with", context.req.body_text)
    return context.res.json({"ok": True})
"""


class Worker:
    """A process of one of the commands, with pages."""

    def __init__(self, command: str, folder: Path, port: int, **environment: str) -> None:
        self.port = port
        self.log = folder / f"{command}-{port}.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("REALTIME_")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [REALTIME, command, "--port", str(port)],
                cwd=folder,
                env=inherited | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def output(self) -> str:
        return self.log.read_text()

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not is_so():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.02)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False, timeout=DEADLINE_S)

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Return the samples by name and values of the labels, which come in the order of their names."""
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(self.get("/metrics").text)
            for sample in family.samples
        }

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@pytest.fixture
def settings(redis_url: str, tmp_path: Path, sqlite_template: Path) -> Settings:
    """Settings of an API, in the folder whose database and key its workers use too."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "realtime.db").write_bytes(sqlite_template.read_bytes())
    return Settings(
        redis_url=redis_url,
        data_dir=tmp_path / "data",
        secret="a-secret-that-signs-the-tokens-of-tests",
        webhooks_allow_private=True,
        limits="off",
    )


@pytest.fixture
def start(
    settings: Settings, tmp_path: Path, free_port: Callable[[], int]
) -> Iterator[Callable[..., Worker]]:
    started: list[Worker] = []

    def start(command: str, **environment: str) -> Worker:
        given = {
            "REALTIME_REDIS_URL": settings.redis_url,
            "REALTIME_DATA_DIR": str(settings.data_dir),
            "REALTIME_SECRET": settings.secret,
            "REALTIME_WEBHOOKS_ALLOW_PRIVATE": "1",
        }
        worker = Worker(command, tmp_path, free_port(), **(given | environment))
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.stop()


@pytest.fixture
def ready(start: Callable[..., Worker]) -> Callable[..., Worker]:
    def wait(command: str, **environment: str) -> Worker:
        worker = start(command, **environment)
        worker.wait_until(lambda: f"realtime {command} works" in worker.output())
        return worker

    return wait


class Endpoint:
    """A place for webhooks, which keeps the bodies that it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: asyncio.Queue[bytes] = asyncio.Queue()

    @contextlib.asynccontextmanager
    async def running(self) -> Any:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://localhost:{server.sockets[0].getsockname()[1]}/hook"
        try:
            yield self
        finally:
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        self.bodies.put_nowait(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


async def publish(api: Api, payload: dict[str, Any]) -> None:
    event = {"event": EVENT, "payload": payload, "permissions": ['read("any")']}
    assert (await api.server.post("/v1/events", json=event)).status_code == 202


async def make_function(api: Api) -> None:
    function = {
        "functionId": "echo",
        "name": "Echo",
        "runtime": "python-3.11",
        "entrypoint": "main.py",
        "events": [PATTERN],
    }
    assert (await api.server.post("/v1/functions", json=function)).status_code == 201
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member = tarfile.TarInfo("main.py")
        member.size = len(CODE)
        tar.addfile(member, io.BytesIO(CODE))
    deployed = await api.server.post(
        "/v1/functions/echo/deployments",
        files={"code": ("code.tar.gz", archive.getvalue(), "application/gzip")},
        data={"activate": "true"},
    )
    assert deployed.status_code == 202, deployed.text


async def ended_execution(api: Api) -> dict[str, Any]:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            answer = await api.server.get("/v1/functions/echo/executions")
            for execution in answer.json()["executions"]:
                if execution["status"] in ("completed", "failed"):
                    found: dict[str, Any] = execution
                    return found
            await asyncio.sleep(0.05)


class TestWebhooks:
    async def test_event_published_by_the_api_is_delivered_and_counted(
        self, settings: Settings, ready: Callable[..., Worker]
    ) -> None:
        worker = await asyncio.to_thread(ready, "webhooks")
        async with Endpoint().running() as endpoint, running_api(settings) as api:
            webhook = {"webhookId": "hook", "name": "Hook", "url": endpoint.url, "events": [PATTERN]}
            made = await api.server.post("/v1/webhooks", json=webhook | {"security": False})
            assert made.status_code == 201, made.text
            assert await api.services.relay.flush("demo")
            await publish(api, {"title": "Hello"})
            async with asyncio.timeout(DEADLINE_S):
                assert await endpoint.bodies.get() == b'{"title":"Hello"}'
            await asyncio.to_thread(
                worker.wait_until,
                lambda: worker.metrics()["realtime_webhook_deliveries_total", "delivered"] == 1,
            )
        counted = worker.metrics()
        assert counted["realtime_webhook_attempts_total", "2xx"] == 1
        assert counted["realtime_work_waiting", "webhooks"] == 0
        assert counted["realtime_work_events_total", "webhooks"] == 1
        assert await asyncio.to_thread(worker.stop) == 0

    def test_it_ends_at_once_when_there_is_nothing_to_finish(self, ready: Callable[..., Worker]) -> None:
        worker = ready("webhooks")
        before = time.monotonic()
        assert worker.stop(signal.SIGINT) == 0
        assert time.monotonic() - before < DEADLINE_S / 3
        assert "Traceback" not in worker.output()
        assert '"worker stops"' in worker.output()

    def test_several_processes_have_their_pages_on_one_port(self, ready: Callable[..., Worker]) -> None:
        worker = ready("webhooks", REALTIME_WORKERS="2")
        worker.wait_until(lambda: worker.output().count('"worker works"') == 2)
        assert worker.get("/v1/health").json()["status"] == "pass"
        assert worker.metrics()["realtime_webhook_attempts_total", "2xx"] == 0
        assert worker.stop() == 0


class TestFunctions:
    async def test_event_published_by_the_api_runs_the_function(
        self, settings: Settings, ready: Callable[..., Worker]
    ) -> None:
        worker = await asyncio.to_thread(ready, "functions", REALTIME_FUNCTIONS_EXECUTOR="process")
        async with running_api(settings, is_dispatching=False) as api:
            await make_function(api)
            assert await api.services.relay.flush("demo")
            await publish(api, {"title": "Hello"})
            execution = await ended_execution(api)
        assert (execution["trigger"], execution["status"]) == ("event", "completed"), execution
        assert "Hello" in execution["logs"]
        worker.wait_until(lambda: worker.metrics()["realtime_executions_total", "completed", "event"] == 1)
        assert worker.metrics()["realtime_work_events_total", "functions"] == 1
        assert await asyncio.to_thread(worker.stop) == 0

    async def test_code_that_this_worker_is_not_to_run_is_warned_of(
        self, settings: Settings, ready: Callable[..., Worker]
    ) -> None:
        warning = "does not run the code of deployments"
        none = await asyncio.to_thread(ready, "functions")
        async with running_api(settings, is_dispatching=False) as api:
            await make_function(api)
        worker = await asyncio.to_thread(ready, "functions")
        assert warning not in none.output()
        assert warning in worker.output()
        assert "demo/echo" in worker.output()

    async def test_what_nobody_waits_for_is_run_by_the_worker_not_by_the_api(
        self, settings: Settings, ready: Callable[..., Worker]
    ) -> None:
        async with running_api(settings, is_dispatching=False) as api:
            await make_function(api)
            asked = await api.server.post("/v1/functions/echo/executions", json={"async": True})
            assert asked.json()["status"] == "waiting", asked.text
            worker = await asyncio.to_thread(ready, "functions", REALTIME_FUNCTIONS_EXECUTOR="process")
            execution = await ended_execution(api)
        assert (execution["trigger"], execution["status"]) == ("http", "completed"), execution
        assert await asyncio.to_thread(worker.stop) == 0


class TestBeginning:
    @pytest.mark.parametrize("command", ["webhooks", "functions"])
    def test_redis_that_is_away_is_told_with_what_to_do(
        self, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int], command: str
    ) -> None:
        monkeypatch.setenv("REALTIME_REDIS_URL", f"redis://:hush@127.0.0.1:{free_port()}")
        result = CliRunner().invoke(app, [command])
        assert result.exit_code == 1
        assert "Redis does not answer" in result.stderr
        assert "hush" not in result.stderr

    def test_port_that_is_taken_is_told_with_what_to_do(
        self, monkeypatch: pytest.MonkeyPatch, redis_url: str
    ) -> None:
        monkeypatch.setenv("REALTIME_REDIS_URL", redis_url)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            result = CliRunner().invoke(app, ["webhooks", "--port", str(port)])
        assert result.exit_code == 1
        assert f"Cannot listen on 127.0.0.1:{port}" in result.stderr
        assert "REALTIME_WORKER_PORT" in result.stderr

    def test_database_that_is_away_is_told_without_its_password(
        self, monkeypatch: pytest.MonkeyPatch, redis_url: str, free_port: Callable[[], int]
    ) -> None:
        monkeypatch.setenv("REALTIME_REDIS_URL", redis_url)
        url = f"postgresql://realtime:hush@127.0.0.1:{free_port()}/realtime"
        monkeypatch.setenv("REALTIME_DATABASE_URL", url)
        result = CliRunner().invoke(app, ["functions"])
        assert result.exit_code == 1
        assert "The database at " in result.stderr
        assert "hush" not in result.stderr

    @pytest.mark.parametrize("command", ["webhooks", "functions"])
    def test_sqlite_file_that_is_not_there_is_refused_and_not_made(
        self, monkeypatch: pytest.MonkeyPatch, redis_url: str, tmp_path: Path, command: str
    ) -> None:
        monkeypatch.setenv("REALTIME_REDIS_URL", redis_url)
        monkeypatch.setenv("REALTIME_DATABASE_URL", f"sqlite:///{tmp_path}/nowhere/x.db")
        result = CliRunner().invoke(app, [command])
        assert result.exit_code == 1
        assert f"There is no database {tmp_path}/nowhere/x.db." in result.stderr
        assert "`realtime api`" in result.stderr
        assert not (tmp_path / "nowhere").exists()


class TestWaiting:
    def test_redis_that_goes_away_is_waited_for(self, ready: Callable[..., Worker], tmp_path: Path) -> None:
        """Its pages say so meanwhile, and it is no reason to end the process."""
        folder = tmp_path / "redis"
        with EmbeddedValkey(folder) as valkey:
            worker = ready("webhooks", REALTIME_REDIS_URL=valkey.url)
            assert worker.get("/v1/health").json()["redis"] == {"status": "pass"}
        worker.wait_until(lambda: worker.get("/v1/health").json()["redis"] == {"status": "fail"})
        answer = worker.get("/v1/health")
        assert (answer.status_code, answer.json()["status"]) == (200, "pass")
        assert answer.json()["database"] == {"status": "pass"}
        assert str(worker.metrics()["realtime_work_waiting", "webhooks"]) == "nan"
        with EmbeddedValkey(folder):
            worker.wait_until(lambda: worker.get("/v1/health").json()["redis"] == {"status": "pass"})
            worker.wait_until(lambda: worker.metrics()["realtime_work_waiting", "webhooks"] == 0)
            assert worker.stop() == 0
