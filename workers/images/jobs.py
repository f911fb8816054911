"""What can be drawn, and what comes of it: the values that travel between the API and its image processes. Pure."""

import enum

import msgspec

MAX_SIDE = 4000
"""How many pixels a side of a picture has at most."""

LARGE_PIXELS = 2_000_000
"""How many pixels make a picture a large one, which may take seconds rather than a part of one."""


class Gravity(enum.StrEnum):
    """Which part of an image stays when the rest is cut off."""

    CENTER = "center"
    TOP_LEFT = "top-left"
    TOP = "top"
    TOP_RIGHT = "top-right"
    LEFT = "left"
    RIGHT = "right"
    BOTTOM_LEFT = "bottom-left"
    BOTTOM = "bottom"
    BOTTOM_RIGHT = "bottom-right"


class Format(enum.StrEnum):
    """What pictures are encoded in."""

    JPEG = "jpeg"
    PNG = "png"
    GIF = "gif"
    WEBP = "webp"
    AVIF = "avif"

    @property
    def media_type(self) -> str:
        """The type of RFC 9110 section 8.3.1."""
        return f"image/{self.value}"


Color = tuple[int, int, int]
"""Red, green and blue, each from 0 to 255."""


def parse_color(text: str) -> Color:
    """Return the color of three or six hexadecimal digits, with or without ``#`` before them.

    Raises:
        ValueError: they are none.
    """
    digits = text.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    if len(digits) != 6 or not digits.isascii() or not digits.isalnum():
        raise ValueError("Not a color.")
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


class Preview(msgspec.Struct, frozen=True, tag=True):
    """An image that is cut, scaled and decorated; its bytes come along."""

    width: int = 0
    """In pixels, up to :data:`MAX_SIDE`. 0 follows from the height; with both 0, the image keeps its size."""
    height: int = 0
    gravity: Gravity = Gravity.CENTER
    """What stays when width and height are given, and the image is of another shape."""
    quality: int = -1
    """Of JPEG, WebP and AVIF, 0 to 100; -1 chooses."""
    border_width: int = 0
    """In pixels, inside of the picture."""
    border_color: Color = (0, 0, 0)
    border_radius: int = 0
    """In pixels; what is beyond is transparent."""
    opacity: float = 1.0
    rotation: int = 0
    """In degrees, clockwise; the picture grows with it, no side beyond :data:`MAX_SIDE`."""
    background: Color | None = None
    """What shines through where the image is transparent; None leaves it so if the format can."""
    output: Format | None = None
    """None keeps the format of the image."""
    accept_icons: bool = False
    """Whether the image may be an icon of a web site (ICO) too."""

    @property
    def is_large(self) -> bool:
        """Whether it may take seconds, whatever the image."""
        return (self.width or MAX_SIDE) * (self.height or MAX_SIDE) > LARGE_PIXELS


class Initials(msgspec.Struct, frozen=True, tag=True):
    """The first letters of a name, as PNG."""

    name: str
    width: int = 100
    height: int = 100
    background: Color | None = None
    """None chooses by the name."""

    @property
    def is_large(self) -> bool:
        """Whether it may take long."""
        return self.width * self.height > LARGE_PIXELS


class QrCode(msgspec.Struct, frozen=True, tag=True):
    """A text as a QR code, as PNG."""

    text: str
    size: int = 400
    """In pixels, each way."""
    margin: int = 1
    """In modules, the squares that the code is made of."""

    @property
    def is_large(self) -> bool:
        """Whether it may take long."""
        return self.size**2 > LARGE_PIXELS


Job = Preview | Initials | QrCode
"""Whatever can be drawn."""


class Picture(msgspec.Struct, frozen=True, tag=True):
    """What was drawn."""

    body: bytes
    media_type: str


class Refused(enum.StrEnum):
    """Why an image was not drawn."""

    UNREADABLE = "unreadable"
    """It is of no known format, or it is broken."""
    TOO_LARGE = "too large"
    """It has too many pixels, or takes too much memory or time."""


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """That nothing was drawn."""

    why: Refused


class ImageRefusedError(Exception):
    """An image cannot be drawn, and will not be on another try."""

    def __init__(self, why: Refused) -> None:
        self.why = why
        super().__init__(f"The image is {why.value}.")
