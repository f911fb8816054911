"""Subscriptions by message: wire specification 4.3, 4.4, 6.2 and 16.4, over real sockets."""

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import Client, RunningHub, Start

pytestmark = pytest.mark.asyncio(loop_scope="module")

POSTS = "databases.main.tables.posts.rows"
A = '{"method":"equal","attribute":"status","values":["a"]}'
B = '{"method":"equal","attribute":"status","values":["b"]}'
ALLOWED = (
    "equal, notEqual, lessThan, lessThanEqual, greaterThan, greaterThanEqual, isNull, isNotNull, and, or, select, "
    "contains, notContains, containsAny, containsAll, startsWith, notStartsWith, endsWith, notEndsWith, between, "
    "notBetween, search, notSearch"
)

BAD_ITEMS: list[tuple[object, str]] = [
    ({}, "Payload is not valid."),
    ("text", "Payload is not valid."),
    (5, "Payload is not valid."),
    (["text"], "Each subscribe payload must be an object."),
    ([None], "Each subscribe payload must be an object."),
    ([[]], "channels is not present in payload."),
    ([{}], "channels is not present in payload."),
    ([{"subscriptionId": None, "channels": []}], "subscriptionId is not a valid id."),
    ([{"subscriptionId": "", "channels": []}], "subscriptionId is not a valid id."),
    ([{"subscriptionId": 5, "channels": []}], "subscriptionId is not a valid id."),
    ([{"subscriptionId": "_x", "channels": []}], "subscriptionId is not a valid id."),
    ([{"subscriptionId": "a b", "channels": []}], "subscriptionId is not a valid id."),
    ([{"subscriptionId": "x" * 37, "channels": []}], "subscriptionId is not a valid id."),
    ([{"subscriptionId": "", "queries": 1}], "subscriptionId is not a valid id."),
    ([{"channels": None}], "channels is not a valid array."),
    ([{"channels": "rows"}], "channels is not a valid array."),
    ([{"channels": {"0": "rows"}}], "channels is not a valid array."),
    ([{"channels": ["rows", 5]}], "channels must contain only strings."),
    ([{"channels": [None]}], "channels must contain only strings."),
    ([{"channels": [], "queries": None}], "queries is not a valid array."),
    ([{"channels": [], "queries": "x"}], "queries is not a valid array."),
    ([{"channels": [], "since": 5}], "since is not a valid position."),
    ([{"channels": [], "since": "yesterday"}], "since is not a valid position."),
]
"""The table of 4.3, with the text that follows ``items: ``."""

BAD_QUERIES: list[tuple[object, str]] = [
    ("not JSON", "Invalid query: Syntax error"),
    (5, "Invalid query. Must be a string, got integer"),
    ({}, "Invalid query. Must be a string, got array"),
    ("5", "Invalid query. Must be an array, got integer"),
    ("null", "Invalid query. Must be an array, got NULL"),
    ('"equal"', "Invalid query. Must be an array, got string"),
    ('{"method":1.5}', "Invalid query method. Must be a string, got double"),
    ('{"method":"nope"}', "Invalid query method: nope"),
    ("{}", "Invalid query method: "),
    ('{"method":"equal","attribute":true}', "Invalid query attribute. Must be a string, got boolean"),
    ('{"method":"equal","values":"x"}', "Invalid query values. Must be an array, got string"),
    (
        '{"method":"limit","values":[1]}',
        f"Query method 'limit' is not supported in Realtime queries. Allowed: {ALLOWED}",
    ),
    (
        '{"method":"or","values":[{"method":"orderAsc","attribute":"x"}]}',
        f"Query method 'orderAsc' is not supported in Realtime queries. Allowed: {ALLOWED}",
    ),
    (
        '{"method":"select","values":["name"]}',
        'Only select("*") is allowed in Realtime queries. select("*") means "listen to all events".',
    ),
]
"""The table of 6.2, with the text that follows ``Invalid query: ``."""


def error(code: int, message: str) -> dict[str, Any]:
    return {"type": "error", "data": {"code": code, "message": message}}


async def events(hub: "RunningHub", client: "Client", *statuses: str) -> list[tuple[str, list[str]]]:
    """Publish a row for each status; return those that ``client`` receives, with the subscriptions they match."""
    for status in statuses:
        payload = {"$id": status, "status": status}
        await hub.deliver(f"{POSTS}.{status}.create", payload, roles=["any"])
    frames = [frame["data"] for frame in await client.receive_waiting()]
    return [(data["payload"]["status"], sorted(data["subscriptions"])) for data in frames]


