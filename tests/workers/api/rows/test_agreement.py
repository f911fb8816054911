"""Events and rows agree: whoever hears every event of a table knows every row of it."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from tests.api import Api, Published

MakeTable = Callable[..., Awaitable[None]]
Call = Callable[[], Awaitable[httpx.Response]]

ROWS = "/v1/tablesdb/main/tables/posts/rows"
IDS = [f"r{number}" for number in range(6)]
CALLS = 60


def replayed(events: list[Published]) -> dict[str, Any]:
    """Return the rows as somebody knows them who has heard nothing but ``events``."""
    known: dict[str, Any] = {}
    for event in events:
        row_id = event.payload["$id"]
        match event.name.rpartition(".")[2]:
            case "delete":
                del known[row_id]
            case "create":
                assert row_id not in known
                known[row_id] = event.payload
            case _:
                # An update may make the row: a transaction tells of an upsert so (wire specification 9.4).
                known[row_id] = event.payload
    return known


def a_call(server: httpx.AsyncClient, chance: random.Random) -> Call:
    """Return a call that changes rows, or is refused."""
    row_id, other_id = chance.sample(IDS, 2)
    # Values of the unique index are few, so that some are taken.
    data = {"title": f"Title {chance.random()}", "slug": chance.choice(["a", "b", "c", None])}
    rows = [{"$id": each} | data | {"slug": None} for each in (row_id, other_id)]
    query = json.dumps({"method": "equal", "attribute": "$id", "values": [row_id, other_id]})
    calls: list[Call] = [
        lambda: server.post(ROWS, json={"rowId": row_id, "data": data}),
        lambda: server.put(f"{ROWS}/{row_id}", json={"data": data}),
        lambda: server.patch(f"{ROWS}/{row_id}", json={"data": data}),
        lambda: server.patch(f"{ROWS}/{row_id}/votes/increment", json={"value": chance.randint(1, 5)}),
        lambda: server.delete(f"{ROWS}/{row_id}"),
        lambda: server.post(ROWS, json={"rows": rows}),
        lambda: server.put(ROWS, json={"rows": rows}),
        lambda: server.patch(ROWS, json={"data": {"done": chance.random() < 0.5}, "queries": [query]}),
        lambda: server.request("DELETE", ROWS, json={"queries": [query]}),
        lambda: commit(server, row_id, other_id, data),
    ]
    return chance.choice(calls)


async def commit(server: httpx.AsyncClient, first: str, second: str, data: dict[str, Any]) -> httpx.Response:
    """Change two rows in one transaction."""
    path = f"/v1/tablesdb/transactions/{(await server.post('/v1/tablesdb/transactions')).json()['$id']}"
    place = {"databaseId": "main", "tableId": "posts"}
    operations = [
        place | {"action": "upsert", "rowId": first, "data": data},
        place | {"action": "increment", "rowId": first, "data": {"column": "votes"}},
        place | {"action": "delete", "rowId": second},
    ]
    staged = await server.post(f"{path}/operations", json={"operations": operations})
    return staged if staged.is_error else await server.patch(path, json={"commit": True})


class TestAgreement:
    @pytest.mark.parametrize("at_once", [1, 6])
    async def test_events_tell_the_rows_whatever_was_called_and_refused(
        self, api: Api, make_table: MakeTable, at_once: int
    ) -> None:
        await make_table()
        chance = random.Random(at_once)
        statuses: set[int] = set()
        for _ in range(CALLS // at_once):
            answers = await asyncio.gather(*(a_call(api.server, chance)() for _ in range(at_once)))
            statuses |= {answer.status_code for answer in answers}
        assert statuses <= {200, 201, 204, 404, 409, 503}
        assert {200, 201, 409} <= statuses
        stored = (await api.server.get(ROWS)).json()["rows"]
        assert replayed(await api.published()) == {row["$id"]: row for row in stored}
