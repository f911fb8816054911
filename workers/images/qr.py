"""QR codes."""

import segno
from PIL import Image

from workers.images.encoding import encode
from workers.images.jobs import Format, Picture, QrCode


def draw_qr_code(job: QrCode) -> Picture:
    """Return a text as a QR code of exactly the size asked for, black on white.

    Modules are whole pixels, so that the code stays sharp; what is left over is margin. Only a code that has more
    modules than pixels is scaled down.

    Raises:
        ValueError: the text is too long.
    """
    code = segno.make(job.text, error="l", micro=False)
    rows = [bytes(255 * (not dark) for dark in row) for row in code.matrix_iter(border=job.margin)]
    modules = Image.frombytes("L", (len(rows), len(rows)), b"".join(rows))
    factor = job.size // len(rows)
    if factor == 0:
        drawn = modules.resize((job.size, job.size), Image.Resampling.BOX)
        return encode(drawn.convert("RGB"), Format.PNG)
    side = factor * len(rows)
    drawn = Image.new("RGB", (job.size, job.size), "white")
    left = (job.size - side) // 2
    drawn.paste(modules.resize((side, side), Image.Resampling.NEAREST), (left, left))
    return encode(drawn, Format.PNG)
