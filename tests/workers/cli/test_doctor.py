import re
import resource
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from realtime.settings import Settings
from workers.cli import app
from workers.cli.doctor import (
    check_clock,
    check_data_dir,
    check_database,
    check_eviction,
    check_open_files,
    check_port,
    check_secret,
    check_variables,
    check_version,
)
from workers.cli.findings import Level
from workers.dev import kept


class TestDoctor:
    def test_healthy_machine_passes(
        self, monkeypatch: pytest.MonkeyPatch, redis_url: str, free_port: Callable[[], int]
    ) -> None:
        monkeypatch.setenv("REALTIME_REDIS_URL", redis_url)
        monkeypatch.setenv("REALTIME_PORT", str(free_port()))
        monkeypatch.setenv("REALTIME_SECRET", "x" * 32)
        result = CliRunner().invoke(app, ["doctor"])
        assert result.exit_code == 0
        checks = [line[6:17].strip() for line in result.output.splitlines() if line[0] != " "]
        assert checks == [
            "redis",
            "eviction",
            "clock",
            "database",
            "open files",
            "port",
            "secret",
            "encryption",
            "data folder",
            "files",
            "mail",
            "webhooks",
            "functions",
            "executor",
        ]
        assert "fail" not in result.output
        assert "Valkey" in result.output

    def test_unreachable_redis_fails_without_showing_its_password(
        self, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
    ) -> None:
        monkeypatch.setenv("REALTIME_REDIS_URL", f"redis://:hush@127.0.0.1:{free_port()}")
        monkeypatch.setenv("REALTIME_PORT", str(free_port()))
        result = CliRunner().invoke(app, ["doctor"])
        assert result.exit_code == 1
        assert result.output.startswith("fail  redis")
        assert "REALTIME_REDIS_URL" in result.output
        assert "hush" not in result.output

    def test_nothing_started_yet_is_no_failure(
        self, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
    ) -> None:
        monkeypatch.setenv("REALTIME_PORT", str(free_port()))
        result = CliRunner().invoke(app, ["doctor"])
        assert result.exit_code == 0
        assert result.output.startswith("warn  redis")

    def test_no_redis_fails_where_a_hub_is_to_run(
        self, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
    ) -> None:
        monkeypatch.setenv("REALTIME_PORT", str(free_port()))
        monkeypatch.setenv("REALTIME_SECRET", "")
        assert CliRunner().invoke(app, ["doctor"]).exit_code == 0
        monkeypatch.setenv("REALTIME_SECRET", "x" * 32)
        result = CliRunner().invoke(app, ["doctor"])
        assert result.exit_code == 1
        assert result.output.startswith("fail  redis")
        assert "`realtime api` need REALTIME_REDIS_URL" in result.output

    def test_mail_server_that_is_away_fails(
        self, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
    ) -> None:
        monkeypatch.setenv("REALTIME_PORT", str(free_port()))
        monkeypatch.setenv("REALTIME_SMTP_URL", f"smtp://127.0.0.1:{free_port()}")
        result = CliRunner().invoke(app, ["doctor"])
        assert result.exit_code == 1
        assert "fail  mail" in result.output

    def test_misspelt_variable_is_warned_of(
        self, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
    ) -> None:
        monkeypatch.setenv("REALTIME_PORT", str(free_port()))
        monkeypatch.setenv("REALTIME_PROT", "9000")
        result = CliRunner().invoke(app, ["doctor"])
        assert result.exit_code == 0
        assert "warn  variable    REALTIME_PROT is no setting" in result.output
        assert "REALTIME_PORT" in result.output.splitlines()[-1]


class TestCheckDatabase:
    def test_database_that_answers_is_fine(self, database_url: str) -> None:
        finding = check_database(Settings(database_url=database_url))
        assert finding.level is Level.OK
        assert re.match(r"(SQLite|PostgreSQL) \d+\.\d+", finding.text)

    def test_sqlite_file_is_not_made_by_asking(self, tmp_path: Path) -> None:
        finding = check_database(Settings(data_dir=tmp_path))
        assert (finding.level, "to be made" in finding.text) == (Level.OK, True)
        assert list(tmp_path.iterdir()) == []

    def test_database_that_is_away_fails_without_showing_its_password(
        self, free_port: Callable[[], int]
    ) -> None:
        url = f"postgresql://me:hush@127.0.0.1:{free_port()}/realtime"
        finding = check_database(Settings(database_url=url))
        assert finding.level is Level.FAIL
        assert "me:***@127.0.0.1" in finding.text
        assert "hush" not in str(finding)

    def test_file_that_is_no_database_fails(self, tmp_path: Path) -> None:
        (tmp_path / "notes.db").write_text("Not a database, but long enough to be taken for one. " * 20)
        finding = check_database(Settings(database_url=f"sqlite:///{tmp_path}/notes.db"))
        assert (finding.level, finding.text.endswith("file is not a database")) == (Level.FAIL, True)

    def test_database_of_an_unknown_kind_fails(self) -> None:
        finding = check_database(Settings(database_url="mysql://me:hush@h/d"))
        assert (finding.level, "mysql" in finding.text, "hush" in str(finding)) == (Level.FAIL, True, False)


