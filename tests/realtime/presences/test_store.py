"""The store of presences, against a real Valkey server."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from realtime.bus import RedisBus
from realtime.bus.keys import bucket
from realtime.errors import PresenceExistsError
from realtime.presences.model import Draft, Presence, default_permissions, presence_model
from realtime.presences.store import PAGE, Holder, PresenceStore

if TYPE_CHECKING:
    from tests.realtime.presences.conftest import Clock

Change = Callable[[], Awaitable[Any]]

PROJECT = "demo"
ONE, TWO = Holder("hub", 1), Holder("hub", 2)


def draft(user_id: str = "ada", presence_id: str = "p1", status: str = "on", **members: Any) -> Draft:
    fields: dict[str, Any] = {
        "permissions": default_permissions(user_id),
        "metadata": {},
        "source": "rest",
        "lifetime": timedelta(minutes=15),
    }
    return Draft(presence_id, user_id, status, **(fields | members))


async def events(store: PresenceStore, project: str = PROJECT) -> list[str]:
    """Return the first name of every event of the log."""
    page = await RedisBus(store.redis).read_page(project, "0-0")
    return [json.loads(message)["data"]["events"][0] for _, message in page.events]


async def leftovers(store: PresenceStore) -> set[str]:
    """Return the keys in Redis that remind of presences, but for counters."""
    keys: Any = await store.redis.keys("*presence*")
    return {key.decode().split(":")[1] for key in keys} - {"presence-number", "presence-leases"}


async def listed(store: PresenceStore, project: str = PROJECT) -> list[Presence]:
    return [presence async for page in store.pages(project) for presence in page]


def set_status(status: str) -> Any:
    def change(presence: Presence) -> Presence:
        return replace(presence, status=status)

    return change


def replace(presence: Presence, **changes: Any) -> Presence:
    return msgspec.structs.replace(presence, **changes)


class TestUpsert:
    async def test_first_one_is_kept_and_told(self, store: PresenceStore) -> None:
        made, _ = await store.upsert(PROJECT, draft(metadata={"x": [1, {}]}))

        assert await store.get(PROJECT, "p1") == made
        assert made.metadata == {"x": [1, {}]}
        assert await events(store) == ["presences.p1.upsert"]

    async def test_event_tells_the_presence_to_who_may_read_it(self, store: PresenceStore) -> None:
        made, _ = await store.upsert(PROJECT, draft(permissions=('read("any")', 'read("team:red")')))

        [(_, message)] = (await RedisBus(store.redis).read_page(PROJECT, "0-0")).events
        envelope = json.loads(message)
        assert envelope["roles"] == ["any", "team:red"]
        assert envelope["data"]["payload"] == presence_model(made)

    async def test_users_second_one_changes_the_first_and_keeps_its_id(
        self, store: PresenceStore, clock: "Clock"
    ) -> None:
        first, _ = await store.upsert(PROJECT, draft())
        clock.advance(seconds=1)
        second, _ = await store.upsert(PROJECT, draft(presence_id="p2", status="away"))

        assert (second.id, second.status, second.created_at) == ("p1", "away", first.created_at)
        assert second.updated_at > first.updated_at
        assert second.sequence == first.sequence
        assert await listed(store) == [second]
        assert await store.get(PROJECT, "p2") is None

    async def test_id_of_somebody_else_is_refused(self, store: PresenceStore) -> None:
        await store.upsert(PROJECT, draft())

        with pytest.raises(PresenceExistsError, match="'p1' already exists"):
            await store.upsert(PROJECT, draft("bob"))
        assert await events(store) == ["presences.p1.upsert"]

    async def test_id_of_another_project_is_free(self, store: PresenceStore) -> None:
        await store.upsert(PROJECT, draft())
        made, _ = await store.upsert("other", draft("bob"))

        assert await store.get("other", "p1") == made
        assert await events(store, "other") == ["presences.p1.upsert"]

    async def test_expired_one_ends_before_the_new_one_begins(
        self, store: PresenceStore, clock: "Clock"
    ) -> None:
        await store.upsert(PROJECT, draft())
        clock.advance(minutes=16)
        made, _ = await store.upsert(PROJECT, draft("bob", status="new"))

        assert await listed(store) == [made]
        assert await events(store) == ["presences.p1.upsert", "presences.p1.delete", "presences.p1.upsert"]

    async def test_many_at_the_same_moment_leave_one_presence(self, store: PresenceStore) -> None:
        drafts = [draft(presence_id=f"p{number}", status=str(number)) for number in range(20)]
        held = await asyncio.gather(*(store.upsert(PROJECT, each) for each in drafts))

        [last] = await listed(store)
        assert {each.presence.id for each in held} == {last.id}
        assert await events(store) == [f"presences.{last.id}.upsert"] * 20


class TestUpdate:
    async def test_changes_are_kept_and_told(self, store: PresenceStore, clock: "Clock") -> None:
        made, _ = await store.upsert(PROJECT, draft())
        clock.advance(seconds=1)
        changed = await store.update(PROJECT, "p1", set_status("away"))

        assert changed is not None
        assert changed == await store.get(PROJECT, "p1")
        assert (changed.status, changed.expires_at) == ("away", made.expires_at)
        assert changed.updated_at > made.updated_at
        assert await events(store) == ["presences.p1.upsert", "presences.p1.update"]

    async def test_nothing_to_change_tells_nobody(self, store: PresenceStore) -> None:
        made, _ = await store.upsert(PROJECT, draft())

        assert await store.update(PROJECT, "p1", lambda _presence: None) == made
        assert await events(store) == ["presences.p1.upsert"]

    async def test_missing_or_expired_one_is_none(self, store: PresenceStore, clock: "Clock") -> None:
        assert await store.update(PROJECT, "p1", set_status("away")) is None
        await store.upsert(PROJECT, draft())
        clock.advance(minutes=16)
        assert await store.update(PROJECT, "p1", set_status("away")) is None

    async def test_several_at_the_same_moment_all_count(self, store: PresenceStore) -> None:
        await store.upsert(PROJECT, draft(metadata=[]))

        def appended(number: int) -> Any:
            return lambda presence: replace(presence, metadata=[*presence.metadata, number])

        await asyncio.gather(*(store.update(PROJECT, "p1", appended(number)) for number in range(10)))

        present = await store.get(PROJECT, "p1")
        assert present is not None
        assert sorted(present.metadata) == list(range(10))

    async def test_it_can_become_somebody_elses_who_has_none(self, store: PresenceStore) -> None:
        await store.upsert(PROJECT, draft(), ONE)
        await store.update(PROJECT, "p1", lambda presence: replace(presence, user_id="bob"))
        second, _ = await store.upsert(PROJECT, draft(presence_id="p2"))

        assert second.id == "p2"
        with pytest.raises(PresenceExistsError):
            await store.update(PROJECT, "p2", lambda presence: replace(presence, user_id="bob"))
        await store.release(PROJECT, [("ada", ONE)])
        assert len(await listed(store)) == 2


class TestDelete:
    async def test_it_is_gone_with_all_traces(self, store: PresenceStore) -> None:
        await store.upsert(PROJECT, draft(), ONE)

        assert await store.delete(PROJECT, "p1")
        assert await store.get(PROJECT, "p1") is None
        assert await leftovers(store) == set()
        assert await events(store) == ["presences.p1.upsert", "presences.p1.delete"]

    async def test_missing_one_is_false(self, store: PresenceStore) -> None:
        assert not await store.delete(PROJECT, "p1")
        assert not await store.delete_of_user(PROJECT, "ada")
        assert await events(store) == []

    async def test_expired_one_can_be_deleted(self, store: PresenceStore, clock: "Clock") -> None:
        await store.upsert(PROJECT, draft())
        clock.advance(days=1)
        assert await store.delete(PROJECT, "p1")

    async def test_that_of_a_user_is_found_by_the_user(self, store: PresenceStore) -> None:
        await store.upsert(PROJECT, draft())
        assert await store.delete_of_user(PROJECT, "ada")
        assert await listed(store) == []

    async def test_cached_lists_are_void_when_a_user_is_gone(self, store: PresenceStore) -> None:
        await store.upsert(PROJECT, draft())
        seen = [await store.lists_version(PROJECT)]
        # Again, as after one that failed in between.
        for _ in range(2):
            await store.delete_of_user(PROJECT, "ada")
            seen.append(await store.lists_version(PROJECT))
        assert len(set(seen)) == 3

    async def test_at_the_same_moment_it_is_told_once(self, store: PresenceStore) -> None:
        await store.upsert(PROJECT, draft())
        gone = await asyncio.gather(*(store.delete(PROJECT, "p1") for _ in range(10)))

        assert any(gone)
        assert await events(store) == ["presences.p1.upsert", "presences.p1.delete"]


class TestHolders:
    async def test_last_one_takes_it_along(self, store: PresenceStore) -> None:
        await store.upsert(PROJECT, draft(source="realtime"), ONE)
        await store.upsert(PROJECT, draft(source="realtime"), TWO)

        await store.release(PROJECT, [("ada", ONE)])
        assert len(await listed(store)) == 1
        await store.release(PROJECT, [("ada", TWO)])
        assert await listed(store) == []
        assert await leftovers(store) == set()
        assert (await events(store)).count("presences.p1.delete") == 1

    async def test_both_of_them_in_one_go_take_it_along(self, store: PresenceStore) -> None:
        await store.upsert(PROJECT, draft(), ONE)
        await store.upsert(PROJECT, draft(), TWO)
        await store.release(PROJECT, [("ada", ONE), ("ada", TWO)])
        assert await listed(store) == []

    async def test_letting_go_again_changes_nothing(self, store: PresenceStore) -> None:
        await store.upsert(PROJECT, draft(), ONE)
        await store.release(PROJECT, [("ada", ONE)])
        await store.upsert(PROJECT, draft(presence_id="p2"), TWO)
        await store.release(PROJECT, [("ada", ONE), ("bob", ONE)])

        assert [each.id for each in await listed(store)] == ["p2"]

    async def test_api_takes_it_over(self, store: PresenceStore) -> None:
        await store.upsert(PROJECT, draft(source="realtime"), ONE)
        await store.upsert(PROJECT, draft())
        await store.release(PROJECT, [("ada", ONE)])

        assert [each.source for each in await listed(store)] == ["rest"]

    async def test_update_leaves_it_held(self, store: PresenceStore) -> None:
        await store.upsert(PROJECT, draft(), ONE)
        await store.update(PROJECT, "p1", set_status("away"))
        await store.release(PROJECT, [("ada", ONE)])

        assert await listed(store) == []

    async def test_connection_makes_that_of_the_api_held(self, store: PresenceStore) -> None:
        await store.upsert(PROJECT, draft())
        await store.upsert(PROJECT, draft(source="realtime"), ONE)
        await store.release(PROJECT, [("ada", ONE)])

        assert await listed(store) == []

    async def test_hundreds_in_one_go_are_all_let_go(self, store: PresenceStore) -> None:
        held = [(f"u{number}", Holder("hub", number)) for number in range(250)]
        await asyncio.gather(
            *(store.upsert(PROJECT, draft(user, presence_id=user), holder) for user, holder in held)
        )
        await store.release(PROJECT, held)

        assert await listed(store) == []
        assert await leftovers(store) == set()

    async def test_hub_with_a_lease_keeps_what_it_holds(self, store: PresenceStore) -> None:
        await store.upsert(PROJECT, draft(), ONE)
        assert not await store.release(PROJECT, [("ada", ONE)], lapsed_hub="hub")
        assert len(await listed(store)) == 1


class TestPages:
    async def test_order_is_that_of_making(self, store: PresenceStore) -> None:
        for name in ("c", "a", "b"):
            await store.upsert(PROJECT, draft(name, presence_id=name))
        await store.upsert(PROJECT, draft("c", status="later"))

        assert [each.id for each in await listed(store)] == ["c", "a", "b"]

    async def test_all_pages_come(self, store: PresenceStore) -> None:
        names = [f"u{number}" for number in range(PAGE + 7)]
        for start in range(0, len(names), 100):
            await asyncio.gather(
                *(store.upsert(PROJECT, draft(name, presence_id=name)) for name in names[start : start + 100])
            )

        pages = [len(page) async for page in store.pages(PROJECT)]
        assert pages == [PAGE, 7]

    async def test_expired_ones_are_left_out(self, store: PresenceStore, clock: "Clock") -> None:
        await store.upsert(PROJECT, draft())
        clock.advance(minutes=10)
        await store.upsert(PROJECT, draft("bob", presence_id="p2"))
        clock.advance(minutes=10)

        assert [each.id for each in await listed(store)] == ["p2"]

    async def test_project_without_any_has_none(self, store: PresenceStore) -> None:
        assert await listed(store) == []


class TestLeases:
    async def test_first_presence_of_a_hub_begins_its_lease(self, store: PresenceStore) -> None:
        assert (await store.upsert(PROJECT, draft(), ONE)).is_first
        assert not (await store.upsert(PROJECT, draft("bob", presence_id="p2"), TWO)).is_first
        assert await store.renew(bucket(PROJECT), "hub") == (True, 2)

    async def test_hub_without_one_is_told_so(self, store: PresenceStore) -> None:
        assert await store.renew(bucket(PROJECT), "hub") == (False, 0)
        assert await store.renew(bucket(PROJECT), "hub") == (True, 0)

    async def test_what_a_hub_holds_is_known(self, store: PresenceStore) -> None:
        await store.upsert(PROJECT, draft("auth0|62f1"), ONE)
        expected = [(PROJECT, "auth0|62f1", ONE)]
        assert await store.held_by(bucket(PROJECT), "hub") == expected
        assert [each async for each in store.scan_held_by(bucket(PROJECT), "hub")] == expected


class TestLists:
    async def test_voiding_changes_the_version(self, store: PresenceStore) -> None:
        before = await store.lists_version(PROJECT)
        await store.void_lists(PROJECT)
        assert await store.lists_version(PROJECT) != before
        assert await store.lists_version("other") == before


class TestEviction:
    """Redis drops whole keys when it runs out of memory, if it is told to; nobody may wait for ever because of it."""

    @pytest.mark.parametrize("name", ["presences", "presence-users", "presence-order", "presence-holders"])
    async def test_everything_goes_on_without_one_of_the_keys(self, store: PresenceStore, name: str) -> None:
        await store.upsert(PROJECT, draft(), ONE)
        for key in await store.redis.keys(f"*}}:{name}:{PROJECT}*"):
            await store.redis.delete(key)

        async with asyncio.timeout(5):
            await store.release(PROJECT, [("ada", ONE)])
            await store.delete_of_user(PROJECT, "ada")
            made, _ = await store.upsert(PROJECT, draft(presence_id="p2"), TWO)
            assert await store.update(PROJECT, made.id, set_status("away")) is not None
            await store.release(PROJECT, [("ada", TWO)])
            assert await store.get(PROJECT, made.id) is None
            assert await store.held_by(bucket(PROJECT), "hub") == []


class TestOvertaken:
    """Somebody else is quicker between reading and removing."""

    @pytest.fixture
    def meanwhile(self, store: PresenceStore, monkeypatch: pytest.MonkeyPatch) -> Callable[[Change], None]:
        """Have a change happen once, right before something is removed."""

        def meanwhile(change: Change) -> None:
            remove = vars(store)["_remove"]

            async def remove_late(*arguments: Any) -> Any:
                monkeypatch.setattr(store, "_remove", remove)
                await change()
                return await remove(*arguments)

            monkeypatch.setattr(store, "_remove", remove_late)

        return meanwhile

    async def test_deletion_is_judged_by_what_it_deletes(
        self, store: PresenceStore, meanwhile: Callable[[Change], None]
    ) -> None:
        await store.upsert(PROJECT, draft())
        meanwhile(lambda: store.update(PROJECT, "p1", set_status("locked")))

        def check(presence: Presence) -> None:
            if presence.status == "locked":
                raise PermissionError

        with pytest.raises(PermissionError):
            await store.delete(PROJECT, "p1", check)
        assert len(await listed(store)) == 1

    async def test_event_tells_what_was_there_last(
        self, store: PresenceStore, meanwhile: Callable[[Change], None]
    ) -> None:
        await store.upsert(PROJECT, draft(), ONE)
        meanwhile(lambda: store.update(PROJECT, "p1", set_status("last")))
        await store.release(PROJECT, [("ada", ONE)])

        page = await RedisBus(store.redis).read_page(PROJECT, "0-0")
        told = [json.loads(message)["data"]["payload"]["status"] for _, message in page.events]
        assert told == ["on", "last", "last"]

    async def test_prolonged_one_does_not_expire(
        self, store: PresenceStore, clock: "Clock", meanwhile: Callable[[Change], None]
    ) -> None:
        await store.upsert(PROJECT, draft())
        long = draft(lifetime=timedelta(days=1))
        clock.advance(minutes=14)
        meanwhile(lambda: store.upsert(PROJECT, long))
        soon = PresenceStore(RedisBus(store.redis), lease_s=10, clock=lambda: clock() + timedelta(minutes=2))
        vars(soon)["_remove"] = vars(store)["_remove"]
        await soon.expire(PROJECT, ["p1"])

        assert len(await listed(store)) == 1

    async def test_other_presence_of_the_user_stays(
        self, store: PresenceStore, meanwhile: Callable[[Change], None]
    ) -> None:
        await store.upsert(PROJECT, draft(), ONE)

        async def replaced() -> None:
            await store.delete(PROJECT, "p1")
            await store.upsert(PROJECT, draft(presence_id="p2"), TWO)

        meanwhile(replaced)
        await store.release(PROJECT, [("ada", ONE)])
        assert [each.id for each in await listed(store)] == ["p2"]
