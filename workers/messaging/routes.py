"""By which way e-mails go out: a provider of the project, or the server's own mail server, or the log."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any, Protocol, Self

import orjson
import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.settings import Settings
from workers.messaging.letters import Sender
from workers.messaging.smtp import Encryption, SmtpServer, parse_hosts, smtp_session
from workers.models.people import Row
from workers.outbound.guard import Guard
from workers.store.sealing import Sealer
from workers.store.tables import providers

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
    guard: Guard | None = None
    """Says what may be connected to; None for everything."""

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Outgoing]:
        """Open a session, which begins with the first letter."""
        async with smtp_session(self.servers, self.sender.address, guard=self.guard) as session:
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


@dataclass(frozen=True, slots=True)
class Routes:
    """The ways of every project."""

    own: Route
    """The way of projects without a provider of their own."""
    sealer: Sealer
    """Reads what providers were told."""
    guard: Guard
    """Says to which mail servers those who write to a project may have us connect."""

    @classmethod
    def from_settings(cls, settings: Settings, sealer: Sealer) -> Self:
        """Return the ways that the settings ask for.

        Raises:
            ValueError: the mail server's URL or the sender is not one.
        """
        sender = Sender.from_text(settings.mail_from)
        own: Route = LogRoute(sender)
        if settings.smtp_url:
            own = SmtpRoute([SmtpServer.from_url(settings.smtp_url)], sender)
        return cls(own, sealer, Guard.from_settings(settings))

    async def find(self, connection: AsyncConnection, project_id: str) -> Route:
        """Return the way of the project's oldest enabled provider of the kind ``smtp``, or else the server's own.

        Raises:
            UnsealError: what the provider was told cannot be read any more.
        """
        found = await connection.execute(
            select(providers)
            .where(providers.c.project_id == project_id, providers.c.provider == "smtp", providers.c.enabled)
            .order_by(providers.c.seq)
            .limit(1)
        )
        row = found.mappings().one_or_none()
        if row is None:
            return self.own
        return _provider_route(told(self.sealer, row), self.guard)


def told(sealer: Sealer, row: Row) -> dict[str, Any]:
    """Return all that the provider of a row of ``providers`` was told, with its secrets, by the names of the API.

    Raises:
        UnsealError: the secrets cannot be read any more.
    """
    secrets = orjson.loads(sealer.unseal(row["secrets"]) or "{}")
    return {**row["credentials"], **row["options"], **secrets}


def _provider_route(given: Mapping[str, Any], guard: Guard) -> SmtpRoute:
    """Return the way of a provider, by what it was told: the ``host``, ``fromEmail`` and the like of the API."""
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
    return SmtpRoute(servers, sender, guard)
