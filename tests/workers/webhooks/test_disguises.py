# ruff: noqa: RUF001 - characters that look like others are what some disguises are made of
"""Internal addresses in disguise, through whole attempts: sockets of this machine that listen must never be reached.

Each of the two listens at 127.0.0.1 and at ::1, under one port that is in every URL as ``{port}``; wire specification
11.5. That they would notice is shown by the same attempts where private targets are allowed, and by connecting as any
program would that does not know disguises.
"""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest

from realtime.settings import Settings
from realtime.triggers.model import Webhook
from tests.receiver import receiving
from workers.outbound.guard import Guard
from workers.outbound.targets import TargetError
from workers.store.sealing import Sealer
from workers.webhooks.request import Delivery
from workers.webhooks.sending import AttemptResult, Sender

Address = IPv4Address | IPv6Address

SEALER = Sealer(["the key of tests"])
DELIVERY = Delivery("shop", "msg_abc", "1-0", ("users.u1.create",), "", b"{}")

NAMES = {
    "private.example.com": ["127.0.0.1"],
    "private-v6.example.com": ["::1"],
    "mapped.example.com": ["::ffff:127.0.0.1"],
    "mixed.example.com": ["93.184.216.34", "127.0.0.1"],
    "mixed-v6.example.com": ["2606:2800::1", "::1"],
    "mixed-last.example.com": ["93.184.216.34"] * 20 + ["127.0.0.1"],
    "any.example.com": ["0.0.0.0"],
    "any-v6.example.com": ["::"],
    "metadata.example.com": ["169.254.169.254"],
    "nat64.example.com": ["64:ff9b::7f00:1"],
    "6to4.example.com": ["2002:7f00:1::"],
    "127.0.0.1.example.com": ["127.0.0.1"],
    "xn--bcher-kva.example.com": ["127.0.0.1"],
    "db": ["127.0.0.1"],
    "metadata.google.internal": ["127.0.0.1"],
}