class TestSubscribe:
    """4.3 and 3.4."""

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            *((items, f"items: {reason}") for items, reason in BAD_ITEMS),
            *(
                ([{"channels": ["rows"], "queries": [query]}], f"Invalid query: {reason}")
                for query, reason in BAD_QUERIES
            ),
            ([{"channels": []}] * 101, "At most 100 subscriptions are allowed in a message."),
            ([{"channels": ["c"] * 101}], "At most 100 channels are allowed in a subscription."),
            (
                [{"channels": [], "queries": [A] * 101}],
                "At most 100 queries are allowed in a subscription.",
            ),
        ],
    )
    async def test_bad_batch_is_refused_as_a_whole(
        self, shared: "RunningHub", data: object, reason: str
    ) -> None:
        """Wherever the bad item stands, no other of its batch is registered."""
        good = {"subscriptionId": "good", "channels": ["rows"]}
        batch = [good, *data, good] if isinstance(data, list) and len(data) == 1 else data

        async with shared.greeted() as client:
            answer = await client.ask("subscribe", batch)
            received = await events(shared, client, "a")
            removed = await client.ask("unsubscribe", [{"subscriptionId": "good"}])

        assert answer == error(1003, reason)
        assert received == []
        assert removed["data"]["subscriptions"] == [{"subscriptionId": "good", "removed": False}]

    async def test_answer_lists_what_was_registered(self, shared: "RunningHub") -> None:
        query = '{ "values": ["a"], "attribute": "status", "method": "equal" }'
        nothing = '{"method":"select","values":["*"]}'
        batch = [
            {"subscriptionId": "one", "channels": ["rows", "account", "rows"], "queries": [query]},
            {"subscriptionId": "two", "channels": ["files"], "queries": [nothing], "extra": 1},
            {"subscriptionId": "unique()", "channels": []},
        ]

        async with shared.greeted(jwt=shared.token("ada")) as client:
            frame = await client.ask("subscribe", batch)
            position = shared.hub.registry.rooms[shared.project].position

        assert list(frame) == ["type", "data"]
        assert list(frame["data"]) == ["to", "success", "subscriptions", "position"]
        assert frame["data"].pop("position") == position
        assert frame["data"] == {
            "to": "subscribe",
            "success": True,
            "subscriptions": [
                {"subscriptionId": "one", "channels": ["rows", "account", "account.ada"], "queries": [A]},
                {"subscriptionId": "two", "channels": ["files"], "queries": [nothing]},
                {"subscriptionId": "unique()", "channels": [], "queries": []},
            ],
        }

    async def test_ids_are_made_where_there_are_none(self, shared: "RunningHub") -> None:
        async with shared.greeted() as client:
            frame = await client.ask("subscribe", [{"channels": ["rows"]}] * 2)
            ids = [item["subscriptionId"] for item in frame["data"]["subscriptions"]]
            received = await events(shared, client, "a")

        assert len(set(ids)) == 2
        assert all(0 < len(id_) <= 36 for id_ in ids)
        assert received == [("a", sorted(ids))]

    @pytest.mark.parametrize("id_", ["x" * 36, "a.b_c-D", "0", "123", "unique()"])
    async def test_id_comes_back_as_it_was_given(self, shared: "RunningHub", id_: str) -> None:
        """Numbers stay strings, unlike in the original."""
        async with shared.greeted() as client:
            assert (await client.subscribe("rows", id=id_))["subscriptions"][0]["subscriptionId"] == id_
            assert await events(shared, client, "a") == [("a", [id_])]

    async def test_known_id_gets_a_new_filter(self, shared: "RunningHub") -> None:
        async with shared.greeted() as client:
            await client.subscribe("rows", queries=[A])
            await client.subscribe("rows", queries=[B])
            assert await events(shared, client, "a", "b") == [("b", ["s"])]

            await client.subscribe("rows")
            assert await events(shared, client, "a", "b") == [("a", ["s"]), ("b", ["s"])]

    async def test_known_id_keeps_channels_that_are_not_named_again(self, shared: "RunningHub") -> None:
        """With the filter that they had."""
        async with shared.greeted() as client:
            await client.subscribe(POSTS, queries=[A])
            await client.subscribe("rows", queries=[B])

            assert await events(shared, client, "a", "b", "c") == [("a", ["s"]), ("b", ["s"])]

    async def test_id_twice_in_a_batch_is_applied_in_order(self, shared: "RunningHub") -> None:
        batch = [
            {"subscriptionId": "s", "channels": ["rows"], "queries": [A]},
            {"subscriptionId": "s", "channels": ["rows"], "queries": [B]},
        ]

        async with shared.greeted() as client:
            frame = await client.ask("subscribe", batch)
            received = await events(shared, client, "a", "b")

        assert [item["queries"] for item in frame["data"]["subscriptions"]] == [[A], [B]]
        assert received == [("b", ["s"])]

    async def test_empty_channels_register_nothing(self, shared: "RunningHub") -> None:
        async with shared.greeted() as client:
            await client.subscribe()
            frame = await client.ask("unsubscribe", [{"subscriptionId": "s"}])

        assert frame["data"]["subscriptions"] == [{"subscriptionId": "s", "removed": False}]

    async def test_ids_belong_to_their_connection(self, shared: "RunningHub") -> None:
        async with shared.greeted() as one, shared.greeted() as two:
            await one.subscribe("rows")
            await two.subscribe("rows", queries=[B])
            await two.ask("unsubscribe", [{"subscriptionId": "s"}])

            assert await events(shared, one, "a") == [("a", ["s"])]

    async def test_subscriptions_of_a_connection_are_limited(self, shared: "RunningHub") -> None:
        batch = [{"subscriptionId": f"s{number}", "channels": ["rows"]} for number in range(100)]

        async with shared.greeted() as client:
            await client.ask("subscribe", batch)
            refused = await client.ask("subscribe", [{"subscriptionId": "more", "channels": ["rows"]}])
            changed = await client.ask("subscribe", batch[:1])

        assert refused == error(1003, "At most 100 subscriptions are allowed on a connection.")
        assert changed["type"] == "response"

    async def test_since_is_answered_with_whether_events_are_recovered(self, shared: "RunningHub") -> None:
        """16.4: the client must reload when they are not."""
        item = {"subscriptionId": "s", "channels": ["rows"], "since": "1-0"}

        async with shared.greeted() as client:
            frame = await client.ask("subscribe", [item])

        assert frame["data"]["subscriptions"] == [
            {"subscriptionId": "s", "channels": ["rows"], "queries": [], "recovered": False}
        ]

    @pytest.mark.parametrize(
        ("project", "reason"),
        [
            ("", "Console live tail is only available on the console connection."),
            ("console", 'Not authorized to tail project "p1".'),
        ],
    )
    async def test_console_tail_is_refused_and_closes(
        self, shared: "RunningHub", project: str, reason: str
    ) -> None:
        """4.7, of which this hub has the refusals only."""
        async with shared.greeted(project) as client:
            await client.send({"type": "subscribe", "data": [{"channels": ["rows", "console.tail.p1"]}]})

            assert await client.refused() == (1008, reason, 1008)


