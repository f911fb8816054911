"""What is refused of what strangers send."""

import io
import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from workers.images.decoding import decode
from workers.images.jobs import ImageRefusedError, Refused

MAX_PIXELS = 1_000_000


def encoded(image_format: str, size: tuple[int, int] = (64, 64)) -> bytes:
    body = io.BytesIO()
    Image.effect_noise(size, 50).convert("RGB").save(body, image_format)
    return body.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def one_color_png(width: int, height: int, *extra: bytes) -> bytes:
    """A PNG of one bit a pixel, which takes next to nothing however many there are."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    row = bytes(1 + (width + 7) // 8)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    parts = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", packed), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def endless_gif(frames: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0x80, 0, 0) + bytes(6)
    frame = (
        b","
        + struct.pack("<HHHHB", 0, 0, 8, 8, 0)
        + b"\x02\x16\x8c\x2d\x99\x87\x2a\x1c\xdc\x33\xa0\x02\x75\xec\x95\xfa\xa8\xde\x60\x8c\x04\x91\x4c\x01\x00"
    )
    return screen + frame * frames + b";"


def refusal(source: bytes, *, icons: bool = False) -> Refused:
    with pytest.raises(ImageRefusedError) as refused:
        decode(source, max_pixels=MAX_PIXELS, icons=icons)
    return refused.value.why


class TestTooLarge:
    @pytest.mark.parametrize(
        "make",
        [
            pytest.param(lambda: one_color_png(1001, 1000), id="a row too many"),
            pytest.param(lambda: one_color_png(20_000, 20_000), id="bomb"),
            pytest.param(lambda: encoded("JPEG", (1001, 1000)), id="jpeg"),
            pytest.param(lambda: encoded("GIF", (1001, 1000)), id="gif"),
            pytest.param(lambda: encoded("WEBP", (1001, 1000)), id="webp"),
        ],
    )
    def test_dimensions_count_before_pixels(self, make: Callable[[], bytes]) -> None:
        assert refusal(make()) is Refused.TOO_LARGE

    def test_image_of_just_as_many_pixels_is_decoded(self) -> None:
        assert decode(one_color_png(1000, 1000), max_pixels=MAX_PIXELS).pixels.size == (1000, 1000)

    def test_text_that_unpacks_to_very_much_is_refused(self) -> None:
        bomb = chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(50_000_000), 9))
        assert refusal(one_color_png(8, 8, bomb)) is Refused.UNREADABLE


class TestAnimation:
    def test_number_of_pictures_costs_nothing(self) -> None:
        decoded = decode(endless_gif(10_000), max_pixels=MAX_PIXELS)
        assert decoded.pixels.size == (8, 8)


class TestUnreadable:
    @pytest.mark.parametrize(
        "source",
        [
            b"",
            b"\x00",
            b"no image",
            b"<svg xmlns='http://www.w3.org/2000/svg' width='1' height='1'/>",
            b"%PDF-1.7\n",
            b"GIF89a",
            b"\x89PNG\r\n\x1a\n",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
            b"RIFF\x10\x00\x00\x00WEBPVP8 ",
        ],
    )
    def test_what_is_no_image_is_refused(self, source: bytes) -> None:
        assert refusal(source) is Refused.UNREADABLE

    @pytest.mark.parametrize("image_format", ["TIFF", "BMP", "PPM", "ICO", "JPEG2000", "PCX", "TGA", "EPS"])
    def test_formats_that_nobody_asked_for_are_not_decoded(self, image_format: str) -> None:
        assert refusal(encoded(image_format)) is Refused.UNREADABLE

    def test_icon_is_decoded_where_it_is_meant(self) -> None:
        assert decode(encoded("ICO"), max_pixels=MAX_PIXELS, icons=True).pixels.size == (64, 64)
        assert refusal(encoded("TIFF"), icons=True) is Refused.UNREADABLE

    @pytest.mark.parametrize("image_format", ["JPEG", "PNG", "GIF", "WEBP", "AVIF"])
    def test_truncated_image_is_refused(self, image_format: str) -> None:
        whole = encoded(image_format)
        assert decode(whole, max_pixels=MAX_PIXELS).pixels.size == (64, 64)
        for share in (0.2, 0.5, 0.8):
            assert refusal(whole[: int(len(whole) * share)]) is Refused.UNREADABLE, share

    def test_page_that_begins_like_an_image_is_decoded_as_one_or_refused(self) -> None:
        page = b"<script>alert(1)</script>"
        assert refusal(b"GIF89a/*" + page) is Refused.UNREADABLE
        # The page behind the image goes with everything else that is no pixel.
        assert decode(encoded("PNG") + page, max_pixels=MAX_PIXELS).pixels.size == (64, 64)

    @settings(max_examples=150, deadline=None)
    @given(st.data(), st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "AVIF", "ICO"]))
    def test_damaged_image_is_decoded_or_refused(self, data: st.DataObject, image_format: str) -> None:
        damaged = bytearray(_SMALL[image_format])
        for _ in range(data.draw(st.integers(1, 8))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        try:
            decoded = decode(bytes(damaged), max_pixels=MAX_PIXELS, icons=True)
        except ImageRefusedError:
            return
        assert decoded.pixels.mode in {"RGB", "RGBA"}


_SMALL = {name: encoded(name, (16, 16)) for name in ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "ICO")}
