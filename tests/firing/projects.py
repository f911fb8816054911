"""How events of projects, and of their keys and platforms, are fired."""

from tests.firing.world import Case, Fired, World, changed, deleted

KEY = "/project/keys/{keyId}"
PLATFORM = "/project/platforms/{platformId}"


async def create_project(world: World) -> Fired:
    project_id = world.new_id()
    body = {"projectId": project_id, "name": "Shop"}
    project = await world.ask("POST", "/projects", body, by=world.root)
    return Fired({"projectId": project_id}, project, project=project_id)


async def update_project(world: World) -> Fired:
    fired = await create_project(world)
    path = f"/projects/{fired.project}"
    return fired._replace(payload=await world.ask("PATCH", path, {"name": "Other"}, by=world.root))


async def delete_project(world: World) -> Fired:
    fired = await create_project(world)
    await world.ask("DELETE", f"/projects/{fired.project}", by=world.root)
    return fired


async def create_key(world: World) -> Fired:
    key_id = world.new_id()
    body = {"keyId": key_id, "name": "Key", "scopes": ["users.read"]}
    key = await world.ask("POST", "/project/keys", body)
    return Fired({"keyId": key_id}, key, key["secret"])


async def create_platform(world: World) -> Fired:
    platform_id = world.new_id()
    body = {"platformId": platform_id, "name": "Web", "hostname": "example.com"}
    return Fired({"platformId": platform_id}, await world.ask("POST", "/project/platforms/web", body))


CASES: dict[str, Case] = {
    "projects.[projectId].create": create_project,
    "projects.[projectId].update": update_project,
    "projects.[projectId].delete": delete_project,
    "keys.[keyId].create": create_key,
    "keys.[keyId].update": changed(create_key, "PUT", KEY, {"name": "Other", "scopes": ["users.read"]}),
    "keys.[keyId].delete": deleted(create_key, KEY),
    "platforms.[platformId].create": create_platform,
    "platforms.[platformId].update": changed(
        create_platform,
        "PUT",
        "/project/platforms/web/{platformId}",
        {"name": "Other", "hostname": "example.org"},
    ),
    "platforms.[platformId].delete": deleted(create_platform, PLATFORM),
}
