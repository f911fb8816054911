"""How events of users are fired."""

from typing import Any

import httpx
import pyotp

from tests.firing.world import Case, Fired, World


async def create_user(world: World) -> Fired:
    user_id = world.new_id()
    body = {"userId": user_id, "email": f"{user_id}@example.com", "password": "a long password", "name": "U"}
    return Fired({"userId": user_id}, await world.ask("POST", "/users", body))


def update_user(method: str, path: str, body: dict[str, Any]) -> Case:
    async def case(world: World) -> Fired:
        user_id = await world.user()
        return Fired({"userId": user_id}, await world.ask(method, f"/users/{user_id}/{path}", body))

    return case


async def delete_user(world: World) -> Fired:
    user_id = await world.user()
    user = await world.ask("GET", f"/users/{user_id}")
    await world.ask("DELETE", f"/users/{user_id}")
    return Fired({"userId": user_id}, user)


async def delete_sessions(world: World) -> Fired:
    user_id = await world.user()
    await world.ask("POST", f"/users/{user_id}/sessions")
    user = await world.ask("GET", f"/users/{user_id}")
    await world.ask("DELETE", f"/users/{user_id}/sessions")
    return Fired({"userId": user_id}, user)


async def create_session(world: World) -> Fired:
    user_id = await world.user()
    session = await world.ask("POST", f"/users/{user_id}/sessions")
    return Fired({"userId": user_id, "sessionId": session["$id"]}, session, session["secret"])


async def update_session(world: World) -> Fired:
    async with world.signed_in() as (user_id, client):
        session = await world.ask("PATCH", "/account/sessions/current", by=client)
    return Fired({"userId": user_id, "sessionId": session["$id"]}, session | {"current": False})


async def delete_session(world: World) -> Fired:
    async with world.signed_in() as (user_id, client):
        session = await world.ask("GET", "/account/sessions/current", by=client)
        await world.ask("DELETE", "/account/sessions/current", by=client)
    return Fired({"userId": user_id, "sessionId": session["$id"]}, session | {"current": False})


async def create_recovery(world: World) -> Fired:
    user_id = await world.user()
    body = {"email": f"{user_id}@example.com", "url": "http://localhost/recover"}
    async with world.api.guest() as guest:
        # A guest is not told whether there is somebody with this address.
        await world.ask("POST", "/account/recovery", body, by=guest)
    secret = (await world.mailbox.link_to(body["email"]))["secret"]
    return Fired({"userId": user_id}, None, secret)


async def update_recovery(world: World) -> Fired:
    fired = await create_recovery(world)
    body = {"userId": fired.ids["userId"], "secret": fired.secret, "password": "a new password"}
    async with world.api.guest() as guest:
        token = await world.ask("PUT", "/account/recovery", body, by=guest)
    return Fired(fired.ids, token, fired.secret)


async def create_verification(world: World) -> Fired:
    async with world.signed_in() as (user_id, client):
        return await _verify(world, user_id, client)


async def update_verification(world: World) -> Fired:
    async with world.signed_in() as (user_id, client):
        fired = await _verify(world, user_id, client)
        body = {"userId": user_id, "secret": fired.secret}
        token = await world.ask("PUT", "/account/verifications/email", body, by=client)
    return Fired(fired.ids, token, fired.secret)


async def _verify(world: World, user_id: str, client: httpx.AsyncClient) -> Fired:
    body = {"url": "http://localhost/verify"}
    token = await world.ask("POST", "/account/verifications/email", body, by=client)
    secret = (await world.mailbox.link_to(f"{user_id}@example.com"))["secret"]
    return Fired({"userId": user_id, "verificationId": token["$id"]}, token, secret)


async def create_target(world: World) -> Fired:
    user_id, target_id = await world.user(), world.new_id()
    body = {"targetId": target_id, "providerType": "email", "identifier": f"{target_id}@example.org"}
    target = await world.ask("POST", f"/users/{user_id}/targets", body)
    return Fired({"userId": user_id, "targetId": target_id}, target)


async def update_target(world: World) -> Fired:
    fired = await create_target(world)
    path = f"/users/{fired.ids['userId']}/targets/{fired.ids['targetId']}"
    return Fired(fired.ids, await world.ask("PATCH", path, {"name": "Other"}))


async def delete_target(world: World) -> Fired:
    fired = await create_target(world)
    await world.ask("DELETE", f"/users/{fired.ids['userId']}/targets/{fired.ids['targetId']}")
    return fired


async def create_token(world: World) -> Fired:
    user_id = await world.user()
    token = await world.ask("POST", f"/users/{user_id}/tokens", {})
    return Fired({"userId": user_id, "tokenId": token["$id"]}, token, token["secret"])


async def create_challenge(world: World) -> Fired:
    async with world.signed_in() as (user_id, client):
        await _add_authenticator(world, client)
        return await _challenge(world, user_id, client)


async def _add_authenticator(world: World, client: httpx.AsyncClient) -> None:
    made = await world.ask("POST", "/account/mfa/authenticators/totp", by=client)
    otp = pyotp.TOTP(made["secret"]).now()
    await world.ask("PUT", "/account/mfa/authenticators/totp", {"otp": otp}, by=client)


async def _challenge(world: World, user_id: str, client: httpx.AsyncClient) -> Fired:
    challenge = await world.ask("POST", "/account/mfa/challenges", {"factor": "totp"}, by=client)
    return Fired({"userId": user_id, "challengeId": challenge["$id"]}, challenge)


CASES: dict[str, Case] = {
    "users.[userId].create": create_user,
    "users.[userId].update": update_user("PATCH", "name", {"name": "Other"}),
    "users.[userId].update.email": update_user("PATCH", "email", {"email": "other@example.net"}),
    "users.[userId].update.name": update_user("PATCH", "name", {"name": "Other"}),
    "users.[userId].update.password": update_user("PATCH", "password", {"password": "a long password"}),
    "users.[userId].update.status": update_user("PATCH", "status", {"status": False}),
    "users.[userId].update.prefs": update_user("PATCH", "prefs", {"prefs": {"theme": "dark"}}),
    "users.[userId].update.phone": update_user("PATCH", "phone", {"number": "+4930123456"}),
    "users.[userId].update.mfa": update_user("PATCH", "mfa", {"mfa": True}),
    "users.[userId].update.labels": update_user("PUT", "labels", {"labels": ["vip"]}),
    "users.[userId].update.verification": update_user("PATCH", "verification", {"emailVerification": True}),
    "users.[userId].update.impersonator": update_user("PATCH", "impersonator", {"impersonator": True}),
    "users.[userId].delete": delete_user,
    "users.[userId].sessions.delete": delete_sessions,
    "users.[userId].sessions.[sessionId].create": create_session,
    "users.[userId].sessions.[sessionId].update": update_session,
    "users.[userId].sessions.[sessionId].delete": delete_session,
    "users.[userId].recovery.[recoveryId].create": create_recovery,
    "users.[userId].recovery.[recoveryId].update": update_recovery,
    "users.[userId].verification.[verificationId].create": create_verification,
    "users.[userId].verification.[verificationId].update": update_verification,
    "users.[userId].targets.[targetId].create": create_target,
    "users.[userId].targets.[targetId].update": update_target,
    "users.[userId].targets.[targetId].delete": delete_target,
    "users.[userId].tokens.[tokenId].create": create_token,
    "users.[userId].challenges.[challengeId].create": create_challenge,
}
