"""The page ``docs/reference/errors.md``: every error, refusal and close code, and what a client should do.

Codes and texts come from :mod:`realtime.errors`; here stands when each of them happens, and the advice. Run
``python -m realtime.hub.reference > docs/reference/errors.md`` after a change. The module is pure.
"""

import string
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from realtime.errors import CloseCode, ErrorKind


class Entry(NamedTuple):
    """What there is to say about one kind of error."""

    kind: ErrorKind
    when: str
    advice: str


OPENING = (
    Entry(
        ErrorKind.PROJECT_UNKNOWN,
        "The project in `x-appwrite-project` or `project` does not exist.",
        "Correct the project's ID.",
    ),
    Entry(
        ErrorKind.JWT_INVALID,
        "The token's signature, times, audience, issuer or claims are wrong; the reason says which.",
        "Get a new token and reconnect.",
    ),
    Entry(
        ErrorKind.JWT_AND_SESSION,
        "A valid session and a token were presented together.",
        "Present one of them.",
    ),
    Entry(
        ErrorKind.KEY_INVALID,
        "The API key does not exist in this project, or its time is over.",
        "Use a valid key of this project.",
    ),
    Entry(
        ErrorKind.KEY_AND_SESSION,
        "A valid API key was presented together with a session or token.",
        "Present one of them.",
    ),
    Entry(
        ErrorKind.API_DISABLED,
        "The project's WebSockets are switched off; API keys still connect.",
        "Switch them on in the project's record.",
    ),
    Entry(
        ErrorKind.REGION_MISMATCH,
        "The project belongs to another region.",
        "Connect to that region's endpoint.",
    ),
    Entry(
        ErrorKind.TOO_MANY_CONNECTIONS,
        "Too many connections from this address within a minute, or on this process.",
        "Reconnect later, with growing pauses.",
    ),
    Entry(
        ErrorKind.PROJECT_FULL,
        "The project has as many connections on this process as are allowed.",
        "Reconnect later, with growing pauses.",
    ),
    Entry(
        ErrorKind.ORIGIN_REFUSED,
        "A browser connects from a web page or app that is not registered; the reason names it.",
        "Add its host name to the project's platforms, or use a dev key.",
    ),
    Entry(
        ErrorKind.URL_QUERY_INVALID,
        "A query in the URL does not parse, or its method is not allowed. See [queries](queries.md).",
        "Correct the query.",
    ),
    Entry(
        ErrorKind.URL_LIMIT,
        "The URL has too many parameters, subscriptions, channels or queries, or `channels` is no list of names.",
        "Subscribe by message instead.",
    ),
)
"""Errors while a connection opens, in the order in which they are looked for (wire specification 2.2)."""

