"""What a connection subscribes to by its URL: wire specification 2.7, 3.1 and 5.2, over real sockets."""

import json
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import pytest

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import RunningHub

pytestmark = pytest.mark.asyncio(loop_scope="module")

POSTS = "databases.main.tables.posts.rows"


def query(method: str, attribute: str = "", *values: object) -> str:
    return json.dumps({"method": method, "attribute": attribute, "values": values})


A, B = query("equal", "status", "a"), query("equal", "status", "b")
ALL = query("select", "", "*")


async def deliveries(hub: "RunningHub", raw: str) -> dict[int | str, str]:
    """Subscribe by a URL, publish events with the statuses ``a`` and ``b``; return what each slot receives.

    The keys are those of ``connected``: strings in an object, positions in an array.
    """
    async with hub.connect(query=raw) as client:
        given = (await client.receive())["data"]["subscriptions"]
        slots: dict[int | str, str] = dict(enumerate(given)) if isinstance(given, list) else given
        assert all(slots.values())
        for status in "ab":
            payload = {"$id": status, "status": status}
            await hub.deliver(f"{POSTS}.{status}.create", payload, roles=["any"])
        received = dict.fromkeys(slots, "")
        keys = {subscription: key for key, subscription in slots.items()}
        for frame in await client.receive_waiting():
            for subscription in frame["data"]["subscriptions"]:
                received[keys[subscription]] += frame["data"]["payload"]["status"]
    return received


class TestChannels:
    """2.7, 3.1 and 5.2."""

    @pytest.mark.parametrize(
        ("raw", "channels"),
        [
            ("", []),
            ("channels[]=files&channels[]=rows", ["files", "rows"]),
            ("channels%5B%5D=files&channels%5B%5D=rows", ["files", "rows"]),
            ("channels[0]=files&channels[1]=rows", ["files", "rows"]),
            ("channels[7]=files&channels[x]=rows", ["files", "rows"]),
            ("channels=files", ["files"]),
            ("channels=rows&channels=files", ["files"]),
            ("channels[]=rows&channels[]=files&channels[]=rows", ["rows", "files"]),
            ("channels[]=no.such.channel", ["no.such.channel"]),
            ("channels[]=b%C3%BCcher&channels[]=a+b%20c", ["bücher", "a b c"]),
            ("channels[]=", [""]),
        ],
    )
    async def test_forms_of_the_list(self, shared: "RunningHub", raw: str, channels: list[str]) -> None:
        data = await shared.greeting(query=raw)

        assert data["channels"] == channels
        assert len(data["subscriptions"]) == bool(channels)

    async def test_list_within_a_list_is_refused(self, shared: "RunningHub") -> None:
        assert await shared.refusal(query="channels[0][]=rows") == (1008, "Invalid channels.", 1008)

    @pytest.mark.parametrize(
        ("requested", "as_ada", "as_guest"),
        [
            (["account"], ["account", "account.ada"], ["account"]),
            (
                ["account", "documents", "account.123"],
                ["account", "documents", "account.ada"],
                ["account", "documents"],
            ),
            (["account.update", "rows"], ["rows", "account.ada.update"], ["account.update", "rows"]),
            (["account.create"], ["account.ada.create"], ["account.create"]),
            (["account.upsert"], ["account.ada.upsert"], ["account.upsert"]),
            (["account.delete"], ["account.ada.delete"], ["account.delete"]),
            (["account.bob", "account.bob.update", "account.x.y.z"], [], []),
            (["account.ada"], [], []),
            (["account", "account.ada"], ["account", "account.ada"], ["account"]),
            (["account.ada", "account"], ["account", "account.ada"], ["account"]),
        ],
    )
    async def test_account_channels_are_converted(
        self, shared: "RunningHub", requested: list[str], as_ada: list[str], as_guest: list[str]
    ) -> None:
        raw = urlencode([("channels[]", channel) for channel in requested])

        assert (await shared.greeting(query=raw, jwt=shared.token("ada")))["channels"] == as_ada
        assert (await shared.greeting(query=raw))["channels"] == as_guest

    async def test_greeting_has_exactly_the_documented_members(self, shared: "RunningHub") -> None:
        published = await shared.publish(f"{POSTS}.1.create", {"$id": "1"}, roles=["any"])

        async with shared.connect() as client:
            frame = await client.receive()

        assert list(frame) == ["type", "data"]
        assert frame["data"] == {
            "channels": [],
            "subscriptions": [],
            "user": None,
            "position": published.id,
        }
        assert list(frame["data"]) == ["channels", "subscriptions", "user", "position"]