class TestCheckVersion:
    @pytest.mark.parametrize(
        ("info", "level"),
        [
            ({"redis_version": "7.2.4", "valkey_version": "9.1.0"}, Level.OK),
            ({"redis_version": "7.0.0"}, Level.OK),
            ({"redis_version": "6.2.14"}, Level.FAIL),
            ({}, Level.FAIL),
        ],
    )
    def test_version_is_judged(self, info: dict[str, str], level: Level) -> None:
        assert check_version(info, "redis://r").level is level


class TestCheckEviction:
    @pytest.mark.parametrize(
        ("policy", "level"),
        [("noeviction", Level.OK), ("volatile-lru", Level.OK), ("allkeys-lru", Level.WARN)],
    )
    def test_policy_that_evicts_anything_is_warned_of(self, policy: str, level: Level) -> None:
        assert check_eviction(policy).level is level


class TestCheckClock:
    @pytest.mark.parametrize(
        ("skew_s", "level"),
        [(0.0, Level.OK), (-0.9, Level.OK), (1.5, Level.WARN), (-1.5, Level.WARN), (31.0, Level.FAIL)],
    )
    def test_skew_is_judged_in_both_directions(self, skew_s: float, level: Level) -> None:
        assert check_clock(skew_s).level is level


class TestCheckOpenFiles:
    @pytest.mark.parametrize(
        ("limit", "level"),
        [(64, Level.FAIL), (1024, Level.WARN), (65_536, Level.OK), (resource.RLIM_INFINITY, Level.OK)],
    )
    def test_limit_is_judged(self, limit: int, level: Level) -> None:
        assert check_open_files(limit).level is level


class TestCheckPort:
    def test_free_port_is_ok(self, free_port: Callable[[], int]) -> None:
        assert check_port(Settings(port=free_port())).level is Level.OK

    def test_taken_port_fails_with_advice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("workers.cli.doctor.HTTP_TIMEOUT_S", 0.1)
        with socket.create_server(("127.0.0.1", 0)) as server:
            finding = check_port(Settings(port=server.getsockname()[1]))
        assert finding.level is Level.FAIL
        assert "REALTIME_PORT" in finding.advice

    def test_address_of_another_machine_fails(self, free_port: Callable[[], int]) -> None:
        assert check_port(Settings(host="192.0.2.1", port=free_port())).level is Level.FAIL


class TestCheckSecret:
    def test_long_secrets_are_ok(self, data_dir: Path) -> None:
        settings = Settings(secret=f"{'x' * 32},{'y' * 32}", data_dir=data_dir)
        assert check_secret(settings).level is Level.OK

    def test_one_short_secret_is_warned_of_and_not_shown(self, data_dir: Path) -> None:
        finding = check_secret(Settings(secret=f"{'x' * 32},short", data_dir=data_dir))
        assert finding.level is Level.WARN
        assert "short" not in finding.text

    def test_kept_secret_is_ok(self, data_dir: Path) -> None:
        kept.read_or_create(data_dir / kept.SECRET_FILE)
        assert check_secret(Settings(data_dir=data_dir)).level is Level.OK

    def test_keys_of_an_identity_provider_are_enough(self, data_dir: Path) -> None:
        settings = Settings(data_dir=data_dir, jwks_url="https://id.example/keys")
        assert check_secret(settings).level is Level.OK

    def test_none_is_warned_of(self, data_dir: Path) -> None:
        assert check_secret(Settings(data_dir=data_dir)).level is Level.WARN


class TestCheckDataDir:
    def test_folder_that_can_be_made_is_ok(self, tmp_path: Path) -> None:
        finding = check_data_dir(tmp_path / "a" / "b")
        assert (finding.level, "does not exist yet" in finding.text) == (Level.OK, True)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(("mode", "level"), [(0o700, Level.OK), (0o750, Level.WARN), (0o705, Level.WARN)])
    def test_folder_that_others_may_read_is_warned_of(self, tmp_path: Path, mode: int, level: Level) -> None:
        tmp_path.chmod(mode)
        finding = check_data_dir(tmp_path)
        assert (finding.level, "writable" in finding.text) == (level, True)

    def test_folder_behind_a_file_fails(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert check_data_dir(tmp_path / "file" / "b").level is Level.FAIL


class TestCheckVariables:
    def test_settings_are_nothing_to_speak_of(self) -> None:
        assert check_variables(["REALTIME_PORT", "HOME"]) == []

    def test_each_other_one_is_warned_of(self) -> None:
        findings = check_variables(["REALTIME_HOTS", "REALTIME_PROT"])
        assert [finding.level for finding in findings] == [Level.WARN, Level.WARN]
        assert [finding.advice for finding in findings] == [
            "is REALTIME_HOST meant?",
            "is REALTIME_PORT meant?",
        ]
