"""Who may do what with a team: every role against every route."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import httpx
import pytest

from tests.api import Api

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]

ROLES = ("guest", "stranger", "invited", "member", "owner", "key", "reading key", "other key")


class Case(NamedTuple):
    method: str
    path: str
    body: dict[str, Any] | None
    statuses: tuple[int, ...]
    """What each of ROLES is answered."""


READ = (401, 404, 404, 200, 200, 200, 200, 401)
CHANGE = (401, 404, 404, 401, 200, 200, 401, 401)
CASES = {
    "create": Case(
        "POST", "/v1/teams", {"teamId": "new", "name": "New"}, (401, 201, 201, 201, 201, 201, 401, 401)
    ),
    "list": Case("GET", "/v1/teams", None, (401, 200, 200, 200, 200, 200, 200, 401)),
    "get": Case("GET", "/v1/teams/red", None, READ),
    "rename": Case("PUT", "/v1/teams/red", {"name": "Reds"}, CHANGE),
    "delete": Case("DELETE", "/v1/teams/red", None, (401, 404, 404, 401, 204, 204, 401, 401)),
    "get preferences": Case("GET", "/v1/teams/red/prefs", None, READ),
    "set preferences": Case("PUT", "/v1/teams/red/prefs", {"prefs": {"a": 1}}, CHANGE),
    "list members": Case("GET", "/v1/teams/red/memberships", None, READ),
    "get member": Case("GET", "/v1/teams/red/memberships/{carol}", None, READ),
    "invite": Case(
        "POST",
        "/v1/teams/red/memberships",
        {"email": "new@example.com", "roles": ["player"], "url": "http://localhost/join"},
        (401, 404, 404, 401, 201, 201, 401, 401),
    ),
    "set roles": Case("PATCH", "/v1/teams/red/memberships/{carol}", {"roles": ["owner"]}, CHANGE),
    "remove": Case(
        "DELETE",
        "/v1/teams/red/memberships/{carol}",
        None,
        (401, 404, 404, 401, 204, 204, 401, 401),
    ),
    "leave or decline": Case(
        "DELETE",
        "/v1/teams/red/memberships/{own}",
        None,
        (401, 404, 204, 204, 204, 404, 401, 401),
    ),
    "unknown team": Case("GET", "/v1/teams/none", None, (401, 404, 404, 404, 404, 404, 404, 401)),
    "unknown member": Case(
        "DELETE", "/v1/teams/red/memberships/none", None, (401, 404, 404, 404, 404, 404, 401, 401)
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_every_role_is_answered_as_the_table_says(api: Api, sign_up: SignUp, case: Case) -> None:
    people = {name: await sign_up(name) for name in ("owner", "member", "invited", "stranger", "carol")}
    callers = people | {
        "guest": api.guest(),
        "key": api.server,
        "reading key": await api.add_key("teams.read"),
        "other key": await api.add_key("users.read", "users.write"),
    }
    answers = []
    own: dict[str, str] = {}
    for role in ROLES:
        own = own or await _make_team(api, people["owner"])
        path = case.path.format(carol=own["carol"], own=own.get(role, "none"))
        answer = await callers[role].request(case.method, path, json=case.body)
        answers.append(answer.status_code)
        if answer.is_success and case.method != "GET":
            for team_id in ("red", "new"):
                await api.server.delete(f"/v1/teams/{team_id}")
            own = {}
    assert dict(zip(ROLES, answers, strict=True)) == dict(zip(ROLES, case.statuses, strict=True))


async def _make_team(api: Api, owner: httpx.AsyncClient) -> dict[str, str]:
    """Make the team red, and return the ID of each person's membership."""
    await owner.post("/v1/teams", json={"teamId": "red", "name": "Red"})
    for user_id in ("member", "carol"):
        body = {"userId": user_id, "roles": ["player"]}
        await api.server.post("/v1/teams/red/memberships", json=body)
    invitation = {"userId": "invited", "roles": [], "url": "http://localhost/join"}
    await owner.post("/v1/teams/red/memberships", json=invitation)
    listed = (await api.server.get("/v1/teams/red/memberships")).json()["memberships"]
    return {membership["userId"]: membership["$id"] for membership in listed}
