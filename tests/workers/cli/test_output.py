import errno

import pytest
import typer
from redis.exceptions import ConnectionError as RedisConnectionError
from typer.testing import CliRunner

from workers.cli import app
from workers.cli.output import CommandError, Commands, note, show, show_table


def failing_with(error: Exception) -> typer.Typer:
    app = typer.Typer(cls=Commands)

    @app.command()
    def fail() -> None:
        raise error

    @app.command()
    def other() -> None:
        pass

    return app


class TestCommands:
    @pytest.mark.parametrize(
        ("error", "text"),
        [
            (CommandError("Do this instead."), "error: Do this instead.\n"),
            (RedisConnectionError("gone"), "error: Redis: gone\n"),
            (OSError(errno.EADDRINUSE, "Address already in use"), "Address already in use"),
        ],
    )
    def test_foreseen_error_is_one_line_and_exit_code_1(self, error: Exception, text: str) -> None:
        result = CliRunner().invoke(failing_with(error), ["fail"])
        assert result.exit_code == 1
        assert text in result.stderr
        assert len(result.stderr.splitlines()) == 1

    def test_wrong_setting_is_one_line_that_names_its_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REALTIME_REDIS_URL", "s3cret@host")
        result = CliRunner().invoke(app, ["keys", "list"])
        assert result.exit_code == 1
        assert result.stderr.startswith("error: REALTIME_REDIS_URL: The URL must begin with one of redis://")
        assert len(result.stderr.splitlines()) == 1
        assert "s3cret" not in result.stderr

    @pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), OSError(errno.EBADF, "a bug")])
    def test_bug_keeps_its_traceback(self, error: Exception) -> None:
        assert CliRunner().invoke(failing_with(error), ["fail"]).exception is error


class TestShow:
    def test_long_line_is_not_wrapped_nor_read_as_markup(self, capsys: pytest.CaptureFixture[str]) -> None:
        show("[bold]" + "x " * 500)
        assert capsys.readouterr().out == "[bold]" + "x " * 500 + "\n"


class TestNote:
    def test_remark_stays_out_of_the_results(self, capsys: pytest.CaptureFixture[str]) -> None:
        note("aside")
        assert capsys.readouterr() == ("", "aside\n")


class TestShowTable:
    def test_columns_are_aligned(self, capsys: pytest.CaptureFixture[str]) -> None:
        show_table([("a", "long name", "x"), ("longer", "b", "")])
        assert capsys.readouterr().out == "a       long name  x\nlonger  b\n"

    def test_nothing_is_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        show_table([])
        assert capsys.readouterr().out == ""
