"""A process that serves the calls of one function, one after the other, while it is warm.

It has one deployment, entrypoint and environment for as long as it lives. Calls go over a socket that only the
runtime's program knows, so that nothing the code prints can be taken for an answer.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from workers.functions.executors.supervised import Supervised

_LENGTHS = struct.Struct(">II")
_MAX_HEAD_BYTES = 1_048_576
"""How long status and headers of an answer may be."""


class RuntimeEndedError(Exception):
    """The process ended before it had answered."""

    def __init__(self, exit_code: int) -> None:
        ended = (
            f"exit code {exit_code}"
            if 0 <= exit_code < 128
            else f"signal {exit_code - 128 if exit_code > 0 else -exit_code}"
        )
        super().__init__(f"The process of the function ended, by {ended}, before it had answered.")


class ResponseTooLargeError(Exception):
    """The answer is larger than may be."""


class CallHead(msgspec.Struct, frozen=True):
    """A call without its body."""

    method: str
    path: str
    headers: Mapping[str, str]


class AnswerHead(msgspec.Struct, frozen=True):
    """An answer without its body."""

    status: int = 0
    headers: dict[str, str] = {}
    failed: bool = False
    """Whether there is none, since the code raised an exception, which is among the errors."""


class RuntimeProcess:
    """One process. Made by :meth:`start`, and to be ended by :meth:`end`."""

    def __init__(
        self,
        supervised: Supervised,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        max_response_bytes: int,
        on_end: Callable[[], None],
    ) -> None:
        self.calls = 0
        self._supervised = supervised
        self._reader = reader
        self._writer = writer
        self._max_response_bytes = max_response_bytes
        self._on_end = on_end

    @classmethod
    async def start(
        cls,
        command: Callable[[int], Sequence[str]],
        *,
        folder: Path,
        environment: Mapping[str, str],
        memory_bytes: int,
        max_output_bytes: int,
        max_response_bytes: int,
        on_end: Callable[[], None],
    ) -> "RuntimeProcess":
        """Start a process. When this is cancelled or fails, there is none.

        Args:
            command: returns the command line for the descriptor of the socket.
            folder: where it runs.
            environment: all of it.
            memory_bytes: how much memory it may have.
            max_output_bytes: how much of what it logs in a call is kept, and of its errors.
            max_response_bytes: how large the body of an answer may be.
            on_end: called once, when the process has ended.

        Raises:
            OSError: it cannot be started.
        """
        own, other = socket.socketpair()
        supervised = None
        try:
            with other:
                supervised = await Supervised.start(
                    command(other.fileno()),
                    folder=folder,
                    environment=environment,
                    memory_bytes=memory_bytes,
                    max_output_bytes=max_output_bytes,
                    descriptor=other.fileno(),
                )
            reader, writer = await asyncio.open_unix_connection(sock=own)
        except BaseException:
            own.close()
            if supervised is not None:
                await supervised.end()
            on_end()
            raise
        return cls(supervised, reader, writer, max_response_bytes=max_response_bytes, on_end=on_end)

    @property
    def is_usable(self) -> bool:
        """Whether it could serve a call."""
        return not (self._reader.at_eof() or self._writer.is_closing() or self._supervised.has_ended)

    async def call(self, head: CallHead, body: bytes) -> tuple[AnswerHead, bytes]:
        """Have a call served, and return the answer. After any exception the process is of no further use.

        Raises:
            RuntimeEndedError: the process ended meanwhile, with all that it had started.
            ResponseTooLargeError: the body of the answer is too large.
            ValueError: what came is no answer.
        """
        self.calls += 1
        # What came between calls belongs to none.
        self.take_output()
        try:
            text = msgspec.json.encode(head)
            self._writer.write(_LENGTHS.pack(len(text), len(body)) + text)
            if body:
                self._writer.write(body)
            await self._writer.drain()
            return await self._read_answer()
        except (asyncio.IncompleteReadError, ConnectionError):
            raise RuntimeEndedError(await self._supervised.wait()) from None

    def take_output(self) -> tuple[str, str]:
        """Return what was logged, and the errors, since the call began."""
        return self._supervised.logs.take(), self._supervised.errors.take()

    async def end(self) -> None:
        """Kill the process and all that it has started, and wait until that is done, even when cancelled."""
        self._writer.close()
        try:
            await self._supervised.end()
        finally:
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()
            on_end, self._on_end = self._on_end, _nothing
            on_end()

    async def _read_answer(self) -> tuple[AnswerHead, bytes]:
        head_bytes, body_bytes = _LENGTHS.unpack(await self._reader.readexactly(_LENGTHS.size))
        if head_bytes > _MAX_HEAD_BYTES or body_bytes > self._max_response_bytes:
            raise ResponseTooLargeError
        head = msgspec.json.decode(await self._reader.readexactly(head_bytes), type=AnswerHead)
        return head, await self._reader.readexactly(body_bytes)


def _nothing() -> None:
    pass
