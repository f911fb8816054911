"""What clients send, from bytes to messages: against the parser of ``websockets``, and against what was meant."""

import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from realtime.hub.incoming import Incoming, Received, logger, short_frame

LIMIT = 1_000
TAIL = b"\x00\x00\xff\xff"


def frame(opcode: Opcode, payload: bytes = b"", *, fin: bool = True, compressed: bool = False) -> bytes:
    """Return a client's frame."""
    return Frame(opcode, payload, fin=fin, rsv1=compressed).serialize(mask=True, extensions=[])


def raw_frame(first: int, payload: bytes) -> bytes:
    """Return a client's frame that begins with any byte; the mask is all zeros."""
    length = (
        struct.pack("!B", 0x80 | len(payload))
        if len(payload) < 126
        else struct.pack("!BH", 0xFE, len(payload))
    )
    return bytes([first]) + length + bytes(4) + payload


def deflated(text: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)


def incoming(*, deflates: bool = True) -> Incoming:
    return Incoming(max_message_bytes=LIMIT, deflates=deflates)


def close_code(answer: bytes) -> int:
    """Return the code of the close frame that an answer consists of."""
    assert answer[0] == 0x88
    return int.from_bytes(answer[2:4])


def pieces(payload: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Cut a payload at positions, which may be anywhere."""
    positions = [0, *sorted(min(cut, len(payload)) for cut in cuts), len(payload)]
    return [payload[start:end] for start, end in pairwise(positions)]


def message_frames(text: bytes, cuts: Sequence[int], *, compressed: bool) -> list[bytes]:
    """Return the frames of a message that is cut into fragments."""
    parts = pieces(deflated(text) if compressed else text, cuts)
    return [
        raw_frame(
            (0x80 if number == len(parts) - 1 else 0)
            | (0x40 if compressed and number == 0 else 0)
            | (Opcode.CONT if number else Opcode.TEXT),
            part,
        )
        for number, part in enumerate(parts)
    ]


cuts = st.lists(st.integers(0, 300), max_size=3)
messages = st.builds(
    lambda text, cuts, compressed, pong: (text, message_frames(text, cuts, compressed=compressed), pong),
    st.binary(max_size=300),
    cuts,
    st.booleans(),
    st.binary(max_size=125),
)


class TestShortFrame:
    @pytest.mark.parametrize("payload", [b"", b"x", b"12345678", b"x" * 125])
    def test_lone_pong_and_text_are_read(self, payload: bytes) -> None:
        assert short_frame(frame(Opcode.PONG, payload)) == (Opcode.PONG, payload)
        assert short_frame(frame(Opcode.TEXT, payload)) == (Opcode.TEXT, payload)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\x8a",
            raw_frame(0x8A, b"12")[:-1],
            raw_frame(0x8A, b"12") + b"\x8a",
            raw_frame(0x8A, b"") * 2,
            raw_frame(0x81, b"x" * 126),
            raw_frame(0x8A, b"x" * 126),
            # 126 and 127 stand for longer forms of the length, whatever follows.
            bytes([0x8A, 0xFE]) + bytes(4 + 126),
            bytes([0x8A, 0xFF]) + bytes(4 + 127),
            bytes([0x8A, 2]) + bytes(4 + 2),
            raw_frame(0xC1, b"compressed"),
            raw_frame(0x01, b"a fragment"),
            raw_frame(0x80, b"a continuation"),
            raw_frame(0x0A, b"not final"),
            raw_frame(0x89, b""),
            raw_frame(0x88, b""),
            raw_frame(0x82, b"x"),
        ],
    )
    def test_anything_else_is_left_to_the_parser(self, data: bytes) -> None:
        assert short_frame(data) is None

    @given(
        st.one_of(
            st.binary(max_size=140),
            st.builds(raw_frame, st.integers(0, 255), st.binary(max_size=130)),
            st.builds(frame, st.sampled_from(Opcode), st.binary(max_size=125)),
        )
    )
    def test_the_parser_would_have_read_the_same(self, data: bytes) -> None:
        received = short_frame(data)
        if received is not None:
            parser = ServerProtocol(state=OPEN, logger=logger)
            parser.receive_data(data)
            (event,) = parser.events_received()
            assert isinstance(event, Frame)
            assert (event.opcode, bytes(event.data), event.fin) == (*received, True)
            assert parser.data_to_send() == []


class TestIncoming:
    @given(st.lists(messages, max_size=4), st.lists(st.integers(0, 3_000), max_size=10))
    def test_messages_arrive_however_they_are_cut(
        self, sent: list[tuple[bytes, list[bytes], bytes]], cuts: list[int]
    ) -> None:
        """Plain or compressed, in fragments with a pong before each; and the bytes in any pieces."""
        expected: list[Received] = []
        stream = b""
        for text, frames, pong in sent:
            for one in frames:
                expected.append((Opcode.PONG, pong))
                stream += frame(Opcode.PONG, pong) + one
            expected.append((Opcode.TEXT, text))
        reader = incoming()

        received = [item for piece in pieces(stream, cuts) for item in reader.receive(piece)]

        assert received == expected
        assert (reader.is_open, reader.is_empty, reader.answer()) == (True, True, b"")

    @given(messages, st.data())
    def test_it_is_not_empty_while_anything_is_on_its_way(
        self, sent: tuple[bytes, list[bytes], bytes], data: st.DataObject
    ) -> None:
        stream = b"".join(sent[1])
        reader = incoming()
        cut = data.draw(st.integers(1, len(stream) - 1))

        reader.receive(stream[:cut])
        assert not reader.is_empty
        reader.receive(stream[cut:])
        assert reader.is_empty

    def test_pings_are_answered_between_fragments_of_a_compressed_message(self) -> None:
        reader = incoming()
        first, last = message_frames(b"hello", [3], compressed=True)

        assert reader.receive(first + frame(Opcode.PING, b"now")) == []
        assert reader.answer() == b"\x8a\x03now"
        assert reader.receive(last) == [(Opcode.TEXT, b"hello")]

    @pytest.mark.parametrize("size", [LIMIT - 10, LIMIT, LIMIT + 1, 100 * LIMIT])
    def test_limit_is_on_what_a_message_is_decompressed(self, size: int) -> None:
        reader = incoming()

        received = reader.receive(raw_frame(0xC1, deflated(b"x" * size)))

        if size <= LIMIT:
            assert received == [(Opcode.TEXT, b"x" * size)]
            assert reader.is_open
        else:
            assert received == []
            assert close_code(reader.answer()) == 1009

    def test_fragments_are_limited_together(self) -> None:
        reader = incoming()
        frames = message_frames(
            b"".join(b"%d" % n for n in range(1_000)), [200, 400, 600, 800], compressed=True
        )

        assert reader.receive(b"".join(frames)) == []
        assert close_code(reader.answer()) == 1009

    def test_message_that_never_ends_and_says_nothing_is_limited(self) -> None:
        """Behind a last block, DEFLATE goes on without any output: the limit on that would not be reached."""
        reader = incoming()
        compressor = zlib.compressobj(wbits=-15)
        ended = compressor.compress(b"x") + compressor.flush(zlib.Z_FINISH)

        assert reader.receive(raw_frame(0x41, ended)) == []
        for _ in range(LIMIT // 100):
            reader.receive(raw_frame(0x00, b"x" * 100))

        assert close_code(reader.answer()) == 1009

    def test_message_may_end_with_a_last_block(self) -> None:
        """RFC 7692 section 7.2.3.4, with its own bytes."""
        assert incoming().receive(raw_frame(0xC1, bytes.fromhex("f348cdc9c9070000"))) == [
            (Opcode.TEXT, b"Hello")
        ]

    @pytest.mark.parametrize(
        ("deflates", "sent"),
        [
            pytest.param(False, raw_frame(0xC1, deflated(b"{}")), id="not negotiated"),
            pytest.param(True, raw_frame(0xC1, b"\xff\xff\xff\xff"), id="corrupt"),
            pytest.param(True, raw_frame(0xCA, b""), id="compressed pong"),
            pytest.param(True, raw_frame(0xC9, b""), id="compressed ping"),
            pytest.param(True, raw_frame(0xA1, b"{}"), id="reserved bit 2"),
            pytest.param(
                True, raw_frame(0x41, deflated(b"{}")) + raw_frame(0xC0, b"\x00"), id="bit in a continuation"
            ),
            pytest.param(
                True, raw_frame(0x01, b"{") + raw_frame(0xC0, b"}"), id="bit in a plain continuation"
            ),
            pytest.param(
                True, raw_frame(0x41, b"") + raw_frame(0xC1, deflated(b"{}")), id="new message within one"
            ),
        ],
    )
    def test_violation_ends_it(self, deflates: bool, sent: bytes) -> None:
        reader = incoming(deflates=deflates)

        assert reader.receive(sent) == []
        assert close_code(reader.answer()) == 1002
        assert not reader.is_open
        assert not reader.has_closed

    def test_close_is_answered(self) -> None:
        reader = incoming()

        assert reader.receive(frame(Opcode.CLOSE, struct.pack("!H", 1000))) == []
        assert reader.answer() == b"\x88\x02\x03\xe8"
        assert (reader.is_open, reader.has_closed) == (False, True)
