"""The processes that draw, and the queue before them."""

import asyncio
import io
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from realtime.settings import Settings
from workers.images import pool as pools
from workers.images.jobs import Format, ImageRefusedError, Initials, Preview, QrCode, Refused
from workers.images.pool import ImagePool, ImagesBusyError, Source
from workers.images.turns import Party
from workers.images.worker import Limits

MAX_PIXELS = 1_000_000


def png(width: int, height: int) -> bytes:
    body = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(body, "png")
    return body.getvalue()


def source(data: bytes, size_bytes: int | None = None, *, error: Exception | None = None) -> Source:
    async def blocks() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 1000):
            yield data[start : start + 1000]
        if error is not None:
            raise error

    return Source(len(data) if size_bytes is None else size_bytes, blocks())


def small_pool(**options: float) -> ImagePool:
    return ImagePool(
        Limits(MAX_PIXELS),
        processes=int(options.get("processes", 1)),
        timeout_s=options.get("timeout_s", 30),
        max_source_bytes=100_000,
    )


@pytest.fixture
async def pool() -> AsyncIterator[ImagePool]:
    pool = small_pool()
    yield pool
    await pool.aclose()


class TestDraw:
    async def test_one_process_draws_everything(self, pool: ImagePool) -> None:
        preview = await pool.draw(Preview(width=10, output=Format.WEBP), source(png(100, 50)))
        assert preview.media_type == "image/webp"
        assert Image.open(io.BytesIO(preview.body)).size == (10, 5)
        initials = await pool.draw(Initials("Ada Lovelace", 30, 40))
        assert Image.open(io.BytesIO(initials.body)).size == (30, 40)
        code = await pool.draw(QrCode("hello", size=60))
        assert Image.open(io.BytesIO(code.body)).size == (60, 60)
        assert len(pool._idle) == 1

    async def test_image_that_cannot_be_drawn_is_refused_and_the_process_goes_on(
        self, pool: ImagePool
    ) -> None:
        for data, why in ((b"no image", Refused.UNREADABLE), (png(2000, 501), Refused.TOO_LARGE)):
            with pytest.raises(ImageRefusedError) as refused:
                await pool.draw(Preview(), source(data))
            assert refused.value.why is why
        (process,) = pool._idle
        await pool.draw(Preview(), source(png(2, 2)))
        assert pool._idle == [process]

    async def test_source_with_too_many_bytes_is_refused_unread(self, pool: ImagePool) -> None:
        with pytest.raises(ImageRefusedError) as refused:
            await pool.draw(Preview(), source(b"", 100_001))
        assert refused.value.why is Refused.TOO_LARGE
        assert not pool._idle

    async def test_job_that_takes_too_long_ends_with_its_process(self) -> None:
        pool = small_pool(timeout_s=0.001)
        with pytest.raises(ImageRefusedError) as refused:
            # No process starts so quickly.
            await pool.draw(QrCode("late"))
        assert refused.value.why is Refused.TOO_LARGE
        assert not pool._idle

    async def test_process_that_dies_takes_only_its_job_along(
        self, pool: ImagePool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await pool.draw(QrCode("first"))
        (process,) = pool._idle
        process._process.kill()
        await process._process.wait()
        await pool.draw(QrCode("second"))
        (other,) = pool._idle
        assert other is not process

        # Bytes that are no message end a process while it has a job.
        monkeypatch.setattr(pools, "_framed", lambda _request: (5).to_bytes(4) + b"wrong")
        with pytest.raises(ImageRefusedError) as refused:
            await pool.draw(Preview(), source(png(2, 2)))
        assert refused.value.why is Refused.UNREADABLE
        # No image is to blame.
        with pytest.raises(OSError, match="ended"):
            await pool.draw(QrCode("third"))
        assert not pool._idle

    async def test_source_that_fails_is_told_as_it_is(self, pool: ImagePool) -> None:
        for error in (OSError("The disk is gone."), TimeoutError("The store does not answer.")):
            with pytest.raises(type(error), match=str(error)):
                await pool.draw(Preview(), source(b"half", 1000, error=error))
            assert not pool._idle
        await pool.draw(QrCode("next"))

    async def test_process_is_replaced_after_its_jobs(
        self, pool: ImagePool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pools, "_MAX_JOBS", 2)
        await pool.draw(QrCode("one"))
        assert len(pool._idle) == 1
        await pool.draw(QrCode("two"))
        assert not pool._idle

    async def test_caller_who_goes_away_leaves_no_answer_to_the_next(self, pool: ImagePool) -> None:
        waiting = asyncio.Event()

        async def never() -> AsyncIterator[bytes]:
            waiting.set()
            await asyncio.Event().wait()
            yield b""

        drawing = asyncio.create_task(pool.draw(Preview(), Source(10, never())))
        await waiting.wait()
        drawing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await drawing
        assert not pool._idle
        assert (await pool.draw(QrCode("next", size=70))).media_type == "image/png"


class TestQueue:
    @pytest.fixture
    def pool(self, monkeypatch: pytest.MonkeyPatch) -> ImagePool:
        """One process, and two places to wait for it."""
        monkeypatch.setattr(pools, "MAX_WAITING", 2)
        return small_pool()

    @pytest.fixture
    async def held(self, pool: ImagePool) -> AsyncIterator[asyncio.Event]:
        """Keep the process busy until this is set."""
        held = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            await held.wait()
            yield png(2, 2)

        drawing = asyncio.create_task(pool.draw(Preview(), Source(len(png(2, 2)), slow())))
        await asyncio.sleep(0)
        yield held
        held.set()
        await drawing
        await pool.aclose()

    async def test_job_beyond_the_queue_is_refused_at_once(
        self, pool: ImagePool, held: asyncio.Event
    ) -> None:
        queued = [asyncio.create_task(pool.draw(QrCode(str(number)))) for number in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ImagesBusyError):
            await pool.draw(QrCode("too many"))
        held.set()
        assert all(await asyncio.gather(*queued))
        await pool.draw(QrCode("later"))

    async def test_whoever_waits_for_most_gives_way_to_others(
        self, pool: ImagePool, held: asyncio.Event
    ) -> None:
        many = [
            asyncio.create_task(pool.draw(QrCode(str(number)), party=Party("demo", False, "192.0.2.1")))
            for number in range(2)
        ]
        await asyncio.sleep(0)
        other = asyncio.create_task(pool.draw(QrCode("other"), party=Party("demo", True, "192.0.2.2")))
        with pytest.raises(ImagesBusyError):
            await many[1]
        held.set()
        assert all(await asyncio.gather(many[0], other))

    async def test_caller_who_goes_away_while_waiting_leaves_the_place(
        self, pool: ImagePool, held: asyncio.Event
    ) -> None:
        queued = [asyncio.create_task(pool.draw(QrCode(str(number)))) for number in range(2)]
        await asyncio.sleep(0)
        queued[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued[0]
        third = asyncio.create_task(pool.draw(QrCode("third")))
        await asyncio.sleep(0)
        # As their turn comes.
        queued[1].cancel()
        held.set()
        await third

    async def test_large_pictures_leave_a_process_to_small_ones_and_to_keys(self) -> None:
        pool = small_pool(processes=2)
        held = asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            await held.wait()
            yield png(2, 2)

        large = [asyncio.create_task(pool.draw(Preview(), Source(len(png(2, 2)), slow()))) for _ in range(2)]
        await asyncio.sleep(0)
        await pool.draw(QrCode("small"))
        await pool.draw(Preview(), source(png(2, 2)), party=Party("demo", True))
        held.set()
        assert all(await asyncio.gather(*large))
        await pool.aclose()


class TestFromSettings:
    def test_font_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        font = tmp_path / "font.ttf"
        with pytest.raises(ValueError, match="REALTIME_INITIALS_FONT"):
            ImagePool.from_settings(Settings(initials_font=str(font)))
        font.touch()
        ImagePool.from_settings(Settings(initials_font=str(font)))


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux tells what another process has.")
class TestProcess:
    async def test_process_knows_nothing_of_the_environment(
        self, pool: ImagePool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REALTIME_SECRET", "do-not-tell")
        await pool.draw(QrCode("x"))
        (process,) = pool._idle
        with open(f"/proc/{process._process.pid}/environ", "rb") as environment:  # noqa: ASYNC230, PTH123
            assert b"do-not-tell" not in environment.read()
        with open(f"/proc/{process._process.pid}/limits") as limits:  # noqa: ASYNC230, PTH123
            lines = limits.read()
        (address_space,) = [line.split() for line in lines.splitlines() if "address space" in line]
        assert int(address_space[3]) == 768 * 1024 * 1024 + 16 * MAX_PIXELS
