"""The processes that draw, and those who wait for them.

Each job is handed to a process that has no other one. A process that crashes, or takes too long, is ended with its job;
nobody else notices. Processes are started when they are first needed, and replaced after a while, since libraries leak.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import msgspec
import structlog

from realtime.settings import Settings
from workers.images.gate import CrowdedError, Gate
from workers.images.jobs import ImageRefusedError, Job, Picture, Refusal, Refused
from workers.images.turns import Party
from workers.images.worker import LENGTH_BYTES, Limits, Request

MAX_WAITING = 512
"""How many jobs wait for a process before some are refused (:mod:`workers.images.turns`)."""

_MAX_JOBS = 200
"""How many jobs a process does before it is replaced."""

_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "16777216"}
"""Has glibc give back the memory of large images, rather than keep it for more of them."""

_LOG = structlog.get_logger("realtime.images")

_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Picture | Refusal] = msgspec.msgpack.Decoder(Picture | Refusal)


class ImagesBusyError(Exception):
    """As many jobs wait as may, and nobody has more of them waiting; it helps to come again."""


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes of an image, which are asked for when a process can take them."""

    size_bytes: int
    blocks: AsyncIterator[bytes]
    """As many bytes as that."""


class ImagePool:
    """Draws, in a few processes."""

    def __init__(self, limits: Limits, *, processes: int, timeout_s: float, max_source_bytes: int) -> None:
        """Draw in up to ``processes`` processes, each picture in ``timeout_s`` seconds.

        Images of more than ``max_source_bytes`` are refused.
        """
        self._limits = limits
        self._timeout_s = timeout_s
        self._max_source_bytes = max_source_bytes
        self._processes = Gate(processes, MAX_WAITING)
        # One is left for small pictures, and for API keys: nobody's thumbnails wait for seconds of somebody's posters.
        self._large = Gate(max(1, processes - 1), MAX_WAITING)
        self._idle: list[_Process] = []

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return a pool as the settings want it; no process is started yet.

        Raises:
            ValueError: the font of initials is not there.
        """
        if settings.initials_font and not Path(settings.initials_font).is_file():
            raise ValueError(f"REALTIME_INITIALS_FONT: there is no file {settings.initials_font}.")
        return cls(
            Limits(settings.preview_max_pixels, settings.initials_font),
            processes=settings.preview_processes,
            timeout_s=settings.preview_timeout_s,
            max_source_bytes=settings.preview_max_bytes,
        )

    async def draw(self, job: Job, source: Source | None = None, *, party: Party = Party()) -> Picture:  # noqa: B008 - immutable
        """Return what ``job`` draws, of the image in ``source`` if it is a preview.

        Args:
            job: what to draw.
            source: the image that is drawn anew.
            party: who asks for it; parties take turns.

        Raises:
            ImageRefusedError: the image is unreadable, or takes more than it may.
            ImagesBusyError: too many jobs wait; also while this one does.
            OSError: the image cannot be read from where it is, no process can be started, or one ended by itself.
        """
        if source is not None and source.size_bytes > self._max_source_bytes:
            raise ImageRefusedError(Refused.TOO_LARGE)
        large = job.is_large and not party.is_key
        try:
            async with (
                self._large.entered(party) if large else contextlib.nullcontext(),
                self._processes.entered(party),
            ):
                answer = await self._draw(job, source)
        except CrowdedError as error:
            raise ImagesBusyError from error
        if isinstance(answer, Refusal):
            raise ImageRefusedError(answer.why)
        return answer

    async def _draw(self, job: Job, source: Source | None) -> Picture | Refusal:
        process = self._take_idle() or await _Process.start(self._limits)
        done = False
        try:
            async with asyncio.timeout(self._timeout_s) as deadline:
                answer = await process.draw(job, source)
            done = True
        except TimeoutError:
            if not deadline.expired():
                raise
            _LOG.warning("an image took too long", job=type(job).__name__, timeout_s=self._timeout_s)
            return Refusal(Refused.TOO_LARGE)
        except _DiedError as error:
            _LOG.warning("a process that draws ended", job=type(job).__name__)
            if source is None:
                raise OSError("A process that draws ended.") from error
            return Refusal(Refused.UNREADABLE)
        finally:
            # Also when whoever asked is gone: an answer that nobody reads would be taken for the next one's.
            if done and process.jobs < _MAX_JOBS:
                self._idle.append(process)
            else:
                await process.end()
        return answer

    def _take_idle(self) -> "_Process | None":
        while self._idle:
            process = self._idle.pop()
            if process.is_running:
                return process
        return None

    async def aclose(self) -> None:
        """End the processes that wait for jobs."""
        while self._idle:
            await self._idle.pop().end()


class _DiedError(Exception):
    """A process ended before it answered."""


class _Process:
    """One process, which does one job at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        # There, since they were asked for.
        self._requests = cast("asyncio.StreamWriter", process.stdin)
        self._answers = cast("asyncio.StreamReader", process.stdout)
        self.jobs = 0

    @classmethod
    async def start(cls, limits: Limits) -> Self:
        """Start a process. Raises :class:`OSError` when that cannot be done."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "workers.images.worker",
            msgspec.json.encode(limits).decode(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Nothing else of the environment, in which secrets are.
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **_MALLOC},
        )
        return cls(process)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.returncode is None

    async def draw(self, job: Job, source: Source | None) -> Picture | Refusal:
        """Return the answer to a job.

        Raises:
            _DiedError: there will be none.
            OSError: the image cannot be read from where it is.
        """
        self.jobs += 1
        await self._write(_framed(Request(job, source.size_bytes if source else 0)))
        if source is not None:
            async for block in source.blocks:
                await self._write(block)
        try:
            length = int.from_bytes(await self._answers.readexactly(LENGTH_BYTES))
            return _DECODER.decode(await self._answers.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise _DiedError from error

    async def _write(self, data: bytes) -> None:
        try:
            self._requests.write(data)
            await self._requests.drain()
        except ConnectionError as error:
            raise _DiedError from error

    async def end(self) -> None:
        """End it at once, whatever it does."""
        if self.is_running:
            self._process.kill()
        await self._process.communicate()


def _framed(request: Request) -> bytes:
    message = _ENCODER.encode(request)
    return len(message).to_bytes(LENGTH_BYTES) + message
