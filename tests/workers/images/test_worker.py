"""The process that draws, without a process: what it answers to what it reads."""

import io
import subprocess
import sys

import msgspec
import pytest
from PIL import Image

from workers.images.jobs import Initials, Job, Picture, Preview, QrCode, Refusal, Refused
from workers.images.worker import LENGTH_BYTES, Limits, Request, serve

PICTURE = io.BytesIO()
Image.new("RGB", (20, 10), "red").save(PICTURE, "png")


def framed(job: Job, source: bytes = b"") -> bytes:
    message = msgspec.msgpack.encode(Request(job, len(source)))
    return len(message).to_bytes(LENGTH_BYTES) + message + source


def parsed(stream: bytes) -> list[Picture | Refusal]:
    answers = []
    while stream:
        length = int.from_bytes(stream[:LENGTH_BYTES])
        message, stream = stream[LENGTH_BYTES : LENGTH_BYTES + length], stream[LENGTH_BYTES + length :]
        answers.append(msgspec.msgpack.decode(message, type=Picture | Refusal))
    return answers


class TestServe:
    def test_each_job_is_answered_in_turn(self) -> None:
        jobs = [
            framed(Preview(width=4), PICTURE.getvalue()),
            framed(Preview(), b"no image"),
            framed(Initials("Ada")),
            framed(QrCode("text")),
        ]
        answers = io.BytesIO()
        serve(io.BytesIO(b"".join(jobs)), answers, Limits(200))
        first, second, *others = parsed(answers.getvalue())
        assert isinstance(first, Picture)
        assert Image.open(io.BytesIO(first.body)).size == (4, 2)
        assert second == Refusal(Refused.UNREADABLE)
        assert [getattr(other, "media_type", "") for other in others] == ["image/png"] * 2

    def test_image_with_too_many_pixels_is_refused(self) -> None:
        answers = io.BytesIO()
        serve(io.BytesIO(framed(Preview(), PICTURE.getvalue())), answers, Limits(199))
        assert parsed(answers.getvalue()) == [Refusal(Refused.TOO_LARGE)]

    def test_lack_of_memory_is_a_refusal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def exhausted(*_arguments: object, **_options: object) -> Picture:
            raise MemoryError

        monkeypatch.setattr("workers.images.worker.draw_preview", exhausted)
        answers = io.BytesIO()
        serve(io.BytesIO(framed(Preview(), b"")), answers, Limits(1))
        assert parsed(answers.getvalue()) == [Refusal(Refused.TOO_LARGE)]


class TestProcess:
    def test_memory_is_bounded_and_what_is_printed_is_no_answer(self) -> None:
        script = (
            "import sys, workers.images.worker as worker\n"
            "def greedy(*arguments, **options):\n"
            "    print('a library speaks')\n"
            "    bytearray(1_000_000_000)\n"
            "worker.draw_preview = greedy\n"
            "worker.main()\n"
        )
        limits = msgspec.json.encode(Limits(1)).decode()
        # The process ends with its input.
        ended = subprocess.run(
            [sys.executable, "-c", script, limits],
            input=framed(Preview()),
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert parsed(ended.stdout) == [Refusal(Refused.TOO_LARGE)]
        assert b"a library speaks" in ended.stderr
