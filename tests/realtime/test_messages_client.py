"""What clients send: every row of the tables of wire specification 4, with its exact code and text."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import ClientError, ErrorKind
from realtime.messages import (
    Authentication,
    ClientMessage,
    MessageLimits,
    Ping,
    Presence,
    Subscribe,
    SubscribeItem,
    Unsubscribe,
    parse_message,
)
from realtime.queries import compile_filter

FORMAT = "Message format is not valid."
TYPE = "Message type is not valid."
ACTIVE = '{"method":"equal","attribute":"status","values":["active"]}'
SELECT_ALL = '{"method":"select","values":["*"]}'


def parse(message_type: str, data: object, **limits: int) -> ClientMessage:
    return parse_message(json.dumps({"type": message_type, "data": data}), limits=MessageLimits(**limits))


def refusal(text: bytes | str, **limits: int) -> ClientError:
    with pytest.raises(ClientError) as caught:
        parse_message(text, limits=MessageLimits(**limits))
    return caught.value


def refused(message_type: str, data: object, **limits: int) -> str:
    error = refusal(json.dumps({"type": message_type, "data": data}), **limits)
    assert error.code == 1003
    assert error.close_code is None
    return str(error)


def only_item(data: object, **limits: int) -> SubscribeItem:
    message = parse("subscribe", data, **limits)
    assert isinstance(message, Subscribe)
    (item,) = message.items
    return item


def too_long(length: int) -> str:
    return f"Value must be a valid string and at least 1 chars and no longer than {length} chars"


class TestFormat:
    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("", id="empty"),
            pytest.param("hello", id="not JSON"),
            pytest.param('{"type":"ping"', id="cut off"),
            pytest.param('{"type":"ping"} x', id="trailing text"),
            pytest.param('{"type":"ping","data":NaN}', id="not a JSON number"),
            pytest.param('{"type":"ping","data":1e999}', id="infinite number"),
            pytest.param('{"type":"\\ud800"}', id="escaped lone surrogate"),
            pytest.param('{"type":"\ud800"}', id="lone surrogate"),
            pytest.param(b'{"type":"\xff"}', id="not UTF-8"),
            pytest.param(b'\xef\xbb\xbf{"type":"ping"}', id="byte order mark"),
            pytest.param("null", id="null"),
            pytest.param("5", id="number"),
            pytest.param('"ping"', id="string"),
            pytest.param("true", id="boolean"),
            pytest.param("{}", id="empty object"),
            pytest.param('{"kind":"ping"}', id="object with neither"),
            pytest.param("[]", id="empty list"),
            pytest.param('["type","data"]', id="list"),
        ],
    )
    def test_malformed_message_is_refused(self, text: bytes | str) -> None:
        error = refusal(text)
        assert (error.code, str(error), error.close_code) == (1003, FORMAT, None)

    @pytest.mark.parametrize("levels", [129, 500, 1100, 60_000])
    @pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
    def test_too_deep_nesting_is_a_format_error(self, levels: int, opening: str, closing: str) -> None:
        inner = opening * (levels - 1) + "1" + closing * (levels - 1)
        assert refusal(f'{{"type":"ping","data":{inner}}}').kind is ErrorKind.MESSAGE_FORMAT

    def test_nesting_within_the_bound_is_accepted(self) -> None:
        assert parse_message('{"type":"ping","data":' + "[" * 127 + "]" * 127 + "}") == Ping()

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param('{"data":{}}', id="missing"),
            pytest.param('{"type":null}', id="null"),
            pytest.param('{"type":5,"data":{}}', id="number"),
            pytest.param('{"type":["ping"]}', id="list"),
            pytest.param('{"type":{"ping":1}}', id="object"),
            pytest.param('{"type":""}', id="empty"),
            pytest.param('{"type":"Ping"}', id="another case"),
            pytest.param('{"type":"publish","data":{}}', id="unknown"),
        ],
    )
    def test_unknown_type_is_refused(self, text: str) -> None:
        error = refusal(text)
        assert (error.code, str(error), error.close_code) == (1003, TYPE, None)

    def test_bytes_and_text_are_read_alike(self) -> None:
        text = '{"type":"presence","data":{"status":"café"}}'
        assert parse_message(text) == parse_message(text.encode()) == Presence("café")

    @given(st.binary(max_size=60) | st.text(max_size=60))
    def test_any_text_parses_or_is_refused(self, text: bytes | str) -> None:
        try:
            message = parse_message(text)
        except ClientError as error:
            assert error.code == 1003  # noqa: PT017 - a refusal is one of the two right outcomes
        else:
            assert isinstance(message, Ping)

    @settings(max_examples=300, deadline=None)
    @given(
        st.sampled_from(["ping", "authentication", "subscribe", "unsubscribe", "presence"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.fixed_dictionaries(
                    {},
                    optional=dict.fromkeys(
                        ["session", "jwt", "subscriptionId", "channels", "queries", "since", "status"], inner
                    ),
                )
            ),
            max_leaves=12,
        ),
    )
    def test_any_data_parses_or_is_refused(self, message_type: str, data: object) -> None:
        try:
            parse(message_type, data)
        except ClientError as error:
            assert error.code == 1003  # noqa: PT017 - a refusal is one of the two right outcomes
            assert error.close_code is None  # noqa: PT017


class TestPing:
    @pytest.mark.parametrize("rest", ["", ',"data":null', ',"data":5', ',"data":{"session":1}', ',"id":7'])
    def test_data_is_ignored(self, rest: str) -> None:
        assert parse_message('{"type":"ping"' + rest + "}") == Ping()


class TestAuthentication:
    @pytest.mark.parametrize("name", ["session", "jwt", "key"])
    def test_each_credential_is_accepted(self, name: str) -> None:
        assert parse("authentication", {name: "s3cret"}) == Authentication(**{name: "s3cret"})

    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            ({"session": "a", "jwt": "b", "key": "c"}, Authentication(session="a")),
            ({"jwt": "b", "key": "c"}, Authentication(jwt="b")),
            ({"session": None, "key": "c"}, Authentication(key="c")),
            ({"session": "a", "jwt": 5, "remember": True}, Authentication(session="a")),
        ],
    )
    def test_only_the_first_credential_is_used(self, data: object, expected: Authentication) -> None:
        assert parse("authentication", data) == expected

    @pytest.mark.parametrize(
        "data", [None, {}, [], [{"session": "a"}], 5, "a", {"session": None}, {"token": 1}]
    )
    def test_no_credential_is_refused(self, data: object) -> None:
        assert refused("authentication", data) == "Payload is not valid. Session is required"

    def test_absent_data_is_refused(self) -> None:
        assert str(refusal('{"type":"authentication"}')) == "Payload is not valid. Session is required"

    @pytest.mark.parametrize(("name", "length"), [("session", 2048), ("jwt", 4096), ("key", 4096)])
    def test_length_is_bounded(self, name: str, length: int) -> None:
        assert parse("authentication", {name: "é" * length}) == Authentication(**{name: "é" * length})
        for value in ["x" * (length + 1), "", 5, True, ["x"], {}]:
            assert refused("authentication", {name: value}) == f"{name}: {too_long(length)}"


class TestSubscribeShape:
    def test_full_item_is_understood(self) -> None:
        data = [
            {
                "subscriptionId": "s1",
                "channels": ["rows", "files"],
                "queries": [ACTIVE],
                "since": "12-0",
                "x": 1,
            }
        ]
        assert only_item(data) == SubscribeItem(
            subscription_id="s1",
            channels=["rows", "files"],
            filter=compile_filter([ACTIVE]),
            since="12-0",
            queries=(ACTIVE,),
        )

    def test_smallest_item_lets_every_event_pass(self) -> None:
        assert only_item([{"channels": []}]) == SubscribeItem(None, [], None)

    def test_no_item_is_accepted(self) -> None:
        assert parse("subscribe", []) == Subscribe(())

    def test_items_keep_their_order_and_repeated_ids(self) -> None:
        message = parse("subscribe", [{"subscriptionId": "s", "channels": [c]} for c in "abc"])
        assert isinstance(message, Subscribe)
        assert [(item.subscription_id, item.channels) for item in message.items] == [
            ("s", ["a"]),
            ("s", ["b"]),
            ("s", ["c"]),
        ]

    @pytest.mark.parametrize("text", ['{"type":"subscribe"}', '{"type":"subscribe","data":null}'])
    def test_absent_data_is_refused(self, text: str) -> None:
        assert str(refusal(text)) == "Payload is not valid. Items is required"

    @pytest.mark.parametrize("data", [{}, {"channels": ["rows"]}, "rows", 5, False])
    def test_data_that_is_no_list_is_refused(self, data: object) -> None:
        assert refused("subscribe", data) == "items: Payload is not valid."

    @pytest.mark.parametrize(
        ("item", "text"),
        [
            ("rows", "Each subscribe payload must be an object."),
            (5, "Each subscribe payload must be an object."),
            (None, "Each subscribe payload must be an object."),
            ([], "channels is not present in payload."),
            (["rows"], "channels is not present in payload."),
            ({}, "channels is not present in payload."),
            ({"subscriptionId": "s"}, "channels is not present in payload."),
            ({"channels": None}, "channels is not a valid array."),
            ({"channels": "rows"}, "channels is not a valid array."),
            ({"channels": {"0": "rows"}}, "channels is not a valid array."),
            ({"channels": ["rows", 5]}, "channels must contain only strings."),
            ({"channels": [None]}, "channels must contain only strings."),
            ({"channels": [["rows"]]}, "channels must contain only strings."),
            ({"channels": [], "queries": None}, "queries is not a valid array."),
            ({"channels": [], "queries": ACTIVE}, "queries is not a valid array."),
            ({"channels": [], "queries": {}}, "queries is not a valid array."),
            ({"channels": [], "since": None}, "since is not a valid position."),
            ({"channels": [], "since": 12}, "since is not a valid position."),
            ({"channels": [], "since": ""}, "since is not a valid position."),
            ({"channels": [], "since": "12"}, "since is not a valid position."),
            ({"channels": [], "since": "12-0\n"}, "since is not a valid position."),
            ({"channels": [], "since": "-12-0"}, "since is not a valid position."),
            ({"channels": [], "since": "18446744073709551616-0"}, "since is not a valid position."),
            ({"channels": [], "since": "٣-0"}, "since is not a valid position."),
        ],
    )
    def test_violation_has_its_text(self, item: object, text: str) -> None:
        assert refused("subscribe", [item]) == f"items: {text}"

    @pytest.mark.parametrize(
        "subscription_id",
        [None, 5, "", "a" * 37, ".a", "_a", "-a", "a b", "a/b", "ünique", "a\n", "unique(1)", ["a"]],
    )
    def test_bad_subscription_id_is_refused(self, subscription_id: object) -> None:
        text = refused("subscribe", [{"subscriptionId": subscription_id}])
        assert text == "items: subscriptionId is not a valid id."

    @pytest.mark.parametrize("subscription_id", ["a", "7", "A.b_c-9", "z" * 36, "unique()"])
    def test_good_subscription_id_is_kept_verbatim(self, subscription_id: str) -> None:
        item = only_item([{"subscriptionId": subscription_id, "channels": ["rows"]}])
        assert item.subscription_id == subscription_id

    @pytest.mark.parametrize(
        "since", ["0-0", "1718000000000-12", "18446744073709551615-18446744073709551615"]
    )
    def test_position_is_kept(self, since: str) -> None:
        assert only_item([{"channels": [], "since": since}]).since == since

    def test_first_violation_of_an_item_wins(self) -> None:
        item: dict[str, Any] = {"subscriptionId": "", "channels": "rows", "queries": 5, "since": 5}
        texts = []
        for name, good in [("subscriptionId", "s"), ("channels", []), ("queries", []), ("since", "1-1")]:
            texts.append(refused("subscribe", [item]))
            item[name] = good
        assert texts == [
            "items: subscriptionId is not a valid id.",
            "items: channels is not a valid array.",
            "items: queries is not a valid array.",
            "items: since is not a valid position.",
        ]

    def test_first_bad_item_wins(self) -> None:
        text = refused("subscribe", [{"channels": ["rows"]}, {}, 5])
        assert text == "items: channels is not present in payload."


class TestSubscribeQueries:
    def test_shapes_are_checked_before_any_query(self) -> None:
        assert refused("subscribe", [{"channels": [], "queries": ["oops"]}, 5]) == (
            "items: Each subscribe payload must be an object."
        )

    def test_one_bad_query_refuses_the_batch(self) -> None:
        bad = '{"method":"limit","values":[1]}'
        error = refusal(
            json.dumps(
                {"type": "subscribe", "data": [{"channels": ["a"]}, {"channels": ["b"], "queries": [bad]}]}
            )
        )
        assert error.kind is ErrorKind.QUERY_INVALID
        assert str(error).startswith(
            "Invalid query: Query method 'limit' is not supported in Realtime queries. Allowed: equal, "
            "notEqual, lessThan, lessThanEqual, greaterThan, greaterThanEqual, isNull, isNotNull, "
            "and, or, select"
        )

    @pytest.mark.parametrize(
        ("query", "text"),
        [
            ("[", "Invalid query: Invalid query: "),
            ("5", "Invalid query: Invalid query. Must be an array, got "),
            ('{"method":"sing"}', "Invalid query: Invalid query method: sing"),
            (
                '{"method":"select","values":["a"]}',
                'Invalid query: Only select("*") is allowed in Realtime queries. ',
            ),
            (5, "Invalid query: "),
            (None, "Invalid query: "),
            ({"method": "equal"}, "Invalid query: "),
        ],
    )
    def test_bad_query_is_refused(self, query: object, text: str) -> None:
        assert refused("subscribe", [{"channels": [], "queries": [query]}]).startswith(text)

    def test_select_all_lets_every_event_pass_and_is_repeated(self) -> None:
        item = only_item([{"channels": ["rows"], "queries": [ACTIVE, SELECT_ALL]}])
        assert item.filter is None
        assert item.queries == (ACTIVE, SELECT_ALL)

    def test_queries_are_repeated_as_understood(self) -> None:
        query = '{ "values": [1], "ignored": true, "attribute": "n", "method": "equal" }'
        item = only_item([{"channels": ["rows"], "queries": [query]}])
        assert item.queries == ('{"method":"equal","attribute":"n","values":[1]}',)

    def test_equal_queries_are_one_filter(self) -> None:
        first, second = (only_item([{"channels": [c], "queries": [ACTIVE]}]).filter for c in "ab")
        assert first is second
        assert first is not None
        assert first.matches({"status": "active"})
        assert not first.matches({"status": "gone"})


class TestLimits:
    def test_too_many_items_are_refused(self) -> None:
        data: list[dict[str, list[str]]] = [{"channels": []}] * 3
        assert isinstance(parse("subscribe", data, max_items=3), Subscribe)
        assert refused("subscribe", data, max_items=2) == "At most 2 subscriptions are allowed in a message."

    def test_too_many_channels_are_refused(self) -> None:
        data = [{"channels": [f"c{n}" for n in range(101)]}]
        assert refused("subscribe", data) == "At most 100 channels are allowed in a subscription."
        assert len(only_item(data, max_channels=101).channels) == 101

    def test_too_many_queries_are_refused(self) -> None:
        data = [{"channels": [], "queries": [ACTIVE] * 3}]
        assert refused("subscribe", data, max_queries=2) == "At most 2 queries are allowed in a subscription."
        assert len(only_item(data, max_queries=3).queries) == 3

    def test_nested_queries_count(self) -> None:
        query = json.dumps({"method": "or", "values": [json.loads(ACTIVE)] * 5})
        kind = refusal(
            json.dumps({"type": "subscribe", "data": [{"channels": [], "queries": [query]}]}), max_queries=5
        ).kind
        assert kind is ErrorKind.QUERY_INVALID

    def test_query_nesting_is_bounded(self) -> None:
        query = json.dumps({"method": "and", "values": [{"method": "or", "values": [json.loads(ACTIVE)]}]})
        data = [{"channels": [], "queries": [query]}]
        assert only_item(data, max_query_depth=2).filter is not None
        assert refused("subscribe", data, max_query_depth=1).startswith("Invalid query: ")

    def test_limit_error_keeps_the_connection_open(self) -> None:
        error = refusal('{"type":"subscribe","data":[{"channels":["a","b"]}]}', max_channels=1)
        assert (error.kind, error.code, error.close_code) == (ErrorKind.LIMIT_EXCEEDED, 1003, None)

    def test_zero_is_no_limit(self) -> None:
        item = {"channels": [f"c{n}" for n in range(200)], "queries": [ACTIVE] * 200}
        message = parse(
            "subscribe", [item] * 101, max_items=0, max_channels=0, max_queries=0, max_query_depth=0
        )
        assert isinstance(message, Subscribe)
        assert len(message.items) == 101


class TestUnsubscribe:
    def test_ids_are_kept_in_order(self) -> None:
        data = [{"subscriptionId": "b"}, {"subscriptionId": "a", "x": 1}, {"subscriptionId": "b"}]
        assert parse("unsubscribe", data) == Unsubscribe(("b", "a", "b"))

    def test_no_item_is_accepted(self) -> None:
        assert parse("unsubscribe", []) == Unsubscribe(())

    def test_id_that_could_not_be_made_is_no_error(self) -> None:
        assert parse("unsubscribe", [{"subscriptionId": "no such id!"}]) == Unsubscribe(("no such id!",))

    def test_absent_data_is_refused(self) -> None:
        assert refused("unsubscribe", None) == "Payload is not valid. Items is required"

    @pytest.mark.parametrize("data", [{}, {"subscriptionId": "a"}, "a", 5])
    def test_data_that_is_no_list_is_refused(self, data: object) -> None:
        assert refused("unsubscribe", data) == "items: Payload is not valid."

    @pytest.mark.parametrize("item", [None, 5, "a", [], ["a"], {}])
    def test_item_without_an_id_is_refused(self, item: object) -> None:
        self.check_refused(item)

    @pytest.mark.parametrize("subscription_id", [None, 5, "", []])
    def test_item_with_a_bad_id_is_refused(self, subscription_id: object) -> None:
        self.check_refused({"subscriptionId": subscription_id})

    def check_refused(self, item: object) -> None:
        assert refused("unsubscribe", [{"subscriptionId": "good"}, item]) == (
            "items: Each unsubscribe payload must include a non-empty subscriptionId."
        )


class TestPresence:
    def test_defaults(self) -> None:
        assert parse("presence", {"status": "away"}) == Presence("away", "unique()", None, None)

    def test_null_stands_for_the_default(self) -> None:
        data = {"status": "away", "presenceId": None, "metadata": None, "permissions": None}
        assert parse("presence", data) == Presence("away")

    def test_everything_given_is_kept(self) -> None:
        data = {
            "status": "away",
            "presenceId": "p1",
            "metadata": {"mood": [1, {"deep": None}]},
            "permissions": ['read("any")', 'write("user:u1")'],
            "userId": "ignored",
        }
        assert parse("presence", data) == Presence(
            "away", "p1", {"mood": [1, {"deep": None}]}, ('read("any")', 'write("user:u1")')
        )

    @pytest.mark.parametrize("metadata", [5, "text", [1], {}, False])
    def test_metadata_is_not_validated(self, metadata: object) -> None:
        assert parse("presence", {"status": "s", "metadata": metadata}) == Presence("s", metadata=metadata)

    @pytest.mark.parametrize("data", [None, {}, [], "away", {"status": None}, {"presenceId": ""}])
    def test_status_is_required(self, data: object) -> None:
        assert refused("presence", data) == "Payload is not valid. Status is required"

    @pytest.mark.parametrize("status", ["", "x" * 2049, 5, True, [], {}])
    def test_bad_status_is_refused(self, status: object) -> None:
        assert refused("presence", {"status": status}) == f"status: {too_long(2048)}"

    @pytest.mark.parametrize("presence_id", ["", "x" * 37, 5])
    def test_presence_id_of_bad_length_is_refused(self, presence_id: object) -> None:
        text = refused("presence", {"status": "s", "presenceId": presence_id})
        assert text == f"presenceId: {too_long(36)}"

    def test_presence_id_that_no_event_could_name_is_refused(self) -> None:
        text = refused("presence", {"status": "s", "presenceId": "a.b/c"})
        assert text == "presenceId: Value is not a valid id."

    @pytest.mark.parametrize(
        ("permissions", "text"),
        [
            ('read("any")', "Permissions must be an array of strings."),
            ({}, "Permissions must be an array of strings."),
            (['read("any")', 5], "Every permission must be of type string."),
            (['read("any")'] * 101, "You can only provide up to 100 permissions."),
        ],
    )
    def test_bad_permissions_are_refused(self, permissions: object, text: str) -> None:
        assert refused("presence", {"status": "s", "permissions": permissions}) == f"permissions: {text}"

    @pytest.mark.parametrize("permission", ["*", "read", 'read("nobody")', 'sing("any")'])
    def test_malformed_permission_is_refused(self, permission: str) -> None:
        text = refused("presence", {"status": "s", "permissions": [permission]})
        assert text.startswith("permissions: ")
