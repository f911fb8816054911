"""`realtime dev` for real: a process, its Valkey, and the lines that it tells people to copy."""

import io
import json
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import redis

from workers.embedded import embedded_url

pytestmark = pytest.mark.integration

REALTIME = str(Path(sys.executable).parent / "realtime")
DEADLINE_S = 30.0


class Dev:
    """A `realtime dev` that runs in a folder of its own."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.log = folder / "dev.log"
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("REALTIME_")
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [REALTIME, "dev"],
                cwd=folder,
                env=self.environment | {"REALTIME_DRAIN_WINDOW_S": "0"} | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def output(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while text not in self.output():
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.02)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def line_to_copy(self, command: str) -> list[str]:
        """Return the arguments of the line for `command`, as a shell would split it."""
        (line,) = (line for line in self.output().splitlines() if f"realtime {command} " in line)
        return shlex.split(line)[1:]

    def run(self, *arguments: str, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run another command in the same folder, in an environment that knows nothing of this instance."""
        result = subprocess.run(
            [REALTIME, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert result.returncode == exit_code, result.stdout + result.stderr
        return result


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def start(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Callable[..., Dev]]:
    started: list[Dev] = []

    def start(**environment: str) -> Dev:
        folder = tmp_path / "here"
        folder.mkdir(exist_ok=True)
        dev = Dev(folder, **({"REALTIME_PORT": str(free_port())} | environment))
        started.append(dev)
        return dev

    yield start
    for dev in started:
        dev.stop()


@pytest.fixture
def ready(start: Callable[..., Dev]) -> Callable[..., Dev]:
    def wait(**environment: str) -> Dev:
        dev = start(**environment)
        dev.wait_for("Try it")
        dev.wait_for("publish databases")
        return dev

    return wait


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """One with the usual settings, for tests that leave it as it was: it takes seconds to start."""
    dev = Dev(tmp_path_factory.mktemp("shared"), REALTIME_PORT="0")
    try:
        dev.wait_for("publish databases")
        yield dev
    finally:
        dev.stop()


class TestDev:
    def test_lines_to_copy_subscribe_and_publish(self, dev: Dev) -> None:
        tail = subprocess.Popen(
            [REALTIME, *dev.line_to_copy("tail"), "--count", "1"],
            cwd=dev.folder,
            env=dev.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert tail.stderr is not None
        assert tail.stderr.readline() == "Subscribed to rows. Ctrl+C ends it.\n"
        dev.run(*dev.line_to_copy("publish"))
        stdout, _ = tail.communicate(timeout=DEADLINE_S)
        assert "databases.main.tables.posts.rows.1.create" in stdout
        assert '{"title":"Hello"}' in stdout
        assert tail.returncode == 0

    def test_it_serves_page_health_and_metrics_and_ends_cleanly(
        self, ready: Callable[..., Dev], free_port: Callable[[], int]
    ) -> None:
        port = free_port()
        dev = ready(REALTIME_PORT=str(port))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            assert "Shared board" in client.get("/").text
            assert "Publish an event" in client.get("/events").text
            cards = client.get("/v1/tablesdb/board/tables/cards/rows", params={"project": "demo"})
            assert cards.json() == {"total": 0, "rows": []}
            assert client.get("/dev/config.json").json()["project"] == "demo"
            assert client.get("/v1/health").json()["status"] == "pass"
            assert client.get("/v1/health/pubsub").status_code == 200
            assert client.get("/metrics").status_code == 200
            assert client.get("/nothing").json()["type"] == "general_route_not_found"
        assert dev.stop() == 0
        server = redis.Redis.from_url(embedded_url(dev.folder / ".data"), socket_connect_timeout=1)
        with server, pytest.raises(redis.ConnectionError):
            server.ping()

    def test_what_it_makes_is_for_its_user_only(self, dev: Dev) -> None:
        folder = dev.folder / ".data"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for name in ("realtime.db", "secret", "dev-key", "valkey.log", "valkey.sock"):
            assert stat.S_IMODE((folder / name).stat().st_mode) & 0o077 == 0, name

    def test_key_and_project_are_kept_over_a_restart(self, ready: Callable[..., Dev]) -> None:
        first = ready()
        first.run("projects", "create", "shop", "--host", "shop.example")
        first.stop()
        second = ready()
        key = (second.folder / ".data" / "dev-key").read_text().strip()
        assert f"API key   {key}" in first.output()
        assert f"API key   {key}" in second.output()
        assert "shop" in second.run("projects", "list").stdout

    def test_given_key_project_and_secret_are_used(self, ready: Callable[..., Dev]) -> None:
        dev = ready(REALTIME_DEV_KEY="my-key", REALTIME_DEV_PROJECT="mine", REALTIME_SECRET="s" * 32)
        assert not (dev.folder / ".data" / "dev-key").exists()
        assert not (dev.folder / ".data" / "secret").exists()
        dev.run(*dev.line_to_copy("publish"))
        assert "my-key" in dev.line_to_copy("publish")

    def test_taken_port_is_told_before_anything_starts(
        self, ready: Callable[..., Dev], start: Callable[..., Dev], free_port: Callable[[], int]
    ) -> None:
        port = free_port()
        first = ready(REALTIME_PORT=str(port))
        result = first.run("dev", "--port", str(port), exit_code=1)
        assert f"Cannot listen on 127.0.0.1:{port}: Address already in use." in result.stderr
        assert "--port" in result.stderr

    def test_folder_in_use_is_told(self, dev: Dev, free_port: Callable[[], int]) -> None:
        result = dev.run("dev", "--port", str(free_port()), exit_code=1)
        assert "in use by another process" in result.stderr

    def test_several_processes_share_the_port(self, ready: Callable[..., Dev]) -> None:
        dev = ready(REALTIME_WORKERS="2")
        endpoint = next(line.split()[1] for line in dev.output().splitlines() if "Endpoint" in line)
        # Each process opens the port's queue in its own time.
        deadline = time.monotonic() + DEADLINE_S
        while httpx.get(f"{endpoint}/health", trust_env=False, timeout=DEADLINE_S).status_code != 200:
            assert time.monotonic() < deadline
        dev.run(*dev.line_to_copy("publish"))
        assert dev.stop() == 0


class TestWorkers:
    """What is told of events works without any setting: a webhook of this machine, and code that was deployed."""

    @pytest.fixture
    def server(self, dev: Dev) -> Iterator[httpx.Client]:
        endpoint = next(line.split()[1] for line in dev.output().splitlines() if "Endpoint" in line)
        key = (dev.folder / ".data" / "dev-key").read_text().strip()
        headers = {"X-Appwrite-Project": "demo", "X-Appwrite-Key": key}
        with httpx.Client(base_url=endpoint, headers=headers, trust_env=False, timeout=DEADLINE_S) as client:
            yield client

    def test_webhook_is_delivered_and_counted_beside_what_the_hub_counts(
        self, dev: Dev, server: httpx.Client
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as endpoint:
            endpoint.settimeout(DEADLINE_S)
            url = f"http://localhost:{endpoint.getsockname()[1]}/hook"
            webhook = {"webhookId": "hook", "name": "Hook", "url": url, "events": ["teams.*.create"]}
            server.post("/webhooks", json=webhook).raise_for_status()
            server.post("/teams", json={"teamId": "editors", "name": "Editors"}).raise_for_status()
            connection, _ = endpoint.accept()
            with connection:
                request = connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        assert request.startswith(b"POST /hook HTTP/1.1")
        delivered = 'realtime_webhook_deliveries_total{outcome="delivered"} 1.0'
        wait_until(lambda: delivered in server.get("/../metrics").text)
        page = server.get("/../metrics").text
        assert "realtime_connections 0.0" in page
        assert 'realtime_work_waiting{kind="webhooks"} 0.0' in page
        server.delete("/webhooks/hook").raise_for_status()
        server.delete("/teams/editors").raise_for_status()

    def test_python_that_was_deployed_runs(self, server: httpx.Client) -> None:
        function = {"functionId": "echo", "name": "Echo", "runtime": "python-3.11", "entrypoint": "main.py"}
        server.post("/functions", json=function).raise_for_status()
        code = b"def main(context):\n    return context.res.text(context.req.body_text * 2)\n"
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            member = tarfile.TarInfo("main.py")
            member.size = len(code)
            tar.addfile(member, io.BytesIO(code))
        files = {"code": ("code.tar.gz", archive.getvalue(), "application/gzip")}
        server.post("/functions/echo/deployments", files=files, data={"activate": "true"}).raise_for_status()
        wait_until(lambda: server.get("/functions/echo").json()["deploymentId"] != "")
        waited_for = server.post("/functions/echo/executions", json={"body": "ab"}).json()
        assert (waited_for["status"], waited_for["responseBody"]) == ("completed", "abab"), waited_for
        later = server.post("/functions/echo/executions", json={"body": "ab", "async": True}).json()
        path = f"/functions/echo/executions/{later['$id']}"
        wait_until(lambda: server.get(path).json()["status"] == "completed")
        ended = 'realtime_executions_total{outcome="completed",trigger="http"} 2.0'
        wait_until(lambda: ended in server.get("/../metrics").text)
        server.delete("/functions/echo").raise_for_status()


class TestAdministration:
    def test_project_is_created_listed_and_deleted(self, dev: Dev) -> None:
        dev.run(
            "projects",
            "create",
            "shop",
            "--name",
            "The shop",
            "--host",
            "shop.example",
            "--host",
            "*.x.example",
        )
        assert "shop  The shop  shop.example, *.x.example" in dev.run("projects", "list").stdout.splitlines()
        assert "exists already" in dev.run("projects", "create", "shop", exit_code=1).stderr
        assert "valid" in dev.run("projects", "create", "no/id", exit_code=1).stderr
        dev.run("projects", "delete", "shop")
        assert "shop" not in dev.run("projects", "list").stdout
        assert "no project shop" in dev.run("projects", "delete", "shop", exit_code=1).stderr

    def test_hosts_and_apps_are_added_once_and_removed(self, dev: Dev) -> None:
        allow = ["projects", "allow", "demo", "--host", "app.example.com", "--app", "com.example.app"]
        for _ in range(2):
            assert dev.run(*allow).stdout == (
                "changed project demo: open to localhost, 127.0.0.1, app.example.com, "
                "com.example.app (apple-ios, android)\n"
            )
        assert "com.example.app (apple-ios, android)" in dev.run("projects", "list").stdout
        for _ in range(2):
            assert dev.run(*allow, "--remove").stdout == (
                "changed project demo: open to localhost, 127.0.0.1\n"
            )
        nowhere = dev.run("projects", "allow", "nowhere", "--host", "a", exit_code=1)
        assert "no project nowhere" in nowhere.stderr

    def test_key_publishes_until_it_is_deleted(self, dev: Dev) -> None:
        secret = dev.run("keys", "create", "--name", "backend", "--scope", "events.write").stdout.strip()
        publish = [*dev.line_to_copy("publish"), "--key", secret]
        dev.run(*publish)
        line = next(line for line in dev.run("keys", "list").stdout.splitlines() if "backend" in line)
        key_id, *others = re.split(r" {2,}", line)
        assert others == ["backend", "events.write", "never expires"]
        dev.run("keys", "delete", key_id)
        assert "missing scope" in dev.run(*publish, exit_code=1).stderr

    def test_unknown_project_or_key_is_told(self, dev: Dev) -> None:
        assert "no project nowhere" in dev.run("keys", "list", "--project", "nowhere", exit_code=1).stderr
        assert "has no key 5" in dev.run("keys", "delete", "5", exit_code=1).stderr
        assert "--scope" in dev.run("keys", "create", exit_code=1).stderr


class TestTail:
    def test_person_sees_only_what_they_may_read(self, dev: Dev) -> None:
        elsewhere = dev.line_to_copy("tail")[2:]
        jwt = dev.run("token", "--sub", "ada", "--team", "editors").stdout.strip()
        tail = subprocess.Popen(
            [REALTIME, "tail", "--jwt", jwt, "--json", "--count", "1", *elsewhere],
            cwd=dev.folder,
            env=dev.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert tail.stderr is not None
        assert tail.stderr.readline().startswith("Subscribed to rows, documents, ")
        for role in ("user:bob", "team:editors"):
            dev.run("publish", "buckets.b.files.f.create", '{"$id": "f"}', "--role", role, *elsewhere)
        stdout, _ = tail.communicate(timeout=DEADLINE_S)
        assert '"payload":{"$id":"f"}' in stdout
        assert len(stdout.splitlines()) == 1

    def test_it_begins_after_an_event(self, dev: Dev) -> None:
        elsewhere = dev.line_to_copy("tail")[2:]
        ids = [
            json.loads(dev.run("publish", "teams.t.update", "{}", "--json", *elsewhere).stdout)["events"][0][
                "id"
            ]
            for _ in range(3)
        ]
        tail = ("tail", "--json", "--count", "2", "--since", ids[0], *elsewhere)
        lines = dev.run(*tail).stdout.splitlines()
        assert [json.loads(line)["id"] for line in lines] == ids[1:]

    def test_position_that_is_not_kept_is_told(self, dev: Dev) -> None:
        tail = subprocess.Popen(
            [REALTIME, "tail", "--since", "1-0", "--count", "1", *dev.line_to_copy("tail")[2:]],
            cwd=dev.folder,
            env=dev.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert tail.stderr is not None
        assert tail.stderr.readline().startswith("Subscribed to ")
        assert tail.stderr.readline() == "Events may be missing here (expired).\n"
        dev.run(*dev.line_to_copy("publish"))
        stdout, _ = tail.communicate(timeout=DEADLINE_S)
        assert "rows.1.create" in stdout

    def test_since_that_is_no_position_is_told(self, dev: Dev) -> None:
        result = dev.run("tail", "--since", "yesterday", exit_code=1)
        assert "--since 'yesterday' is not the ID of an event" in result.stderr

    def test_refusal_is_told(self, dev: Dev) -> None:
        elsewhere = dev.line_to_copy("tail")[2:]
        assert "JWT" in dev.run("tail", "--jwt", "nonsense", *elsewhere, exit_code=1).stderr
        assert "at most one" in dev.run("tail", "--jwt", "a", "--key", "b", exit_code=1).stderr

    def test_nobody_there_is_told(self, dev: Dev, free_port: Callable[[], int]) -> None:
        result = dev.run("tail", "--endpoint", f"http://127.0.0.1:{free_port()}/v1", exit_code=1)
        assert result.stderr.startswith("error: ")


class TestApart:
    def test_hub_and_api_run_alone_beside_it(self, dev: Dev, free_port: Callable[[], int]) -> None:
        ports = {"hub": free_port(), "api": free_port()}
        processes = []
        try:
            for command, port in ports.items():
                processes.append(
                    subprocess.Popen(
                        [REALTIME, command, "--port", str(port)],
                        cwd=dev.folder,
                        env=dev.environment | {"REALTIME_DRAIN_WINDOW_S": "0"},
                        stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL,
                        text=True,
                    )
                )
                line = f"realtime {command} at http://127.0.0.1:{port}/v1. Ctrl+C ends it.\n"
                stdout = processes[-1].stdout
                assert stdout is not None
                assert stdout.readline() == line
                wait_for_health(port)
            tail = subprocess.Popen(
                [
                    REALTIME,
                    "tail",
                    "rows",
                    "--count",
                    "1",
                    "--endpoint",
                    f"http://127.0.0.1:{ports['hub']}/v1",
                ],
                cwd=dev.folder,
                env=dev.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert tail.stderr is not None
            assert tail.stderr.readline().startswith("Subscribed")
            endpoint = f"http://127.0.0.1:{ports['api']}/v1"
            name = "databases.main.tables.posts.rows.1.create"
            dev.run("publish", name, "--role", "any", "--endpoint", endpoint)
            assert name in tail.communicate(timeout=DEADLINE_S)[0]
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.communicate(timeout=DEADLINE_S)
        assert [process.returncode for process in processes] == [0, 0]

    def test_api_of_several_processes_is_one(self, dev: Dev, free_port: Callable[[], int]) -> None:
        port = free_port()
        process = subprocess.Popen(
            [REALTIME, "api", "--port", str(port), "--workers", "2"],
            cwd=dev.folder,
            env=dev.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            wait_for_health(port)
        finally:
            process.terminate()
            _, log = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
        mail, *started = [json.loads(line)["event"] for line in log.splitlines()]
        assert mail.startswith("mail is not sent")
        assert started == ["worker started"] * 2

    def test_no_redis_says_what_to_do(self, tmp_path: Path, free_port: Callable[[], int]) -> None:
        for command in ("hub", "api"):
            result = subprocess.run(
                [REALTIME, command, "--port", str(free_port())],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
                check=False,
            )
            assert result.returncode == 1
            assert "REALTIME_REDIS_URL" in result.stderr


def wait_for_health(port: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/v1/health", trust_env=False, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)
