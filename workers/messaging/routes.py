"""By which way e-mails go out: a provider of the project, or the server's own mail server, or the log."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Protocol

import structlog

from realtime.settings import Settings
from workers.messaging.letters import Sender
from workers.messaging.smtp import Encryption, SmtpServer, parse_hosts, smtp_session

_LOG = structlog.get_logger("realtime.mail")

_ENCRYPTIONS: Mapping[str, Encryption] = {"ssl": "ssl", "tls": "tls"}


class Outgoing(Protocol):
    """What takes letters."""

    async def send(self, letter: EmailMessage, recipient: str) -> None:
        """Hand over a letter for one person; it may have been taken if this is cancelled.

        Raises:
            NotConnectedError: there is nobody to hand it to.
            NotSentError: it was not taken.
        """


class Route(Protocol):
    """A way by which e-mails go out."""

    @property
    def sender(self) -> Sender:
        """Whom they come from."""

    def open(self) -> AbstractAsyncContextManager[Outgoing]:
        """Open the way for the letters of one message."""


@dataclass(frozen=True, slots=True)
class SmtpRoute:
    """By mail servers, of which the first that can be reached is taken."""

    servers: Sequence[SmtpServer]
    sender: Sender

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Outgoing]:
        """Open a session, which begins with the first letter."""
        async with smtp_session(self.servers, self.sender.address) as session:
            yield session


@dataclass(frozen=True, slots=True)
class LogRoute:
    """Into the log instead: for development."""

    sender: Sender

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Outgoing]:
        """Return what writes letters to the log."""
        yield _LogOutgoing()


class _LogOutgoing:
    async def send(self, letter: EmailMessage, recipient: str) -> None:
        _LOG.info("mail", to=recipient, subject=letter["Subject"], text=letter.get_content())


def own_route(settings: Settings) -> Route:
    """Return the way of the settings, by which the mail of accounts goes too.

    Raises:
        ValueError: the mail server's URL or the sender is not one.
    """
    sender = Sender.from_text(settings.mail_from)
    return (
        SmtpRoute([SmtpServer.from_url(settings.smtp_url)], sender) if settings.smtp_url else LogRoute(sender)
    )


def provider_route(given: Mapping[str, Any]) -> SmtpRoute:
    """Return the way of a provider of the kind ``smtp``.

    Args:
        given: what it was told, by the names of the API: ``host``, ``port``, ``password``, ``fromEmail``, ...

    Raises:
        ValueError: its host is none.
    """
    encryption = _ENCRYPTIONS.get(
        given.get("encryption") or "", "offered" if given.get("autoTLS", True) else "none"
    )
    sender = Sender(
        given["fromEmail"],
        given.get("fromName") or "",
        given.get("replyToEmail") or "",
        given.get("replyToName") or "",
        given.get("mailer") or "",
    )
    servers = parse_hosts(
        given["host"],
        port=given["port"],
        username=given.get("username"),
        password=given.get("password"),
        encryption=encryption,
    )
    return SmtpRoute(servers, sender)
