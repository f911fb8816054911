"""Letters: an e-mail as it goes to one of the people who get it. Pure.

Nobody sees who else gets it but those in ``Cc``, which the author wanted to be seen; blind copies stand in no header.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Any


@dataclass(frozen=True, slots=True)
class Sender:
    """Whom letters come from."""

    address: str
    name: str = ""
    reply_to_address: str = ""
    """Where answers go; empty for the sender's own."""
    reply_to_name: str = ""
    mailer: str = ""
    """The ``X-Mailer`` header; empty for none."""

    @classmethod
    def from_text(cls, text: str) -> "Sender":
        """Return the sender of ``Name <address>``.

        Raises:
            ValueError: there is no address in it.
        """
        name, address = parseaddr(text)
        if "@" not in address:
            raise ValueError("REALTIME_MAIL_FROM must hold an e-mail address.")
        return cls(address, name)

    @property
    def domain(self) -> str:
        """What follows the @."""
        return self.address.rpartition("@")[2]


def may_be_copied(address: str) -> bool:
    """Tell whether an address can stand in letters to others, which every mail server then takes: in ASCII."""
    try:
        _address(address)
    except ValueError:
        return False
    return address.isascii()


def write_letter(
    content: Mapping[str, Any],
    *,
    sender: Sender,
    to: str | None,
    cc: Sequence[str],
    message_id: str,
    sent_at: datetime,
) -> EmailMessage:
    """Return an e-mail as one person gets it.

    Args:
        content: ``subject``, ``content``, and ``html``, true if that is HTML.
        sender: whom it comes from.
        to: the address of the person; None for somebody who is in ``cc``.
        cc: the addresses of those who get a copy that everybody may know of.
        message_id: the ``Message-ID`` header.
        sent_at: aware.

    Raises:
        ValueError: an address is not one.
    """
    letter = EmailMessage(SMTP)
    letter["From"] = _address(sender.address, sender.name)
    letter["To"] = "undisclosed-recipients:;" if to is None else _address(to)
    if cc:
        letter["Cc"] = [_address(each) for each in cc]
    if sender.reply_to_address:
        letter["Reply-To"] = _address(sender.reply_to_address, sender.reply_to_name)
    letter["Subject"] = content["subject"]
    letter["Date"] = format_datetime(sent_at)
    letter["Message-ID"] = message_id
    letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: out-of-office programs are not to answer
    if sender.mailer:
        letter["X-Mailer"] = sender.mailer
    letter.set_content(content["content"], subtype="html" if content.get("html") else "plain")
    return letter


def _address(address: str, name: str = "") -> Address:
    try:
        return Address(name, addr_spec=address)
    except (MessageError, LookupError, AttributeError) as error:
        # Beside ValueError, the parser raises whatever it trips over.
        raise ValueError(f"{address!r} is not an e-mail address") from error
