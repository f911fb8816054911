"""How often clients may change rows; servers as often as they like."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.api import Api
from workers.api.rows.callers import DELETIONS_PER_MINUTE, WRITES_PER_MINUTE

MakeTable = Callable[..., Awaitable[None]]

ROWS = "/v1/tablesdb/main/tables/posts/rows"


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"limits": "on"}


class TestRates:
    async def test_guests_are_told_how_often_they_may_write(self, api: Api, make_table: MakeTable) -> None:
        await make_table(permissions=['write("any")'])
        guest = api.guest()
        for limit, answer in (
            (WRITES_PER_MINUTE, await guest.post(ROWS, json={"rowId": "r", "data": {"title": "x"}})),
            (WRITES_PER_MINUTE, await guest.patch(f"{ROWS}/r", json={"data": {"votes": 1}})),
            (WRITES_PER_MINUTE, await guest.put(f"{ROWS}/r", json={"data": {"votes": 2}})),
            (WRITES_PER_MINUTE, await guest.patch(f"{ROWS}/r/votes/increment", json={})),
            (DELETIONS_PER_MINUTE, await guest.delete(f"{ROWS}/r")),
        ):
            assert answer.is_success
            assert answer.headers["X-RateLimit-Limit"] == str(limit)
            assert answer.headers["X-RateLimit-Remaining"] == str(limit - 1)
        by_key = await api.server.post(ROWS, json={"rowId": "r", "data": {"title": "x"}})
        assert "X-RateLimit-Limit" not in by_key.headers

    async def test_guest_who_writes_more_often_is_refused(self, api: Api, make_table: MakeTable) -> None:
        await make_table(permissions=['write("any")'])
        guest = api.guest()
        statuses = [
            (await guest.delete(f"{ROWS}/none")).status_code for _ in range(DELETIONS_PER_MINUTE * 2 + 1)
        ]
        # The minute may end meanwhile.
        assert statuses[:DELETIONS_PER_MINUTE] == [404] * DELETIONS_PER_MINUTE
        assert 429 in statuses
