import runpy
import types
from pathlib import Path
from typing import Any, get_args

import pydantic
import pytest

from realtime.settings import Settings, reference_page

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
NUMBERS = [name for name, field in Settings.model_fields.items() if field.annotation in (int, float)]


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for info in Settings.describe():
        monkeypatch.delenv(info.variable, raising=False)


class TestSettings:
    def test_without_environment_every_setting_has_its_default(self) -> None:
        settings = Settings()

        assert settings.port == 8080
        assert settings.redis_url == ""
        assert settings.domains == ("localhost",)
        assert settings.data_dir == Path(".data")

    def test_environment_variable_sets_its_field(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REALTIME_PORT", "9000")
        monkeypatch.setenv("REALTIME_BRIDGE", "true")

        assert Settings().port == 9000
        assert Settings().bridge is True

    def test_list_is_split_at_commas(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REALTIME_DOMAINS", "localhost, example.com,")

        assert Settings().domains == ("localhost", "example.com")

    def test_proxy_that_is_no_network_is_refused(self) -> None:
        with pytest.raises(pydantic.ValidationError, match="trusted_proxies"):
            Settings(trusted_proxies=("10.0.0.0/8", "foo"))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("redis_url", "http://host"),
            ("jwks_url", "redis://host"),
            ("jwt_algorithms", ("HS256",)),
            ("encryption_keys", ("short",)),
            ("trusted_ip_headers", ("x forwarded for",)),
            ("dev_project", "not an id"),
        ],
    )
    def test_value_that_cannot_work_is_refused_by_name(self, name: str, value: object) -> None:
        values: dict[str, Any] = {name: value}

        with pytest.raises(pydantic.ValidationError, match=name):
            Settings(**values)

    def test_refusal_does_not_show_the_value(self) -> None:
        with pytest.raises(pydantic.ValidationError) as caught:
            Settings(redis_url="reddis://:s3cret@host")

        assert "s3cret" not in str(caught.value)

    def test_list_may_be_empty(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REALTIME_TRUSTED_PROXIES", "")

        assert Settings().trusted_proxies == ()

    def test_list_may_be_given_in_code(self) -> None:
        assert Settings(domains=("a", "b")).domains == ("a", "b")

    @pytest.mark.parametrize(
        ("name", "value"),
        [("port", -1), ("port", 65536), ("workers", 0), ("limits", "maybe"), ("probe_interval_s", 0)],
    )
    def test_value_out_of_range_is_refused_by_name(self, name: str, value: object) -> None:
        values: dict[str, Any] = {name: value}

        with pytest.raises(pydantic.ValidationError, match=name):
            Settings(**values)

    def test_unknown_setting_is_refused(self) -> None:
        values: dict[str, Any] = {"prot": 1}

        with pytest.raises(pydantic.ValidationError, match="prot"):
            Settings(**values)

    def test_settings_cannot_be_changed(self) -> None:
        settings = Settings()

        with pytest.raises(pydantic.ValidationError, match="frozen"):
            settings.port = 1

    def test_limits_off_lifts_rates_and_counts_but_not_bytes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REALTIME_LIMITS", "off")
        monkeypatch.setenv("REALTIME_MESSAGES_PER_MINUTE", "5")
        settings = Settings()

        assert settings.messages_per_minute == 0
        assert settings.connections_per_minute == 0
        assert settings.subscriptions_per_connection == 0
        assert settings.channels_per_subscription == 0
        assert settings.queries_per_subscription == 0
        assert settings.max_message_bytes == 64_000
        assert settings.send_buffer_bytes == 1_048_576

    def test_secrets_are_listed_oldest_first(self) -> None:
        assert Settings(secret="old, new").secrets == ("old", "new")
        assert Settings().secrets == ()

    def test_representation_shows_no_secrets(self) -> None:
        text = repr(Settings(secret="s3cret", dev_key="s3cret", redis_url="redis://:s3cret@host"))

        assert "s3cret" not in text


class TestDescribe:
    def test_every_setting_has_a_text(self) -> None:
        assert [info.name for info in Settings.describe() if not info.text.endswith(".")] == []

    def test_every_number_has_a_unit(self) -> None:
        units = {info.name: info.unit for info in Settings.describe()}

        assert NUMBERS
        assert [name for name in NUMBERS if not units[name]] == []

    def test_every_number_says_what_zero_does_where_zero_is_allowed(self) -> None:
        """A limit of 0 could mean none or nothing; durations speak for themselves."""
        silent = [
            info.name
            for info in Settings.describe()
            if info.name.startswith(("max_", "log_max")) or "_per_" in info.name
            if "bytes" not in info.unit and "0" not in info.text
        ]

        assert silent == []

    def test_times_name_their_unit(self) -> None:
        assert [i.name for i in Settings.describe() if (i.unit == "seconds") != i.name.endswith("_s")] == []

    @pytest.mark.parametrize("info", Settings.describe(), ids=lambda info: str(info.name))
    def test_default_can_be_written_in_the_environment(
        self, info: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(info.variable, info.default)

        assert Settings() == Settings.model_validate({})

    def test_choices_are_named_in_the_text_of_switches(self) -> None:
        limits = Settings.model_fields["limits"]

        assert get_args(limits.annotation) == ("on", "off")
        assert "`off`" in str(limits.description)


class TestReferencePage:
    def test_page_in_the_documentation_is_up_to_date(self) -> None:
        assert PAGE.read_text() == reference_page(), (
            "run: python -m realtime.settings > docs/reference/settings.md"
        )

    def test_every_setting_is_one_row(self) -> None:
        rows = [line for line in reference_page().splitlines() if line.startswith("| `REALTIME_")]

        assert len(rows) == len(Settings.model_fields)
        assert all(row.count(" | ") == 3 for row in rows)

    def test_module_run_as_a_program_prints_the_page(self, capsys: pytest.CaptureFixture[str]) -> None:
        module: dict[str, Any] | types.ModuleType = runpy.run_path(
            str(Path(__file__).parents[2] / "realtime" / "settings.py"), run_name="__main__"
        )

        assert module
        assert capsys.readouterr().out == reference_page()
