"""A server to compare the API with: the least that creates a row in PostgreSQL by HTTP from Python.

One route of Starlette inserts the row and an entry of an outbox in one transaction, by statements that are written
out: no project, no caller, no schema, no permissions, no event, and nobody to publish it.

    python -m benchmarks.peers.insert_server DATABASE_URL PORT ...
"""

import contextlib
import sys
from collections.abc import AsyncIterator

import asyncpg  # type: ignore[import-untyped]
import orjson
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

TABLES = """
CREATE TABLE IF NOT EXISTS bare_rows (seq bigserial PRIMARY KEY, id text UNIQUE, title text, score bigint);
CREATE TABLE IF NOT EXISTS bare_outbox (seq bigserial PRIMARY KEY, body bytea);
"""


class Rows:
    """The application's one resource."""

    pool: asyncpg.Pool

    async def create(self, request: Request) -> Response:
        """Insert the row that the body has."""
        body = orjson.loads(await request.body())
        row_id, data = body["rowId"], body["data"]
        async with self.pool.acquire() as connection, connection.transaction():
            seq = await connection.fetchval(
                "INSERT INTO bare_rows (id, title, score) VALUES ($1, $2, $3) RETURNING seq",
                row_id,
                data["title"],
                data["score"],
            )
            answer = orjson.dumps({"$id": row_id, "$sequence": seq, **data})
            await connection.execute("INSERT INTO bare_outbox (body) VALUES ($1)", answer)
        return Response(answer, status_code=201, media_type="application/json")


async def main(database_url: str, port: int) -> None:
    rows = Rows()

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        async with asyncpg.create_pool(database_url, min_size=1, max_size=10) as rows.pool:
            await rows.pool.execute(TABLES)
            yield

    app = Starlette(routes=[Route("/rows", rows.create, methods=["POST"])], lifespan=lifespan)
    await uvicorn.Server(uvicorn.Config(app, port=port, access_log=False, log_level="warning")).serve()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