URLS = [
    # IPv4, as it is and in the forms that the C library understands too
    "http://127.0.0.1:{port}/", "https://127.0.0.1:{port}/", "http://127.1.2.3:{port}/", "http://127.255.255.254:{port}/",
    "http://127.1:{port}/", "http://127.0.1:{port}/", "http://2130706433:{port}/", "http://0x7f000001:{port}/",
    "http://0x7f.0x0.0x0.0x1:{port}/", "http://0x7f.1:{port}/", "http://0X7F.1:{port}/", "http://0177.0.0.1:{port}/",
    "http://0177.0.0.01:{port}/", "http://017700000001:{port}/", "http://127.0.0.01:{port}/", "http://00127.0.0.1:{port}/",
    "http://0:{port}/", "http://0.0.0.0:{port}/", "http://0x0:{port}/", "http://127.0.0.1.:{port}/",
    "http://127.0.0.1..:{port}/", "http://2130706433.:{port}/", "http://4294967297:{port}/", "http://383.0.0.1:{port}/",
    # Other networks that are not public
    "http://10.0.0.1:{port}/", "http://172.16.0.1:{port}/", "http://192.168.1.1:{port}/", "http://100.64.0.1:{port}/",
    "http://169.254.169.254/latest/meta-data/", "http://100.100.100.200/", "http://168.63.129.16/",
    "http://192.0.0.192/", "http://198.18.0.1/", "http://224.0.0.1/", "http://240.0.0.1/", "http://255.255.255.255/",
    # IPv6, and IPv4 inside of it
    "http://[::1]:{port}/", "http://[0:0:0:0:0:0:0:1]:{port}/", "http://[0000::0001]:{port}/", "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/", "http://[::ffff:7f00:1]:{port}/", "http://[::FFFF:7F00:0001]:{port}/",
    "http://[::127.0.0.1]:{port}/", "http://[::ffff:0:127.0.0.1]:{port}/", "http://[::ffff:169.254.169.254]/",
    "http://[64:ff9b::127.0.0.1]:{port}/", "http://[64:ff9b::7f00:1]:{port}/", "http://[64:ff9b:1::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/", "http://[2001:0:7f00:1::]:{port}/", "http://[2001::7f00:1]:{port}/",
    "http://[fe80::1]:{port}/", "http://[fe80::5efe:127.0.0.1]:{port}/", "http://[fc00::1]:{port}/",
    "http://[fd00:ec2::254]/", "http://[fec0::1]/", "http://[ff02::1]:{port}/", "http://[2001:db8::1]/",
    "http://[100::1]/",
    # Zones
    "http://[::1%lo]:{port}/", "http://[::1%25lo]:{port}/", "http://[fe80::1%25lo]:{port}/", "http://[fe80::1%1]:{port}/",
    # Digits, dots and letters that become others
    "http://１２７.０.０.１:{port}/", "http://①②⑦.⓪.⓪.①:{port}/", "http://127。0。0。1:{port}/",
    "http://127｡0｡0｡1:{port}/", "http://𝟏𝟐𝟕.𝟎.𝟎.𝟏:{port}/", "http://٠:{port}/", "http://ⓛocalhost:{port}/",
    "http://ｌｏｃａｌｈｏｓｔ:{port}/", "http://local\u00adhost:{port}/", "http://%31%32%37.0.0.1:{port}/",
    "http://127%2e0%2e0%2e1:{port}/", "http://localhost%00.example.com:{port}/", "http://127.0.0.1\t:{port}/",
    "http://127.0.0.1\r\nHost: x:{port}/", "http://127.0.0.1 :{port}/", " http://127.0.0.1:{port}/",
    # Who is the host?
    "http://example.com@127.0.0.1:{port}/", "http://example.com:80@127.0.0.1:{port}/", "http://@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@127.0.0.1:{port}/", "http://example.com\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@example.com/", "http://127.0.0.1:{port}#@example.com/",
    "http://127.0.0.1:{port}?@example.com/", "http://127.0.0.1:{port};example.com/", "http:\\\\127.0.0.1:{port}\\",
    "http:///127.0.0.1:{port}/", "http:/127.0.0.1:{port}/", "http:127.0.0.1:{port}/", "//127.0.0.1:{port}/",
    "http://[::1]example.com:{port}/", "http://[::1].example.com:{port}/", "http://127.0.0.1:{port}:80/",
    # Other protocols, other ports
    "file:///etc/passwd", "gopher://127.0.0.1:{port}/_x", "ftp://127.0.0.1:{port}/", "unix:///run/redis.sock",
    "http+unix://%2Frun%2Fredis.sock/", "jar:http://127.0.0.1:{port}!/", "ws://127.0.0.1:{port}/",
    "http://93.184.216.34:22/", "http://93.184.216.34:25/", "http://93.184.216.34:0/", "http://93.184.216.34:65616/",
    # Names
    "http://localhost:{port}/", "http://LOCALHOST:{port}/", "http://localhost.:{port}/",
    "http://private.example.com:{port}/", "http://PRIVATE.EXAMPLE.COM.:{port}/", "https://private.example.com:{port}/",
    "http://private-v6.example.com:{port}/", "http://mapped.example.com:{port}/", "http://mixed.example.com:{port}/",
    "http://mixed-v6.example.com:{port}/", "http://mixed-last.example.com:{port}/", "http://any.example.com:{port}/",
    "http://any-v6.example.com:{port}/", "http://metadata.example.com/", "http://nat64.example.com:{port}/",
    "http://6to4.example.com:{port}/", "http://127.0.0.1.example.com:{port}/", "http://bücher.example.com:{port}/",
    "http://db:{port}/", "http://metadata.google.internal:{port}/",
]  # fmt: skip

REACHABLE_URLS = [
    "http://127.0.0.1:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://0.0.0.0:{port}/",
    "http://[::]:{port}/",
    "http://localhost:{port}/",
    "http://private.example.com:{port}/",
    "http://private-v6.example.com:{port}/",
    "http://mapped.example.com:{port}/",
    "http://any.example.com:{port}/",
    "http://127.0.0.1.example.com:{port}/",
    "http://bücher.example.com:{port}/",
    "http://db:{port}/",
]
"""Of those above, what is a target of this machine's once they are allowed."""