NO_ID = "Each unsubscribe payload must include a non-empty subscriptionId."
BAD_IDS: list[object] = [
    "s",
    None,
    {},
    [],
    {"subscriptionId": None},
    {"subscriptionId": ""},
    {"subscriptionId": 5},
]


class TestGrowth:
    """A subscription that is added to stays within the limits of one made at once."""

    async def test_additions_count_together(self, shared: "RunningHub") -> None:
        async with shared.greeted() as client:
            await client.subscribe(*[f"a{n}" for n in range(60)])
            item = {"subscriptionId": "s", "channels": [f"b{n}" for n in range(60)]}
            answer = await client.ask("subscribe", [item])
            assert answer["data"] == {
                "code": 1003,
                "message": "At most 100 channels are allowed in a subscription.",
            }
            await client.subscribe(*[f"b{n}" for n in range(40)])

    async def test_the_same_again_adds_nothing(self, shared: "RunningHub") -> None:
        async with shared.greeted(jwt=shared.token("ada")) as client:
            channels = ["account", *(f"a{n}" for n in range(99))]
            for _ in range(2):
                assert len((await client.subscribe(*channels))["subscriptions"][0]["channels"]) == 101

    async def test_subscriptions_count_over_messages(self, shared: "RunningHub") -> None:
        async with shared.greeted() as client:
            for start in (0, 60):
                items = [{"subscriptionId": f"s{start + n}", "channels": ["rows"]} for n in range(60)]
                answer = await client.ask("subscribe", items)
            assert answer["data"] == {
                "code": 1003,
                "message": "At most 100 subscriptions are allowed on a connection.",
            }


