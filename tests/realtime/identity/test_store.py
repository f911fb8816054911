import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from realtime.bus.keys import keys_key, live_channel, user_emails_key, user_key, user_phones_key
from realtime.events.event import IdentityChange, decode_live
from realtime.identity.model import ApiKey, DevKey, Membership, Platform, Project, Session, User
from realtime.identity.secrets import hash_secret
from realtime.identity.store import IdentityStore

ADA = User(
    "ada",
    name="Ada",
    email="Ada@Example.com",
    phone="+4930",
    labels=("vip",),
    memberships=(Membership("m", "t", ("owner",)),),
    sessions=(Session("s", hash_secret("x"), "email", 2e9),),
    account={"prefs": {"theme": "dark"}},
)


@pytest.fixture
def store(redis_client: redis.asyncio.Redis) -> IdentityStore:
    return IdentityStore(redis_client)


class Changes:
    """What is announced on a project's live channel."""

    def __init__(self, pubsub: redis.asyncio.client.PubSub) -> None:
        self._pubsub = pubsub

    async def next(self) -> IdentityChange:
        async with asyncio.timeout(5):
            while True:
                message = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=5)
                if message is not None:
                    change = decode_live(message["data"]).identity
                    assert change is not None
                    return change


@pytest.fixture
async def changes(redis_client: redis.asyncio.Redis) -> AsyncIterator[Changes]:
    pubsub = redis_client.pubsub()
    await pubsub.subscribe(live_channel("p"))
    await pubsub.get_message(timeout=5)
    yield Changes(pubsub)
    await pubsub.aclose()  # type: ignore[no-untyped-call]


class TestProjects:
    async def test_put_can_be_read_back(self, store: IdentityStore) -> None:
        project = Project(
            "p",
            name="P",
            region="fra",
            websocket_enabled=False,
            platforms=(Platform("web", hostname="*"),),
            dev_keys=(DevKey("d", "hash", 5.0),),
        )
        await store.put_project(project)
        assert await store.get_project("p") == project

    async def test_console_is_reserved(self, store: IdentityStore) -> None:
        with pytest.raises(ValueError, match="The ID console is reserved"):
            await store.put_project(Project("console"))

    async def test_unknown_one_is_none(self, store: IdentityStore) -> None:
        assert await store.get_project("p") is None

    @pytest.mark.parametrize("project_id", ["", "a:b", "*", "\ud800", "x" * 300])
    async def test_impossible_id_is_none(self, store: IdentityStore, project_id: str) -> None:
        assert await store.get_project(project_id) is None
        assert await store.delete_project(project_id) is False

    async def test_list_has_every_project_by_id(self, store: IdentityStore) -> None:
        assert await store.list_projects() == []
        projects = [Project(f"p{number:03}") for number in range(100)]
        for project in reversed(projects):
            await store.put_project(project)
        assert await store.list_projects() == projects
        await store.delete_project("p007")
        assert await store.list_projects() == projects[:7] + projects[8:]

    async def test_delete_takes_users_and_keys_along(
        self, store: IdentityStore, redis_client: redis.asyncio.Redis
    ) -> None:
        for project_id in ("p", "p2"):
            await store.put_project(Project(project_id))
            await store.put_user(project_id, ADA)
            await store.put_key(project_id, ApiKey("k"), "secret")
        await redis_client.mset({user_key("p", f"u{number}"): "{}" for number in range(1001)})
        assert await store.delete_project("p") is True
        assert [key async for key in redis_client.scan_iter() if b"p" in key.split(b":")] == []
        assert await store.get_user("p2", "ada") == ADA
        assert await store.get_key("p2", "secret") == ApiKey("k")
        assert await store.delete_project("p") is False

    async def test_each_write_is_announced(self, store: IdentityStore, changes: Changes) -> None:
        await store.put_project(Project("p"))
        assert await changes.next() == IdentityChange(project=True)
        await store.delete_project("p")
        assert await changes.next() == IdentityChange(project=True, all=True)

    async def test_invalid_id_is_refused(self, store: IdentityStore) -> None:
        with pytest.raises(ValueError, match="is not a valid ID"):
            await store.put_project(Project("a:b"))


