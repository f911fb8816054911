"""Frames on the wire, byte for byte (RFC 6455 section 5.2)."""

import json
from hashlib import sha512

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from realtime.hub.deflate import Compressor
from realtime.hub.frames import (
    PING_FRAME,
    EventFrame,
    close_frame,
    masked_size,
    own_part,
    ping_frame,
    stored_block,
    text_frame,
    text_header,
)
from realtime.hub.index import Subscriber, Subscription, SubscriptionIndex
from realtime.messages import event_prefix


def parse(data: bytes) -> Frame:
    """Read one frame with the parser of `websockets`, as a client would that has seen no other message."""
    reader = StreamReader()
    reader.feed_data(data)
    parser = Frame.parse(reader.read_exact, mask=False, extensions=[PerMessageDeflate(True, True, 15, 15)])
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

    def test_ping_carries_a_payload(self) -> None:
        assert ping_frame(b"7-0") == b"\x89\x037-0"


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

    @given(
        st.lists(
            st.tuples(
                st.binary(min_size=20, max_size=100),
                st.booleans(),
                st.lists(st.text(max_size=40), min_size=1, max_size=5),
            ),
            min_size=1,
            max_size=5,
        ),
        st.integers(0, 1_000),
    )
    def test_compressed_and_plain_frames_say_the_same(
        self, events: list[tuple[bytes, bool, list[str]]], threshold_bytes: int
    ) -> None:
        """Each by itself: no frame needs another to be read."""
        compressor = Compressor(level=1, threshold_bytes=threshold_bytes)
        for text, is_compressible, ids in events:
            # Digests cannot be compressed.
            prefix = text * 10 if is_compressible else sha512(text).digest()
            frame = EventFrame(prefix, compressor)
            subscriber = Subscriber()
            subscriptions = [Subscription(subscriber, id_) for id_ in ids]

            plain = frame.for_matches(subscriptions)
            compressed = frame.for_matches(subscriptions, deflates=True)

            assert plain[0] == 0x81
            assert parse(plain).data == prefix + own_part(subscriptions)
            assert parse(compressed).data == prefix + own_part(subscriptions)
            # The mark of a compressed message: RSV1.
            assert compressed[0] == (0xC1 if is_compressible and len(prefix) >= threshold_bytes else 0x81)

    @pytest.mark.parametrize("own_bytes", [1, 100, 65_535, 65_536, 200_000])
    def test_own_part_may_have_any_size(self, own_bytes: int) -> None:
        stored = stored_block(b"x" * own_bytes)
        head = EventFrame(b"abc" * 100, Compressor(level=1, threshold_bytes=0)).deflated_head(len(stored))
        assert head is not None

        assert head[0] == 0xC1
        assert parse(head + stored).data == b"abc" * 100 + b"x" * own_bytes

    def test_heads_are_made_once_for_each_length(self) -> None:
        frame = EventFrame(b"abc" * 1_000, Compressor(level=1, threshold_bytes=0))

        assert frame.head(10) is frame.head(10)
        assert frame.deflated_head(10) is frame.deflated_head(10)
        assert frame.head(11) == text_header(3_011) + b"abc" * 1_000

    @pytest.mark.parametrize(
        "compressor", [None, Compressor(level=1, threshold_bytes=3_001)], ids=["no compressor", "small event"]
    )
    def test_frame_stays_plain(self, compressor: Compressor | None) -> None:
        frame = EventFrame(b"abc" * 1_000, compressor)

        assert frame.deflated_head(10) is None
        assert frame.deflated_head(10) is None
