"""How events of teams and their memberships are fired."""

from typing import Any

from tests.firing.world import Case, Fired, World


async def create_team(world: World) -> Fired:
    team_id = world.new_id()
    team = await world.ask("POST", "/teams", {"teamId": team_id, "name": "Team"})
    return Fired({"teamId": team_id}, team)


async def update_team(world: World) -> Fired:
    team_id = await world.team()
    return Fired({"teamId": team_id}, await world.ask("PUT", f"/teams/{team_id}", {"name": "Other"}))


async def update_team_prefs(world: World) -> Fired:
    team_id = await world.team()
    prefs = await world.ask("PUT", f"/teams/{team_id}/prefs", {"prefs": {"theme": "dark"}})
    return Fired({"teamId": team_id}, prefs)


async def delete_team(world: World) -> Fired:
    team_id = await world.team()
    team = await world.ask("GET", f"/teams/{team_id}")
    await world.ask("DELETE", f"/teams/{team_id}")
    return Fired({"teamId": team_id}, team)


def _membership(member: dict[str, Any], secret: str = "") -> Fired:
    # Members are not told when somebody was last here; servers are.
    shown = member | {"userAccessedAt": ""}
    return Fired({"teamId": member["teamId"], "membershipId": member["$id"]}, shown, secret)


async def create_membership(world: World) -> Fired:
    return _membership(await world.member())


async def update_membership(world: World) -> Fired:
    member = await world.member()
    path = f"/teams/{member['teamId']}/memberships/{member['$id']}"
    return _membership(await world.ask("PATCH", path, {"roles": ["chief"]}))


async def accept_membership(world: World) -> Fired:
    team_id = world.new_id()
    async with world.signed_in() as (_, owner), world.signed_in() as (user_id, invited):
        await world.ask("POST", "/teams", {"teamId": team_id, "name": "Team"}, by=owner)
        body = {"roles": ["writer"], "email": f"{user_id}@example.com", "url": "http://localhost/join"}
        member = await world.ask("POST", f"/teams/{team_id}/memberships", body, by=owner)
        link = await world.mailbox.link_to(f"{user_id}@example.com")
        path = f"/teams/{team_id}/memberships/{member['$id']}/status"
        accepted = await world.ask("PATCH", path, {"userId": user_id, "secret": link["secret"]}, by=invited)
    return _membership(accepted, link["secret"])


async def delete_membership(world: World) -> Fired:
    member = await world.member()
    await world.ask("DELETE", f"/teams/{member['teamId']}/memberships/{member['$id']}")
    return _membership(member)


CASES: dict[str, Case] = {
    "teams.[teamId].create": create_team,
    "teams.[teamId].update": update_team,
    "teams.[teamId].update.prefs": update_team_prefs,
    "teams.[teamId].delete": delete_team,
    "teams.[teamId].memberships.[membershipId].create": create_membership,
    "teams.[teamId].memberships.[membershipId].update": update_membership,
    "teams.[teamId].memberships.[membershipId].update.status": accept_membership,
    "teams.[teamId].memberships.[membershipId].delete": delete_membership,
}
