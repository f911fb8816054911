"""How much may wait, or be scheduled, on both databases: nobody takes the room of others."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import httpx
import pytest
import sqlalchemy as sa

from tests.api import Api
from workers.api.functions import room
from workers.api.functions.room import origin_of
from workers.functions.executor import Call, Executor
from workers.store.tables import executions

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]
Deploy = Callable[..., Awaitable[dict[str, Any]]]

PATH = "/v1/functions/hello/executions"
OTHER_PATH = "/v1/functions/other/executions"


class ToldExecutor(Executor, Protocol):
    """See the fixture ``executor``."""

    calls: list[Call]
    may_end: asyncio.Event

    async def until_called(self, count: int) -> None: ...


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"functions_concurrency": 1}


@pytest.fixture
def nothing_ends(executor: ToldExecutor) -> Iterator[None]:
    """Executions hang until the test is over."""
    yield
    executor.may_end.set()


def at(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


def scheduled(days: float = 1) -> dict[str, Any]:
    return {"async": True, "scheduledAt": (datetime.now(UTC) + timedelta(days=days)).isoformat()}


WAITING = {"async": True, "path": "/hang"}


async def statuses(*answers: Awaitable[httpx.Response]) -> list[int]:
    return [(await answer).status_code for answer in answers]


async def until_all_ended(api: Api) -> None:
    async with asyncio.timeout(10):
        while True:
            listed = (await api.server.get(PATH)).json()["executions"]
            if all(execution["status"] == "completed" for execution in listed):
                return
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("nothing_ends")
class TestCounts:
    async def test_user_has_so_many_and_others_have_room(
        self, api: Api, deploy: Deploy, sign_up: SignUp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await deploy(execute=["any"])
        monkeypatch.setattr(room, "MAX_OF_USER", 2)
        ada, bob = await sign_up("ada"), await sign_up("bob")
        made = [await ada.post(PATH, json=scheduled(), headers=at(f"192.0.2.{last}")) for last in (1, 2)]
        assert [answer.status_code for answer in made] == [202, 202]
        refused = await ada.post(PATH, json=scheduled(), headers=at("192.0.2.3"))
        assert (refused.status_code, refused.json()["type"]) == (429, "general_rate_limit_exceeded")
        # What waits for its turn is another matter; and so are others, guests among them, and servers.
        assert (
            await statuses(
                ada.post(PATH, json=WAITING),
                bob.post(PATH, json=scheduled()),
                *(api.guest().post(PATH, json=scheduled()) for _ in range(3)),
                api.server.post(PATH, json=scheduled()),
            )
            == [202] * 6
        )
        await api.server.delete(f"{PATH}/{made[0].json()['$id']}")
        assert await statuses(ada.post(PATH, json=scheduled())) == [202]

    async def test_address_has_so_many_of_a_function_however_many_users_it_is(
        self, api: Api, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await deploy(execute=["any"])
        await deploy(execute=["any"], functionId="other")
        monkeypatch.setattr(room, "MAX_FROM_ADDRESS", 2)
        for body in (scheduled(), WAITING):
            answers = []
            for last in range(3):
                stranger = api.guest(**at(f"2001:db8::{last}"))
                assert (await stranger.post("/v1/account/sessions/anonymous")).status_code == 201
                answers.append(await stranger.post(PATH, json=body))
            assert [answer.status_code for answer in answers] == [202, 202, 429]
            # Another network, and another function.
            assert await statuses(
                api.guest(**at("2001:db8:0:1::")).post(PATH, json=body),
                api.guest(**at("2001:db8::")).post(OTHER_PATH, json=body),
            ) == [202, 202]

    async def test_function_takes_no_room_of_others_and_people_none_of_keys(
        self, api: Api, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await deploy(execute=["any"])
        await deploy(execute=["any"], functionId="other")
        monkeypatch.setattr(room, "MAX_OF_FUNCTION", 2)
        monkeypatch.setattr(room, "MAX_OF_PROJECT", 3)
        monkeypatch.setattr(room, "MAX_OF_KEYS", 2)
        body = scheduled()
        assert await statuses(
            *(api.guest().post(PATH, json=body) for _ in range(3)),
            *(api.guest().post(OTHER_PATH, json=body) for _ in range(2)),
            *(api.server.post(PATH, json=body) for _ in range(3)),
            api.guest().post(PATH, json=WAITING),
        ) == [202, 202, 503, 202, 503, 202, 202, 503, 202]

    async def test_what_events_set_off_takes_no_room_of_keys(
        self, api: Api, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await deploy()
        monkeypatch.setattr(room, "MAX_OF_KEYS", 1)
        assert await statuses(*(api.server.post(PATH, json=scheduled()) for _ in range(2))) == [202, 503]
        async with api.services.store.database.writing() as connection:
            await connection.execute(sa.update(executions).values(trigger="event"))
        assert await statuses(api.server.post(PATH, json=scheduled())) == [202]

    async def test_what_ended_makes_room(
        self, api: Api, deploy: Deploy, executor: ToldExecutor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await deploy(execute=["any"])
        monkeypatch.setattr(room, "MAX_OF_FUNCTION", 1)
        assert await statuses(api.guest().post(PATH, json=WAITING)) == [202]
        await executor.until_called(1)
        assert await statuses(api.guest().post(PATH, json=WAITING)) == [503]
        executor.may_end.set()
        await until_all_ended(api)
        assert await statuses(api.guest().post(PATH, json=WAITING)) == [202]


@pytest.mark.usefixtures("nothing_ends")
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestExtent:
    async def test_people_schedule_for_the_next_thirty_days(self, api: Api, deploy: Deploy) -> None:
        await deploy(execute=["any"])
        refused = await api.guest().post(PATH, json=scheduled(days=30.1))
        assert refused.status_code == 400
        assert "at most 30 days ahead" in refused.json()["message"]
        assert await statuses(
            api.guest().post(PATH, json=scheduled(days=29.9)), api.server.post(PATH, json=scheduled(days=400))
        ) == [202, 202]

    @pytest.mark.parametrize(
        "large",
        [{"body": "ä" * 33_000}, {"headers": {f"x-{number}": "a" * 8_000 for number in range(9)}}],
        ids=["body", "headers"],
    )
    async def test_what_waits_for_people_is_small(
        self, api: Api, deploy: Deploy, large: dict[str, Any]
    ) -> None:
        await deploy(execute=["any"])
        refused = await api.guest().post(PATH, json={**WAITING, **large})
        assert (refused.status_code, refused.json()["type"]) == (413, "general_request_too_large")
        assert await statuses(
            api.guest().post(PATH, json={**WAITING, "body": "a" * 65_000}),
            api.guest().post(PATH, json=large),
            api.server.post(PATH, json={**WAITING, **large}),
        ) == [202, 201, 202]


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%a-scope-with-a-name-that-is-longer-than-a-column", "fe80::"),
        ("", "unknown"),
        ("testclient", "unknown"),
    ],
)
def test_addresses_of_one_customer_have_one_origin(address: str, origin: str) -> None:
    assert origin_of(address) == origin
