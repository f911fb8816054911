"""What the hub sends: exact bytes of every frame (wire specification 3 and 16), and the account object."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.messages import (
    EVENT_SUFFIX,
    PONG,
    Subscribed,
    encode_authenticated,
    encode_connected,
    encode_error,
    encode_presence,
    encode_subscribed,
    encode_system,
    encode_unsubscribed,
    event_prefix,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class TestConnected:
    def test_bytes(self) -> None:
        frame = encode_connected(["account", "account.u1"], {0: "s0", 1: "s1"}, {"$id": "u1"}, "17-0")
        assert frame == (
            b'{"type":"connected","data":{"channels":["account","account.u1"],"subscriptions":["s0","s1"],'
            b'"user":{"$id":"u1"},"position":"17-0"}}'
        )

    def test_nothing_to_tell_a_guest(self) -> None:
        assert encode_connected([], {}, None, "0-0") == (
            b'{"type":"connected","data":{"channels":[],"subscriptions":[],"user":null,"position":"0-0"}}'
        )

    @pytest.mark.parametrize(
        ("subscriptions", "expected"),
        [
            ({0: "a"}, ["a"]),
            ({0: "a", 1: "b", 2: "c"}, ["a", "b", "c"]),
            ({1: "a"}, {"1": "a"}),
            ({1: "b", 0: "a"}, {"1": "b", "0": "a"}),
            ({0: "a", 2: "c"}, {"0": "a", "2": "c"}),
            ({"x": "a"}, {"x": "a"}),
            ({0: "a", "x": "b"}, {"0": "a", "x": "b"}),
        ],
    )
    def test_subscriptions_are_a_list_only_for_keys_from_zero(
        self, subscriptions: dict[str | int, str], expected: object
    ) -> None:
        frame = encode_connected(["rows"], subscriptions, None, "0-0")
        assert json.loads(frame)["data"]["subscriptions"] == expected


class TestError:
    def test_bytes(self) -> None:
        assert encode_error(1003, 'Not "this" / é') == (
            b'{"type":"error","data":{"code":1003,"message":"Not \\"this\\" / \xc3\xa9"}}'
        )


class TestPong:
    def test_bytes(self) -> None:
        assert PONG == b'{"type":"pong"}'


class TestResponse:
    def test_authentication(self) -> None:
        assert encode_authenticated({"$id": "u1", "prefs": {}}) == (
            b'{"type":"response","data":{"to":"authentication","success":true,"user":{"$id":"u1","prefs":{}}}}'
        )
        assert encode_authenticated(None) == (
            b'{"type":"response","data":{"to":"authentication","success":true,"user":null}}'
        )

    def test_subscribe(self) -> None:
        query = '{"method":"isNull","attribute":"a","values":[]}'
        frame = encode_subscribed([Subscribed("123", ["rows"], [query]), Subscribed("b", [], [])], "17-0")
        assert frame == (
            b'{"type":"response","data":{"to":"subscribe","success":true,"subscriptions":['
            b'{"subscriptionId":"123","channels":["rows"],'
            b'"queries":["{\\"method\\":\\"isNull\\",\\"attribute\\":\\"a\\",\\"values\\":[]}"]},'
            b'{"subscriptionId":"b","channels":[],"queries":[]}],"position":"17-0"}}'
        )

    @pytest.mark.parametrize("recovered", [True, False])
    def test_subscribe_with_since_tells_whether_it_recovered(self, recovered: bool) -> None:
        frame = encode_subscribed([Subscribed("a", ["rows"], [], recovered)], "0-0")
        assert json.loads(frame)["data"]["subscriptions"][0]["recovered"] is recovered

    def test_unsubscribe(self) -> None:
        assert encode_unsubscribed([("a", True), ("a", False)]) == (
            b'{"type":"response","data":{"to":"unsubscribe","success":true,"subscriptions":['
            b'{"subscriptionId":"a","removed":true},{"subscriptionId":"a","removed":false}]}}'
        )


class TestEncodePresence:
    """13.4: without the member `success` that the other responses have."""

    def test_presence_is_as_it_was_given(self) -> None:
        assert encode_presence({"$id": "p1", "metadata": {}}) == (
            b'{"type":"response","data":{"to":"presence","presence":{"$id":"p1","metadata":{}}}}'
        )


class TestSystem:
    def test_bytes(self) -> None:
        assert encode_system("gap", "Events may be missing.") == (
            b'{"type":"system","data":{"code":"gap","message":"Events may be missing."}}'
        )

    def test_further_members_come_last(self) -> None:
        assert encode_system("draining", "Come back.", retryAfterMs=1500) == (
            b'{"type":"system","data":{"code":"draining","message":"Come back.","retryAfterMs":1500}}'
        )


class TestEvent:
    DATA = (
        b'{"events":["teams.t1.create","teams.*.create"],"channels":["teams","teams.t1"],'
        b'"timestamp":"2024-06-10T06:13:20.000+00:00","payload":{"$id":"t1","prefs":{},"path":"a\\/b"}}'
    )

    def test_bytes(self) -> None:
        frame = event_prefix(self.DATA, "1718000000000-0") + b'"s1","2"' + EVENT_SUFFIX
        assert frame == (
            b'{"type":"event","data":{"events":["teams.t1.create","teams.*.create"],"channels":["teams","teams.t1"],'
            b'"timestamp":"2024-06-10T06:13:20.000+00:00","payload":{"$id":"t1","prefs":{},"path":"a\\/b"},'
            b'"id":"1718000000000-0","subscriptions":["s1","2"]}}'
        )

    def test_frame_is_the_data_with_two_members_more(self) -> None:
        frame = json.loads(event_prefix(self.DATA, "17-3") + b'"s1"' + EVENT_SUFFIX)
        assert frame == {
            "type": "event",
            "data": {**json.loads(self.DATA), "id": "17-3", "subscriptions": ["s1"]},
        }

    def test_event_outside_a_log_has_no_id(self) -> None:
        frame = json.loads(event_prefix(self.DATA, "") + b'"s1"' + EVENT_SUFFIX)
        assert frame["data"] == {**json.loads(self.DATA), "subscriptions": ["s1"]}

    @given(st.dictionaries(st.text(), JSON, min_size=1), st.lists(st.text()))
    def test_any_payload_round_trips(self, payload: dict[str, Any], subscriptions: list[str]) -> None:
        data = json.dumps({"events": [], "payload": payload}).encode()
        ids = ",".join(json.dumps(subscription) for subscription in subscriptions).encode()
        frame = json.loads(event_prefix(data, "1-0") + ids + EVENT_SUFFIX)
        assert frame["data"]["payload"] == payload
        assert frame["data"]["subscriptions"] == subscriptions


class TestRoundTrips:
    @given(st.lists(st.text()), st.lists(st.text()), st.none() | st.dictionaries(st.text(), JSON))
    def test_connected(self, channels: list[str], ids: list[str], user: dict[str, Any] | None) -> None:
        frame = json.loads(encode_connected(channels, dict(enumerate(ids)), user, "1-0"))
        assert frame["data"] == {"channels": channels, "subscriptions": ids, "user": user, "position": "1-0"}

    @given(st.integers(), st.text())
    def test_error(self, code: int, message: str) -> None:
        assert json.loads(encode_error(code, message))["data"] == {"code": code, "message": message}

    @given(
        st.lists(st.tuples(st.text(), st.lists(st.text()), st.lists(st.text()), st.none() | st.booleans()))
    )
    def test_subscribed(self, items: list[tuple[str, list[str], list[str], bool | None]]) -> None:
        frame = json.loads(encode_subscribed([Subscribed(*item) for item in items], "0-0"))
        assert [
            (item["subscriptionId"], item["channels"], item["queries"], item.get("recovered"))
            for item in frame["data"]["subscriptions"]
        ] == items
