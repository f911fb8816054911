"""How events of functions, and of what belongs to them, are fired."""

import io
import tarfile

from tests.firing.world import Case, Fired, World, changed, deleted

FUNCTION = "/functions/{functionId}"
VARIABLE = f"{FUNCTION}/variables/{{variableId}}"
DEPLOYMENT = f"{FUNCTION}/deployments/{{deploymentId}}"
EXECUTION = f"{FUNCTION}/executions/{{executionId}}"


def code(content: bytes = b"export default () => 'Hello!';\n") -> bytes:
    """Return the code of a function, as it is deployed; as it is, it runs and brings no response."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("main.js")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


async def create_function(world: World) -> Fired:
    function_id = world.new_id()
    body = {
        "functionId": function_id,
        "name": "Greet",
        "runtime": "node-22",
        "entrypoint": "main.js",
        "execute": ["any"],
    }
    return Fired({"functionId": function_id}, await world.ask("POST", "/functions", body))


async def create_variable(world: World) -> Fired:
    ids = (await create_function(world)).ids
    body = {"variableId": world.new_id(), "key": "GREETING", "value": "a-secret-greeting", "secret": True}
    variable = await world.ask("POST", f"{FUNCTION}/variables".format(**ids), body)
    return Fired(ids | {"variableId": variable["$id"]}, variable, "a-secret-greeting")


async def create_deployment(world: World) -> Fired:
    ids = (await create_function(world)).ids
    deployment = await world.ask(
        "POST",
        f"{FUNCTION}/deployments".format(**ids),
        data={"activate": "true"},
        files={"code": ("code.tar.gz", code())},
    )
    return Fired(ids | {"deploymentId": deployment["$id"]}, deployment)


async def create_execution(world: World) -> Fired:
    ids = (await create_deployment(world)).ids
    execution = await world.ask("POST", f"{FUNCTION}/executions".format(**ids), {"async": True})
    return Fired(ids | {"executionId": execution["$id"]}, execution)


async def end_execution(world: World) -> Fired:
    fired = await create_execution(world)
    return fired._replace(payload=await _ended(world, fired))


async def delete_execution(world: World) -> Fired:
    fired = await create_execution(world)
    shown = await _ended(world, fired)
    await world.ask("DELETE", EXECUTION.format(**fired.ids))
    return fired._replace(payload=shown)


async def _ended(world: World, fired: Fired) -> dict[str, object]:
    while True:
        shown: dict[str, object] = await world.ask("GET", EXECUTION.format(**fired.ids))
        if shown["status"] == "failed":
            # Only servers are told what a function said, and events reach whoever had it run.
            return shown | {"errors": "", "logs": ""}


CASES: dict[str, Case] = {
    "functions.[functionId].create": create_function,
    "functions.[functionId].update": changed(create_function, "PUT", FUNCTION, {"name": "Other"}),
    "functions.[functionId].delete": deleted(create_function, FUNCTION),
    "functions.[functionId].variables.[variableId].create": create_variable,
    "functions.[functionId].variables.[variableId].update": changed(
        create_variable, "PUT", VARIABLE, {"key": "OTHER"}
    ),
    "functions.[functionId].variables.[variableId].delete": deleted(create_variable, VARIABLE),
    "functions.[functionId].deployments.[deploymentId].create": create_deployment,
    "functions.[functionId].deployments.[deploymentId].delete": deleted(create_deployment, DEPLOYMENT),
    "functions.[functionId].executions.[executionId].create": create_execution,
    "functions.[functionId].executions.[executionId].update": end_execution,
    "functions.[functionId].executions.[executionId].delete": delete_execution,
}
