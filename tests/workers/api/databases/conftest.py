"""What the tests of databases share: one table to look at, in the words of either vocabulary."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.api import Api

AddColumn = Callable[..., Awaitable[dict[str, Any]]]


@pytest.fixture
async def posts(api: Api) -> str:
    """The path of the table `posts` of the database `main`, which everybody may read."""
    made = await api.server.post("/v1/tablesdb", json={"databaseId": "main", "name": "Main"})
    assert made.status_code == 201
    made = await api.server.post(
        "/v1/tablesdb/main/tables", json={"tableId": "posts", "name": "Posts", "permissions": ['read("any")']}
    )
    assert made.status_code == 201
    return "/v1/tablesdb/main/tables/posts"


@pytest.fixture
def add_column(api: Api, posts: str) -> AddColumn:
    """Add an optional column of a kind to `posts`, and return its model."""

    async def add(kind: str, key: str, **members: Any) -> dict[str, Any]:
        body = {"key": key, "required": False, **members}
        answer = await api.server.post(f"{posts}/columns/{kind}", json=body)
        assert answer.status_code == 202, answer.text
        model: dict[str, Any] = answer.json()
        return model

    return add
