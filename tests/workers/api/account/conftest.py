"""What the tests of the account service share: people who log in, and the mail that they get."""

import dataclasses
from collections.abc import Awaitable, Callable

import httpx
import pytest

from tests.api import Api
from tests.inbox import Inbox


@pytest.fixture
async def inbox(api: Api) -> Inbox:
    """Where the mail of the API goes."""
    inbox = Inbox()
    api.app.state.services = dataclasses.replace(api.services, mailer=inbox)
    return inbox


@pytest.fixture
def sign_up(api: Api) -> Callable[[str], Awaitable[httpx.AsyncClient]]:
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
