"""How events of presences are fired over HTTP."""

from tests.firing.world import Case, Fired, World, deleted

PRESENCE = "/presences/{presenceId}"


async def upsert_presence(world: World) -> Fired:
    user_id, presence_id = await world.user(), world.new_id()
    body = {"userId": user_id, "status": "online", "permissions": ['read("users")']}
    presence = await world.ask("PUT", PRESENCE.format(presenceId=presence_id), body)
    return Fired({"presenceId": presence_id, "userId": user_id}, presence)


async def update_presence(world: World) -> Fired:
    fired = await upsert_presence(world)
    body = {"userId": fired.ids["userId"], "status": "away"}
    return fired._replace(payload=await world.ask("PATCH", PRESENCE.format(**fired.ids), body))


CASES: dict[str, Case] = {
    "presences.[presenceId].upsert": upsert_presence,
    "presences.[presenceId].update": update_presence,
    "presences.[presenceId].delete": deleted(upsert_presence, PRESENCE),
}
