"""Which platforms the command makes, held to the check of origins that they are for."""

import json
from collections.abc import Callable

import pytest
import redis
from typer.testing import CliRunner, Result

from realtime.bus.keys import project_key
from realtime.errors import ClientError
from realtime.identity.model import Platform, Project
from realtime.identity.origins import check_origin
from workers.cli import app
from workers.cli.output import CommandError
from workers.cli.projects import (
    APP_SYSTEMS,
    add_platforms,
    check_app_types,
    describe_platforms,
    parse_platforms,
    remove_platforms,
)


def is_open_to(origin: str, *platforms: Platform) -> bool:
    try:
        check_origin(origin, Project(id="p", platforms=platforms), platform_hosts=())
    except ClientError:
        return False
    return True


class TestParsePlatforms:
    @pytest.mark.parametrize(
        ("host", "origin"),
        [
            ("app.example.com", "https://app.example.com"),
            ("App.Example.com", "https://app.example.com:8443"),
            ("*.example.com", "https://a.b.example.com"),
            ("*", "http://anything.example"),
            ("[::1]", "http://[::1]:3000"),
            ("my_host", "http://my_host"),
        ],
    )
    def test_host_lets_its_pages_connect(self, host: str, origin: str) -> None:
        assert is_open_to(origin, *parse_platforms([host]))

    @pytest.mark.parametrize(
        "host",
        [
            "https://a.example",
            "a.example:3000",
            "a.example/",
            "a b",
            "",
            "::1",
            "a.*.example",
            "me@a.example",
        ],
    )
    def test_host_that_would_never_match_is_refused(self, host: str) -> None:
        with pytest.raises(CommandError, match="host's name alone"):
            parse_platforms([host])

    def test_app_may_come_from_ios_and_android(self) -> None:
        platforms = parse_platforms([], ["com.example.app"])
        for system in ("ios", "android"):
            assert is_open_to(f"appwrite-{system}://com.example.app", *platforms)
        assert not is_open_to("appwrite-macos://com.example.app", *platforms)

    @pytest.mark.parametrize("system", APP_SYSTEMS)
    def test_app_of_any_system_can_be_allowed(self, system: str) -> None:
        check_app_types([system, f"flutter-{system}"])
        platforms = parse_platforms([], ["com.example.app"], [f"flutter-{system}"])
        assert is_open_to(f"appwrite-{system}://com.example.app", *platforms)


class TestCheckAppTypes:
    @pytest.mark.parametrize("type_", ["web", "ios-apple", "", "iOS"])
    def test_type_that_no_origin_matches_is_refused(self, type_: str) -> None:
        with pytest.raises(CommandError, match="type of app"):
            check_app_types([type_])


class TestAddPlatforms:
    def test_what_is_there_stays_as_it_is(self) -> None:
        old = (Platform(type="flutter-web", hostname="A.example", name="Mine"),)
        assert add_platforms(old, parse_platforms(["a.example"])) == old

    def test_new_ones_come_after_the_old_each_once(self) -> None:
        merged = add_platforms(parse_platforms(["a"]), parse_platforms(["b", "a", "b"], ["k"]))
        assert [(platform.type, platform.hostname or platform.key) for platform in merged] == [
            ("web", "a"),
            ("web", "b"),
            ("apple-ios", "k"),
            ("android", "k"),
        ]

    def test_app_of_another_type_or_a_host_of_the_same_name_is_another(self) -> None:
        old = (Platform(type="react-native-ios", key="k"), Platform(type="web", hostname="k"))
        assert len(add_platforms(old, parse_platforms([], ["k"]))) == 4


class TestRemovePlatforms:
    PLATFORMS = parse_platforms(["k", "a.example"], ["k", "l"])

    def test_host_is_removed_in_any_case_and_its_namesake_stays(self) -> None:
        left = remove_platforms(self.PLATFORMS, parse_platforms(["K"]))
        assert describe_platforms(left) == "a.example, k (apple-ios, android), l (apple-ios, android)"

    def test_app_without_a_type_is_removed_with_all_its_types(self) -> None:
        left = remove_platforms(self.PLATFORMS, parse_platforms([], ["k"], [""]))
        assert describe_platforms(left) == "k, a.example, l (apple-ios, android)"

    def test_app_with_a_type_keeps_its_others(self) -> None:
        left = remove_platforms(self.PLATFORMS, parse_platforms([], ["l"], ["android"]))
        assert "l (apple-ios)" in describe_platforms(left)

    def test_what_is_not_there_is_passed_over(self) -> None:
        assert remove_platforms(self.PLATFORMS, parse_platforms(["b"])) == self.PLATFORMS


class TestAllow:
    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ([], "at least one --host or --app"),
            (["--type", "android"], "at least one --host or --app"),
            (["--host", "https://a.example"], "host's name alone"),
            (["--app", "k", "--type", "phone"], "no type of app"),
        ],
    )
    def test_wrong_options_are_told_before_anything_is_asked(self, arguments: list[str], text: str) -> None:
        result = CliRunner().invoke(app, ["projects", "allow", "p", *arguments])
        assert result.exit_code == 1
        assert text in result.stderr


class TestCreate:
    @pytest.mark.parametrize(
        ("project_id", "reason"), [("console", "The ID console is reserved."), ("a b", "is not a valid ID")]
    )
    def test_impossible_id_is_told(
        self, redis_url: str, monkeypatch: pytest.MonkeyPatch, project_id: str, reason: str
    ) -> None:
        monkeypatch.setenv("REALTIME_REDIS_URL", redis_url)
        result = CliRunner().invoke(app, ["projects", "create", project_id])
        assert result.exit_code == 1
        assert reason in result.output


class TestSwitch:
    @pytest.fixture
    def run(
        self, redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[..., Result]:
        monkeypatch.setenv("REALTIME_REDIS_URL", redis_url)
        monkeypatch.setenv("REALTIME_DATABASE_URL", database_url)
        return lambda *arguments: CliRunner().invoke(app, ["projects", *arguments])

    def test_service_is_closed_and_opened(self, run: Callable[..., Result], redis_url: str) -> None:
        assert run("create", "p").exit_code == 0
        for state, closed in (("off", ["account"]), ("on", None)):
            result = run("switch", "p", "account", state)
            assert result.exit_code == 0, result.output
            with redis.Redis.from_url(redis_url) as client:
                record = json.loads(str(client.get(project_key("p")), "utf-8"))
            assert record.get("disabled_services") == closed

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            (("p", "oven", "off"), "'oven' cannot be switched"),
            (("p", "account", "perhaps"), "on or off, not 'perhaps'"),
            (("q", "account", "off"), "There is no project q."),
        ],
    )
    def test_mistake_is_told(self, run: Callable[..., Result], arguments: tuple[str, ...], text: str) -> None:
        result = run("switch", *arguments)
        assert result.exit_code == 1
        assert text in result.stderr
