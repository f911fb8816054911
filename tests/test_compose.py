"""The deployment files against the code: commands, settings and health checks must exist as they are named."""

import re
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
import typer.main
import yaml

from realtime.hub.http import routes as hub_routes
from realtime.settings import ENV_PREFIX, Settings
from workers.api import standalone
from workers.cli.app import app
from workers.cli.worker_pages import worker_routes
from workers.functions import executions
from workers.store import intake, relay
from workers.store.database import database_url
from workers.webhooks import dispatcher

ROOT = Path(__file__).parent.parent
IMAGE = "realtime-hub"

Service = dict[str, Any]


@cache
def compose() -> dict[str, Any]:
    return cast("dict[str, Any]", yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def services() -> dict[str, Service]:
    return cast("dict[str, Service]", compose()["services"])


WORKERS = ("functions", "webhooks")

OURS = sorted(name for name, service in services().items() if service.get("image") == IMAGE)


def substituted(value: object) -> str:
    """Return a value with compose's variables at their defaults; a required one becomes a text."""
    return re.sub(
        r"\$\{\w+(?::-([^}]*)|:\?[^}]*)?\}",
        lambda match: "required" if match[1] is None else match[1],
        str(value),
    )


def environment(service: Service) -> dict[str, str]:
    return {name: substituted(value) for name, value in service.get("environment", {}).items()}


def commands() -> set[str]:
    group = typer.main.get_command(app)
    return set(group.commands)  # type: ignore[attr-defined]


def health_url(service: Service) -> re.Match[str]:
    test = " ".join(service["healthcheck"]["test"])
    match = re.search(r"http://127\.0\.0\.1:(?P<port>\d+)(?P<path>/[\w/]*)", test)
    assert match is not None, test
    return match


def paths_of(command: str) -> set[str]:
    if command == "hub":
        # The routes close over the hub and use it when they are called.
        return {getattr(route, "path", "") for route in hub_routes(cast("Any", None))}
    if command in WORKERS:
        return {getattr(route, "path", "") for route in worker_routes(cast("Any", None), ())}
    assert command == "api"
    settings = Settings(redis_url="redis://127.0.0.1:1")
    return set(standalone.create(settings).openapi()["paths"])


class TestServices:
    def test_there_are_hub_api_and_workers_with_their_stores_and_a_proxy(self) -> None:
        assert set(services()) == {"hub", "api", *WORKERS, "valkey", "postgres", "proxy"}
        assert OURS == ["api", "functions", "hub", "webhooks"]

    @pytest.mark.parametrize("name", OURS)
    def test_command_is_one_of_the_command_line(self, name: str) -> None:
        (command,) = services()[name]["command"]
        assert command in commands()

    @pytest.mark.parametrize("name", OURS)
    def test_every_setting_exists_and_its_value_is_valid(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        given = environment(services()[name])
        known = {f"{ENV_PREFIX}{field.upper()}" for field in Settings.model_fields}
        assert set(given) <= known
        for variable, value in given.items():
            monkeypatch.setenv(variable, value)
        settings = Settings()
        assert settings.host == "0.0.0.0"
        assert settings.redis_url.startswith("redis://valkey:")
        assert name == "hub" or database_url(settings).host == "postgres"

    @pytest.mark.parametrize("name", sorted(services()))
    def test_every_service_has_a_health_check_and_comes_back(self, name: str) -> None:
        service = services()[name]
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["restart"] == "unless-stopped"

    @pytest.mark.parametrize("name", OURS)
    def test_health_check_asks_a_page_that_the_command_serves(self, name: str) -> None:
        url = health_url(services()[name])
        variable = "REALTIME_WORKER_PORT" if name in WORKERS else "REALTIME_PORT"
        assert url["port"] == environment(services()[name])[variable]
        assert url["path"] in paths_of(services()[name]["command"][0])

    def test_hub_gets_the_time_to_drain_before_it_is_killed(self) -> None:
        hub = services()["hub"]
        drain_s = float(environment(hub)["REALTIME_DRAIN_WINDOW_S"])
        assert float(hub["stop_grace_period"].removesuffix("s")) > drain_s + Settings().close_timeout_s

    @pytest.mark.parametrize("name", WORKERS)
    def test_worker_has_what_the_api_encrypts_with_and_where_it_puts_files(self, name: str) -> None:
        worker, api = services()[name], services()["api"]
        shared = {
            "REALTIME_DATABASE_URL",
            "REALTIME_ENCRYPTION_KEYS",
            "REALTIME_FILES_URL",
            "REALTIME_SECRET",
        }
        shared |= {"REALTIME_FUNCTIONS_EXECUTOR", "REALTIME_WEBHOOKS_ALLOWED_NETWORKS"}
        assert shared <= set(environment(worker))
        assert {name: environment(worker)[name] for name in shared} == {
            name: environment(api)[name] for name in shared
        }
        assert worker["volumes"] == api["volumes"]

    @pytest.mark.parametrize("name", ["api", "functions"])
    def test_functions_reach_the_api_where_the_proxy_is(self, name: str) -> None:
        port = health_url(services()["proxy"])["port"]
        assert environment(services()[name])["REALTIME_FUNCTIONS_ENDPOINT"] == f"http://proxy:{port}/v1"

    @pytest.mark.parametrize("name", WORKERS)
    def test_worker_gets_the_time_to_end_what_it_does_before_it_is_killed(self, name: str) -> None:
        grace_s = float(services()[name]["stop_grace_period"].removesuffix("s"))
        # What comes in, what is about to begin, what runs, what is to be recorded; and what is published.
        worst_s = 4 * max(executions.STOP_TIMEOUT_S, dispatcher.STOP_TIMEOUT_S, intake.STOP_TIMEOUT_S)
        assert grace_s > worst_s + relay.FLUSH_TIMEOUT_S

    def test_every_dependency_and_volume_is_declared(self) -> None:
        volumes = set(compose()["volumes"])
        for service in services().values():
            assert set(service.get("depends_on", {})) <= set(services())
            for source in (volume.split(":")[0] for volume in service.get("volumes", [])):
                assert source in volumes or (ROOT / source).exists()


class TestHeadComment:
    text = (ROOT / "docker-compose.yml").read_text()

    def test_required_variables_are_exported_for_every_command_after_it(self) -> None:
        comment = self.text.partition("\n\n")[0]
        required = re.findall(r"\$\{(\w+):\?", self.text)
        assert set(re.findall(r"^#   export (\w+)=", comment, re.MULTILINE)) == set(required)
        assert comment.index("export") < comment.index("docker compose")


class TestProxy:
    caddyfile = (ROOT / "deploy/Caddyfile").read_text()

    def test_upstreams_are_services_on_their_ports(self) -> None:
        upstreams = re.findall(r"dynamic a (\w+) (\d+)|reverse_proxy (\w+):(\d+)", self.caddyfile)
        found = {(a or c, b or d) for a, b, c, d in upstreams}
        assert found == {(name, environment(services()[name])["REALTIME_PORT"]) for name in ("api", "hub")}

    def test_health_check_asks_the_port_that_the_proxy_listens_on(self) -> None:
        assert f"\n:{health_url(services()['proxy'])['port']} {{" in self.caddyfile
        assert services()["proxy"]["ports"][0].endswith(f":{health_url(services()['proxy'])['port']}")


class TestDockerfile:
    dockerfile = (ROOT / "Dockerfile").read_text()

    def test_settings_exist(self) -> None:
        known = {f"{ENV_PREFIX}{field.upper()}" for field in Settings.model_fields}
        named = set(re.findall(r"\b(REALTIME_[A-Z_]+)\b", self.dockerfile))
        assert named
        assert named <= known

    def test_default_command_is_one_of_the_command_line(self) -> None:
        match = re.search(r'^CMD \["(\w+)"\]$', self.dockerfile, re.MULTILINE)
        assert match is not None
        assert match[1] in commands()
        assert 'ENTRYPOINT ["realtime"]' in self.dockerfile

    def test_health_check_asks_a_page_of_the_hub(self) -> None:
        match = re.search(r"REALTIME_PORT'\]\}(/[\w/]*)", self.dockerfile)
        assert match is not None
        assert match[1] in paths_of("hub")

    def test_everything_that_is_copied_is_let_through(self) -> None:
        ignored = (ROOT / ".dockerignore").read_text().split()
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", self.dockerfile, re.MULTILINE):
            assert all(f"!{name}" in ignored for name in line.split())


class TestContinuousIntegration:
    def test_it_runs_the_tests_and_skips_nothing(self) -> None:
        script = (ROOT / ".ci/run").read_text()
        assert "export CI=true" in script
        assert script.rstrip().endswith("exec make test")
