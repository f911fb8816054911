"""Mail to people: the port that routes send by, and its two adapters, a mail server and the log.

Mail is sent when the change that it tells of is committed and the request is answered (:func:`send_later`): a slow mail
server holds up neither, and its failure is a line in the log.
"""

import asyncio
import re
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from typing import Protocol

import aiosmtplib
import structlog
from starlette.background import BackgroundTask

from realtime.settings import Settings
from workers.messaging.letters import Sender
from workers.messaging.smtp import TIMEOUT_S, NotSentError, SmtpServer

__all__ = ["LogMailer", "Mail", "Mailer", "NotSentError", "SmtpMailer", "deliver", "mailer_of", "send_later"]

MAX_SENDING = 8
"""How many messages one process hands over at a time; mail servers refuse more."""

_LOG = structlog.get_logger("realtime.mail")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Mail:
    """A message to one person."""

    to: str
    """An e-mail address."""
    subject: str
    text: str


class Mailer(Protocol):
    """What sends mail."""

    async def send(self, mail: Mail) -> None:
        """Hand ``mail`` over. It may arrive late, or, if this is cancelled, perhaps.

        Raises:
            NotSentError: it was not taken.
        """


class SmtpMailer:
    """Sends by a mail server. Each message has a connection of its own; for one event loop."""

    def __init__(self, url: str, *, sender: str) -> None:
        """Take where the mail server is; nothing is connected yet.

        Args:
            url: ``smtp://user:password@host:587``, which is encrypted if the server offers it, or ``smtps://…``, which
                always is.
            sender: ``Name <address>``.

        Raises:
            ValueError: the URL or the sender is not one. The URL's password is not in the text.
        """
        self._server = SmtpServer.from_url(url)
        sent_by = Sender.from_text(sender)
        self._sender = Address(sent_by.name, addr_spec=sent_by.address)
        self._sending = asyncio.Semaphore(MAX_SENDING)

    async def send(self, mail: Mail) -> None:
        """Hand ``mail`` to the mail server. Raises as :class:`Mailer` says."""
        try:
            message = self._message(mail)
            async with self._sending:
                await aiosmtplib.send(
                    message,
                    hostname=self._server.hostname,
                    port=self._server.port,
                    username=self._server.username,
                    password=self._server.password,
                    use_tls=self._server.encryption == "ssl",
                    timeout=TIMEOUT_S,
                )
        except (aiosmtplib.SMTPException, OSError, ValueError, IndexError) as error:
            raise NotSentError(f"{type(error).__name__}: {error}") from error

    def _message(self, mail: Mail) -> EmailMessage:
        message = EmailMessage(SMTP)
        message["From"] = self._sender
        message["To"] = Address(addr_spec=mail.to)
        # Names of people and teams stand in subjects.
        message["Subject"] = _CONTROLS.sub(" ", mail.subject)
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain=self._sender.domain or None)
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: out-of-office programs are not to answer
        message.set_content(mail.text)
        return message


class LogMailer:
    """Writes mail to the log instead, with the links and codes in it: for development."""

    async def send(self, mail: Mail) -> None:
        """Write ``mail`` to the log. Never fails."""
        _LOG.info("mail", to=mail.to, subject=mail.subject, text=mail.text)


def mailer_of(settings: Settings) -> Mailer:
    """Return what sends mail under ``settings``.

    Raises:
        ValueError: the mail server's URL or the sender is not one.
    """
    return SmtpMailer(settings.smtp_url, sender=settings.mail_from) if settings.smtp_url else LogMailer()


def send_later(mailer: Mailer, mail: Mail) -> BackgroundTask:
    """Return the task that sends ``mail``, to be set as the ``background`` of a response."""
    return BackgroundTask(deliver, mailer, mail)


async def deliver(mailer: Mailer, mail: Mail) -> None:
    """Send ``mail``; a failure is logged, since nobody waits for it any more."""
    try:
        await mailer.send(mail)
    except NotSentError as error:
        _LOG.warning("mail was not sent", error=str(error))
