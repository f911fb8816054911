from typing import Any

import pytest

from realtime.settings import Settings
from tests.api import PROJECT, Api
from workers.api.people.policies import read_policies
from workers.models.policies import DEFAULTS

POLICIES = "/v1/project/policies"


class TestList:
    async def test_each_shows_what_holds_unless_the_project_says_otherwise(self, api: Api) -> None:
        listed = (await api.server.get(POLICIES)).json()
        assert [policy["$id"] for policy in listed["policies"]] == list(DEFAULTS)
        assert listed["total"] == len(DEFAULTS)
        settings = Settings()
        by_id = {policy["$id"]: policy for policy in listed["policies"]}
        assert by_id["session-duration"]["duration"] == settings.session_lifetime_s
        assert by_id["session-limit"]["total"] == settings.sessions_per_user

    async def test_page_is_cut_by_limit_and_offset(self, api: Api) -> None:
        params = {
            "queries[0]": '{"method":"limit","values":[1]}',
            "queries[1]": '{"method":"offset","values":[2]}',
        }
        listed = (await api.server.get(POLICIES, params=params)).json()
        assert [policy["$id"] for policy in listed["policies"]] == [list(DEFAULTS)[2]]


class TestUpdate:
    @pytest.mark.parametrize(
        ("policy_id", "members"),
        [
            ("password-history", {"total": 3}),
            ("password-personal-data", {"enabled": True}),
            ("session-duration", {"duration": 3600}),
            ("session-invalidation", {"enabled": False}),
            ("session-limit", {"total": 2}),
            ("user-limit", {"total": 100}),
            ("membership-privacy", {"userEmail": False, "userAccessedAt": True}),
        ],
    )
    async def test_policy_shows_what_was_said(
        self, api: Api, policy_id: str, members: dict[str, Any]
    ) -> None:
        response = await api.server.patch(f"{POLICIES}/{policy_id}", json=members)
        assert response.json()["$id"] == PROJECT, response.text
        shown = (await api.server.get(f"{POLICIES}/{policy_id}")).json()
        assert shown == {"$id": policy_id, **DEFAULTS[policy_id], **members}

    async def test_null_is_no_limit(self, api: Api) -> None:
        for policy_id in ("session-limit", "user-limit", "password-history"):
            await api.server.patch(f"{POLICIES}/{policy_id}", json={"total": None})
            assert (await api.server.get(f"{POLICIES}/{policy_id}")).json()["total"] == 0

    async def test_logins_follow(self, api: Api) -> None:
        await api.server.patch(f"{POLICIES}/session-limit", json={"total": 2})
        await api.server.patch(f"{POLICIES}/session-duration", json={"duration": 60})
        async with api.services.store.read() as connection:
            policies = await read_policies(connection, PROJECT, api.settings)
        assert (policies.sessions_per_user, policies.session_lifetime_s) == (2, 60)

    @pytest.mark.parametrize(
        ("policy_id", "body", "text"),
        [
            ("session-limit", {"total": 0}, "Invalid `total` param: "),
            ("session-limit", {}, 'Param "total" is not optional.'),
            ("session-duration", {"duration": 4}, "Invalid `duration` param: "),
            ("session-invalidation", {"enabled": "perhaps"}, "Invalid `enabled` param: "),
        ],
    )
    async def test_wrong_member_is_named(
        self, api: Api, policy_id: str, body: dict[str, Any], text: str
    ) -> None:
        response = await api.server.patch(f"{POLICIES}/{policy_id}", json=body)
        assert response.status_code == 400
        assert response.json()["message"].startswith(text)
