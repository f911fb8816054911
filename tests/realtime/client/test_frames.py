import base64
import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.client.frames import (
    Connected,
    Event,
    Response,
    System,
    batches,
    decode_data,
    decode_frame,
    encode_message,
    realtime_url,
    subscribe_item,
    token_expiry,
)


class TestRealtimeUrl:
    @pytest.mark.parametrize(
        ("endpoint", "url"),
        [
            ("http://localhost:8080/v1", "ws://localhost:8080/v1/realtime?project=demo"),
            ("https://example.com/v1/", "wss://example.com/v1/realtime?project=demo"),
            ("ws://[::1]:8080/v1", "ws://[::1]:8080/v1/realtime?project=demo"),
            ("wss://example.com/api/v1", "wss://example.com/api/v1/realtime?project=demo"),
        ],
    )
    def test_endpoint_of_every_scheme_becomes_a_websocket_url(self, endpoint: str, url: str) -> None:
        assert realtime_url(endpoint, "demo") == url

    def test_project_with_reserved_characters_is_percent_encoded(self) -> None:
        assert realtime_url("ws://h/v1", "a&b=c/d") == "ws://h/v1/realtime?project=a%26b%3Dc%2Fd"

    @pytest.mark.parametrize("endpoint", ["localhost:8080/v1", "ftp://host/v1", "/v1", "", "http:///v1"])
    def test_endpoint_that_is_no_absolute_url_is_refused(self, endpoint: str) -> None:
        with pytest.raises(ValueError, match="the endpoint must be like"):
            realtime_url(endpoint, "demo")

    def test_empty_project_is_refused(self) -> None:
        with pytest.raises(ValueError, match="project"):
            realtime_url("ws://h/v1", "")


class TestDecode:
    def test_event_frame_gives_all_its_members(self) -> None:
        frame = decode_frame(
            b'{"type":"event","data":{"events":["a.b","a.*"],"channels":["a"],'
            b'"timestamp":"2026-01-31T12:00:00.000+00:00","payload":{"$id":"b","prefs":{}},"id":"7-0",'
            b'"subscriptions":["s1"],"new":1}}'
        )
        assert frame.type == "event"
        assert decode_data(frame, Event) == Event(
            events=("a.b", "a.*"),
            channels=("a",),
            timestamp="2026-01-31T12:00:00.000+00:00",
            payload={"$id": "b", "prefs": {}},
            id="7-0",
            subscriptions=("s1",),
        )

    def test_event_without_additions_of_this_hub_is_understood(self) -> None:
        frame = decode_frame(
            b'{"type":"event","data":{"events":["a"],"channels":[],"timestamp":"t","payload":{}}}'
        )
        event = decode_data(frame, Event)
        assert (event.id, event.subscriptions) == ("", ())

    def test_response_without_recovered_says_nothing_about_it(self) -> None:
        frame = decode_frame(
            b'{"type":"response","data":{"to":"subscribe","success":true,'
            b'"subscriptions":[{"subscriptionId":"s","channels":["c"],"queries":[]}]}}'
        )
        response = decode_data(frame, Response)
        assert response.subscriptions[0].recovered is None

    def test_system_frame_gives_the_delay_in_milliseconds(self) -> None:
        frame = decode_frame(b'{"type":"system","data":{"code":"draining","message":"m","retryAfterMs":250}}')
        assert decode_data(frame, System) == System(code="draining", message="m", retry_after_ms=250)

    def test_frame_without_data_reads_as_null(self) -> None:
        with pytest.raises(msgspec.ValidationError):
            decode_data(decode_frame(b'{"type":"pong"}'), Connected)

    @given(st.binary(max_size=40))
    def test_any_bytes_decode_or_raise_the_documented_error(self, text: bytes) -> None:
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
            decode_frame(text)


class TestEncodeMessage:
    def test_message_is_type_and_data(self) -> None:
        assert encode_message("unsubscribe", [{"subscriptionId": "s"}]) == (
            '{"type":"unsubscribe","data":[{"subscriptionId":"s"}]}'
        )

    def test_subscribe_item_names_the_position_only_when_there_is_one(self) -> None:
        assert subscribe_item("s", ["c"], ["q"], "") == {
            "subscriptionId": "s",
            "channels": ["c"],
            "queries": ["q"],
        }
        assert subscribe_item("s", ["c"], [], "5-1")["since"] == "5-1"


class TestBatches:
    @given(st.lists(st.integers(0, 300)), st.integers(1, 7), st.integers(30, 600))
    def test_batches_keep_order_and_limits(self, lengths: list[int], max_items: int, max_bytes: int) -> None:
        items: list[dict[str, object]] = [{"channels": "c" * length} for length in lengths]
        result = batches(items, max_items=max_items, max_bytes=max_bytes)
        assert [item for batch in result for item in batch] == items
        assert all(0 < len(batch) <= max_items for batch in result)
        sizes = [sum(len(json.dumps(item, separators=(",", ":"))) + 1 for item in batch) for batch in result]
        assert all(size <= max_bytes or len(batch) == 1 for size, batch in zip(sizes, result, strict=True))


class TestTokenExpiry:
    @staticmethod
    def token(claims: object) -> str:
        body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
        return f"e30.{body}.c2ln"

    def test_expiry_is_read_from_the_claims(self) -> None:
        assert token_expiry(self.token({"sub": "u", "exp": 1_900_000_000})) == 1_900_000_000

    def test_token_without_expiry_gives_none(self) -> None:
        assert token_expiry(self.token({"sub": "u"})) is None

    @pytest.mark.parametrize("token", ["", "a.b", "a.!.c", "a.e30", "....", "a.bm90IGpzb24.c", "a.x.c"])
    def test_text_that_is_no_token_gives_none(self, token: str) -> None:
        assert token_expiry(token) is None

    @given(st.text())
    def test_any_text_is_no_error(self, text: str) -> None:
        token_expiry(f"a.{text}.c")
