"""How events of webhooks are fired."""

from tests.firing.world import Case, Fired, World, changed, deleted

WEBHOOK = "/webhooks/{webhookId}"
SETTINGS = {"name": "Hook", "url": "https://93.184.215.14/hook", "events": ["users.*.create"]}


async def create_webhook(world: World) -> Fired:
    webhook_id = world.new_id()
    webhook = await world.ask("POST", "/webhooks", {"webhookId": webhook_id, **SETTINGS})
    return Fired({"webhookId": webhook_id}, webhook, webhook["secret"])


CASES: dict[str, Case] = {
    "webhooks.[webhookId].create": create_webhook,
    "webhooks.[webhookId].update": changed(create_webhook, "PUT", WEBHOOK, SETTINGS | {"name": "Other"}),
    "webhooks.[webhookId].delete": deleted(create_webhook, WEBHOOK),
}
