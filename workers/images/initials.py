"""Avatars of people who have no picture: the first letters of their name on a color that is always theirs.

The font that comes along has the letters of English only. Others lose their accents; a name of which no letter can be
drawn gets the outline of a person instead. A font of one's own has whatever letters it has.
"""

import colorsys
import hashlib
import unicodedata

from PIL import Image, ImageDraw, ImageFont

from workers.images.encoding import encode
from workers.images.jobs import Color, Format, Initials, Picture

_LETTERS = 2

_FONT_SHARE = 0.42
"""How large letters are, of the shorter side."""

_LIGHT: Color = (255, 255, 255)
_DARK: Color = (33, 37, 41)

_NOT_A_CHARACTER = "\uffff"

Font = ImageFont.FreeTypeFont


def draw_initials(job: Initials, *, font_path: str = "") -> Picture:
    """Return the initials of a name as a picture of exactly the size asked for.

    Args:
        job: what to draw.
        font_path: a TrueType or OpenType font; empty for the one that comes along.

    Raises:
        OSError: the font cannot be read.
    """
    background = job.background or color_of(job.name)
    drawn = Image.new("RGB", (job.width, job.height), background)
    draw = ImageDraw.Draw(drawn)
    ink = _ink(background)
    if job.name.strip():
        font = _font(font_path, max(1, round(min(drawn.size) * _FONT_SHARE)))
        text = "".join(_drawable(letter, font) for letter in initials_of(job.name))
        if text:
            draw.text((job.width / 2, job.height / 2), text, fill=ink, font=font, anchor="mm")
        else:
            _draw_person(draw, drawn.size, ink)
    return encode(drawn, Format.PNG)


def initials_of(name: str) -> str:
    """Return the first letter or digit of each of the first two words that begin with one, as capitals."""
    words = name.replace("-", " ").replace(".", " ").replace("_", " ").split()
    letters = [word[0].upper()[0] for word in words if word[0].isalnum()]
    return "".join(letters[:_LETTERS])


def color_of(name: str) -> Color:
    """Return the color of whoever has these initials: strong, neither very light nor very dark."""
    hue = hashlib.sha256(initials_of(name).encode()).digest()[0] / 256
    red, green, blue = colorsys.hls_to_rgb(hue, 0.45, 0.55)
    return round(red * 255), round(green * 255), round(blue * 255)


def _ink(background: Color) -> Color:
    """Return what can be read on a background, by its luminance (ITU-R BT.601)."""
    red, green, blue = background
    return _DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 150 else _LIGHT


def _font(path: str, size: int) -> Font:
    font = ImageFont.truetype(path, size) if path else ImageFont.load_default(size)
    if not isinstance(font, Font):
        raise OSError("The font cannot be scaled.")
    return font


def _drawable(letter: str, font: Font) -> str:
    """Return a letter as far as the font has it: itself, without its accents, or nothing."""
    missing = bytes(font.getmask(_NOT_A_CHARACTER))
    for candidate in (letter, unicodedata.normalize("NFKD", letter)[0]):
        if bytes(font.getmask(candidate)) not in (missing, b""):
            return candidate
    return ""


def _draw_person(draw: ImageDraw.ImageDraw, size: tuple[int, int], ink: Color) -> None:
    """Draw head and shoulders."""
    across, down = size[0] / 2, size[1] / 2
    unit = min(size) / 100
    draw.ellipse((across - 15 * unit, down - 28 * unit, across + 15 * unit, down + 2 * unit), fill=ink)
    draw.pieslice(
        (across - 27 * unit, down + 7 * unit, across + 27 * unit, down + 61 * unit), 180, 360, fill=ink
    )