class TestUsers:
    async def test_put_can_be_read_back(self, store: IdentityStore) -> None:
        await store.put_user("p", ADA)
        assert await store.get_user("p", "ada") == ADA
        assert await store.get_user("q", "ada") is None
        assert await store.get_user("p", "bob") is None

    @pytest.mark.parametrize("user_id", ["", "a:b", "\ud800"])
    async def test_impossible_id_is_none(self, store: IdentityStore, user_id: str) -> None:
        assert await store.get_user("p", user_id) is None
        assert await store.delete_user("p", user_id) is False

    async def test_found_by_email_in_any_case_and_by_phone(self, store: IdentityStore) -> None:
        await store.put_user("p", ADA)
        assert await store.find_user_by_email("p", "aDA@example.COM") == ADA
        assert await store.find_user_by_phone("p", "+4930") == ADA
        assert await store.find_user_by_email("q", "ada@example.com") is None
        assert await store.find_user_by_phone("p", "+49300") is None

    @pytest.mark.parametrize("text", ["", "\ud800"])
    async def test_impossible_address_finds_nobody(self, store: IdentityStore, text: str) -> None:
        await store.put_user("p", User("nobody"))
        assert await store.find_user_by_email("p", text) is None
        assert await store.find_user_by_phone("p", text) is None

    async def test_changed_addresses_are_no_longer_found(
        self, store: IdentityStore, redis_client: redis.asyncio.Redis
    ) -> None:
        await store.put_user("p", ADA)
        moved = msgspec.structs.replace(ADA, email="Äda@new.example", phone="")
        await store.put_user("p", moved)
        assert await store.find_user_by_email("p", "ada@example.com") is None
        assert await store.find_user_by_phone("p", "+4930") is None
        assert await store.find_user_by_email("p", "Äda@NEW.example") == moved
        await store.delete_user("p", "ada")
        assert await redis_client.exists(user_emails_key("p"), user_phones_key("p")) == 0

    async def test_swapped_addresses_lead_to_their_new_owners(self, store: IdentityStore) -> None:
        await store.put_user("p", User("a", email="a@x", phone="1"))
        await store.put_user("p", User("b", email="b@x", phone="2"))
        await store.put_user("p", User("a", email="b@x", phone="2"))
        await store.put_user("p", User("b", email="a@x", phone="1"))
        for email, phone, user_id in (("b@x", "2", "a"), ("a@x", "1", "b")):
            by_email, by_phone = (
                await store.find_user_by_email("p", email),
                await store.find_user_by_phone("p", phone),
            )
            assert by_email == by_phone == User(user_id, email=email, phone=phone)

    async def test_index_that_leads_to_another_address_finds_nobody(
        self, store: IdentityStore, redis_client: redis.asyncio.Redis
    ) -> None:
        await store.put_user("p", ADA)
        await redis_client.set(user_key("p", "ada"), msgspec.json.encode(User("ada", email="x", phone="y")))
        assert await store.find_user_by_email("p", "ada@example.com") is None
        assert await store.find_user_by_phone("p", "+4930") is None

    async def test_unreadable_record_can_be_replaced(
        self, store: IdentityStore, redis_client: redis.asyncio.Redis
    ) -> None:
        await redis_client.set(user_key("p", "ada"), "not json")
        await store.put_user("p", ADA)
        assert await store.get_user("p", "ada") == ADA

    async def test_delete_says_whether_there_was_one(self, store: IdentityStore) -> None:
        await store.put_user("p", ADA)
        assert await store.delete_user("p", "ada") is True
        assert await store.delete_user("p", "ada") is False
        assert await store.get_user("p", "ada") is None

    async def test_each_write_is_announced_with_the_new_record_in_place(
        self, store: IdentityStore, changes: Changes
    ) -> None:
        await store.put_user("p", ADA)
        assert await changes.next() == IdentityChange(user="ada")
        assert await store.get_user("p", "ada") == ADA
        await store.delete_user("p", "ada")
        assert await changes.next() == IdentityChange(user="ada")
        assert await store.get_user("p", "ada") is None

    @pytest.mark.parametrize(
        "user",
        [
            User(""),
            User("a/verified"),
            User("a", labels=("x:y",)),
            User("a", memberships=(Membership("m", "t/owner"),)),
            User("a", memberships=(Membership("", "t"),)),
            User("a", memberships=(Membership("m", "t", ("a/b",)),)),
        ],
    )
    async def test_what_could_pass_for_another_role_is_refused(
        self, store: IdentityStore, user: User
    ) -> None:
        with pytest.raises(ValueError, match="is not a valid ID, label or team role"):
            await store.put_user("p", user)


