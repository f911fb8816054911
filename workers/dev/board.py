"""The board's database: made through the API itself, as anybody would make theirs."""

from typing import Any

import httpx
from fastapi import FastAPI

from realtime.settings import Settings

DATABASE_ID = "board"
TABLE = {
    "tableId": "cards",
    "name": "Cards",
    # Whoever is logged in adds cards; the permissions of a card say who reads, changes and deletes it.
    "permissions": ['create("users")'],
    "rowSecurity": True,
    "columns": [
        {"key": "title", "type": "string", "size": 200, "required": True},
        {"key": "column", "type": "enum", "elements": ["todo", "doing", "done"], "required": True},
        {"key": "position", "type": "double", "required": True},
        {"key": "by", "type": "string", "size": 128, "required": True},
        {"key": "changedBy", "type": "string", "size": 128, "required": True},
    ],
    "indexes": [{"key": "position", "type": "key", "columns": ["position"]}],
}


async def seed_board(app: FastAPI, settings: Settings) -> None:
    """Make the board's database and table in the demo project, unless they are there.

    Args:
        app: the API, which is not being served yet.
        settings: of the server; with ``dev_key``.

    Raises:
        httpx.HTTPStatusError: the API refuses.
    """
    transport = httpx.ASGITransport(app)
    headers = {"X-Appwrite-Project": settings.dev_project, "X-Appwrite-Key": settings.dev_key}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client,
    ):
        await _make(client, "/v1/tablesdb", {"databaseId": DATABASE_ID, "name": "Board"})
        await _make(client, f"/v1/tablesdb/{DATABASE_ID}/tables", TABLE)


async def _make(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    response = await client.post(path, json=body)
    # Made when the server was started before.
    if response.status_code != httpx.codes.CONFLICT:
        response.raise_for_status()
