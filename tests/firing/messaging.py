"""How events of providers, topics, their subscribers and messages are fired."""

from tests.firing.world import Case, Fired, World, changed, deleted

PROVIDER = "/messaging/providers/{providerId}"
TOPIC = "/messaging/topics/{topicId}"
SUBSCRIBER = f"{TOPIC}/subscribers/{{subscriberId}}"


async def create_provider(world: World) -> Fired:
    provider_id = world.new_id()
    body = {"providerId": provider_id, "name": "Mail", "apiKey": "a-secret-key", "domain": "example.com"}
    provider = await world.ask("POST", "/messaging/providers/mailgun", body)
    return Fired({"providerId": provider_id}, provider, "a-secret-key")


async def create_topic(world: World) -> Fired:
    topic_id = world.new_id()
    return Fired(
        {"topicId": topic_id},
        await world.ask("POST", "/messaging/topics", {"topicId": topic_id, "name": "News"}),
    )


async def create_subscriber(world: World) -> Fired:
    user_id, target_id = await world.user(), world.new_id()
    body = {"targetId": target_id, "providerType": "email", "identifier": f"{target_id}@example.org"}
    await world.ask("POST", f"/users/{user_id}/targets", body)
    ids = (await create_topic(world)).ids | {"subscriberId": world.new_id()}
    subscriber = await world.ask(
        "POST",
        f"{TOPIC}/subscribers".format(**ids),
        {"subscriberId": ids["subscriberId"], "targetId": target_id},
    )
    return Fired(ids, subscriber)


async def create_message(world: World) -> Fired:
    message_id = world.new_id()
    body = {"messageId": message_id, "subject": "News", "content": "Hello!", "draft": True}
    message = await world.ask("POST", "/messaging/messages/email", body)
    return Fired({"messageId": message_id}, message)


CASES: dict[str, Case] = {
    "providers.[providerId].create": create_provider,
    "providers.[providerId].update": changed(
        create_provider, "PATCH", "/messaging/providers/mailgun/{providerId}", {"name": "Other"}
    ),
    "providers.[providerId].delete": deleted(create_provider, PROVIDER),
    "topics.[topicId].create": create_topic,
    "topics.[topicId].update": changed(create_topic, "PATCH", TOPIC, {"name": "Other"}),
    "topics.[topicId].delete": deleted(create_topic, TOPIC),
    "topics.[topicId].subscribers.[subscriberId].create": create_subscriber,
    "topics.[topicId].subscribers.[subscriberId].delete": deleted(create_subscriber, SUBSCRIBER),
    "messages.[messageId].create": create_message,
    "messages.[messageId].update": changed(
        create_message, "PATCH", "/messaging/messages/email/{messageId}", {"subject": "Other news"}
    ),
}
