"""Who may call the users service: keys with the scope, and nobody else."""

from typing import Any

import pytest

from tests.api import Api

# Method, path and body of every route; the scope that opens it. Nobody has the IDs in the paths.
ROUTES: list[tuple[str, str, dict[str, Any] | None, str]] = [
    ("GET", "/v1/users", None, "users.read"),
    ("POST", "/v1/users", {"userId": "new"}, "users.write"),
    ("POST", "/v1/users/argon2", {}, "users.write"),
    ("POST", "/v1/users/bcrypt", {}, "users.write"),
    ("POST", "/v1/users/md5", {}, "users.write"),
    ("POST", "/v1/users/phpass", {}, "users.write"),
    ("POST", "/v1/users/scrypt", {}, "users.write"),
    ("POST", "/v1/users/scrypt-modified", {}, "users.write"),
    ("POST", "/v1/users/sha", {}, "users.write"),
    ("GET", "/v1/users/identities", None, "users.read"),
    ("DELETE", "/v1/users/identities/none", None, "users.write"),
    ("GET", "/v1/users/none", None, "users.read"),
    ("DELETE", "/v1/users/none", None, "users.write"),
    ("PATCH", "/v1/users/none/name", {"name": "N"}, "users.write"),
    ("PATCH", "/v1/users/none/email", {"email": "n@example.com"}, "users.write"),
    ("PATCH", "/v1/users/none/phone", {"number": "+15550100"}, "users.write"),
    ("PATCH", "/v1/users/none/password", {"password": "correct horse"}, "users.write"),
    ("PATCH", "/v1/users/none/status", {"status": False}, "users.write"),
    ("PUT", "/v1/users/none/labels", {"labels": []}, "users.write"),
    ("GET", "/v1/users/none/prefs", None, "users.read"),
    ("PATCH", "/v1/users/none/prefs", {"prefs": {}}, "users.write"),
    ("PATCH", "/v1/users/none/verification", {"emailVerification": True}, "users.write"),
    ("PATCH", "/v1/users/none/verification/phone", {"phoneVerification": True}, "users.write"),
    ("PATCH", "/v1/users/none/impersonator", {"impersonator": True}, "users.write"),
    ("PATCH", "/v1/users/none/mfa", {"mfa": True}, "users.write"),
    ("GET", "/v1/users/none/mfa/factors", None, "users.read"),
    ("GET", "/v1/users/none/mfa/recovery-codes", None, "users.read"),
    ("PATCH", "/v1/users/none/mfa/recovery-codes", None, "users.write"),
    ("PUT", "/v1/users/none/mfa/recovery-codes", None, "users.write"),
    ("DELETE", "/v1/users/none/mfa/authenticators/totp", None, "users.write"),
    ("GET", "/v1/users/none/memberships", None, "users.read"),
    ("GET", "/v1/users/none/logs", None, "users.read"),
    ("GET", "/v1/users/none/sessions", None, "users.read"),
    ("POST", "/v1/users/none/sessions", None, "users.write"),
    ("DELETE", "/v1/users/none/sessions", None, "users.write"),
    ("DELETE", "/v1/users/none/sessions/none", None, "users.write"),
    ("POST", "/v1/users/none/tokens", {}, "users.write"),
    ("POST", "/v1/users/none/jwts", {}, "users.write"),
    ("GET", "/v1/users/none/targets", None, "users.read"),
    ("POST", "/v1/users/none/targets", {}, "users.write"),
    ("GET", "/v1/users/none/targets/none", None, "users.read"),
    ("PATCH", "/v1/users/none/targets/none", {"name": "N"}, "users.write"),
    ("DELETE", "/v1/users/none/targets/none", None, "users.write"),
]

ALIASES = {
    "sessions": {"users.read": "sessions.read", "users.write": "sessions.write"},
    "targets": {"users.read": "targets.read", "users.write": "targets.write"},
}


async def test_only_keys_with_the_scope_get_in(api: Api) -> None:
    await api.server.post("/v1/users", json={"userId": "ada"})
    session = (await api.server.post("/v1/users/ada/sessions")).json()["secret"]
    others = {
        "guests": api.guest(),
        "users": api.guest(**{"X-Appwrite-Session": session}),
    }
    keys = {scope: await api.add_key(scope) for scope in ("users.read", "users.write")}
    unlike = {"users.read": "users.write", "users.write": "users.read"}

    for method, path, body, scope in ROUTES:
        callers = others | {"applications": keys[unlike[scope]]}
        for role, caller in callers.items():
            response = await caller.request(method, path, json=body)
            assert response.status_code == 401, (method, path, role)
            assert response.json()["type"] == "general_unauthorized_scope"
            assert response.json()["message"] == f'(role: {role}) missing scope (["{scope}"])'
        response = await keys[scope].request(method, path, json=body)
        # Inside there is nobody of that name, or nothing in the body.
        assert response.status_code in (200, 201, 400, 404), (method, path)
        assert response.json().get("type") != "general_route_not_found"


@pytest.mark.parametrize("part", ALIASES)
async def test_scope_of_a_part_opens_that_part_alone(api: Api, part: str) -> None:
    for scope, alias in ALIASES[part].items():
        holder = await api.add_key(alias)
        for method, path, body, needed in ROUTES:
            if needed != scope:
                continue
            response = await holder.request(method, path, json=body)
            opens = f"/{part}" in path
            assert (response.status_code != 401) == opens, (method, path, alias)


async def test_users_of_another_project_are_not_there(api: Api) -> None:
    """A path leads to users of the project whose key it is, although another has one of that name."""
    from sqlalchemy import update

    from workers.store.tables import users

    await api.server.post("/v1/users", json={"userId": "none"})
    async with api.services.store.database.writing() as connection:
        await connection.execute(update(users).values(project_id="elsewhere"))

    for method, path, body, _scope in ROUTES:
        if path.startswith("/v1/users/none"):
            response = await api.server.request(method, path, json=body)
            assert response.status_code in (400, 404), (method, path)
    assert (await api.server.get("/v1/users")).json() == {"total": 0, "users": []}
