"""What frames cost in themselves, without sockets: compressing an event, and reading the answer to a ping.

*Compressing*: events of three sizes, at several levels of zlib. Each is compressed once, however many receive it; so
the time is to be set against that of all its deliveries. *Of plain*: the bytes of a compressed frame, with one
subscription ID in its stored block, over those of the plain one. *Appending*: making one connection's frame of the
two parts.

*Reading*: a pong of 8 bytes, as a lone frame and by the parser of ``websockets``.

    python -m benchmarks.frames
"""

import argparse
import timeit
from collections.abc import Callable

from websockets.frames import Frame, Opcode

from benchmarks.common import Table, options_of, say, show
from benchmarks.payloads import EVENT_ID, SUBSCRIPTION_ID, bodies, data_of
from realtime.hub.deflate import Compressor
from realtime.hub.frames import EventFrame, stored_block
from realtime.hub.incoming import Incoming, short_frame
from realtime.messages import EVENT_SUFFIX, event_prefix

SIZES = (400, 1_600, 8_000)
LEVELS = (1, 2, 4, 6, 9)
OWN = SUBSCRIPTION_ID.encode() + EVENT_SUFFIX
STORED = stored_block(OWN)
REPEATS = 5


def microseconds(call: Callable[[], object], number: int = 2_000) -> float:
    """Return how long a call takes, at best."""
    return min(timeit.repeat(call, number=number, repeat=REPEATS)) / number * 1e6


def compressing(size: int, level: int) -> list[object]:
    """Return the row of the table for events of one size at one level."""
    say(f"compressing {size} bytes at level {level}")
    prefixes = [event_prefix(data_of(body), EVENT_ID) for body in bodies(size, "any")]
    compressor = Compressor(level=level, threshold_bytes=0)

    def compress_all() -> list[bytes | None]:
        return [EventFrame(prefix, compressor).deflated_head(len(STORED)) for prefix in prefixes]

    cost_us = microseconds(compress_all, 50) / len(prefixes)
    compressed = sum(len(head or b"") + len(STORED) for head in compress_all())
    frame = EventFrame(prefixes[0], compressor)
    appending_us = microseconds(lambda: (frame.deflated_head(len(STORED)) or b"") + STORED)
    return [f"{size:,} bytes, level {level}", cost_us, compressed / size / len(prefixes), appending_us]


def reading() -> list[list[object]]:
    """Return what reading a pong costs, by how it is read."""
    say("reading pongs")
    pong = Frame(Opcode.PONG, b"12345678").serialize(mask=True)

    def parse(*, deflates: bool) -> None:
        incoming = Incoming(max_message_bytes=64_000, deflates=deflates)
        incoming.receive(pong)
        incoming.answer()

    return [
        ["as a lone frame", microseconds(lambda: short_frame(pong))],
        ["by the parser", microseconds(lambda: parse(deflates=False))],
        ["by the parser, with compression", microseconds(lambda: parse(deflates=True))],
    ]


def main(options: argparse.Namespace) -> None:
    """Run the benchmark."""
    rows = [compressing(size, level) for size in SIZES for level in LEVELS]
    columns = ("event", "µs to compress", "of plain", "µs appending")
    show(Table("compressing", "Compressing an event once", columns, rows), options)
    show(Table("pongs", "Reading a pong", ("how", "µs"), reading()), options)


if __name__ == "__main__":
    main(options_of(__doc__).parse_args())