class TestSlots:
    """2.7: how the URL's queries make subscriptions."""

    @pytest.mark.parametrize(
        ("parameters", "slots"),
        [
            ([], {0: "ab"}),
            ([("rows[0][]", A), ("rows[0][]", B)], {0: ""}),
            ([("rows[0][]", A), ("rows[1][]", B)], {0: "a", 1: "b"}),
            ([("rows[]", A), ("rows[]", B)], {0: "a", 1: "b"}),
            ([("rows[0]", A), ("rows[1]", B)], {0: "a", 1: "b"}),
            ([("rows", A)], {0: "a"}),
            ([("rows[0][]", ALL)], {0: "ab"}),
            ([("rows[0][]", A), ("rows[0][]", ALL)], {0: "ab"}),
            ([("rows[1][]", A)], {"1": "a"}),
            ([("rows[one][]", A), ("rows[two][]", B)], {"one": "a", "two": "b"}),
            ([("rows[1][]", A), ("rows[0][]", B)], {"1": "a", "0": "b"}),
        ],
    )
    async def test_each_is_a_subscription_with_its_queries(
        self, shared: "RunningHub", parameters: list[tuple[str, str]], slots: dict[int | str, str]
    ) -> None:
        """``slots`` are the keys in ``connected``, with the statuses of the events that pass."""
        raw = urlencode([("channels[]", "rows"), *parameters])

        assert await deliveries(shared, raw) == slots

    @pytest.mark.parametrize("name", [POSTS, POSTS.replace(".", "_")])
    async def test_parameter_has_the_channels_name_with_dots_or_underscores(
        self, shared: "RunningHub", name: str
    ) -> None:
        raw = urlencode([("channels[]", POSTS), (f"{name}[0][]", A)])

        assert await deliveries(shared, raw) == {0: "a"}

    async def test_channel_without_parameter_joins_slot_0_and_is_filtered_with_it(
        self, shared: "RunningHub"
    ) -> None:
        raw = urlencode([("channels[]", "rows"), ("channels[]", "documents"), ("rows[0][]", A)])

        assert await deliveries(shared, raw) == {0: "a"}

    async def test_first_channel_decides_the_queries_of_a_slot(self, shared: "RunningHub") -> None:
        raw = urlencode([("channels[]", "documents"), ("channels[]", "rows"), ("rows[0][]", A)])

        assert await deliveries(shared, raw) == {0: "ab"}

    async def test_channel_project_and_the_project_share_a_name(self, shared: "RunningHub") -> None:
        """A text names the project; an array is about the channel, and the header has to name the project."""
        headers = {"X-Appwrite-Project": shared.project}
        by_text = await shared.greeting(query="channels[]=project")
        by_array = await shared.greeting(
            None, headers=headers, query=urlencode([("channels[]", "project"), ("project[x][]", A)])
        )

        assert (by_text["channels"], len(by_text["subscriptions"])) == (["project"], 1)
        assert list(by_array["subscriptions"]) == ["x"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("not JSON", "Invalid query: Syntax error"),
            ("5", "Invalid query. Must be an array, got integer"),
            ('{"method":1}', "Invalid query method. Must be a string, got integer"),
            ('{"method":"nope"}', "Invalid query method: nope"),
            ('{"method":"equal","attribute":[]}', "Invalid query attribute. Must be a string, got array"),
            ('{"method":"equal","values":"x"}', "Invalid query values. Must be an array, got string"),
            (
                query("limit", "", 1),
                (
                    "Query method 'limit' is not supported in Realtime queries. Allowed: equal, notEqual, lessThan, "
                    "lessThanEqual, greaterThan, greaterThanEqual, isNull, isNotNull, and, or, select, contains, "
                    "notContains, containsAny, containsAll, startsWith, notStartsWith, endsWith, notEndsWith, between, "
                    "notBetween, search, notSearch"
                ),
            ),
            (
                query("select", "", "name"),
                'Only select("*") is allowed in Realtime queries. select("*") means "listen to all events".',
            ),
        ],
    )
    async def test_bad_query_is_refused(self, shared: "RunningHub", text: str, message: str) -> None:
        """6.2; at open the texts have no prefix."""
        raw = urlencode([("channels[]", "rows"), ("rows[0][]", text)])

        assert await shared.refusal(query=raw) == (1008, message, 1008)

    @pytest.mark.parametrize(
        ("raw", "message"),
        [
            ("&".join(["channels[]=x"] * 1001), "At most 1000 parameters are allowed in the URL."),
            (
                "channels[0]" + "[0]" * 9 + "=x",
                "Parameters may be nested at most 8 levels deep.",
            ),
            (
                "channels[]=x&" + "&".join(f"x[{number}]={quote(A)}" for number in range(101)),
                "At most 100 subscriptions are allowed in the URL.",
            ),
            (
                "&".join(f"channels[]=c{number}" for number in range(101)),
                "At most 100 channels are allowed in a subscription.",
            ),
            (
                "channels[]=x&" + "&".join([f"x[0][]={quote(A)}"] * 101),
                "At most 100 queries are allowed in a subscription.",
            ),
        ],
        ids=["parameters", "nesting", "subscriptions", "channels", "queries"],
    )
    async def test_more_than_allowed_is_refused(self, shared: "RunningHub", raw: str, message: str) -> None:
        assert await shared.refusal(query=raw) == (1008, message, 1008)
