"""A mail server for tests: keeps what it is sent, to be read by whom it was sent to."""

import asyncio
import email
import email.policy
import re
from email.message import EmailMessage
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from aiosmtpd.controller import Controller

from tests.topologies import free_ports

DEADLINE_S = 10.0


class Mailbox:
    """An SMTP server on a free port, between ``with`` and the block's end."""

    def __init__(self) -> None:
        self._letters: list[tuple[str, EmailMessage]] = []
        # Addresses that are told that nobody of that name is here.
        self.unknown: set[str] = set()
        (self._port,) = free_ports(1)
        self._controller = Controller(self, hostname="127.0.0.1", port=self._port)

    @property
    def url(self) -> str:
        """For ``REALTIME_SMTP_URL``."""
        return f"smtp://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controller.stop()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        """Take a recipient, or not."""
        if address in self.unknown:
            return "550 No such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep a letter; called by the server, in its own thread."""
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self._letters += [(recipient, letter) for recipient in envelope.rcpt_tos]
        return "250 OK"

    async def letters(self, count: int) -> list[tuple[str, EmailMessage]]:
        """Wait until there are ``count`` letters; return them all, in order, each with whom it was sent to."""
        async with asyncio.timeout(DEADLINE_S):
            while len(self._letters) < count:  # noqa: ASYNC110 - another thread receives it
                await asyncio.sleep(0.01)
        return list(self._letters)

    async def link_to(self, address: str, number: int = 0) -> dict[str, str]:
        """Wait for the letter with this number, from 0, that ``address`` got; return the parameters of its link."""
        async with asyncio.timeout(DEADLINE_S):
            while len(texts := self._texts(address)) <= number:  # noqa: ASYNC110 - another thread receives it
                await asyncio.sleep(0.01)
        found = re.search(r"https?://\S+", texts[number])
        assert found is not None, texts[number]
        query = parse_qs(urlsplit(found.group()).query)
        return {name: values[0] for name, values in query.items()}

    def _texts(self, address: str) -> list[str]:
        return [_text(letter) for recipient, letter in self._letters if recipient == address]


def _text(letter: EmailMessage) -> str:
    body = letter.get_body(("plain",))
    assert body is not None
    text: str = body.get_content()
    return text