REACHABLE_HOSTS = [
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0x0.0x0.0x1", "0x7f.1", "0177.0.0.1",
    "017700000001", "0", "0.0.0.0", "0x0", "::1", "::", "::ffff:127.0.0.1", "::ffff:7f00:1", "localhost",
]  # fmt: skip
"""Of those above, what the C library understands, and leads to the sockets."""


def has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
        return True


HAS_IPV6 = has_ipv6()


def needs_ipv6(cases: list[str]) -> list[Any]:
    """Return the cases; those of IPv6 are skipped where there is none."""
    skipped = pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
    return [pytest.param(case, marks=skipped) if "::" in case or "v6" in case else case for case in cases]


class Sockets:
    """Sockets that listen, and count who connects."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        # Whoever connects and says nothing is counted too.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        writer.close()


@pytest.fixture
async def sockets(free_port: Callable[[], int]) -> AsyncIterator[Sockets]:
    sockets = Sockets(free_port())
    async with contextlib.AsyncExitStack() as stack:
        for address in ("127.0.0.1", "::1") if HAS_IPV6 else ("127.0.0.1",):
            server = await asyncio.start_server(sockets.answer, address, sockets.port)
            await stack.enter_async_context(server)
        yield sockets


async def look_up(host: str, port: int) -> Sequence[Address]:
    """Resolve the names of the table from it, and everything else as the system does."""
    if host in NAMES:
        return [ip_address(address) for address in NAMES[host]]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ip_address(sockaddr[0]) for *_, sockaddr in found]


async def attempt(guard: Guard, *urls: str) -> list[AttemptResult]:
    """Attempt a delivery to each of ``urls``, at once."""
    sender = Sender(Settings(webhooks_timeout_s=5), guard, SEALER)
    secret = SEALER.seal("a secret of mine")
    webhooks = [Webhook(f"w{n}", "Hook", url, ("users.*",), secret) for n, url in enumerate(urls)]
    async with sender.running():
        return await asyncio.gather(*(sender.attempt(webhook, DELIVERY) for webhook in webhooks))


class TestTable:
    def test_table_is_long_and_has_nothing_twice(self) -> None:
        assert len(URLS) == len(set(URLS)) >= 100
        assert set(REACHABLE_URLS) < set(URLS)

    @pytest.mark.parametrize("url", URLS)
    async def test_disguise_is_refused_and_nothing_is_reached(self, url: str, sockets: Sockets) -> None:
        (result,) = await attempt(Guard(look_up=look_up), url.format(port=sockets.port))
        assert result.refused
        assert (result.status, result.response, result.is_success) == (0, "", False)
        assert result.error.startswith("Webhook target ")
        assert "rejected: URL must" in result.error
        assert sockets.connections == 0

    @pytest.mark.parametrize("url", needs_ipv6(REACHABLE_URLS))
    async def test_sockets_notice_it_where_private_targets_are_allowed(
        self, url: str, sockets: Sockets
    ) -> None:
        guard = Guard(allow_private=True, look_up=look_up)
        (result,) = await attempt(guard, url.format(port=sockets.port))
        assert result.is_success
        assert sockets.connections == 1

    @pytest.mark.parametrize("host", needs_ipv6(REACHABLE_HOSTS))
    async def test_sockets_notice_programs_that_know_no_disguises(self, host: str, sockets: Sockets) -> None:
        _, writer = await asyncio.open_connection(host, sockets.port)
        writer.close()
        async with asyncio.timeout(5):
            while not sockets.connections:  # noqa: ASYNC110 - there is nothing that would set an event
                await asyncio.sleep(0.001)

    async def test_address_of_a_name_is_not_told(self, sockets: Sockets) -> None:
        urls = [f"http://{name}:{sockets.port}/" for name in NAMES if not name.startswith("127")]
        for result in await attempt(Guard(look_up=look_up), *urls):
            assert not any(address in result.error for each in NAMES.values() for address in each)


class TestAllowedNetworks:
    async def test_only_what_is_named_is_reached(self, sockets: Sockets) -> None:
        hosts = ["127.0.0.1", "private.example.com", "[::1]", "[::ffff:127.0.0.1]", "127.0.0.2", "10.0.0.1"]
        guard = Guard(allowed_networks=["127.0.0.1"], look_up=look_up)
        results = await attempt(guard, *(f"http://{host}:{sockets.port}/" for host in hosts))
        assert [result.refused for result in results] == [False, False, True, True, True, True]
        assert [result.is_success for result in results] == [True, True, False, False, False, False]
        assert sockets.connections == 2

    @pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
    async def test_network_of_the_other_version_can_be_named(self, sockets: Sockets) -> None:
        guard = Guard(allowed_networks=["::1/128"], look_up=look_up)
        results = await attempt(guard, *(f"http://{host}:{sockets.port}/" for host in ("[::1]", "127.0.0.1")))
        assert [result.is_success for result in results] == [True, False]
        assert sockets.connections == 1


class TestChangingAnswers:
    """127.0.0.2 stands for the public internet; 127.0.0.1 is inside."""

    async def test_name_that_led_out_when_it_was_given_leads_inwards_later(self, sockets: Sockets) -> None:
        answers = iter([["93.184.216.34"], ["127.0.0.1"]])

        async def rebind(host: str, port: int) -> Sequence[Address]:
            return [ip_address(address) for address in next(answers)]

        guard = Guard(look_up=rebind)
        url = f"http://rebound.example.com:{sockets.port}/"
        await guard.check(url)
        (result,) = await attempt(guard, url)
        assert result.refused
        assert sockets.connections == 0
        assert next(answers, None) is None

    @pytest.mark.parametrize("first", [0, 1])
    async def test_resolver_that_takes_turns_never_leads_inwards(self, first: int, sockets: Sockets) -> None:
        turns = itertools.cycle(["127.0.0.2", "127.0.0.1"])
        asked = 0

        async def take_turns(host: str, port: int) -> Sequence[Address]:
            nonlocal asked
            asked += 1
            return [ip_address(next(turns))]

        for _ in range(first):
            next(turns)
        guard = Guard(allowed_networks=["127.0.0.2"], look_up=take_turns)
        closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        async with receiving(closing, address="127.0.0.2", port=sockets.port) as outside:
            url = f"http://rebound.example.com:{sockets.port}/"
            one_by_one = [(await attempt(guard, url))[0] for _ in range(10)]
            at_once = await attempt(guard, *[url] * 20)
        assert [result.is_success for result in one_by_one] == [(n + first) % 2 == 0 for n in range(10)]
        assert all(result.is_success != result.refused for result in [*one_by_one, *at_once])
        # Each connection was to the address of its own look-up, and there was no second one.
        assert asked >= 11
        assert outside.connections == sum(result.is_success for result in [*one_by_one, *at_once])
        assert sockets.connections == 0

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("location", ["http://127.0.0.1:{port}/", "//[::1]:{port}/", "http://db:{port}/"])
    async def test_redirect_inwards_is_not_followed(
        self, status: int, location: str, sockets: Sockets
    ) -> None:
        head = f"HTTP/1.1 {status} X\r\nLocation: {location}\r\nRefresh: 0; url={location}\r\n"
        redirect = f"{head}Content-Length: 0\r\n\r\n".format(port=sockets.port).encode()
        guard = Guard(allowed_networks=["127.0.0.2"], look_up=look_up)
        async with receiving(redirect, address="127.0.0.2") as outside:
            (result,) = await attempt(guard, f"http://127.0.0.2:{outside.port}/")
        assert (result.status, result.refused, result.is_success) == (status, False, False)
        assert (outside.connections, sockets.connections) == (1, 0)

    async def test_url_that_is_refused_when_given_is_refused_when_sent_to(self, sockets: Sockets) -> None:
        """Both judge alike, so nothing that was accepted becomes a dead letter for its form."""
        guard = Guard(look_up=look_up)
        for url in URLS:
            with pytest.raises(TargetError):
                await guard.check(url.format(port=sockets.port))
