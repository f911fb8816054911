import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import httpx
import pytest

from realtime.settings import Settings
from tests.certificates import Certificate, make_certificate
from workers.outbound import guard as module
from workers.outbound.guard import Guard, PublicOnlyTransport
from workers.outbound.targets import TargetError

Address = IPv4Address | IPv6Address


class Names:
    """A resolver that answers from a table; each name in turn with each of its answers."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {name.replace("_", "."): list(each) for name, each in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(host)
        answers = self.answers.get(host)
        if answers is None:
            raise OSError("Name or service not known")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return [ip_address(each) for each in answer]


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path, "hooks.example.com")


@contextlib.asynccontextmanager
async def serving(
    port: int, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[list[bytes]]:
    """Serve HTTP, and collect the heads of requests."""
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, address, port, ssl=tls):
        yield heads


class TestCheck:
    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1/", "http://[::1]/", "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/",
            "http://[::ffff:10.0.0.1]/", "http://[::127.0.0.1]/", "http://[2002:7f00:1::]/", "http://[64:ff9b::7f00:1]/",
            "http://0.0.0.0/", "http://100.64.1.1/", "http://224.0.0.1/", "http://127.0.0.1./", "https://10.1.2.3:8443/",
            "http://private.example.com/", "http://mixed.example.com/", "http://sneaky.example.com./",
            "http://localhost/", "http://LOCALHOST./", "http://db/", "http://nowhere.internal/", "http://0x7f.1/",
            "https://8.8.8.8:25/",
        ],
    )  # fmt: skip
    async def test_target_that_is_not_public_is_refused(self, url: str) -> None:
        names = Names(
            private_example_com=[["192.168.1.7"]],
            mixed_example_com=[["8.8.8.8", "::1"]],
            sneaky_example_com=[["::ffff:127.0.0.1"]],
            localhost=[["127.0.0.1"]],
            db=[["10.0.0.5"]],
        )
        with pytest.raises(TargetError):
            await Guard(look_up=names).check(url)

    @pytest.mark.parametrize(
        "url", ["https://hooks.example.com/x", "https://8.8.8.8/", "http://[2606:2800::1]:8080/"]
    )
    async def test_public_target_passes(self, url: str) -> None:
        await Guard(look_up=Names(hooks_example_com=[["8.8.8.8", "2606:2800::1"]])).check(url)

    async def test_public_name_that_does_not_resolve_yet_passes(self) -> None:
        names = Names()
        await Guard(look_up=names).check("https://tomorrow.example.com/")
        assert names.asked == ["tomorrow.example.com"]

    async def test_name_that_takes_too_long_to_resolve_passes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "RESOLVE_TIMEOUT_S", 0.01)

        async def never(host: str, port: int) -> Sequence[Address]:
            await asyncio.Event().wait()
            raise AssertionError

        await Guard(look_up=never).check("https://slow.example.com/")
        with pytest.raises(TargetError, match="public host"):
            await Guard(look_up=never).check("https://slow.local/")
        with pytest.raises(TimeoutError):
            await Guard(look_up=never).check("https://slow.example.com/", must_resolve=True)

    async def test_name_that_must_resolve_and_does_not_is_an_error(self) -> None:
        with pytest.raises(OSError, match="not known"):
            await Guard(look_up=Names()).check("https://tomorrow.example.com/", must_resolve=True)
        # As one that leads inwards: nobody is to learn which of the two it is.
        with pytest.raises(TargetError, match="public host"):
            await Guard(look_up=Names()).check("https://db/", must_resolve=True)

    async def test_everything_passes_where_private_targets_are_allowed(self) -> None:
        for url in ("http://127.0.0.1:22/", "http://db:3000/", "http://[::1]/"):
            await Guard(allow_private=True, look_up=Names()).check(url)
        with pytest.raises(TargetError):
            await Guard(allow_private=True).check("ftp://127.0.0.1/")

    async def test_allowed_networks_pass_and_their_neighbours_do_not(self) -> None:
        guard = Guard(allowed_networks=["10.1.2.0/24", "fd00::/8"], look_up=Names(db=[["10.1.2.3"]]))
        await guard.check("http://10.1.2.3:8080/")
        await guard.check("http://db:8080/")
        await guard.check("http://[fd00::1]/")
        for url in ("http://10.1.3.1:8080/", "http://127.0.0.1:8080/", "http://[::ffff:10.1.2.3]:8080/"):
            with pytest.raises(TargetError):
                await guard.check(url)

    def test_settings_say_what_is_allowed(self) -> None:
        loopback = ip_address("127.0.0.1")
        assert not Guard.from_settings(Settings()).allows(loopback)
        assert Guard.from_settings(Settings(webhooks_allow_private=True)).allows(loopback)
        assert Guard.from_settings(Settings(webhooks_allowed_networks=("127.0.0.1",))).allows(loopback)


class TestSystemResolver:
    async def test_localhost_is_this_machine(self) -> None:
        addresses = await Guard(allow_private=True).resolve("localhost", 80)
        assert {ip_address(each).is_loopback for each in addresses} == {True}

    async def test_name_with_an_empty_part_cannot_be_resolved(self) -> None:
        with pytest.raises(OSError, match="resolved"):
            await Guard().resolve("a..b", 80)


class TestTransport:
    async def test_name_stays_in_the_request_that_goes_to_its_address(
        self, free_port: Callable[[], int]
    ) -> None:
        port = free_port()
        guard = Guard(allowed_networks=["127.0.0.0/8"], look_up=Names(hooks_example_com=[["127.0.0.1"]]))
        async with serving(port) as heads, httpx.AsyncClient(transport=PublicOnlyTransport(guard)) as client:
            assert (await client.post(f"http://hooks.example.com:{port}/x")).status_code == 204
        assert heads[0].startswith(b"POST /x HTTP/1.1\r\n")
        assert f"host: hooks.example.com:{port}\r\n".encode() in heads[0].lower()

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "rebound.example.com", "2130706433"])
    async def test_private_address_is_not_connected_to(self, host: str, free_port: Callable[[], int]) -> None:
        port = free_port()
        names = Names(rebound_example_com=[["8.8.8.8", "127.0.0.1"]], localhost=[["127.0.0.1"]])
        names.answers["2130706433"] = [["127.0.0.1"]]
        transport = PublicOnlyTransport(Guard(look_up=names))
        async with serving(port) as heads, httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(httpx.ConnectError, match="public host"):
                await client.get(f"http://{host}:{port}/")
        assert heads == []

    async def test_answer_that_changes_after_the_check_is_judged_again(
        self, free_port: Callable[[], int]
    ) -> None:
        port = free_port()
        names = Names(rebound_example_com=[["8.8.8.8"], ["127.0.0.1"]])
        guard = Guard(look_up=names)
        await guard.check(f"http://rebound.example.com:{port}/")
        async with (
            serving(port) as heads,
            httpx.AsyncClient(transport=PublicOnlyTransport(guard)) as client,
        ):
            with pytest.raises(httpx.ConnectError):
                await client.get(f"http://rebound.example.com:{port}/")
        assert heads == []
        assert len(names.asked) == 2

    async def test_name_is_resolved_once_a_connection(self, free_port: Callable[[], int]) -> None:
        """The address that was judged is connected to, whatever the name would lead to by then."""
        port = free_port()
        names = Names(rebound_example_com=[["127.0.0.2"], ["127.0.0.1"]])
        guard = Guard(allowed_networks=["127.0.0.2"], look_up=names)
        async with (
            serving(port, "127.0.0.2") as heads,
            httpx.AsyncClient(transport=PublicOnlyTransport(guard)) as client,
        ):
            assert (await client.get(f"http://rebound.example.com:{port}/")).status_code == 204
        assert len(heads) == 1
        assert names.asked == ["rebound.example.com"]

    async def test_redirect_inwards_is_not_followed(self, free_port: Callable[[], int]) -> None:
        outside, inside = free_port(), free_port()

        async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            location = f"http://127.0.0.1:{inside}/".encode()
            writer.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n")
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        transport = PublicOnlyTransport(Guard(allowed_networks=["127.0.0.2"]))
        async with (
            await asyncio.start_server(redirect, "127.0.0.2", outside),
            serving(inside) as heads,
            httpx.AsyncClient(transport=transport, follow_redirects=True) as client,
        ):
            with pytest.raises(httpx.ConnectError):
                await client.get(f"http://127.0.0.2:{outside}/")
        assert heads == []

    async def test_certificate_is_that_of_the_name(
        self, certificate: Certificate, free_port: Callable[[], int]
    ) -> None:
        port = free_port()
        names = Names(hooks_example_com=[["127.0.0.1"]], other_example_com=[["127.0.0.1"]])
        transport = PublicOnlyTransport(Guard(allow_private=True, look_up=names), verify=certificate.trusting)
        async with (
            serving(port, tls=certificate.serving) as heads,
            httpx.AsyncClient(transport=transport) as client,
        ):
            assert (await client.get(f"https://hooks.example.com:{port}/")).status_code == 204
            with pytest.raises(httpx.ConnectError, match=r"certificate|Hostname"):
                await client.get(f"https://other.example.com:{port}/")
        assert len(heads) == 1

    @pytest.mark.parametrize(("verify", "passes"), [(True, False), (False, True)])
    async def test_certificate_of_nobody_known_passes_only_unverified(
        self, certificate: Certificate, verify: bool, passes: bool, free_port: Callable[[], int]
    ) -> None:
        port = free_port()
        guard = Guard(allow_private=True, look_up=Names(hooks_example_com=[["127.0.0.1"]]))
        transport = PublicOnlyTransport(guard, verify=verify)
        async with (
            serving(port, tls=certificate.serving) as heads,
            httpx.AsyncClient(transport=transport) as client,
        ):
            with contextlib.nullcontext() if passes else pytest.raises(httpx.ConnectError):
                await client.get(f"https://hooks.example.com:{port}/")
        assert len(heads) == passes

    async def test_next_address_is_tried_when_one_does_not_answer(self, free_port: Callable[[], int]) -> None:
        port = free_port()
        names = Names(hooks_example_com=[["127.0.0.3", "127.0.0.1"]])
        guard = Guard(allow_private=True, look_up=names)
        async with serving(port) as heads, httpx.AsyncClient(transport=PublicOnlyTransport(guard)) as client:
            await client.get(f"http://hooks.example.com:{port}/")
        assert len(heads) == 1

    async def test_resolving_counts_towards_the_timeout(self) -> None:
        async def never(host: str, port: int) -> Sequence[Address]:
            await asyncio.Event().wait()
            raise AssertionError

        async with httpx.AsyncClient(
            transport=PublicOnlyTransport(Guard(look_up=never)), timeout=0.05
        ) as client:
            started = time.monotonic()
            with pytest.raises(httpx.ConnectTimeout):
                await client.get("http://slow.example.com/")
        assert time.monotonic() - started < 5

    async def test_proxies_of_the_environment_are_not_used(
        self, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
    ) -> None:
        port = free_port()
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        async with (
            serving(port) as heads,
            httpx.AsyncClient(transport=PublicOnlyTransport(Guard(look_up=Names()))) as client,
        ):
            with pytest.raises(httpx.ConnectError):
                await client.get("http://nowhere.example.com/")
        assert heads == []
