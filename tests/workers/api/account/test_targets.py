"""Push targets: the devices of a person."""

from collections.abc import Awaitable, Callable

import httpx

from tests.api import Api

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"]


class TestPushTargets:
    async def test_target_is_made_changed_and_deleted(self, api: Api, sign_up: SignUp) -> None:
        browser = await sign_up("ann")
        body = {"targetId": "phone", "identifier": "token-1"}
        made = await browser.post("/v1/account/targets/push", json=body)
        changed = await browser.put("/v1/account/targets/phone/push", json={"identifier": "token-2"})
        listed = (await browser.get("/v1/account")).json()["targets"]
        deleted = await browser.delete("/v1/account/targets/phone/push")
        assert (made.status_code, made.json()["providerType"]) == (201, "push")
        assert changed.json()["identifier"] == "token-2"
        assert [target["identifier"] for target in listed] == ["ann@example.com", "token-2"]
        assert deleted.status_code == 204
        names = (await api.names())[-3:]
        assert names == [f"users.ann.targets.phone.{action}" for action in ("create", "update", "delete")]

    async def test_targets_of_others_and_of_other_kinds_are_not_found(self, sign_up: SignUp) -> None:
        ann, bob = await sign_up("ann"), await sign_up("bob")
        await ann.post("/v1/account/targets/push", json={"targetId": "phone", "identifier": "token"})
        own_id = (await bob.get("/v1/account")).json()["targets"][0]["$id"]
        for target_id in ("phone", own_id):
            answer = await bob.delete(f"/v1/account/targets/{target_id}/push")
            assert error_of(answer) == (404, "user_target_not_found")

    async def test_device_that_is_named_like_an_address_keeps_it_from_nobody(self, sign_up: SignUp) -> None:
        ann, bob = await sign_up("ann"), await sign_up("bob")
        for number, address in enumerate(("new@example.com", "eve@example.com")):
            body = {"targetId": f"t{number}", "identifier": address}
            assert (await bob.post("/v1/account/targets/push", json=body)).status_code == 201
        body = {"email": "new@example.com", "password": "password-of-ann"}
        changed = await ann.patch("/v1/account/email", json=body)
        assert changed.status_code == 200
        eve = await sign_up("eve")
        for answer, address in (
            (changed, "new@example.com"),
            (await eve.get("/v1/account"), "eve@example.com"),
        ):
            assert [target["identifier"] for target in answer.json()["targets"]] == [address]

    async def test_device_belongs_to_one_account(self, sign_up: SignUp) -> None:
        ann, bob = await sign_up("ann"), await sign_up("bob")
        body = {"targetId": "unique()", "identifier": "token"}
        await ann.post("/v1/account/targets/push", json=body)
        answer = await bob.post("/v1/account/targets/push", json=body)
        assert error_of(answer) == (409, "user_target_already_exists")
