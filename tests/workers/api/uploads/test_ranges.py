"""The arithmetic of chunks, against plain sets and slices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.api.uploads.ranges import ChunkRange, InvalidRangeError, Layout, Parts

SIZES = st.integers(1, 2**40)


class TestChunkRange:
    def test_the_header_of_the_sdks_is_read(self) -> None:
        chunk = ChunkRange.parse("bytes 5242880-10485759/12582912")
        assert chunk == ChunkRange(5242880, 10485760, 12582912)
        assert (chunk.size_bytes, chunk.is_whole) == (5242880, False)

    def test_a_range_of_everything_is_whole(self) -> None:
        assert ChunkRange.parse("bytes 0-0/1").is_whole
        assert ChunkRange.whole(7) == ChunkRange.parse("bytes 0-6/7")

    @pytest.mark.parametrize(
        "header",
        [
            "", "bytes", "0-4/5", "bytes 0-5/5", "bytes 3-2/5", "bytes -1-2/5", "bytes 0-4/*", "bytes */5", "bytes 0-4",
            "bytes 0-4/5, bytes 5-6/7", "bytes=0-4/5", "items 0-4/5", "bytes 0 - 4/5", "bytes 0-4/5x",
            "bytes \u0660-\u0664/\u0665", "bytes 0-0/0",
            "bytes 0-99999999999999999/100000000000000000", "bytes 0x0-4/5", "bytes +0-4/5",
            "bytes 00-4/5", "bytes 0-04/5", "bytes 0-4/05", "bytes 05-6/7", "\u00a0bytes 0-4/5",
        ],
    )  # fmt: skip
    def test_anything_else_is_refused(self, header: str) -> None:
        with pytest.raises(InvalidRangeError):
            ChunkRange.parse(header)

    @given(st.text(max_size=30) | st.from_regex(r"bytes \d{1,4}-\d{1,4}/\d{1,4}", fullmatch=True))
    def test_what_is_read_lies_within_the_file(self, header: str) -> None:
        try:
            chunk = ChunkRange.parse(header)
        except InvalidRangeError:
            return
        assert 0 <= chunk.start < chunk.end <= chunk.total


class TestLayout:
    @given(total=st.integers(1, 200), chunk=st.integers(1, 200))
    def test_the_parts_of_a_file_are_numbered_from_one_in_order(self, total: int, chunk: int) -> None:
        layout = Layout(total, min(chunk, total))
        pieces = [range(total)[start : start + chunk] for start in range(0, total, chunk)]
        assert layout.count == len(pieces)
        for number, piece in enumerate(pieces, start=1):
            assert layout.number_of(ChunkRange(piece[0], piece[-1] + 1, total)) == number

    @given(
        total=st.integers(1, 60), chunk=st.integers(1, 60), start=st.integers(0, 59), size=st.integers(1, 60)
    )
    def test_what_is_no_part_is_refused(self, total: int, chunk: int, start: int, size: int) -> None:
        pieces = [(first, min(first + chunk, total)) for first in range(0, total, chunk)]
        end = start + size
        if (start, end) in pieces or end > total:
            return
        with pytest.raises(InvalidRangeError, match="chunks of"):
            Layout(total, chunk).number_of(ChunkRange(start, end, total))

    def test_another_total_is_refused(self) -> None:
        with pytest.raises(InvalidRangeError, match="one of 10 bytes"):
            Layout(10, 5).number_of(ChunkRange(0, 5, 11))

    @given(total=SIZES, chunk=SIZES)
    def test_the_first_chunk_sets_the_layout(self, total: int, chunk: int) -> None:
        end = min(total, chunk)
        layout = Layout.of_first(ChunkRange(0, end, total))
        assert layout.number_of(ChunkRange(0, end, total)) == 1

    def test_another_chunk_sets_none(self) -> None:
        with pytest.raises(InvalidRangeError, match="begins with the first"):
            Layout.of_first(ChunkRange(5, 10, 10))


class TestParts:
    @given(st.lists(st.integers(1, 30)))
    def test_it_is_a_set(self, numbers: list[int]) -> None:
        parts = Parts()
        for number in numbers:
            parts = parts.with_part(number)
        assert list(parts) == sorted(set(numbers))
        assert len(parts) == len(set(numbers))
        assert parts.in_order == next(n for n in range(32) if n + 1 not in numbers)
        assert all((number in parts) == (number in numbers) for number in range(32))
        assert Parts.parse(str(parts)) == parts

    @given(st.permutations(range(1, 12)))
    def test_what_is_complete_is_short_in_whatever_order_it_came(self, numbers: list[int]) -> None:
        parts = Parts()
        for number in numbers:
            parts = parts.with_part(number)
        assert str(parts) == "1-11"

    def test_runs_are_written_with_commas(self) -> None:
        assert str(Parts().with_part(3).with_part(1).with_part(4)) == "1,3-4"
        assert str(Parts()) == ""

    @pytest.mark.parametrize("text", ["x", "0", "1-", "-1", "1;2", "1--2"])
    def test_what_names_no_parts_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="names no parts"):
            Parts.parse(text)
