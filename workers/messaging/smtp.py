"""Mail servers: where they are, and a session with one in which letters are handed over."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Literal
from urllib.parse import unquote, urlsplit

import aiosmtplib

from workers.outbound.guard import Guard
from workers.outbound.targets import TargetError

TIMEOUT_S = 20.0
"""How long a mail server may take to be connected to, and for one letter, in seconds."""

MAX_SERVERS = 5
"""How many mail servers a provider may have: each takes its time if it cannot be reached."""

Encryption = Literal["none", "offered", "tls", "ssl"]
"""``offered``: TLS if the server can; ``tls``: with STARTTLS or not at all; ``ssl``: from the first byte."""

_SCHEMES: dict[str, Encryption] = {"tls": "tls", "ssl": "ssl"}
_START_TLS = {"none": False, "offered": None, "tls": True, "ssl": False}
_CLOSING = 421  # RFC 5321 section 3.8
_HOST = re.compile(r"(?:(tls|ssl)://)?(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+)(?::([0-9]{1,5}))?")


class NotSentError(Exception):
    """A letter was not taken; the text says why."""


class NotConnectedError(NotSentError):
    """No mail server could be reached, or none let us in."""

    def __init__(self, reason: str, *, is_temporary: bool) -> None:
        super().__init__(reason)
        # Whether trying again later can help.
        self.is_temporary = is_temporary


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where a mail server is, and how to get in."""

    hostname: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    encryption: Encryption = "offered"

    @classmethod
    def from_url(cls, url: str) -> "SmtpServer":
        """Return the server of ``smtp://user:password@host:587``, or of ``smtps://…``, which is encrypted throughout.

        Raises:
            ValueError: the URL is not one. Its password is not in the text.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise ValueError("REALTIME_SMTP_URL must be smtp://host or smtps://host.")
        is_tls = parts.scheme == "smtps"
        return cls(
            parts.hostname,
            port or (465 if is_tls else 25),
            unquote(parts.username or "") or None,
            unquote(parts.password or "") or None,
            "ssl" if is_tls else "offered",
        )


def parse_hosts(
    hosts: str, *, port: int, username: str | None, password: str | None, encryption: Encryption
) -> list[SmtpServer]:
    """Return the servers of a text such as ``tls://smtp1.example.com:587;smtp2.example.com``, to be tried in order.

    Args:
        hosts: as the ``host`` of a provider of the kind ``smtp`` is.
        port: where a host names none.
        username: empty or None for none.
        password: empty or None for none.
        encryption: where a host names none.

    Raises:
        ValueError: a host is not of that form, or there is none.
    """
    servers: list[SmtpServer] = []
    for text in filter(None, map(str.strip, hosts.split(";"))):
        found = _HOST.fullmatch(text)
        if found is None or int(found[3] or port) not in range(1, 65_536):
            raise ValueError(
                f"{text!r} is no mail server. It is written as host, host:port or tls://host:port."
            )
        servers.append(
            SmtpServer(
                found[2].strip("[]"),
                int(found[3] or port),
                username or None,
                password or None,
                _SCHEMES.get(found[1], encryption),
            )
        )
    if len(servers) not in range(1, MAX_SERVERS + 1):
        raise ValueError(f"From one to {MAX_SERVERS} mail servers have to be named.")
    return servers


class SmtpSession:
    """A session with the first of several servers that can be reached. Used by one task at a time.

    Servers end sessions when they have taken enough letters; then another one is begun.
    """

    def __init__(self, servers: Sequence[SmtpServer], sender: str, guard: Guard | None) -> None:
        self._servers = servers
        self._sender = sender
        self._guard = guard
        self._client: aiosmtplib.SMTP | None = None

    async def send(self, letter: EmailMessage, recipient: str) -> None:
        """Hand over a letter for one person, whoever its headers name.

        Raises:
            NotConnectedError: there is no session, and none could be begun.
            NotSentError: the server refused the letter, or went away over it. It may have been taken if this is
                cancelled.
        """
        is_used = self._client is not None
        try:
            await self._send(letter, recipient)
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            if not _is_over(error):
                raise NotSentError(_reason(error)) from error
            await self.aclose()
            if not is_used or isinstance(error, aiosmtplib.SMTPTimeoutError):
                # After a timeout the letter may have been taken.
                raise NotSentError(_reason(error)) from error
            await self.send(letter, recipient)

    async def aclose(self) -> None:
        """End the session, if there is one."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                await client.quit()
            client.close()

    async def _send(self, letter: EmailMessage, recipient: str) -> None:
        if self._client is None:
            self._client = await self._connect()
        await self._client.send_message(letter, sender=self._sender, recipients=[recipient])

    async def _connect(self) -> aiosmtplib.SMTP:
        failures: list[NotConnectedError] = []
        for server in self._servers:
            try:
                return await self._connect_to(server)
            except (aiosmtplib.SMTPException, OSError, ValueError, IndexError) as error:
                reason = f"{server.hostname}:{server.port}: {_reason(error)}"
                failures.append(NotConnectedError(reason, is_temporary=_is_temporary(error)))
        raise NotConnectedError(
            "; ".join(map(str, failures)), is_temporary=any(each.is_temporary for each in failures)
        )

    async def _connect_to(self, server: SmtpServer) -> aiosmtplib.SMTP:
        dialled = None if self._guard is None else await _dial(self._guard, server)
        client = aiosmtplib.SMTP(
            hostname=server.hostname,
            port=server.port if dialled is None else None,
            sock=dialled,
            username=server.username,
            password=server.password,
            use_tls=server.encryption == "ssl",
            start_tls=_START_TLS[server.encryption],
            timeout=TIMEOUT_S,
        )
        try:
            await client.connect()
        except BaseException:
            client.close()
            if dialled is not None:
                dialled.close()
            raise
        return client


