"""What commands print, and how they fail.

Results go to standard output, one line a thing and never wrapped, so that they can be copied and piped.
Everything else goes to standard error.
"""

import errno
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import httpx
import orjson
import pydantic
import redis.exceptions
import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from realtime.errors import RealtimeError


class CommandError(RealtimeError):
    """A command cannot do what it was asked to; the message says what to do about it."""

    type = "command_failed"


def show(*parts: str | Text, end: str = "\n") -> None:
    """Print one line to standard output; ``Text`` parts keep their style where the terminal has styles."""
    line = Text()
    for part in parts:
        line.append(part) if isinstance(part, str) else line.append_text(part)
    Console().print(line, soft_wrap=True, highlight=False, end=end)


def show_table(rows: Sequence[Sequence[str]], *, heading: Sequence[str] = ()) -> None:
    """Print ``rows`` with their columns aligned and two spaces apart.

    Args:
        rows: what there is.
        heading: what the columns are called. Above them on standard error, so that who pipes rows gets rows.
    """
    if not rows:
        return
    measured = [heading, *rows] if heading else rows
    widths = [max(map(len, column)) for column in zip(*measured, strict=True)]
    if heading:
        note(_aligned(heading, widths), style="dim")
    for row in rows:
        line = _aligned(row, widths)
        show(Text(line[: widths[0]], "bold"), line[widths[0] :])


def show_list(
    listed: Sequence[Any],
    total: int,
    line: Callable[[Any], Sequence[str]],
    *,
    heading: Sequence[str],
    what: str,
    as_json: bool,
) -> None:
    """Print the first of ``total`` things as a table, a ``line`` each, or as one JSON object a line.

    Says where people look, on standard error, if there are none, or more; ``what`` is what they are called.
    """
    if as_json:
        for each in listed:
            show(orjson.dumps(each).decode())
    else:
        show_table([line(each) for each in listed], heading=heading)
        if not listed:
            note(f"There are no such {what}.")
    if total > len(listed):
        note(f"{total - len(listed)} more; --limit shows them.")


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with the word for what it counts; ``many`` is ``one`` with an s when left out."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def one_line(text: str) -> str:
    """Return a text of strangers as one line that a terminal can be given: without what would steer it."""
    return "".join(char if char.isprintable() else "\ufffd" for char in " ".join(text.split()))


def note(message: str, *, style: str = "") -> None:
    """Print a remark to standard error."""
    Console(stderr=True).print(Text(message, style), soft_wrap=True, highlight=False)


def fail(message: str) -> NoReturn:
    """Print ``message`` to standard error and end the command with exit code 1."""
    Console(stderr=True).print(
        Text.assemble(("error: ", "bold red"), message), soft_wrap=True, highlight=False
    )
    raise typer.Exit(1)


class Commands(TyperGroup):
    """A group of commands; errors that people can do something about become one line and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except pydantic.ValidationError as error:
            fail(describe_settings_error(error))
        except redis.exceptions.RedisError as error:
            fail(f"Redis: {error}")
        except (RealtimeError, httpx.InvalidURL) as error:
            fail(str(error))
        except OSError as error:
            if error.errno not in {
                errno.EADDRINUSE,
                errno.EACCES,
                errno.EADDRNOTAVAIL,
                errno.ENOTDIR,
                errno.EROFS,
            }:
                raise
            fail(str(error))


def describe_settings_error(error: pydantic.ValidationError) -> str:
    """Return which settings are wrong, by their environment variables, and why."""
    return "; ".join(
        f"REALTIME_{'.'.join(str(part) for part in detail['loc']).upper()}: "
        f"{detail['msg'].removeprefix('Value error, ')}"
        for detail in error.errors(include_input=False, include_url=False)
    )
