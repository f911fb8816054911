"""The log of a person, and their identities elsewhere."""

from collections.abc import Awaitable, Callable

import httpx

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"]


class TestLogs:
    async def test_log_is_of_oneself_and_latest_first(self, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        await sign_up("bob")
        await browser.patch("/v1/account/name", json={"name": "Anna"})
        listed = (await browser.get("/v1/account/logs")).json()
        assert [entry["event"] for entry in listed["logs"]] == [
            "user.update",
            "session.create",
            "user.create",
        ]
        assert {entry["userName"] for entry in listed["logs"]} == {"Anna"}
        assert listed["total"] == 3

    async def test_page_is_cut_by_limit_and_offset_alone(self, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        queries = ['{"method":"limit","values":[1]}', '{"method":"offset","values":[1]}']
        page = await browser.get("/v1/account/logs", params={"queries[]": queries})
        assert [entry["event"] for entry in page.json()["logs"]] == ["user.create"]
        wrong = await browser.get(
            "/v1/account/logs", params={"queries[0]": '{"method":"orderAsc","attribute":"event"}'}
        )
        assert error_of(wrong) == (400, "general_query_invalid")


class TestIdentities:
    async def test_there_are_none(self, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        assert (await browser.get("/v1/account/identities")).json() == {"total": 0, "identities": []}
        answer = await browser.delete("/v1/account/identities/any")
        assert error_of(answer) == (404, "user_identity_not_found")