@contextlib.asynccontextmanager
async def smtp_session(
    servers: Sequence[SmtpServer], sender: str, *, guard: Guard | None = None
) -> AsyncIterator[SmtpSession]:
    """Open a session that is ended with the block. It is begun with the first letter.

    Args:
        servers: tried in order.
        sender: the address that letters come from, and that is told of those that cannot be delivered.
        guard: says what may be connected to; None for everything.
    """
    session = SmtpSession(servers, sender, guard)
    try:
        yield session
    finally:
        await session.aclose()


async def _dial(guard: Guard, server: SmtpServer) -> socket.socket:
    """Return a connection to one of the very addresses that were judged; see :mod:`workers.outbound.guard`."""
    loop = asyncio.get_running_loop()
    failure = OSError("The name has no addresses.")
    async with asyncio.timeout(TIMEOUT_S):
        for address in await guard.resolve(server.hostname, server.port):
            dialled = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            dialled.setblocking(False)
            try:
                await loop.sock_connect(dialled, (address, server.port))
            except OSError as error:
                dialled.close()
                failure = error
            except BaseException:
                dialled.close()
                raise
            else:
                return dialled
    raise failure


def _is_over(error: BaseException) -> bool:
    """Tell whether the session is of no further use."""
    answer = _answer_of(error)
    return isinstance(error, OSError) if answer is None else answer.code == _CLOSING


def _is_temporary(error: BaseException) -> bool:
    """Tell whether a server that could not be connected to may be connected to later."""
    answer = _answer_of(error)
    return isinstance(error, OSError) if answer is None else 400 <= answer.code < 500


def _reason(error: BaseException) -> str:
    if isinstance(error, TargetError):
        return "the host is not a public one"
    answer = _answer_of(error)
    return f"{type(error).__name__}: {error}" if answer is None else f"{answer.code} {answer.message}"


def _answer_of(error: BaseException) -> aiosmtplib.SMTPResponseException | None:
    """Return what the server answered; None if the error is not about that."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return error.recipients[0]
    return error if isinstance(error, aiosmtplib.SMTPResponseException) else None
