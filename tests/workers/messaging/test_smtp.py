"""Mail servers: how they are named, and sessions with real ones."""

import contextlib
import ssl
import subprocess
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from workers.messaging.smtp import (
    NotConnectedError,
    NotSentError,
    SmtpServer,
    parse_hosts,
    smtp_session,
)
from workers.outbound.guard import Guard

FROM, TO = "ann@example.com", "bob@example.com"


def parse(hosts: str, port: int = 587) -> list[tuple[str, int, str]]:
    servers = parse_hosts(hosts, port=port, username="", password="", encryption="offered")
    return [(each.hostname, each.port, each.encryption) for each in servers]


class TestFromUrl:
    @pytest.mark.parametrize(
        ("url", "server"),
        [
            ("smtp://mail.example", SmtpServer("mail.example", 25)),
            ("smtps://mail.example", SmtpServer("mail.example", 465, encryption="ssl")),
            ("smtp://a%40b:p%3Aw@mail.example:587", SmtpServer("mail.example", 587, "a@b", "p:w")),
        ],
    )
    def test_url_says_it_all(self, url: str, server: SmtpServer) -> None:
        assert SmtpServer.from_url(url) == server

    @pytest.mark.parametrize(
        "url", ["", "mail.example", "http://mail.example", "smtp://", "smtp://a:b@c:port"]
    )
    def test_other_urls_are_refused_without_their_password(self, url: str) -> None:
        with pytest.raises(ValueError, match="REALTIME_SMTP_URL") as raised:
            SmtpServer.from_url(url)
        assert "b@" not in str(raised.value)

    def test_password_is_not_in_the_text_of_a_server(self) -> None:
        assert "hidden" not in repr(SmtpServer.from_url("smtp://a:hidden@mail.example"))


class TestParseHosts:
    def test_hosts_are_in_order_with_what_they_say_of_themselves(self) -> None:
        assert parse("tls://a.example:2525; ssl://b.example;c.example;[2001:db8::1]:26;") == [
            ("a.example", 2525, "tls"),
            ("b.example", 587, "ssl"),
            ("c.example", 587, "offered"),
            ("2001:db8::1", 26, "offered"),
        ]

    @pytest.mark.parametrize(
        "hosts", ["", ";", "a b", "smtp://a", "a:0", "a:65536", "a:x", "u:p@a", "a/b", ";".join("abcdef")]
    )
    def test_anything_else_is_refused(self, hosts: str) -> None:
        with pytest.raises(ValueError, match="mail server"):
            parse(hosts)


