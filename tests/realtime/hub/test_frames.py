"""Frames on the wire, byte for byte (RFC 6455 section 5.2)."""

import json

import pytest
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from realtime.hub.frames import PING_FRAME, EventFrame, close_frame, masked_size, text_frame, text_header
from realtime.hub.index import Subscriber, SubscriptionIndex
from realtime.messages import event_prefix


def parse(data: bytes) -> Frame:
    """Read one frame with the parser of `websockets`, as a client would."""
    reader = StreamReader()
    reader.feed_data(data)
    parser = Frame.parse(reader.read_exact, mask=False)
    try:
        next(parser)
    except StopIteration as result:
        frame: Frame = result.value
        return frame
    raise AssertionError("the frame is incomplete")


class TestTextHeader:
    @pytest.mark.parametrize(
        ("size", "header"),
        [
            (0, b"\x81\x00"),
            (125, b"\x81\x7d"),
            (126, b"\x81\x7e\x00\x7e"),
            (65535, b"\x81\x7e\xff\xff"),
            (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        ],
    )
    def test_length_takes_the_shortest_form(self, size: int, header: bytes) -> None:
        assert text_header(size) == header

    @pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100_000])
    def test_clients_read_what_was_written(self, size: int) -> None:
        frame = parse(text_frame(b"x" * size))
        assert (frame.opcode, frame.fin, frame.data) == (Opcode.TEXT, True, b"x" * size)


class TestMaskedSize:
    @pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
    def test_it_is_the_size_of_what_a_client_sends(self, size: int) -> None:
        assert masked_size(size) == len(Frame(Opcode.TEXT, b"x" * size).serialize(mask=True))


class TestControlFrames:
    def test_close_carries_code_and_reason(self) -> None:
        assert close_frame(1008, "no") == b"\x88\x04\x03\xf0no"

    def test_long_reason_is_cut_at_a_character(self) -> None:
        frame = parse(close_frame(1008, "é" * 200))
        assert bytes(frame.data)[2:].decode() == "é" * 61

    def test_ping_is_empty(self) -> None:
        assert PING_FRAME == b"\x89\x00"


class TestEventFrame:
    def test_each_connection_gets_its_own_subscriptions(self) -> None:
        index, one, two, three = SubscriptionIndex(), Subscriber(), Subscriber(), Subscriber()
        for subscriber in (one, two, three):
            index.add(subscriber)
        for name in ("a", "b"):
            index.subscribe(one, name, ["rows"], None)
        index.subscribe(two, "long-name", ["rows"], None)
        index.subscribe(three, "long-nam2", ["rows"], None)
        frame = EventFrame(event_prefix(b'{"payload":{"n":1}}', "7-0"))
        received = [
            json.loads(bytes(parse(frame.for_matches(subscriptions)).data))
            for subscriptions in index.match(["rows"], {"any"}, dict).values()
        ]
        expected = {"payload": {"n": 1}, "id": "7-0"}
        assert received == [
            {"type": "event", "data": {**expected, "subscriptions": ["a", "b"]}},
            {"type": "event", "data": {**expected, "subscriptions": ["long-name"]}},
            {"type": "event", "data": {**expected, "subscriptions": ["long-nam2"]}},
        ]
