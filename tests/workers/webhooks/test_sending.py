"""Attempts at endpoints of all kinds, over real sockets."""

import asyncio
import contextlib
import gzip
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
from hypothesis import given, reject
from hypothesis import strategies as st
from structlog.testing import capture_logs

from realtime.settings import Settings
from realtime.triggers.model import Webhook
from tests.certificates import Certificate, make_certificate
from tests.receiver import OK, Receiver, receiving
from workers.outbound.guard import Guard
from workers.outbound.signing import appwrite_signature
from workers.outbound.targets import TargetError, parse_target
from workers.store.sealing import Sealer
from workers.webhooks.request import Delivery
from workers.webhooks.response import EXCERPT_MAX_BYTES
from workers.webhooks.sending import AttemptResult, Sender

SEALER = Sealer(["the key of tests"])
SECRET = "a secret of mine"
DELIVERY = Delivery("shop", "msg_abc", "1-0", ("users.u1.create", "users.*"), "ada", b'{"name":"\xc3\x84da"}')
PATIENT_S = 5.0
"""Far more than anything here takes."""


async def look_up(host: str, port: int) -> Sequence[IPv4Address | IPv6Address]:
    """Resolve names of `here.example`; names of `silent.example` never, others not at all."""
    if host.endswith("silent.example"):
        await asyncio.Event().wait()
    if not host.endswith("here.example"):
        raise OSError("Name or service not known")
    return [ip_address("127.0.0.1")]


@contextlib.asynccontextmanager
async def sending(tls: Any = None, **settings: Any) -> AsyncIterator[Sender]:
    sender = Sender(Settings(**settings), Guard(allow_private=True, look_up=look_up), SEALER, tls=tls)
    async with sender.running():
        yield sender


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with sending() as sender:
        yield sender


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path, "hooks.here.example")


def to(receiver: Receiver | str, **members: Any) -> Webhook:
    url = receiver if isinstance(receiver, str) else f"http://127.0.0.1:{receiver.port}/hook?a=1"
    given = {"id": "w1", "name": "Orders", "url": url, "events": ("users.*",), "secret": SEALER.seal(SECRET)}
    return Webhook(**given | members)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENT_S):
        while not condition():  # noqa: ASYNC110 - there is nothing that would set an event
            await asyncio.sleep(0.001)