class Handler:
    """What the mail server does."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, int]] = []
        self.answer = "250 OK"
        self.rcpt_answer = "250 OK"
        # How many more letters the connection is closed over.
        self.closes = 0

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        if self.closes:
            self.closes -= 1
            assert server.transport is not None
            server.transport.close()
        if self.rcpt_answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.rcpt_answer

    async def handle_DATA(self, _server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.letters += [(to, id(session)) for to in envelope.rcpt_tos]
        return self.answer


@pytest.fixture
def handler() -> Handler:
    return Handler()


@contextlib.contextmanager
def serving(handler: Handler, port: int, **options: Any) -> Iterator[SmtpServer]:
    controller = Controller(handler, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield SmtpServer("127.0.0.1", port)
    finally:
        controller.stop()


@pytest.fixture
def server(handler: Handler, free_port: Callable[[], int]) -> Iterator[SmtpServer]:
    with serving(handler, free_port()) as server:
        yield server


@pytest.fixture
def letter() -> EmailMessage:
    letter = EmailMessage()
    letter["From"], letter["To"] = FROM, TO
    letter.set_content("News")
    return letter


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    """What a server proves itself with that nobody knows."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=127.0.0.1"
    subprocess.run(
        [*command.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


class TestSession:
    async def test_letters_of_a_message_go_through_one_session(
        self, server: SmtpServer, handler: Handler, letter: EmailMessage
    ) -> None:
        async with smtp_session([server], FROM) as session:
            for name in ("bob", "cat", "dan"):
                await session.send(letter, f"{name}@example.com")
        assert [to for to, _ in handler.letters] == ["bob@example.com", "cat@example.com", "dan@example.com"]
        assert len({number for _, number in handler.letters}) == 1

    async def test_refused_letter_leaves_the_session_for_the_next(
        self, server: SmtpServer, handler: Handler, letter: EmailMessage
    ) -> None:
        async with smtp_session([server], FROM) as session:
            for attribute in ("rcpt_answer", "answer"):
                setattr(handler, attribute, "554 No")
                with pytest.raises(NotSentError, match="554 No"):
                    await session.send(letter, TO)
                setattr(handler, attribute, "250 OK")
                handler.letters.clear()
                await session.send(letter, TO)
                assert len(handler.letters) == 1

    async def test_server_that_has_enough_of_a_session_is_connected_to_again(
        self, server: SmtpServer, handler: Handler, letter: EmailMessage
    ) -> None:
        async with smtp_session([server], FROM) as session:
            await session.send(letter, TO)
            handler.closes = 1
            await session.send(letter, TO)
        (_, first), (_, second) = handler.letters
        assert first != second

    async def test_server_that_closes_at_once_again_is_given_up(
        self, server: SmtpServer, handler: Handler, letter: EmailMessage
    ) -> None:
        async with smtp_session([server], FROM) as session:
            await session.send(letter, TO)
            handler.closes = 2
            with pytest.raises(NotSentError, match="Disconnected"):
                await session.send(letter, TO)
            await session.send(letter, TO)
        assert len(handler.letters) == 2

    async def test_server_that_says_that_it_closes_is_connected_to_again(
        self, server: SmtpServer, handler: Handler, letter: EmailMessage
    ) -> None:
        async with smtp_session([server], FROM) as session:
            await session.send(letter, TO)
            handler.rcpt_answer = "421 Enough for now"
            with pytest.raises(NotSentError, match="421 Enough"):
                await session.send(letter, TO)
            handler.rcpt_answer = "250 OK"
            await session.send(letter, TO)
        assert len({number for _, number in handler.letters}) == 2

    async def test_first_server_that_can_be_reached_is_taken(
        self, server: SmtpServer, handler: Handler, letter: EmailMessage, free_port: Callable[[], int]
    ) -> None:
        away = SmtpServer("127.0.0.1", free_port())
        async with smtp_session([away, server], FROM) as session:
            await session.send(letter, TO)
        assert len(handler.letters) == 1

    async def test_no_server_at_all_may_pass(
        self, letter: EmailMessage, free_port: Callable[[], int]
    ) -> None:
        away = SmtpServer("127.0.0.1", free_port())
        async with smtp_session([away], FROM) as session:
            with pytest.raises(NotConnectedError, match=f"127.0.0.1:{away.port}") as raised:
                await session.send(letter, TO)
        assert raised.value.is_temporary

    async def test_server_that_has_no_tls_is_not_told_anything_without_it(
        self, server: SmtpServer, handler: Handler, letter: EmailMessage
    ) -> None:
        demanding = SmtpServer(server.hostname, server.port, encryption="tls")
        async with smtp_session([demanding], FROM) as session:
            with pytest.raises(NotConnectedError) as raised:
                await session.send(letter, TO)
        assert not raised.value.is_temporary
        assert handler.letters == []

    async def test_wrong_password_does_not_pass(
        self, handler: Handler, letter: EmailMessage, free_port: Callable[[], int]
    ) -> None:
        def authenticate(
            _server: SMTP, _session: Any, _envelope: Any, _mechanism: str, _data: Any
        ) -> AuthResult:
            return AuthResult(success=False, handled=False)

        with serving(handler, free_port(), authenticator=authenticate, auth_require_tls=False) as server:
            known = SmtpServer(server.hostname, server.port, "ann", "wrong")
            async with smtp_session([known], FROM) as session:
                with pytest.raises(NotConnectedError, match="535") as raised:
                    await session.send(letter, TO)
        assert not raised.value.is_temporary
        assert "wrong" not in str(raised.value)

    async def test_certificate_that_nobody_vouches_for_is_refused(
        self,
        handler: Handler,
        letter: EmailMessage,
        free_port: Callable[[], int],
        self_signed: ssl.SSLContext,
    ) -> None:
        with serving(handler, free_port(), tls_context=self_signed) as server:
            async with smtp_session([server], FROM) as session:
                with pytest.raises(NotConnectedError, match="certificate"):
                    await session.send(letter, TO)
        assert handler.letters == []


class TestGuard:
    async def test_private_server_is_not_connected_to(
        self, server: SmtpServer, handler: Handler, letter: EmailMessage
    ) -> None:
        async with smtp_session([server], FROM, guard=Guard()) as session:
            with pytest.raises(NotConnectedError, match="not a public one") as raised:
                await session.send(letter, TO)
        assert not raised.value.is_temporary
        assert handler.letters == []

    async def test_allowed_server_is_connected_to(
        self, server: SmtpServer, handler: Handler, letter: EmailMessage
    ) -> None:
        guard = Guard(allowed_networks=["127.0.0.0/8"])
        async with smtp_session([server], FROM, guard=guard) as session:
            await session.send(letter, TO)
        assert len(handler.letters) == 1

    async def test_allowed_server_that_is_away_may_come_back(
        self, letter: EmailMessage, free_port: Callable[[], int]
    ) -> None:
        away = SmtpServer("127.0.0.1", free_port())
        async with smtp_session([away], FROM, guard=Guard(allow_private=True)) as session:
            with pytest.raises(NotConnectedError) as raised:
                await session.send(letter, TO)
        assert raised.value.is_temporary
