import pytest
from typer.testing import CliRunner

from workers.cli import app


class TestConsole:
    """The console exists without a record, and nothing is published to it."""

    @pytest.mark.parametrize("command", [["create", "--scope", "*"], ["list"], ["delete", "some-key"]])
    def test_it_has_no_keys_and_says_so(self, command: list[str]) -> None:
        result = CliRunner().invoke(app, ["keys", *command, "--project", "console"])
        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr == (
            "error: console has no API keys: a key reads and publishes the events of one project.\n"
        )


class TestScopes:
    """Before anything is connected to."""

    @pytest.mark.parametrize(
        ("scope", "advice"),
        [
            ("row.read", "is rows.read meant?"),
            ("bogus", "docs/reference/api.md"),
            ("", "docs/reference/api.md"),
        ],
    )
    def test_unknown_one_is_refused(self, scope: str, advice: str) -> None:
        result = CliRunner().invoke(app, ["keys", "create", "--scope", "events.write", "--scope", scope])
        assert result.exit_code == 1
        assert result.stdout == ""
        assert result.stderr.startswith(f"error: There is no scope {scope!r}: ")
        assert advice in result.stderr