ANSWERS = (
    Entry(
        ErrorKind.TOO_MANY_MESSAGES,
        "The connection sent more messages within this minute than are allowed. The message was ignored.",
        "Send it again in the next minute; put several subscriptions into one message.",
    ),
    Entry(
        ErrorKind.MESSAGE_FORMAT,
        "The message is no JSON object with `type` or `data`, or is nested too deeply.",
        "Correct the client.",
    ),
    Entry(ErrorKind.MESSAGE_TYPE, "`type` is missing or unknown.", "Correct the client."),
    Entry(
        ErrorKind.PROJECT_MISSING,
        "The connection belongs to no project.",
        "Reconnect to a project.",
    ),
    Entry(ErrorKind.PARAMETER_MISSING, "`data` lacks a required member.", "Correct the client."),
    Entry(
        ErrorKind.PARAMETER_INVALID,
        "A member of `data` has the wrong form. Nothing of the message took effect.",
        "Correct the client.",
    ),
    Entry(
        ErrorKind.QUERY_INVALID,
        "A query of a subscription does not parse, or is not allowed. None of the message's was made. "
        "See [queries](queries.md).",
        "Correct the query.",
    ),
    Entry(
        ErrorKind.LIMIT_EXCEEDED,
        "Too many subscriptions, channels or queries. None of the message's was made.",
        "Unsubscribe from some; name wildcard channels instead of many.",
    ),
    Entry(
        ErrorKind.SESSION_INVALID,
        "The session does not exist, has ended, or its user is blocked. The connection acts as before.",
        "Sign in again.",
    ),
    Entry(
        ErrorKind.CREDENTIAL_INVALID,
        "The token or API key is not valid; the reason says why. The connection acts as before.",
        "Get a new one.",
    ),
    Entry(
        ErrorKind.IMPERSONATED,
        "A connection that was opened as somebody else cannot become yet another.",
        "Open another connection.",
    ),
    Entry(
        ErrorKind.TAIL_NOT_CONSOLE,
        "A channel `console.tail.*` on a connection to a project.",
        "Connect to the project `console`.",
    ),
    Entry(ErrorKind.TAIL_REFUSED, "The project's events may not be followed.", "Do not subscribe to it."),
    Entry(ErrorKind.PRESENCE_NO_PROJECT, "A presence on the console.", "Connect to a project."),
    Entry(
        ErrorKind.PRESENCE_DISABLED,
        "A presence in a project that has switched presences off.",
        "Do without; or switch them on: `realtime projects switch`.",
    ),
    Entry(ErrorKind.PRESENCE_NO_USER, "A presence of a guest.", "Authenticate first."),
    Entry(
        ErrorKind.PRESENCE_USER_UNKNOWN,
        "A presence of a user whom the project does not have.",
        "Create the user; or connect as one.",
    ),
    Entry(
        ErrorKind.PRESENCE_PERMISSIONS,
        "A presence whose permissions name a role that the user does not hold.",
        "Name roles of the user, or `any`.",
    ),
    Entry(
        ErrorKind.PRESENCE_INVALID,
        "A presence whose status is longer than 255 characters, or whose metadata is too large.",
        "Say less; see `REALTIME_PRESENCE_METADATA_BYTES`.",
    ),
    Entry(
        ErrorKind.PRESENCE_EXISTS,
        "A new presence under an ID that another user's presence has.",
        "Take another ID, or `unique()`.",
    ),
)
"""Errors in answer to a message (wire specification 4)."""

ANY_TIME = (
    Entry(
        ErrorKind.UNAVAILABLE,
        "Redis did not answer, so nobody can tell who the client is.",
        "Reconnect, with growing pauses.",
    ),
    Entry(
        ErrorKind.SERVER_ERROR,
        "A bug. The server's log has the details.",
        "Reconnect, with growing pauses.",
    ),
)
"""Errors of the server's own."""


class Close(NamedTuple):
    """A close code, and what it asks of a client."""

    code: int
    when: str
    advice: str


CLOSES = (
    Close(
        CloseCode.GOING_AWAY,
        "The server restarts (`The server restarts.`).",
        "Reconnect after `retryAfterMs`.",
    ),
    Close(
        1002,
        "What the client sent is no WebSocket frame, or not allowed where it stands.",
        "Correct the client.",
    ),
    Close(CloseCode.INVALID_DATA, "A message is not UTF-8.", "Correct the client."),
    Close(
        CloseCode.POLICY_VIOLATION,
        "Refused for good: the `error` before it says why, or the project was deleted (`The project was deleted.`).",
        "Do not reconnect before the reason is mended.",
    ),
    Close(
        CloseCode.MESSAGE_TOO_BIG,
        "A message is larger than `REALTIME_MAX_MESSAGE_BYTES`.",
        "Reconnect, and send smaller messages.",
    ),
    Close(CloseCode.INTERNAL_ERROR, "The server failed.", "Reconnect, with growing pauses."),
    Close(
        CloseCode.TRY_AGAIN_LATER,
        "Too many connections; or the client reads too slowly (`Too slow.`); or Redis is away while the server has to "
        "find out who the client is (`Your identity could not be checked. Try again.`).",
        "Reconnect, with growing pauses. Whoever read too slowly missed events.",
    ),
    Close(
        1006,
        "There was no close frame: the network failed, or the client left a ping unanswered for a whole interval.",
        "Reconnect.",
    ),
)
"""Every close code that a client may see, save its own."""


