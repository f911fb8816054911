import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from realtime.identity.claims import parse_claims
from realtime.identity.jwt import TokenVerifier
from realtime.identity.model import User
from workers.cli import app
from workers.dev import kept

OLD, NEW = "an older secret of thirty-two bytes!", "a newer secret of thirty-two bytes!!"


def token(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["token", *arguments])
    assert result.exit_code == 0, result.stderr
    return result.stdout.strip()


class TestToken:
    async def test_claims_become_the_roles_they_say(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REALTIME_SECRET", f"{OLD},{NEW}")
        claims = await TokenVerifier([NEW]).verify(
            token(
                *("--sub", "ada", "--name", "Ada", "--verified", "--ttl", "60"),
                *("--team", "editors", "--team", "staff/owner", "--label", "beta"),
            )
        )
        user = parse_claims(claims, "demo")
        assert isinstance(user, User)
        assert user.name == "Ada"
        expected = {"users", "users/verified", "user:ada", "user:ada/verified"}
        expected |= {"team:editors", "team:staff", "team:staff/owner", "label:beta"}
        assert expected <= user.roles()
        assert claims["exp"] == pytest.approx(time.time() + 60, abs=5)

    async def test_project_limits_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REALTIME_SECRET", NEW)
        claims = await TokenVerifier([NEW]).verify(token("--sub", "ada", "--project", "shop"))
        assert claims["project"] == "shop"

    async def test_kept_secret_signs_when_none_is_set(self, data_dir: Path) -> None:
        secret = kept.read_or_create(data_dir / kept.SECRET_FILE)
        claims = await TokenVerifier([secret]).verify(token("--sub", "ada"))
        assert claims["sub"] == "ada"

    def test_no_secret_at_all_says_what_to_do(self) -> None:
        result = CliRunner().invoke(app, ["token", "--sub", "ada"])
        assert result.exit_code == 1
        assert "REALTIME_SECRET" in result.stderr

    @pytest.mark.parametrize(
        "arguments", [(), ("--sub", ""), ("--sub", "a b"), ("--sub", "ada", "--team", "x/y/z")]
    )
    def test_identity_that_no_hub_would_accept_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
    ) -> None:
        monkeypatch.setenv("REALTIME_SECRET", NEW)
        result = CliRunner().invoke(app, ["token", *arguments])
        assert result.exit_code in {1, 2}
        assert result.stdout == ""