class TestKeys:
    async def test_put_is_found_by_its_secret(
        self, store: IdentityStore, redis_client: redis.asyncio.Redis
    ) -> None:
        key = ApiKey("k", "Backend", ("events.write",), expires_at=1.0)
        await store.put_key("p", key, "secret")
        assert await store.get_key("p", "secret") == key
        assert await store.get_key("p", "Secret") is None
        assert await store.get_key("q", "secret") is None
        assert await redis_client.hkeys(keys_key("p")) == [hash_secret("secret").encode()]

    @pytest.mark.parametrize("secret", ["", "\ud800", hash_secret("secret")])
    async def test_what_is_no_secret_finds_none(self, store: IdentityStore, secret: str) -> None:
        await store.put_key("p", ApiKey("k"), "secret")
        assert await store.get_key("p", secret) is None

    async def test_project_and_key_are_found_together(self, store: IdentityStore) -> None:
        assert await store.get_project_and_key("p", "secret") == (None, None)
        await store.put_project(Project("p"))
        await store.put_key("p", ApiKey("k"), "secret")
        assert await store.get_project_and_key("p", "secret") == (Project("p"), ApiKey("k"))
        assert await store.get_project_and_key("p", "other") == (Project("p"), None)
        assert await store.get_project_and_key("p", "") == (Project("p"), None)
        assert await store.get_project_and_key("a:b", "secret") == (None, None)

    async def test_new_secret_ends_the_former(self, store: IdentityStore) -> None:
        await store.put_key("p", ApiKey("k"), "old")
        await store.put_key("p", ApiKey("k"), "new")
        assert await store.get_key("p", "old") is None
        assert await store.list_keys("p") == [ApiKey("k")]

    async def test_list_is_by_id_and_delete_takes_one(self, store: IdentityStore) -> None:
        for key_id in ("b", "c", "a"):
            await store.put_key("p", ApiKey(key_id), f"secret {key_id}")
        assert [key.id for key in await store.list_keys("p")] == ["a", "b", "c"]
        assert await store.delete_key("p", "b") is True
        assert await store.delete_key("p", "b") is False
        assert [key.id for key in await store.list_keys("p")] == ["a", "c"]
        assert await store.get_key("p", "secret b") is None

    async def test_only_what_may_concern_connections_is_announced(
        self, store: IdentityStore, changes: Changes
    ) -> None:
        await store.put_key("p", ApiKey("k"), "secret")
        await store.put_key("p", ApiKey("k"), "secret")
        await store.delete_key("p", "other")
        await store.put_project(Project("p"))
        assert await changes.next() == IdentityChange(project=True)
        await store.put_key("p", ApiKey("k", scopes=("*",)), "secret")
        assert await changes.next() == IdentityChange(all=True)
        await store.put_key("p", ApiKey("k", scopes=("*",)), "new secret")
        assert await changes.next() == IdentityChange(all=True)
        await store.delete_key("p", "k")
        assert await changes.next() == IdentityChange(all=True)

    async def test_empty_secret_is_refused(self, store: IdentityStore) -> None:
        with pytest.raises(ValueError, match="must not be empty"):
            await store.put_key("p", ApiKey("k"), "")


class TestUnreadableKeys:
    """One record that somebody else spoiled harms no other."""

    @pytest.mark.parametrize("record", [b"not json", b"[]", b"1", b"{}", b'{"id":1}'])
    async def test_other_keys_are_written_listed_and_deleted(
        self, store: IdentityStore, redis_client: redis.asyncio.Redis, record: bytes
    ) -> None:
        await redis_client.hset(keys_key("demo"), "spoiled", record)
        await store.put_key("demo", ApiKey("k", name="K"), "secret")

        assert [key.id for key in await store.list_keys("demo")] == ["k"]
        assert await store.delete_key("demo", "k")
        assert await store.list_keys("demo") == []

    @pytest.mark.parametrize("record", [b"[]", b"1", b'{"email":1,"phone":[]}'])
    async def test_user_whose_record_was_spoiled_can_be_replaced(
        self, store: IdentityStore, redis_client: redis.asyncio.Redis, record: bytes
    ) -> None:
        await redis_client.set(user_key("demo", "ada"), record)
        await store.put_user("demo", ADA)

        assert await store.get_user("demo", "ada") == ADA


class TestUnreachable:
    async def test_redis_errors_pass_through(self) -> None:
        at_once = Retry(NoBackoff(), 0)
        async with redis.asyncio.Redis(host="127.0.0.1", port=1, retry=at_once) as client:
            store = IdentityStore(client)
            with pytest.raises(RedisError):
                await store.get_user("p", "ada")
            with pytest.raises(RedisError):
                await store.put_user("p", ADA)