class Refusal(NamedTuple):
    """An answer of HTTP, where there was to be a WebSocket."""

    status: int
    when: str
    advice: str


REFUSALS = (
    Refusal(
        400,
        "The request is no HTTP/1.1, or its `Sec-WebSocket-Key` or `Sec-WebSocket-Version` (13) is missing or wrong.",
        "Use a WebSocket library; look at what a proxy between does to the headers.",
    ),
    Refusal(404, "There are no WebSockets at this path.", "Connect to `/v1/realtime`."),
    Refusal(405, "The method of an upgrade is not `GET`.", "Use a WebSocket library."),
    Refusal(
        408,
        "No complete request came within `REALTIME_HANDSHAKE_TIMEOUT_S`.",
        "Send the request as soon as you are connected.",
    ),
    Refusal(
        426,
        "The request does not ask for a WebSocket.",
        "Use a WebSocket client; have the proxy pass `Connection` and `Upgrade` on.",
    ),
    Refusal(
        431,
        "Request line and headers are larger than `REALTIME_MAX_HEADER_BYTES`.",
        "Send smaller cookies; subscribe by message instead of the URL.",
    ),
)
"""How HTTP requests are refused before there is a WebSocket."""


def render() -> str:
    """Return the page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "# Errors"
    yield ""
    yield "<!-- Written by `python -m realtime.hub.reference`, which holds the advice; codes and texts are in"
    yield "realtime/errors.py. Change those, not this page. -->"
    yield ""
    yield 'A client is told of an error by a frame, `{"type":"error","data":{"code":1003,"message":"..."}}`.'
    yield "The texts below are exactly those of `message`; what stands in `<...>` differs from case to case. The"
    yield "types are what logs and [metrics](metrics.md) call the errors."
    yield ""
    yield "## While a connection opens"
    yield ""
    yield "Every one is followed by a close. They are looked for in this order, and the first that applies is told;"
    yield "only the number of parameters and the form of `channels` are looked at before all else."
    yield ""
    yield from _errors(OPENING)
    yield ""
    yield "## In answer to a message"
    yield ""
    yield "The connection stays open and as it was, except where a close code is given."
    yield ""
    yield from _errors(ANSWERS)
    yield ""
    yield "## At any time"
    yield ""
    yield from _errors(ANY_TIME)
    yield ""
    yield "## Close codes"
    yield ""
    yield "An `error` frame comes before the close only where a table above says so. Appwrite's SDKs reconnect by"
    yield "themselves after every code but 1008."
    yield ""
    yield from _table(("Code", "When", "What to do"), CLOSES)
    yield ""
    yield "## HTTP"
    yield ""
    yield "A client that is refused by HTTP status never had a WebSocket; browsers do not tell a page which status it"
    yield "was. The body says why, as plain text."
    yield ""
    yield from _table(("Status", "When", "What to do"), REFUSALS)
    yield ""


def _errors(entries: Iterable[Entry]) -> Iterator[str]:
    rows = [
        (
            spec.code,
            _code(_text(spec.text)),
            _code(spec.type),
            spec.close_code or "",
            entry.when,
            entry.advice,
        )
        for entry in entries
        for spec in [entry.kind.value]
    ]
    return _table(("Code", "Text", "Type", "Closes with", "When", "What to do"), rows)


def _table(head: tuple[str, ...], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    yield _row(head)
    yield _row("---" for _ in head)
    yield from map(_row, rows)


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(f'{cell}' for cell in cells)} |"


def _text(template: str) -> str:
    """Return the text of an error with ``<name>`` for each of its placeholders."""
    names = [name for _, name, _, _ in string.Formatter().parse(template) if name]
    return template.format(**{name: f"<{name}>" for name in names})


def _code(text: str) -> str:
    """Return ``text`` as code in Markdown, which needs longer fences where the text has backticks."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def main() -> None:
    """Write the page to standard output."""
    sys.stdout.write(render())


if __name__ == "__main__":
    main()
