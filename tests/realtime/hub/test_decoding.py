"""What of a message is understood, and what of it is refused."""

import msgspec
import pytest

from realtime.hub.decoding import LazyPayload, UndecodableError, decode_event, decode_message

EVENT = (
    b'{"id":"5-1","roles":["team:red"],"data":{"events":["users.ada.update","users.*.update","users.ada.update.name"],'
    b'"channels":["account","account.ada"],"payload":{"name":"Ada"}}}'
)


class TestDecodeMessage:
    def test_event_is_decoded_with_all_who_may_read_it(self) -> None:
        live, event = decode_message(EVENT)
        assert event is not None
        assert event.live is live
        assert live.id == "5-1"
        assert event.parts.channels == ["account", "account.ada"]
        # The internal roles of API keys are among them (wire specification 16.7).
        assert event.roles == {"team:red", "keys", "keys:account"}
        assert event.name == "users.ada.update.name"
        assert event.payload() == {"name": "Ada"}

    def test_change_of_identities_has_no_event(self) -> None:
        live, event = decode_message(b'{"identity":{"user":"ada"}}')
        assert live.identity is not None
        assert event is None

    def test_event_without_names_has_an_empty_one(self) -> None:
        _, event = decode_message(b'{"data":{"channels":["rows"]}}')
        assert event is not None
        assert event.name == ""
        assert event.payload() == {}

    @pytest.mark.parametrize(
        "message",
        [
            *(b"", b"nonsense", b"[]", b'{"data":[]}', b'{"data":{}}', b'{"data":{"channels":[1]}}'),
            b'{"data":{"channels":["rows"],"payload":%s%s}}' % (b"[" * 5000, b"]" * 5000),
        ],
        ids=lambda message: repr(message[:40]),
    )
    def test_other_shapes_are_undecodable(self, message: bytes) -> None:
        with pytest.raises(UndecodableError) as raised:
            decode_message(message)
        assert raised.value.reason == "undecodable"

    def test_text_that_is_not_utf8_is_told_apart(self) -> None:
        with pytest.raises(UndecodableError) as raised:
            decode_message(b'{"data":{"channels":["rows"],"other":"\xff"}}')
        assert raised.value.reason == "not_text"


class TestDecodeEvent:
    def test_event_is_returned(self) -> None:
        event = decode_event(EVENT)
        assert event is not None
        assert event.live.id == "5-1"

    @pytest.mark.parametrize(
        "message", [b"nonsense", b'{"identity":{"user":"ada"}}', b'{"data":{"channels":["rows"],"x":"\xff"}}']
    )
    def test_anything_else_is_none(self, message: bytes) -> None:
        assert decode_event(message) is None


class TestLazyPayload:
    @pytest.mark.parametrize("raw", [b"[]", b"7", b'"x"', b"null", b'{"a":1e999}'])
    def test_what_is_no_object_or_cannot_be_read_counts_as_empty(self, raw: bytes) -> None:
        """PHP encodes an empty object as a list (wire specification 9.2)."""
        assert LazyPayload(msgspec.Raw(raw))() == {}

    def test_payload_is_decoded_once(self) -> None:
        payload = LazyPayload(msgspec.Raw(b'{"a":[1]}'))
        assert payload() is payload()