class TestConditions:
    """Each condition costs something for every event, so a connection may have only so many."""

    REASON = "At most 1000 conditions are allowed in the queries of a connection."

    @staticmethod
    def query(first: int) -> str:
        conditions = [{"method": "equal", "attribute": "n", "values": [first + n]} for n in range(90)]
        return json.dumps({"method": "or", "values": conditions})

    async def test_distinct_ones_count_over_messages(self, shared: "RunningHub") -> None:
        async with shared.greeted() as client:
            for number in range(11):
                await client.subscribe("rows", id=f"s{number}", queries=[self.query(0)])
            for number in range(1, 10):
                await client.subscribe("rows", id=f"t{number}", queries=[self.query(number)])
            item = {"subscriptionId": "more", "channels": ["rows"], "queries": [self.query(10)]}
            last = {"subscriptionId": "last", "channels": ["rows"], "queries": [self.query(11)]}
            answer = await client.ask("subscribe", [item, last])
            assert answer["data"] == {"code": 1003, "message": self.REASON}

    @pytest.mark.asyncio(loop_scope="function")
    async def test_those_of_the_url_count_together(self, start_hub: "Start") -> None:
        async with start_hub(conditions_per_connection=100) as hub:
            slots = [f"rows[{number}][]={quote(self.query(number))}" for number in range(2)]
            async with hub.greeted(query=f"channels[]=rows&{slots[0]}"):
                pass
            refusal = await hub.refusal(query=f"channels[]=rows&{'&'.join(slots)}")
            assert refusal == (1008, self.REASON.replace("1000", "100"), 1008)


class TestUnsubscribe:
    """4.4."""

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            ({}, "items: Payload is not valid."),
            ("s", "items: Payload is not valid."),
            *(([{"subscriptionId": "s"}, item], f"items: {NO_ID}") for item in BAD_IDS),
        ],
    )
    async def test_bad_list_is_refused_before_anything_is_removed(
        self, shared: "RunningHub", data: object, reason: str
    ) -> None:
        async with shared.greeted() as client:
            await client.subscribe("rows")

            assert await client.ask("unsubscribe", data) == error(1003, reason)
            assert await events(shared, client, "a") == [("a", ["s"])]

    async def test_answer_says_what_was_removed(self, shared: "RunningHub") -> None:
        async with shared.greeted() as client:
            await client.subscribe("rows", id="one")
            await client.subscribe("rows", id="two")
            frame = await client.ask(
                "unsubscribe", [{"subscriptionId": id_} for id_ in ("one", "unknown", "one", "_any thing")]
            )
            received = await events(shared, client, "a")

        assert list(frame["data"]) == ["to", "success", "subscriptions"]
        assert frame["data"] == {
            "to": "unsubscribe",
            "success": True,
            "subscriptions": [
                {"subscriptionId": "one", "removed": True},
                {"subscriptionId": "unknown", "removed": False},
                {"subscriptionId": "one", "removed": False},
                {"subscriptionId": "_any thing", "removed": False},
            ],
        }
        assert received == [("a", ["two"])]

    async def test_empty_list_is_answered_with_an_empty_list(self, shared: "RunningHub") -> None:
        async with shared.greeted() as client:
            frame = await client.ask("unsubscribe", [])

        assert frame["data"] == {"to": "unsubscribe", "success": True, "subscriptions": []}

    async def test_connection_without_subscriptions_can_subscribe_again(self, shared: "RunningHub") -> None:
        async with shared.greeted() as client:
            await client.subscribe("rows")
            await client.ask("unsubscribe", [{"subscriptionId": "s"}])
            assert await events(shared, client, "a") == []

            await client.subscribe("rows")
            assert await events(shared, client, "b") == [("b", ["s"])]

    async def test_subscription_of_the_url_can_be_removed(self, shared: "RunningHub") -> None:
        async with shared.connect(query="channels[]=rows") as client:
            (id_,) = (await client.receive())["data"]["subscriptions"]
            frame = await client.ask("unsubscribe", [{"subscriptionId": id_}])

            assert frame["data"]["subscriptions"][0]["removed"] is True
            assert await events(shared, client, "a") == []
