"""One form for all lines, and no secrets in any of them."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from realtime.logs import configure_logging
from realtime.settings import Settings


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    handlers, level = logging.root.handlers, logging.root.level
    ours = [logging.getLogger(name) for name in ("realtime", "workers")]
    levels = [logger.level for logger in ours]
    yield
    logging.root.handlers = handlers
    logging.root.setLevel(level)
    for logger, before in zip(ours, levels, strict=True):
        logger.setLevel(before)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class TestConfigureLogging:
    def test_own_line_is_one_json_object(self) -> None:
        stream = io.StringIO()
        configure_logging(Settings(log_format="json"), stream)
        structlog.get_logger("realtime.hub").info("connection opened", project="demo")
        (line,) = lines(stream)
        assert line.pop("timestamp").endswith("Z")
        assert line == {
            "event": "connection opened",
            "project": "demo",
            "level": "info",
            "logger": "realtime.hub",
        }

    def test_line_of_a_library_has_the_same_form(self) -> None:
        stream = io.StringIO()
        configure_logging(Settings(log_format="json"), stream)
        logging.getLogger("uvicorn.error").warning("Invalid %s", "request")
        (line,) = lines(stream)
        assert line.pop("timestamp").endswith("Z")
        assert line == {"event": "Invalid request", "level": "warning", "logger": "uvicorn.error"}

    def test_loggers_made_before_follow(self) -> None:
        stream = io.StringIO()
        log = structlog.get_logger("realtime.hub")
        configure_logging(Settings(log_format="json"), stream)
        log.warning("late")
        assert [line["event"] for line in lines(stream)] == ["late"]

    @pytest.mark.parametrize(
        ("level", "expected"),
        [
            ("debug", ["own debug", "own info", "own error", "their info", "their error"]),
            ("info", ["own info", "own error", "their error"]),
            ("error", ["own error", "their error"]),
        ],
    )
    def test_level_is_the_least_severe_line(self, level: str, expected: list[str]) -> None:
        stream = io.StringIO()
        configure_logging(Settings(log_format="json", log_level=level), stream)  # type: ignore[arg-type]
        log = structlog.get_logger("workers.api")
        log.debug("own debug")
        log.info("own info")
        log.error("own error")
        theirs = logging.getLogger("httpx")
        theirs.debug("their debug")
        theirs.info("their info")
        theirs.error("their error")
        assert [line["event"] for line in lines(stream)] == expected

    def test_auto_is_for_people_on_a_terminal_and_for_machines_elsewhere(self) -> None:
        terminal, pipe = Terminal(), io.StringIO()
        for stream in (terminal, pipe):
            configure_logging(Settings(), stream)
            structlog.get_logger("realtime.hub").info("hello")
        assert lines(pipe)[0]["event"] == "hello"
        with pytest.raises(json.JSONDecodeError):
            lines(terminal)

    @pytest.mark.parametrize("form", ["json", "console"])
    def test_traceback_shows_no_local_variables(self, form: str) -> None:
        stream = io.StringIO()
        configure_logging(Settings(log_format=form), stream)  # type: ignore[arg-type]
        # Put together here, so that the text is not in the traceback's lines of source code either.
        password = "hunter" * 2
        try:
            raise ValueError(len(password))
        except ValueError:
            structlog.get_logger("realtime.hub").exception("failed")
        assert "ValueError: 12" in stream.getvalue()
        assert "hunterhunter" not in stream.getvalue()
