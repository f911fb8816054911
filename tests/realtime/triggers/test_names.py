"""The names of events that triggers wait for, which are counted beside the triggers."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from realtime.bus.keys import trigger_names_key, triggers_key
from realtime.identity.model import Project
from realtime.identity.store import IdentityStore
from realtime.triggers.model import FunctionTrigger, Webhook
from realtime.triggers.store import TriggerStore

pytestmark = pytest.mark.integration

Trigger = Webhook | FunctionTrigger

NAMES = st.lists(st.sampled_from(["a.*", "a.b", "c", 'q"\\é']), max_size=4).map(tuple)
IDS = st.sampled_from(["x", "y", "z"])
WEBHOOKS = st.builds(
    lambda id_, names, enabled: Webhook(id_, "N", "u", names, "s", enabled=enabled),
    IDS,
    NAMES,
    st.booleans(),
)
FUNCTIONS = st.builds(
    lambda id_, names, enabled: FunctionTrigger(id=id_, name="N", events=names, enabled=enabled),
    IDS,
    NAMES,
    st.booleans(),
)
CHANGES = st.lists(
    st.one_of(WEBHOOKS, FUNCTIONS, st.tuples(st.sampled_from(["webhook", "function"]), IDS)), max_size=25
)


@pytest.fixture
def store(redis_client: Redis) -> TriggerStore:
    return TriggerStore(redis_client)


async def put(store: TriggerStore, trigger: Trigger) -> None:
    if isinstance(trigger, Webhook):
        await store.put_webhook("demo", trigger)
    else:
        await store.put_function("demo", trigger)


async def write_as_an_older_release(redis: Redis, trigger: Trigger) -> None:
    kind = "webhook" if isinstance(trigger, Webhook) else "function"
    field: Any = f"{kind}:{trigger.id}"
    record: Any = msgspec.json.encode(trigger)
    answer: Any = redis.hset(triggers_key("demo"), field, record)
    await answer


async def counted(redis: Redis) -> tuple[dict[str, int], dict[str, int]]:
    found = []
    for kind in ("webhooks", "functions"):
        answer: Any = redis.hgetall(trigger_names_key("demo", kind))
        found.append({name.decode(): int(number) for name, number in (await answer).items()})
    return found[0], found[1]


async def expected(store: TriggerStore) -> tuple[dict[str, int], dict[str, int]]:
    """Count by looking at all triggers."""
    triggers = await store.read("demo")
    one, other = (
        dict(Counter(name for each in kind if each.enabled for name in each.events))
        for kind in (triggers.webhooks, triggers.functions)
    )
    return one, other


def hook(id_: str, *names: str, enabled: bool = True) -> Webhook:
    return Webhook(id_, "N", "u", names, "s", enabled=enabled)


class TestCounting:
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(changes=CHANGES)
    async def test_counts_are_those_of_all_enabled_triggers_after_each_change(
        self, changes: list[Any], store: TriggerStore, redis_client: Redis
    ) -> None:
        await redis_client.flushall()
        for change in changes:
            if isinstance(change, tuple):
                await store.delete("demo", *change)
            else:
                await put(store, change)
            assert await counted(redis_client) == await expected(store)

    async def test_nothing_is_there_when_nobody_waits(self, store: TriggerStore, redis_client: Redis) -> None:
        await store.put_webhook("demo", hook("x", "a", enabled=False))
        await store.put_webhook("demo", hook("y", "a"))
        await store.delete("demo", "webhook", "y")
        keys = [trigger_names_key("demo", "webhooks"), trigger_names_key("demo", "functions")]
        assert await redis_client.exists(*keys) == 0

    async def test_names_go_with_their_project(self, store: TriggerStore, redis_client: Redis) -> None:
        await store.put_webhook("demo", hook("x", "a"))
        identities = IdentityStore(redis_client)
        await identities.put_project(Project(id="demo"))
        await identities.delete_project("demo")
        assert await counted(redis_client) == ({}, {})


class TestOlderReleases:
    @pytest.fixture(autouse=True)
    async def older(self, redis_client: Redis) -> None:
        for trigger in (
            hook("x", "a", "b"),
            hook("y", "b"),
            FunctionTrigger(id="f", name="F", events=("c",)),
        ):
            await write_as_an_older_release(redis_client, trigger)

    @pytest.mark.parametrize("change", [hook("x", "a", "b"), hook("x", "z"), hook("new", "b")])
    async def test_first_trigger_that_is_written_has_all_counted(
        self, change: Webhook, store: TriggerStore, redis_client: Redis
    ) -> None:
        await put(store, change)
        assert await counted(redis_client) == await expected(store)
        await store.delete("demo", "webhook", "y")
        assert await counted(redis_client) == await expected(store)

    async def test_first_that_is_deleted_has_the_rest_counted(
        self, store: TriggerStore, redis_client: Redis
    ) -> None:
        await store.delete("demo", "webhook", "x")
        assert await counted(redis_client) == ({"b": 1}, {"c": 1})

    async def test_recount_repairs_whatever_was_counted(
        self, store: TriggerStore, redis_client: Redis
    ) -> None:
        await put(store, hook("new", "n"))
        await write_as_an_older_release(redis_client, hook("new", "other"))
        await write_as_an_older_release(redis_client, FunctionTrigger(id="g", name="G", events=("g",)))
        answer: Any = redis_client.hset(triggers_key("demo"), "webhook:broken", "{")
        await answer
        version = (await store.read("demo")).version
        await store.recount("demo")
        assert await counted(redis_client) == ({"a": 1, "b": 2, "other": 1}, {"c": 1, "g": 1})
        assert (await store.read("demo")).version == version
