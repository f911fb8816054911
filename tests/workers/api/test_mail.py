"""Mail: over a real mail server, and into the log."""

import email
import email.policy
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from typing import Any

import pytest
import structlog
from aiosmtpd.controller import Controller

from realtime.settings import Settings
from workers.api.mail import LogMailer, Mail, NotSentError, SmtpMailer, deliver, mailer_of

MAIL = Mail("ann@example.com", "Welcome", "Follow this link:\n\nhttp://localhost/?secret=" + "a" * 256 + "\n")


class Server:
    """What the mail server does with a letter."""

    def __init__(self) -> None:
        self.letters: list[EmailMessage] = []
        self.answer = "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.letters.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return self.answer


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def url(server: Server, free_port: Callable[[], int]) -> Iterator[str]:
    port = free_port()
    controller = Controller(server, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield f"smtp://127.0.0.1:{port}"
    finally:
        controller.stop()


def text_of(letter: EmailMessage) -> str:
    text: str = letter.get_content()
    return text.replace("\r\n", "\n")


class TestSmtpMailer:
    async def test_letter_arrives_as_it_was_written(self, server: Server, url: str) -> None:
        await SmtpMailer(url, sender="Réaltime <no-reply@example.com>").send(MAIL)
        (letter,) = server.letters
        assert (letter["From"], letter["To"]) == ("Réaltime <no-reply@example.com>", "ann@example.com")
        assert (letter["Subject"], letter["Auto-Submitted"]) == ("Welcome", "auto-generated")
        assert letter["Message-ID"].endswith("@example.com>")
        # Long links are not broken.
        assert text_of(letter) == MAIL.text

    async def test_text_in_any_language_arrives(self, server: Server, url: str) -> None:
        await SmtpMailer(url, sender="a@example.com").send(Mail("ann@example.com", "Grüße 🎉", "Привет\n"))
        (letter,) = server.letters
        assert (letter["Subject"], text_of(letter)) == ("Grüße 🎉", "Привет\n")

    async def test_name_in_a_subject_adds_no_header(self, server: Server, url: str) -> None:
        subject = "Join\r\nBcc: eve@example.com"
        await SmtpMailer(url, sender="a@example.com").send(Mail("ann@example.com", subject, "Hi\n"))
        (letter,) = server.letters
        assert letter["Bcc"] is None
        assert letter["Subject"] == "Join Bcc: eve@example.com"

    @pytest.mark.parametrize("to", ["nobody", "", "a@b\r\nBcc: eve@example.com", "a@b, c@d"])
    async def test_what_is_no_address_is_not_sent(self, server: Server, url: str, to: str) -> None:
        with pytest.raises(NotSentError):
            await SmtpMailer(url, sender="a@example.com").send(Mail(to, "Hi", "Hi\n"))
        assert server.letters == []

    async def test_refusal_of_the_server_is_told(self, server: Server, url: str) -> None:
        server.answer = "554 no"
        with pytest.raises(NotSentError, match="554"):
            await SmtpMailer(url, sender="a@example.com").send(MAIL)

    async def test_server_that_is_away_is_told(self, free_port: Callable[[], int]) -> None:
        with pytest.raises(NotSentError):
            await SmtpMailer(f"smtp://127.0.0.1:{free_port()}", sender="a@example.com").send(MAIL)

    @pytest.mark.parametrize(
        ("url", "sender"),
        [
            ("http://host", "a@b"),
            ("smtp://", "a@b"),
            ("smtp://user:hunter2@", "a@b"),
            ("smtp://host", "nobody"),
        ],
    )
    def test_wrong_settings_are_refused_without_their_password(self, url: str, sender: str) -> None:
        with pytest.raises(ValueError, match=r"^REALTIME_") as caught:
            SmtpMailer(url, sender=sender)
        assert "hunter2" not in str(caught.value)


class TestMailerOf:
    def test_mail_server_of_the_settings_is_used(self) -> None:
        assert isinstance(mailer_of(Settings(smtp_url="smtp://localhost")), SmtpMailer)

    def test_without_one_mail_goes_to_the_log(self) -> None:
        assert isinstance(mailer_of(Settings()), LogMailer)


class TestDeliver:
    async def test_log_has_the_text(self) -> None:
        with structlog.testing.capture_logs() as lines:
            await deliver(LogMailer(), MAIL)
        assert [(line["to"], line["text"]) for line in lines] == [(MAIL.to, MAIL.text)]

    async def test_failure_is_a_line_in_the_log_without_the_text(self, free_port: Callable[[], int]) -> None:
        with structlog.testing.capture_logs() as lines:
            await deliver(SmtpMailer(f"smtp://127.0.0.1:{free_port()}", sender="a@example.com"), MAIL)
        assert [(line["event"], line["log_level"]) for line in lines] == [("mail was not sent", "warning")]
        assert "secret" not in str(lines)
