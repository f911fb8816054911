import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import aiohttp
import pytest

from tests.receiver import receiving
from workers.outbound.connector import PublicOnlyConnector, RefusedError
from workers.outbound.guard import Guard

Address = IPv4Address | IPv6Address


class Names:
    """A resolver that answers when it is told to."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = [ip_address(address) for address in addresses]
        self.may_answer = asyncio.Event()
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(host)
        await self.may_answer.wait()
        if not self.addresses:
            raise OSError("Name or service not known")
        return self.addresses


@contextlib.asynccontextmanager
async def session_on(guard: Guard, max_connections: int = 100) -> AsyncIterator[aiohttp.ClientSession]:
    connector = PublicOnlyConnector(guard, max_connections=max_connections)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is nothing that would set an event
            await asyncio.sleep(0.001)


class TestRefusals:
    """The connector alone, without whatever judges URLs before."""

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "inside.example.com"]
    )
    async def test_address_inside_is_not_connected_to(self, host: str) -> None:
        names = Names("127.0.0.1")
        names.may_answer.set()
        async with receiving() as receiver, session_on(Guard(look_up=names)) as session:
            with pytest.raises(aiohttp.ClientConnectorError) as refused:
                await session.post(f"http://{host}:{receiver.port}/")
        assert isinstance(refused.value.os_error, RefusedError)
        assert receiver.connections == 0

    async def test_redirect_inwards_is_refused_even_if_it_is_followed(self) -> None:
        async with receiving() as inside:
            location = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{inside.port}/\r\nContent-Length: 0\r\n\r\n"
            async with (
                receiving(location.encode(), address="127.0.0.2") as outside,
                session_on(Guard(allowed_networks=["127.0.0.2"])) as session,
            ):
                with pytest.raises(aiohttp.ClientConnectorError):
                    await session.post(f"http://127.0.0.2:{outside.port}/", allow_redirects=True)
        assert (outside.connections, inside.connections) == (1, 0)

    async def test_port_of_another_service_is_refused(self) -> None:
        async with session_on(Guard()) as session:
            with pytest.raises(aiohttp.ClientConnectorError) as refused:
                await session.post("http://93.184.216.34:25/")
        assert isinstance(refused.value.os_error, RefusedError)

    async def test_address_that_does_not_answer_is_passed_over(self) -> None:
        names = Names("127.0.0.3", "127.0.0.1")
        names.may_answer.set()
        async with (
            receiving() as receiver,
            session_on(Guard(allow_private=True, look_up=names)) as session,
            session.post(f"http://hooks.example.com:{receiver.port}/") as response,
        ):
            assert response.status == 200


class TestNames:
    async def test_name_is_looked_up_once_for_all_who_wait_for_it(self) -> None:
        names = Names("127.0.0.1")
        async with receiving() as receiver, session_on(Guard(allow_private=True, look_up=names)) as session:

            async def post() -> int:
                async with session.post(f"http://hooks.example.com:{receiver.port}/") as response:
                    return response.status

            async with asyncio.TaskGroup() as group:
                posts = [group.create_task(post()) for _ in range(20)]
                await until(lambda: len(names.asked) == 1)
                names.may_answer.set()
            assert {task.result() for task in posts} == {200}
        assert names.asked == ["hooks.example.com"]

    async def test_one_who_gives_up_does_not_take_the_answer_from_others(self) -> None:
        names = Names("127.0.0.1")
        async with receiving() as receiver, session_on(Guard(allow_private=True, look_up=names)) as session:
            url = f"http://hooks.example.com:{receiver.port}/"
            impatient, patient = (asyncio.ensure_future(session.post(url)._coro) for _ in range(2))
            await until(lambda: len(names.asked) == 1)
            impatient.cancel()
            names.may_answer.set()
            async with await patient as response:
                assert response.status == 200

    async def test_name_is_looked_up_anew_after_an_error(self) -> None:
        names = Names()
        names.may_answer.set()
        async with receiving() as receiver, session_on(Guard(allow_private=True, look_up=names)) as session:
            url = f"http://hooks.example.com:{receiver.port}/"
            with pytest.raises(aiohttp.ClientConnectorDNSError):
                await session.post(url)
            names.addresses = [ip_address("127.0.0.1")]
            async with session.post(url) as response:
                assert response.status == 200

    async def test_end_does_not_wait_for_name_servers(self) -> None:
        names = Names()
        async with session_on(Guard(look_up=names)) as session:
            waiting = asyncio.ensure_future(session.post("http://silent.example.com/")._coro)
            await until(lambda: len(names.asked) == 1)
        with pytest.raises(aiohttp.ClientConnectorDNSError):
            await waiting
