"""What callers are told when something goes wrong, on a small application that fails in every way there is."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, Field
from sqlalchemy import insert, select, text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from structlog.testing import capture_logs

from realtime import __version__
from realtime.errors import ClientError, ErrorKind, InvalidQueryError
from realtime.settings import Settings
from tests.api import Api
from workers.api.app import create_app
from workers.store import tables

Fail = Callable[[], Awaitable[Any]]

_RECURSIONS = text(
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND state = 'active' AND query LIKE 'WITH RECURSIVE%'"
)


class Thing(BaseModel):
    name: str = Field(max_length=4)
    tags: list[int] = []


@pytest.fixture(scope="module")
def app() -> FastAPI:
    """An application that comes nowhere near a store."""
    services: Any = SimpleNamespace(settings=Settings(api_max_bytes=2000, request_timeout_s=0.3))
    app = create_app(services=services)

    @app.post("/v1/things")
    async def create(body: Thing, size: int = 0) -> dict[str, Any]:
        return {"name": body.name, "size": size}

    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Content-Type": "application/json"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=headers) as client:
        yield client


async def fails_with(app: FastAPI, client: httpx.AsyncClient, fail: Fail) -> tuple[int, str, str]:
    # Of the routes of one path, the first would answer.
    path = f"/v1/fail-{len(app.routes)}"
    app.get(path)(fail)
    response = await client.get(path)
    body = response.json()
    assert set(body) == {"message", "code", "type", "version"}
    assert (body["code"], body["version"]) == (response.status_code, __version__)
    assert response.headers.get("retry-after") == ("1" if response.status_code == 503 else None)
    # Nothing but the publishing of events heeds such a key.
    assert "Idempotency-Key" not in body["message"]
    return response.status_code, body["type"], body["message"]


class TestValidation:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b'{"name": "long one"}', "Invalid `name` param: String should have at most 4 characters."),
            (b'{"tags": []}', 'Param "name" is not optional.'),
            (
                b'{"name": "a", "tags": [1, "x"]}',
                "Invalid `tags.1` param: Input should be a valid integer, unable to parse string as an integer.",
            ),
            (b"", "Invalid request body: it must be a JSON object."),
            (b"[]", "Invalid request body: it must be a JSON object."),
            (b"5", "Invalid request body: it must be a JSON object."),
            (b"{", "Invalid request body: it is not valid JSON ("),
            (b"\xff", "There was an error parsing the body"),
            (b"[" * 1990, "There was an error parsing the body"),
            (b'{"name": ' + b"9" * 1900 + b"}", ""),
            (b'{"name": "a\\u0000"}', "The request body holds a NUL character, which cannot be stored."),
        ],
    )
    async def test_first_thing_that_is_wrong_is_told(
        self, client: httpx.AsyncClient, content: bytes, message: str
    ) -> None:
        response = await client.post("/v1/things", content=content)
        assert response.status_code == 400, response.text
        assert response.json()["type"] == "general_argument_invalid"
        assert response.json()["message"].startswith(message)

    async def test_parameter_of_the_url_is_named_too(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/v1/things?size=big", json={"name": "a"})
        assert response.json()["message"].startswith("Invalid `size` param: ")

    async def test_backslash_before_the_letters_of_a_nul_is_no_nul(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/v1/things", content=b'{"name": "a", "other": "\\\\u0000"}')
        assert response.status_code == 200, response.text

    async def test_unknown_route_and_method_are_told(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/v1/nix")).json()["type"] == "general_route_not_found"
        response = await client.put("/v1/things")
        assert (response.status_code, response.json()["type"]) == (405, "general_method_not_allowed")


class TestBody:
    async def test_declared_size_above_the_limit_is_refused_unread(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/v1/things", content=b" " * 2001)
        assert (response.status_code, response.json()["type"]) == (413, "general_request_too_large")

    async def test_size_that_was_not_declared_is_counted(self, client: httpx.AsyncClient) -> None:
        sent = 0

        async def stream() -> AsyncIterator[bytes]:
            nonlocal sent
            while True:
                sent += 1000
                yield b" " * 1000

        response = await client.post("/v1/things", content=stream())
        assert response.status_code == 413
        assert sent == 3000

    async def test_nul_that_is_cut_in_two_is_found(self, client: httpx.AsyncClient) -> None:
        async def stream() -> AsyncIterator[bytes]:
            yield b'{"name": "\\u0'
            yield b'000"}'

        response = await client.post("/v1/things", content=stream())
        assert "NUL" in response.json()["message"]

    async def test_body_that_does_not_come_is_not_waited_for(self, client: httpx.AsyncClient) -> None:
        async def stream() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.sleep(60)

        response = await client.post("/v1/things", content=stream())
        assert (response.status_code, response.json()["type"]) == (408, "general_request_timeout")
        assert response.headers["connection"] == "close"

    async def test_limit_itself_passes(self, client: httpx.AsyncClient) -> None:
        body = b'{"name": "a"}'
        response = await client.post("/v1/things", content=body + b" " * (2000 - len(body)))
        assert response.status_code == 200


class TestStore:
    async def test_statement_that_fails_is_our_mistake(
        self, api: Api, app: FastAPI, client: httpx.AsyncClient
    ) -> None:
        async def fail() -> None:
            async with api.services.store.read() as connection:
                await connection.execute(text("SELECT * FROM nothing"))

        assert (await fails_with(app, client, fail))[:2] == (500, "general_unknown")

    async def test_read_that_takes_too_long_is_given_up(
        self, api: Api, app: FastAPI, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail() -> None:
            async with api.services.store.read() as connection:
                await connection.execute(
                    text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT count(*) FROM n")
                )

        monkeypatch.setattr(api.services.store.database, "read_timeout_s", 0.2)
        async with asyncio.timeout(10):
            assert (await fails_with(app, client, fail))[:2] == (503, "general_service_unavailable")
            # The database has stopped too.
            async with api.services.store.database.reading() as connection:
                while not api.services.store.database.is_sqlite and await connection.scalar(_RECURSIONS):
                    await connection.rollback()
                assert await connection.scalar(text("SELECT 1")) == 1

    async def test_values_of_a_statement_that_fails_are_not_logged(
        self, api: Api, app: FastAPI, client: httpx.AsyncClient
    ) -> None:
        async def fail() -> None:
            async with api.services.store.read() as connection:
                await connection.execute(text("SELECT * FROM nothing WHERE a = :a"), {"a": "s3cret"})

        with capture_logs() as lines:
            await fails_with(app, client, fail)
        (error,) = [line["exc_info"] for line in lines if line["event"] == "a statement failed"]
        logged = "".join(traceback.format_exception(error))
        assert "FROM nothing WHERE" in logged
        assert "s3cret" not in logged

    @pytest.mark.parametrize(
        "values", [{"name": "\ud800"}, {"ping_count": 2**70}, {"disabled": {"a": "\ud800"}}]
    )
    async def test_value_that_cannot_be_stored_is_the_callers(
        self, api: Api, app: FastAPI, client: httpx.AsyncClient, values: dict[str, Any]
    ) -> None:
        async def fail() -> None:
            row = {"id": "a", "name": "n", "disabled": {}, "policies": {}, "created_at": "", "updated_at": ""}
            async with api.services.store.database.writing() as connection:
                await connection.execute(insert(tables.projects).values(row | values))

        assert (await fails_with(app, client, fail))[:2] == (400, "general_argument_invalid")

    async def test_unique_key_that_is_taken_is_a_conflict(
        self, api: Api, app: FastAPI, client: httpx.AsyncClient
    ) -> None:
        async def fail() -> None:
            async with api.services.store.database.writing() as connection:
                row = (await connection.execute(select(tables.projects))).mappings().one()
                await connection.execute(insert(tables.projects).values(**{**row, "seq": row["seq"] + 1}))

        assert (await fails_with(app, client, fail))[:2] == (409, "general_resource_already_exists")

    @pytest.mark.parametrize("error", [PoolTimeoutError(), ConnectionRefusedError(), TimeoutError()])
    async def test_database_that_is_away_is_worth_another_try(
        self, app: FastAPI, client: httpx.AsyncClient, error: Exception
    ) -> None:
        async def fail() -> None:
            raise error

        assert (await fails_with(app, client, fail))[:2] == (503, "general_service_unavailable")


class TestOthers:
    @pytest.mark.parametrize(
        ("error", "status", "error_type"),
        [
            (ClientError(ErrorKind.JWT_AND_SESSION), 403, "user_jwt_and_cookie_set"),
            (ClientError(ErrorKind.JWT_INVALID, reason="Bad."), 401, "user_jwt_invalid"),
            (ClientError(ErrorKind.MESSAGE_FORMAT), 400, "realtime_message_format_invalid"),
            (InvalidQueryError("Invalid query: nonsense"), 400, "general_query_invalid"),
            (RecursionError(), 400, "general_argument_invalid"),
            (RuntimeError("the secret is 1234"), 500, "general_unknown"),
        ],
    )
    async def test_each_is_told_in_its_own_way(
        self, app: FastAPI, client: httpx.AsyncClient, error: Exception, status: int, error_type: str
    ) -> None:
        async def fail() -> None:
            raise error

        told = await fails_with(app, client, fail)
        assert told[:2] == (status, error_type)
        assert "1234" not in told[2]
