"""QR codes, read back module by module."""

import io

import pytest
import segno
from PIL import Image

from workers.images.jobs import QrCode
from workers.images.qr import draw_qr_code


def drawn(**options: object) -> Image.Image:
    image = Image.open(io.BytesIO(draw_qr_code(QrCode(**options)).body))  # type: ignore[arg-type]
    return image.convert("L")


class TestDrawQrCode:
    @pytest.mark.parametrize("margin", [0, 1, 10])
    @pytest.mark.parametrize("text", ["hello", "https://example.com/?q=ü", "日本" * 20, "x" * 512])
    def test_modules_are_those_of_the_text(self, text: str, margin: int) -> None:
        rows = [list(row) for row in segno.make(text, error="l", micro=False).matrix_iter(border=margin)]
        size = 4 * len(rows) + 3
        image = drawn(text=text, size=size, margin=margin)
        assert image.size == (size, size)
        read = [
            [int(image.getpixel((4 * across + 3, 4 * down + 3)) == 0) for across in range(len(rows))]
            for down in range(len(rows))
        ]
        assert read == rows

    @pytest.mark.parametrize("size", [1, 2, 20, 21, 22, 1000])
    def test_size_is_exact_however_small(self, size: int) -> None:
        assert drawn(text="hello", size=size).size == (size, size)

    def test_longest_text_fits(self) -> None:
        assert drawn(text="\U0001f600" * 512, size=400).size == (400, 400)
