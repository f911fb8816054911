"""The arithmetic of chunked uploads: ``Content-Range``, the numbers of parts, and which are there. Pure.

A file is sent in chunks of one size, which the first of them sets; only the last may be shorter. Source: the SDKs,
which send 5 MiB at a time; RFC 9110 section 14.4.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Every number is written in one way only, so that nothing else that looks at the header can read it differently.
_NUMBER = "(0|[1-9][0-9]{0,15})"
_CONTENT_RANGE = re.compile(f"bytes {_NUMBER}-{_NUMBER}/{_NUMBER}")
_RUN = re.compile(r"([1-9][0-9]{0,8})(?:-([1-9][0-9]{0,8}))?")


class InvalidRangeError(ValueError):
    """A range is not well-formed, or does not fit the chunks before it; the text says how."""


@dataclass(frozen=True, slots=True)
class ChunkRange:
    """Which bytes of a file a request carries."""

    start: int
    end: int
    """Exclusive."""
    total: int
    """The size of the file."""

    @classmethod
    def parse(cls, text: str) -> "ChunkRange":
        """Return the range that the header ``Content-Range`` names, such as ``bytes 0-4/10``.

        Raises:
            InvalidRangeError: it is no range of at least one byte within the file.
        """
        match = _CONTENT_RANGE.fullmatch(text.strip(" \t"))
        if match is None:
            raise InvalidRangeError("It must look like bytes 0-5242879/12582912.")
        first, last, total = map(int, match.groups())
        if not first <= last < total:
            raise InvalidRangeError(
                "The first byte must not be behind the last, nor the last beyond the file."
            )
        return cls(first, last + 1, total)

    @classmethod
    def whole(cls, size_bytes: int) -> "ChunkRange":
        """Return the range of a file that comes in one piece."""
        return cls(0, size_bytes, size_bytes)

    @property
    def size_bytes(self) -> int:
        """How many bytes there are in it."""
        return self.end - self.start

    @property
    def is_whole(self) -> bool:
        """Whether this is all of the file."""
        return self.size_bytes == self.total


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is cut into parts. They are numbered from 1."""

    total_bytes: int
    chunk_bytes: int
    """The size of every part but the last."""

    @classmethod
    def of_first(cls, first: ChunkRange) -> "Layout":
        """Return the layout that the first chunk of a file sets.

        Raises:
            InvalidRangeError: it is not the first.
        """
        if first.start != 0:
            raise InvalidRangeError("An upload begins with the first bytes of the file.")
        return cls(first.total, first.end)

    @property
    def count(self) -> int:
        """How many parts there are."""
        return -(-self.total_bytes // self.chunk_bytes)

    def number_of(self, chunk: ChunkRange) -> int:
        """Return the number of the part that ``chunk`` is.

        Raises:
            InvalidRangeError: it is none of the parts.
        """
        if chunk.total != self.total_bytes:
            raise InvalidRangeError(f"The upload began as one of {self.total_bytes} bytes.")
        if (
            chunk.start % self.chunk_bytes
            or chunk.end != min(chunk.start + self.chunk_bytes, self.total_bytes)
        ):  # fmt: skip
            raise InvalidRangeError(f"The upload began with chunks of {self.chunk_bytes} bytes.")
        return chunk.start // self.chunk_bytes + 1


@dataclass(frozen=True, slots=True)
class Parts:
    """A set of numbers of parts, small also when it is large: a list of runs."""

    runs: tuple[tuple[int, int], ...] = ()
    """First and last of each, ascending; between two of them at least one number is missing."""

    @classmethod
    def parse(cls, text: str) -> "Parts":
        """Return the set of a text that :meth:`__str__` made, such as ``1-4,6``."""
        runs = []
        for word in filter(None, text.split(",")):
            match = _RUN.fullmatch(word)
            if match is None:
                raise ValueError(f"{text!r} names no parts.")
            runs.append((int(match[1]), int(match[2] or match[1])))
        return cls(tuple(runs))

    def __str__(self) -> str:
        return ",".join(f"{first}-{last}" if first != last else str(first) for first, last in self.runs)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.runs)

    @property
    def in_order(self) -> int:
        """How many there are before the first that is missing."""
        return self.runs[0][1] if self.runs and self.runs[0][0] == 1 else 0

    def __iter__(self) -> Iterator[int]:
        for first, last in self.runs:
            yield from range(first, last + 1)

    def __contains__(self, number: int) -> bool:
        return any(first <= number <= last for first, last in self.runs)

    def with_part(self, number: int) -> "Parts":
        """Return the set with ``number`` in it."""
        if number in self:
            return self
        before = [run for run in self.runs if run[1] < number]
        after = [run for run in self.runs if run[0] > number]
        first = before.pop()[0] if before and before[-1][1] == number - 1 else number
        last = after.pop(0)[1] if after and after[0][0] == number + 1 else number
        return Parts((*before, (first, last), *after))
