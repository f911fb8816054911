import json

import pytest
from typer.testing import CliRunner

from realtime.settings import Settings
from workers.cli import app
from workers.cli.vars import UnknownVariable, find_unknown, format_value, mask


def listed(*arguments: str) -> dict[str, dict[str, str]]:
    result = CliRunner().invoke(app, ["vars", "--json", *arguments])
    assert result.exit_code == 0, result.output
    variables: dict[str, dict[str, str]] = json.loads(result.output)
    return variables


class TestVars:
    def test_every_setting_is_listed_in_order(self) -> None:
        assert list(listed()) == [info.variable for info in Settings.describe()]

    def test_unset_setting_shows_its_default(self) -> None:
        for info in Settings.describe():
            if info.variable != "REALTIME_DATA_DIR":
                assert listed()[info.variable] == {"value": info.default, "source": "default"}
                break

    def test_set_variable_shows_its_value_and_source(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REALTIME_PORT", "9000")
        monkeypatch.setenv("realtime_workers", "2")
        variables = listed()
        assert variables["REALTIME_PORT"] == {"value": "9000", "source": "env"}
        assert variables["REALTIME_WORKERS"] == {"value": "2", "source": "env"}

    def test_lifted_limit_shows_what_lifted_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REALTIME_LIMITS", "off")
        variables = listed()
        assert variables["REALTIME_LIMITS"] == {"value": "off", "source": "env"}
        assert variables["REALTIME_MESSAGES_PER_MINUTE"] == {"value": "0", "source": "limits"}
        assert variables["REALTIME_PORT"]["source"] == "default"

    def test_secrets_are_masked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REALTIME_SECRET", "hush-1")
        monkeypatch.setenv("REALTIME_DEV_KEY", "hush-2")
        monkeypatch.setenv("REALTIME_REDIS_URL", "redis://me:hush-3@redis.example:6379/1")
        for arguments in (["vars"], ["vars", "--json"]):
            assert "hush" not in CliRunner().invoke(app, arguments).output
        variables = listed()
        assert variables["REALTIME_SECRET"]["value"] == "***"
        assert variables["REALTIME_REDIS_URL"]["value"] == "redis://me:***@redis.example:6379/1"

    def test_text_has_one_line_a_setting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REALTIME_PORT", "9000")
        lines = CliRunner().invoke(app, ["vars"]).output.splitlines()
        assert len(lines) == len(Settings.describe())
        assert ["REALTIME_PORT", "env", "9000"] in [line.split() for line in lines]

    def test_invalid_setting_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REALTIME_PORT", "many")
        result = CliRunner().invoke(app, ["vars"])
        assert result.exit_code == 1
        assert "REALTIME_PORT" in result.stderr
        assert "integer" in result.stderr

    def test_misspelt_variable_is_listed_as_unknown_without_its_value(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REALTIME_SECERT", "hush")
        assert listed()["REALTIME_SECERT"] == {"source": "unknown", "nearest": "REALTIME_SECRET"}
        for arguments in (["vars"], ["vars", "--json"]):
            assert "hush" not in CliRunner().invoke(app, arguments).output
        line = CliRunner().invoke(app, ["vars"]).output.splitlines()[-1]
        assert line.split() == ["REALTIME_SECERT", "unknown", "is", "REALTIME_SECRET", "meant?"]


class TestFindUnknown:
    def test_settings_in_any_case_and_variables_of_others_are_not_found(self) -> None:
        assert find_unknown(["REALTIME_PORT", "realtime_port", "PATH", "REAL", "XREALTIME_X"]) == []

    def test_nearest_setting_is_named(self) -> None:
        assert find_unknown(["realtime_prot"]) == [UnknownVariable("realtime_prot", "REALTIME_PORT")]

    def test_name_unlike_all_has_none_near(self) -> None:
        (unknown,) = find_unknown(["REALTIME_ZZZZZZZZ"])
        assert unknown.nearest == ""
        assert "realtime vars" in unknown.advice


class TestFormatValue:
    def test_every_default_is_written_as_the_environment_takes_it(self) -> None:
        settings = Settings(data_dir=".data")  # type: ignore[arg-type]
        for info in Settings.describe():
            assert format_value(getattr(settings, info.name)) == info.default


class TestMask:
    def test_unset_secret_stays_visibly_empty(self) -> None:
        assert mask("secret", "") == ""

    def test_url_without_password_is_left_alone(self) -> None:
        assert mask("redis_url", "unix:///run/valkey.sock") == "unix:///run/valkey.sock"

    def test_password_without_user_is_masked(self) -> None:
        assert mask("redis_url", "rediss://:hush@[::1]:6379") == "rediss://:***@[::1]:6379"
