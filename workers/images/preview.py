"""Previews: an image cut, scaled and decorated as a request asks for it.

In this order: cut and scaled, made transparent, put on a background, given a border and round corners, turned.
"""

from functools import partial

from PIL import Image, ImageChops, ImageDraw

from workers.images.decoding import decode
from workers.images.encoding import encode, flatten
from workers.images.geometry import Size, target_size, turnable_size, visible_box
from workers.images.jobs import Color, Picture, Preview

_SMOOTHING = 2
"""How many times larger the mask of round corners is drawn, so that their edges become smooth."""


def draw_preview(source: bytes, job: Preview, *, max_pixels: int) -> Picture:
    """Return the preview of the image that ``source`` holds.

    Raises:
        ImageRefusedError: as :func:`workers.images.decoding.decode`.
    """
    decoded = decode(
        source, max_pixels=max_pixels, scaled_size=partial(_size, job=job), icons=job.accept_icons
    )
    pixels = _resized(decoded.pixels, job)
    if job.opacity < 1:
        pixels = _faded(pixels, job.opacity)
    if job.background is not None:
        pixels = flatten(pixels, job.background)
    radius = min(job.border_radius, min(pixels.size) // 2)
    if job.border_width:
        _draw_border(pixels, job.border_width, job.border_color, radius)
    if radius:
        pixels = _rounded(pixels, radius)
    if job.rotation % 360:
        pixels = _turned(pixels, job.rotation)
    return encode(
        pixels,
        job.output or decoded.format,
        quality=job.quality,
        profile=decoded.profile,
        background=job.background,
    )


def _size(source: Size, job: Preview) -> Size:
    return turnable_size(target_size(source, job.width, job.height), job.rotation)


def _resized(pixels: Image.Image, job: Preview) -> Image.Image:
    size = _size(pixels.size, job)
    if size == pixels.size:
        return pixels
    box = visible_box(pixels.size, size, job.gravity)
    return pixels.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def _faded(pixels: Image.Image, opacity: float) -> Image.Image:
    faded = pixels.convert("RGBA")
    faded.putalpha(faded.getchannel("A").point(lambda value: value * opacity))
    return faded


def _draw_border(pixels: Image.Image, width: int, color: Color, radius: int) -> None:
    right, bottom = pixels.width - 1, pixels.height - 1
    ImageDraw.Draw(pixels).rounded_rectangle((0, 0, right, bottom), radius, outline=color, width=width)


def _rounded(pixels: Image.Image, radius: int) -> Image.Image:
    size = (pixels.width * _SMOOTHING, pixels.height * _SMOOTHING)
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), radius * _SMOOTHING, fill=255)
    rounded = pixels.convert("RGBA")
    rounded.putalpha(ImageChops.multiply(rounded.getchannel("A"), mask.reduce(_SMOOTHING)))
    return rounded


def _turned(pixels: Image.Image, degrees: int) -> Image.Image:
    """Return ``pixels`` turned clockwise, in as large a rectangle as that takes."""
    if degrees % 90:
        pixels = pixels.convert("RGBA")
    return pixels.rotate(-degrees % 360, Image.Resampling.BICUBIC, expand=True)
