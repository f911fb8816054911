"""Compression without contexts: RFC 7692 and RFC 1951, with zlib as the client that reads what was written."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import NegotiationError
from websockets.frames import Frame, Opcode

from realtime.hub.deflate import Compressor, Negotiation, inflater
from realtime.hub.frames import stored_block

EVENT = (
    b'{"type":"event","data":{"events":["databases.*.tables.*.rows.*.update","databases.*.tables.*.rows.*"],'
)
TAIL = b"\x00\x00\xff\xff"
"""What a receiver adds to a message (RFC 7692 section 7.2.2)."""


def inflated(message: bytes) -> bytes:
    """Decompress a message as a client does that has never seen another; all of it must be used."""
    decompressor = zlib.decompressobj(-15)
    text = decompressor.decompress(message + TAIL)
    assert (decompressor.unused_data, decompressor.unconsumed_tail, decompressor.eof) == (b"", b"", False)
    return text


texts = st.one_of(
    st.binary(max_size=200),
    # What compresses well, also beyond the window of 32 KB.
    st.builds(lambda part, times: part * times, st.binary(min_size=1, max_size=50), st.integers(1, 2_000)),
    st.text(max_size=200).map(str.encode),
)


class TestCompressor:
    @given(st.lists(texts, min_size=1, max_size=5), texts, st.integers(1, 9))
    def test_each_message_is_read_by_itself(self, prefixes: list[bytes], own: bytes, level: int) -> None:
        compressor = Compressor(level=level, threshold_bytes=0)
        for prefix in prefixes:
            blocks = compressor.compress(prefix)

            assert blocks is None or inflated(blocks + stored_block(own)) == prefix + own

    @given(texts)
    def test_result_is_shorter_than_the_text(self, text: bytes) -> None:
        blocks = Compressor(level=6, threshold_bytes=0).compress(text)

        assert blocks is None or len(blocks) < len(text)

    def test_equal_texts_are_compressed_to_the_same_bytes(self) -> None:
        """A compressor that kept its context would refer to the first one, and the second be tiny."""
        compressor = Compressor(level=1, threshold_bytes=0)

        first, second = compressor.compress(EVENT), compressor.compress(EVENT)

        assert first == second
        assert first is not None

    def test_text_under_the_threshold_is_left_as_it_is(self) -> None:
        compressor = Compressor(level=1, threshold_bytes=len(EVENT))

        assert compressor.compress(EVENT[:-1]) is None
        assert compressor.compress(EVENT) is not None

    def test_text_that_cannot_get_shorter_is_left_as_it_is(self) -> None:
        compressor = Compressor(level=9, threshold_bytes=0)

        assert compressor.compress(bytes(range(256))) is None
        assert compressor.compress(b"") is None
        assert inflated((compressor.compress(EVENT) or b"") + stored_block(b"own")) == EVENT + b"own"


class TestStoredBlock:
    @pytest.mark.parametrize(
        ("own", "blocks"),
        [
            (b"", b"\x00"),
            (b"abc", b"\x00\x03\x00\xfc\xffabc\x00"),
            (b"x" * 65_535, b"\x00\xff\xff\x00\x00" + b"x" * 65_535 + b"\x00"),
            (
                b"x" * 65_536,
                b"\x00\xff\xff\x00\x00" + b"x" * 65_535 + b"\x00\x01\x00\xfe\xffx" + b"\x00",
            ),
        ],
        ids=["nothing", "short", "one full block", "two blocks"],
    )
    def test_bytes(self, own: bytes, blocks: bytes) -> None:
        """RFC 1951 section 3.2.4."""
        assert stored_block(own) == blocks
        assert inflated(blocks) == own


class TestInflater:
    def test_messages_are_read_by_themselves(self) -> None:
        """The second may not refer to the first, though the decoder is the same."""
        extension = inflater()
        compressor = zlib.compressobj(wbits=-15)
        first, second = (
            (compressor.compress(EVENT) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(TAIL)
            for _ in range(2)
        )

        assert extension.decode(Frame(Opcode.TEXT, first, rsv1=True)).data == EVENT
        with pytest.raises(Exception, match="decompression failed"):
            extension.decode(Frame(Opcode.TEXT, second, rsv1=True))


class TestNegotiation:
    @pytest.mark.parametrize(
        ("offer", "further"),
        [
            ([], []),
            ([("server_no_context_takeover", None)], []),
            ([("client_no_context_takeover", None)], []),
            ([("client_max_window_bits", None)], []),
            ([("client_max_window_bits", "10")], [("client_max_window_bits", "10")]),
            ([("server_max_window_bits", "15")], [("server_max_window_bits", "15")]),
        ],
        ids=str,
    )
    def test_neither_side_keeps_a_context(
        self, offer: list[tuple[str, str | None]], further: list[tuple[str, str | None]]
    ) -> None:
        answer, _ = Negotiation().process_request_params(offer, [])

        assert answer == [
            ("server_no_context_takeover", None),
            ("client_no_context_takeover", None),
            *further,
        ]

    @pytest.mark.parametrize("bits", ["8", "9", "14"])
    def test_smaller_window_of_the_server_is_declined(self, bits: str) -> None:
        with pytest.raises(NegotiationError):
            Negotiation().process_request_params([("server_max_window_bits", bits)], [])

    @pytest.mark.parametrize(
        "offer", [[("unknown", None)], [("server_max_window_bits", "16")], [("client_max_window_bits", "x")]]
    )
    def test_invalid_offer_is_declined(self, offer: list[tuple[str, str | None]]) -> None:
        """RFC 7692 section 7.1: an unknown parameter or value is no reason to refuse the connection."""
        with pytest.raises(NegotiationError):
            Negotiation().process_request_params(offer, [])
