"""The process that draws: reads jobs from its standard input, and writes pictures to its standard output.

Started by :mod:`workers.images.pool`, as ``python -m workers.images.worker LIMITS``. It knows no setting and no secret
of the server, can write no file, and gets as much memory as an image of the most pixels takes. It ends with its input.

A message is its length, in four bytes, and its MessagePack. The bytes of an image follow the job that they belong to.
"""

import contextlib
import os
import resource
import sys
from typing import BinaryIO

import msgspec

from workers.images.initials import draw_initials
from workers.images.jobs import ImageRefusedError, Initials, Job, Picture, Preview, Refusal, Refused
from workers.images.preview import draw_preview
from workers.images.qr import draw_qr_code

LENGTH_BYTES = 4

_BASE_MEMORY = 768 * 1024 * 1024
"""Address space of the interpreter and its libraries, and of everything that is not as large as the image."""

_MEMORY_PER_PIXEL = 16
"""An image is there up to four times, in four bytes a pixel."""


class Limits(msgspec.Struct, frozen=True):
    """What a process is told once."""

    max_pixels: int
    """Of an image that it decodes."""
    font_path: str = ""
    """The font of initials; empty for the one that comes along."""


class Request(msgspec.Struct, frozen=True):
    """A job."""

    job: Job
    size_bytes: int = 0
    """How many bytes of an image follow."""


def main() -> None:
    """Serve jobs until there are no more."""
    limits = msgspec.json.decode(sys.argv[1], type=Limits)
    _restrict(_BASE_MEMORY + _MEMORY_PER_PIXEL * limits.max_pixels)
    answers = os.fdopen(os.dup(1), "wb")
    # Whatever a library prints goes to the log, not among the answers.
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers, limits)


def serve(requests: BinaryIO, answers: BinaryIO, limits: Limits) -> None:
    """Answer each of ``requests``, until they end."""
    encoder = msgspec.msgpack.Encoder()
    decoder = msgspec.msgpack.Decoder(Request)
    while length := requests.read(LENGTH_BYTES):
        request = decoder.decode(requests.read(int.from_bytes(length)))
        answer = encoder.encode(_draw(request.job, requests.read(request.size_bytes), limits))
        answers.write(len(answer).to_bytes(LENGTH_BYTES))
        answers.write(answer)
        answers.flush()


def _draw(job: Job, source: bytes, limits: Limits) -> Picture | Refusal:
    try:
        match job:
            case Preview():
                return draw_preview(source, job, max_pixels=limits.max_pixels)
            case Initials():
                return draw_initials(job, font_path=limits.font_path)
            case _:
                return draw_qr_code(job)
    except ImageRefusedError as error:
        return Refusal(error.why)
    except MemoryError:
        return Refusal(Refused.TOO_LARGE)


def _restrict(memory_bytes: int) -> None:
    """Take away what drawing needs not. Some systems do not know some of these limits."""
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    main()