def answer(status: int, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


class TestRequest:
    async def test_endpoint_gets_the_payload_with_all_headers(self, sender: Sender) -> None:
        async with receiving() as receiver:
            webhook = to(
                receiver, name="Aufträge", auth_username="ada", auth_password=SEALER.seal("lovelace")
            )
            assert (await sender.attempt(webhook, DELIVERY)).is_success
        (request,) = receiver.requests
        assert request.line == "POST /hook?a=1 HTTP/1.1"
        assert request.body == DELIVERY.payload
        assert sorted(name for name, _ in request.headers) == [
            "accept", "accept-encoding", "authorization", "content-length", "content-type", "host", "user-agent",
            "webhook-id", "webhook-signature", "webhook-timestamp",
            "x-appwrite-webhook-events", "x-appwrite-webhook-id", "x-appwrite-webhook-name",
            "x-appwrite-webhook-project-id", "x-appwrite-webhook-signature", "x-appwrite-webhook-user-id",
        ]  # fmt: skip
        assert request.header("Host") == f"127.0.0.1:{receiver.port}"
        assert request.header("Content-Length") == str(len(DELIVERY.payload))
        assert request.header("X-Appwrite-Webhook-Name") == "Aufträge"
        assert request.header("X-Appwrite-Webhook-Events") == "users.u1.create,users.*"
        assert request.header("X-Appwrite-Webhook-User-Id") == "ada"
        assert request.header("Authorization") == "Basic YWRhOmxvdmVsYWNl"
        assert request.header("webhook-id") == "msg_abc"
        assert abs(int(request.header("webhook-timestamp")) - time.time()) < 60

    async def test_both_signatures_verify_what_arrived(self, sender: Sender) -> None:
        async with receiving() as receiver:
            webhook = to(receiver)
            await sender.attempt(webhook, DELIVERY)
        (request,) = receiver.requests
        headers = {name: value.decode() for name, value in request.headers}
        assert standardwebhooks.Webhook(SECRET.encode()).verify(request.body, headers) == {"name": "Äda"}
        expected = appwrite_signature(SECRET, webhook.url, request.body)
        assert headers["x-appwrite-webhook-signature"] == expected

    @pytest.mark.parametrize(("left_s", "verifies"), [(60, True), (-60, False)])
    async def test_former_secret_signs_too_until_its_time(
        self, sender: Sender, left_s: float, verifies: bool
    ) -> None:
        former = {"former_secret": SEALER.seal("before"), "former_secret_until": time.time() + left_s}
        async with receiving() as receiver:
            await sender.attempt(to(receiver, **former), DELIVERY)
        (request,) = receiver.requests
        headers = {name: value.decode() for name, value in request.headers}
        standardwebhooks.Webhook(SECRET.encode()).verify(request.body, headers)
        with (
            contextlib.nullcontext() if verifies else pytest.raises(standardwebhooks.WebhookVerificationError)
        ):
            standardwebhooks.Webhook(b"before").verify(request.body, headers)

    async def test_change_of_a_webhook_counts_at_once(self, sender: Sender) -> None:
        async with receiving() as receiver:
            await sender.attempt(to(receiver), DELIVERY)
            await sender.attempt(to(receiver, name="New", secret=SEALER.seal("another one")), DELIVERY)
        assert [request.header("X-Appwrite-Webhook-Name") for request in receiver.requests] == [
            "Orders",
            "New",
        ]
        first, second = (request.header("webhook-signature") for request in receiver.requests)
        assert first != second

    async def test_secret_that_cannot_be_decrypted_sends_nothing(self, sender: Sender) -> None:
        with capture_logs() as logs:
            async with receiving() as receiver:
                webhook = to(receiver, secret=Sealer(["a key that is gone"]).seal(SECRET))
                result = await sender.attempt(webhook, DELIVERY)
        assert "REALTIME_ENCRYPTION_KEYS" in result.error
        assert (result.status, result.refused, result.unsigned, receiver.connections) == (0, False, True, 0)
        assert [(line["log_level"], line["webhook"]) for line in logs] == [("error", "w1")]

    async def test_former_secret_that_cannot_be_decrypted_does_not_sign(self, sender: Sender) -> None:
        lost = Sealer(["a key that is gone"]).seal("before")
        async with receiving() as receiver:
            for left_s in (60, -60):
                webhook = to(receiver, former_secret=lost, former_secret_until=time.time() + left_s)
                assert (await sender.attempt(webhook, DELIVERY)).is_success
        for request in receiver.requests:
            headers = {name: value.decode() for name, value in request.headers}
            assert len(headers["webhook-signature"].split()) == 1
            standardwebhooks.Webhook(SECRET.encode()).verify(request.body, headers)

    async def test_name_of_the_host_is_sent_in_ascii(self, sender: Sender) -> None:
        async with receiving() as receiver:
            url = f"http://GRÖSSE.here.example:{receiver.port}/ä b%2Fc#part".replace(" ", "%20")
            assert (await sender.attempt(to(url), DELIVERY)).is_success
        (request,) = receiver.requests
        assert request.line == "POST /%C3%A4%20b%2Fc HTTP/1.1"
        assert request.header("Host") == f"xn--grsse-kua.here.example:{receiver.port}"


class TestUrls:
    sender = Sender(Settings(), Guard(), SEALER)

    @given(
        scheme=st.sampled_from(["http", "HTTPS"]),
        host=st.sampled_from(
            ["Hooks.example.com", "größe.example.com.", "_x.example.com", "8.8.8.8", "[2606:2800::1]"]
        ),
        port=st.sampled_from(["", ":80", ":443", ":8080"]),
        rest=st.text(max_size=20),
    )
    def test_request_goes_where_the_url_was_judged_to_lead(
        self, scheme: str, host: str, port: str, rest: str
    ) -> None:
        url = f"{scheme}://{host}{port}/{rest}"
        try:
            target = parse_target(url)
        except TargetError:
            reject()
        read = self.sender._read(to(url))
        assert (read.target, read.url.raw_host, read.url.port) == (target, target.host, target.port)
        assert read.url.user is None
        assert read.url.raw_path_qs.isascii()
        assert read.url.raw_path_qs.isprintable()


class TestResponse:
    @pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
    async def test_2xx_is_success(self, sender: Sender, status: int) -> None:
        async with receiving(answer(status, body=b"" if status == 204 else b"thanks")) as receiver:
            result = await sender.attempt(to(receiver), DELIVERY)
        assert (result.is_success, result.status, result.error) == (True, status, "")
        assert result.response == ("" if status == 204 else "thanks")
        assert 0 < result.duration_s < PATIENT_S
        assert abs(result.started_at - time.time()) < 60

    @pytest.mark.parametrize("status", [300, 304, 400, 404, 410, 429, 500, 503, 599])
    async def test_other_status_is_none(self, sender: Sender, status: int) -> None:
        async with receiving(answer(status, body=b"" if status == 304 else b"no")) as receiver:
            result = await sender.attempt(to(receiver), DELIVERY)
        assert (result.is_success, result.status, result.error, result.refused) == (False, status, "", False)

    async def test_upgrade_is_no_success(self, sender: Sender) -> None:
        upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
        async with receiving(upgrade) as receiver:
            result = await sender.attempt(to(receiver), DELIVERY)
        assert not result.is_success

    async def test_retry_after_is_told(self, sender: Sender) -> None:
        async with receiving(answer(503, "Retry-After: 120")) as receiver:
            assert (await sender.attempt(to(receiver), DELIVERY)).retry_after_s == 120
            receiver.answer = answer(503)
            assert (await sender.attempt(to(receiver), DELIVERY)).retry_after_s is None

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_redirect_is_not_followed(self, sender: Sender, status: int) -> None:
        async with receiving() as elsewhere:
            location = f"Location: http://127.0.0.1:{elsewhere.port}/"
            async with receiving(answer(status, location)) as receiver:
                result = await sender.attempt(to(receiver), DELIVERY)
        assert (result.status, result.is_success, elsewhere.connections) == (status, False, 0)

    async def test_cookies_are_not_kept(self, sender: Sender) -> None:
        async with receiving(answer(200, "Set-Cookie: a=b; Path=/")) as receiver:
            for _ in range(2):
                await sender.attempt(to(receiver), DELIVERY)
        assert [
            name for request in receiver.requests for name, _ in request.headers if name == "cookie"
        ] == []

    async def test_body_is_kept_as_text_that_databases_take(self, sender: Sender) -> None:
        async with receiving(answer(500, body=b"a\0b\xff" + b"x" * 20_000)) as receiver:
            result = await sender.attempt(to(receiver), DELIVERY)
        assert result.response == "ab\ufffd" + "x" * (EXCERPT_MAX_BYTES - 4)

    async def test_nothing_is_unpacked(self, sender: Sender) -> None:
        bomb = gzip.compress(b"\0" * 10_000_000)
        async with receiving(answer(200, "Content-Encoding: gzip", body=bomb)) as receiver:
            result = await sender.attempt(to(receiver), DELIVERY)
        assert result.is_success
        assert len(result.response) <= EXCERPT_MAX_BYTES
        assert receiver.requests[0].header("Accept-Encoding") == "identity"

    async def test_what_is_beyond_the_limit_is_not_waited_for(self) -> None:
        async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(b"x" * 1_000)
                await writer.drain()

        async with (
            sending(webhooks_response_max_bytes=5_000) as sender,
            receiving(endless) as receiver,
            asyncio.timeout(PATIENT_S),
        ):
            result = await sender.attempt(to(receiver), DELIVERY)
            assert result.is_success
            assert set(result.response) == {"x"}
            # It is not used again, so the endpoint notices.
            await until(lambda: not receiver.writers)


class TestFailures:
    async def check(self, sender: Sender, webhook: Webhook, reason: str) -> AttemptResult:
        result = await sender.attempt(webhook, DELIVERY)
        assert reason in result.error
        assert not result.is_success
        assert not result.refused
        assert "127.0.0.1" not in result.error
        return result

    async def test_endpoint_that_never_answers_is_left_in_time(self) -> None:
        async def never(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()

        async with sending(webhooks_timeout_s=0.05) as sender, receiving(never) as receiver:
            result = await self.check(sender, to(receiver), "not complete in time")
        assert (result.status, receiver.connections) == (0, 1)
        assert result.duration_s < PATIENT_S

    @pytest.mark.parametrize(
        "head", [b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "]
    )
    async def test_endpoint_that_answers_drop_by_drop_is_left_in_time(self, head: bytes) -> None:
        async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(head)
            while True:
                writer.write(b".")
                await writer.drain()
                await asyncio.sleep(0.005)

        async with sending(webhooks_timeout_s=0.1) as sender, receiving(drip) as receiver:
            result = await self.check(sender, to(receiver), "not complete in time")
        assert result.status == (200 if head.endswith(b"\n") else 0)
        assert result.duration_s < PATIENT_S

    async def test_endless_preliminary_responses_are_an_error_at_once(self, sender: Sender) -> None:
        async def hint(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 1_000)
                await writer.drain()

        async with receiving(hint) as receiver:
            result = await self.check(sender, to(receiver), "too many preliminary responses")
        assert result.duration_s < PATIENT_S

    async def test_name_that_never_resolves_is_left_in_time(self) -> None:
        async with sending(webhooks_connect_timeout_s=0.05) as sender:
            result = await self.check(sender, to("http://a.silent.example/"), "connected to in time")
        assert result.duration_s < PATIENT_S

    async def test_name_that_cannot_be_resolved(self, sender: Sender) -> None:
        await self.check(sender, to("http://nowhere.example.com/"), "could not be resolved")

    async def test_port_that_nobody_listens_at(self, sender: Sender, free_port: Callable[[], int]) -> None:
        await self.check(sender, to(f"http://127.0.0.1:{free_port()}/"), "could not be connected to")

    @pytest.mark.parametrize(
        ("said", "reason"),
        [
            (b"", "closed before there was a response"),
            (b"HTTP/1.1 200", "closed before there was a response"),
            (b"220 mail.example.com ESMTP\r\n\r\n", "not HTTP"),
            (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "not HTTP"),
            (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", "not HTTP"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "closed before the response was complete"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ""),
        ],
    )
    async def test_response_that_is_broken(self, sender: Sender, said: bytes, reason: str) -> None:
        async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(said)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            writer.close()

        async with receiving(say) as receiver:
            result = await self.check(sender, to(receiver), reason)
        assert result.error
        assert len(result.error) < 200

    async def test_connection_that_is_reset(self, sender: Sender) -> None:
        async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        async with receiving(reset) as receiver:
            await self.check(sender, to(receiver), "The connection was")
        assert receiver.connections == 1


class TestGarbage:
    RESPONSES = (
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81\x05hello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 X\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 204 No\r\nSet-Cookie: a=b; Max-Age=zz\r\nContent-Encoding: gzip\r\nLocation: http://[::\r\n\r\n",
        b"HTTP/1.1 302 F\r\nLocation: http://\xff:99999/\r\nContent-Type: text/html; charset=\xff\r\n\r\n",
    )
    PIECES = (b"\r\n", b"\n", b"\0", b": ", b"\xff", b"9" * 20, b"chunked")

    def make(self, chance: random.Random) -> bytes:
        made = chance.choice(self.RESPONSES)
        for _ in range(chance.randrange(5)):
            at = chance.randrange(len(made) + 1)
            put = chance.choice((*self.PIECES, chance.randbytes(1), b""))
            made = made[:at] + put + made[at + chance.randrange(4) :]
        return made

    async def test_whatever_is_answered_has_a_result(self) -> None:
        chance = random.Random(1)

        async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(self.make(chance))
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            writer.close()

        async with sending(webhooks_timeout_s=1) as sender, receiving(say) as receiver:
            results = await asyncio.gather(*(sender.attempt(to(receiver), DELIVERY) for _ in range(300)))
        assert all(result.status or result.error for result in results)
        assert len({(result.status, result.error) for result in results}) > 5


class TestTls:
    async def test_certificate_of_the_name_is_verified(self, certificate: Certificate) -> None:
        async with (
            sending(tls=certificate.trusting) as sender,
            receiving(tls=certificate.serving) as receiver,
        ):
            good, bad = (f"https://{name}.here.example:{receiver.port}/" for name in ("hooks", "other"))
            assert (await sender.attempt(to(good, tls=True), DELIVERY)).is_success
            result = await sender.attempt(to(bad, tls=True), DELIVERY)
            assert "certificate of the endpoint cannot be trusted: Hostname mismatch" in result.error
            assert (await sender.attempt(to(bad, tls=False), DELIVERY)).is_success
        assert len(receiver.requests) == 2

    async def test_certificate_of_no_authority_is_refused_unless_told_otherwise(
        self, sender: Sender, certificate: Certificate
    ) -> None:
        async with receiving(tls=certificate.serving) as receiver:
            url = f"https://hooks.here.example:{receiver.port}/"
            # Unverified first: what that opened must not serve who wants it verified.
            assert (await sender.attempt(to(url, tls=False), DELIVERY)).is_success
            result = await sender.attempt(to(url, tls=True), DELIVERY)
        assert "cannot be trusted: self-signed certificate" in result.error
        assert len(receiver.requests) == 1

    async def test_endpoint_that_speaks_no_tls(self, sender: Sender) -> None:
        async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(answer(400))
            writer.close()

        async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            result = await sender.attempt(to(f"https://hooks.here.example:{port}/"), DELIVERY)
        assert result.error == "The endpoint does not speak TLS as it should."


class TestConnections:
    async def test_connection_is_used_again(self, sender: Sender) -> None:
        async with receiving() as receiver:
            for _ in range(5):
                assert (await sender.attempt(to(receiver), DELIVERY)).is_success
        assert (len(receiver.requests), receiver.connections) == (5, 1)

    async def test_endpoints_that_hang_keep_nobody_else_waiting(self) -> None:
        async def never(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()

        async with (
            sending(webhooks_concurrency=2) as sender,
            receiving(never) as dead,
            receiving() as receiver,
        ):
            async with asyncio.TaskGroup() as group:
                hanging = [group.create_task(sender.attempt(to(dead), DELIVERY)) for _ in range(60)]
                hanging += [
                    group.create_task(sender.attempt(to(f"http://a{n}.silent.example/"), DELIVERY))
                    for n in range(60)
                ]
                await until(lambda: dead.connections == 60)
                async with asyncio.timeout(PATIENT_S):
                    assert (await sender.attempt(to(receiver), DELIVERY)).is_success
                assert not any(task.done() for task in hanging)
                for task in hanging:
                    task.cancel()
            await until(lambda: not dead.writers)

    async def test_no_more_connections_are_kept_than_are_used_at_a_time(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            sender = await stack.enter_async_context(sending(webhooks_concurrency=2))
            receivers = [await stack.enter_async_context(receiving()) for _ in range(10)]
            for receiver in receivers:
                assert (await sender.attempt(to(receiver), DELIVERY)).is_success
            await until(lambda: sum(len(receiver.writers) for receiver in receivers) <= 4)
            # Those that are kept are of use.
            assert (await sender.attempt(to(receivers[0]), DELIVERY)).is_success
            assert receivers[0].connections == 1

    async def test_proxies_of_the_environment_are_not_used(
        self, sender: Sender, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with receiving(OK) as proxy, receiving() as receiver:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            assert (await sender.attempt(to(receiver), DELIVERY)).is_success
        assert (proxy.connections, receiver.connections) == (0, 1)
