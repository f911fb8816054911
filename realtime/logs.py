"""Logging of a process: structlog for our own lines, the same form for those of the libraries beneath.

Lines go to standard error, one for each event of note: a connection opened or closed, Redis lost or found again;
nothing for each message. Called by programs when they start, never on import: who uses the library logs as they
please. Tracebacks are printed without local variables, since those may hold secrets.
"""

import functools
import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import Processor

from realtime.settings import Settings

_OURS = ("realtime", "workers")


def configure_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """Log to ``stream`` (standard error) in the form and from the level that ``settings`` say. Idempotent.

    Of libraries, warnings and errors are logged; with level ``debug`` also what they say for information.
    """
    stream = stream or sys.stderr
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    rendering = _rendering(_is_for_people(settings, stream))
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(rendering))
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.INFO if level == logging.DEBUG else max(level, logging.WARNING))
    for name in _OURS:
        logging.getLogger(name).setLevel(level)
    structlog.configure(
        processors=[*_shared(), *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=functools.cache(functools.partial(_OwnLogger, stream)),
        cache_logger_on_first_use=False,
    )


class _OwnLogger(structlog.WriteLogger):
    """Writes our own lines straight to the stream.

    By way of the standard library a line takes three times as long, and opening a connection a tenth longer
    (benchmarks/connections.py).
    """

    def __init__(self, stream: TextIO, name: str = "") -> None:
        super().__init__(stream)
        self.name = name


def _is_for_people(settings: Settings, stream: TextIO) -> bool:
    return settings.log_format == "console" or (settings.log_format == "auto" and stream.isatty())


def _shared() -> list[Processor]:
    """Return the steps that every line goes through, ours or a library's."""
    return [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _rendering(is_for_people: bool) -> list[Processor]:
    """Return the steps that make a text of a line."""
    if is_for_people:
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _formatter(rendering: list[Processor]) -> logging.Formatter:
    """Return what gives the lines of libraries, which log to the standard library, the form of our own."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_shared(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )
