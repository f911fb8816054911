"""Bytes that a stranger sent, as pixels; or a refusal.

Few formats are tried, by the first bytes, whatever the name says. Dimensions are read before pixels are. Of an
animation, the first picture counts, so the number of the others costs nothing. What the decoder raises is of no
concern to anybody: an image that cannot be decoded is unreadable.
"""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageOps

from workers.images.geometry import Size
from workers.images.jobs import Format, ImageRefusedError, Refused

_FORMATS = {
    "JPEG": Format.JPEG,
    # What several cameras write: a JPEG with further pictures behind it.
    "MPO": Format.JPEG,
    "PNG": Format.PNG,
    "GIF": Format.GIF,
    "WEBP": Format.WEBP,
    "AVIF": Format.AVIF,
}
_DECODERS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF")
_ICONS = ("ICO",)

_MAX_PROFILE_BYTES = 65_536

_WIDE_GREY = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
"""Modes of 16 bits of grey."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image, upright."""

    pixels: Image.Image
    """In the mode RGB or RGBA, without any metadata."""
    format: Format
    """What it was encoded in, or the nearest to that."""
    profile: bytes | None
    """The ICC profile that its colors are meant in."""


def decode(
    source: bytes,
    *,
    max_pixels: int,
    scaled_size: Callable[[Size], Size] | None = None,
    icons: bool = False,
) -> Decoded:
    """Return the image that ``source`` holds.

    Args:
        source: its bytes.
        max_pixels: how many pixels it may have.
        scaled_size: what an image of a given size is going to be scaled to: a JPEG can be decoded smaller, in less
            time and memory. None for nothing that is known.
        icons: whether ICO is taken too.

    Raises:
        ImageRefusedError: it is no image, or a broken one, or too large.
    """
    decoders = (*_DECODERS, *_ICONS) if icons else _DECODERS
    try:
        with warnings.catch_warnings():
            # Among them that of a decompression bomb. Others tell of what is strange in a file, not of mistakes here.
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(source), formats=decoders) as image:
                if image.width * image.height > max_pixels:
                    raise ImageRefusedError(Refused.TOO_LARGE)
                return _decoded(image, scaled_size)
    except ImageRefusedError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
        raise ImageRefusedError(Refused.TOO_LARGE) from error
    except Exception as error:
        raise ImageRefusedError(Refused.UNREADABLE) from error


def _decoded(image: Image.Image, scaled_size: Callable[[Size], Size] | None) -> Decoded:
    if scaled_size is not None:
        # Whether it stands upright is known later.
        needed = max(*scaled_size(image.size), *scaled_size(image.size[::-1]))
        image.draft(None, (needed, needed))
    image.load()
    encoded_as = _FORMATS.get(image.format or "", Format.PNG)
    profile = image.info.get("icc_profile") if image.mode in {"RGB", "RGBA", "P"} else None
    if not isinstance(profile, bytes) or len(profile) > _MAX_PROFILE_BYTES:
        profile = None
    ImageOps.exif_transpose(image, in_place=True)
    pixels = _in_color(image)
    # Encoders write some of this, and it may say where a photograph was taken.
    pixels.info = {}
    return Decoded(pixels, encoded_as, profile)


def _in_color(image: Image.Image) -> Image.Image:
    """Return the image in RGBA if it has transparent parts, else in RGB."""
    if image.mode in _WIDE_GREY:
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L").convert("RGB")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")
