"""People and their targets for the tests of messaging."""

from collections.abc import Awaitable, Callable

import httpx
import pytest

from tests.api import Api

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]
Person = Callable[[str], Awaitable[str]]


@pytest.fixture
def sign_up(api: Api) -> SignUp:
    """Sign somebody up as <name>@example.com, and return their browser, where they are logged in."""

    async def sign_up(name: str) -> httpx.AsyncClient:
        browser = api.guest()
        login = {"email": f"{name}@example.com", "password": f"password-of-{name}"}
        made = await browser.post("/v1/account", json={**login, "userId": name, "name": name.title()})
        assert made.status_code == 201, made.text
        begun = await browser.post("/v1/account/sessions/email", json=login)
        assert begun.status_code == 201, begun.text
        return browser

    return sign_up


@pytest.fixture
def person(api: Api) -> Person:
    """Make the user <name> with the address <name>@example.com, and return the ID of the target that this makes."""

    async def person(name: str) -> str:
        body = {"userId": name, "email": f"{name}@example.com", "name": name.title()}
        made = await api.server.post("/v1/users", json=body)
        assert made.status_code == 201, made.text
        target_id: str = made.json()["targets"][0]["$id"]
        return target_id

    return person
