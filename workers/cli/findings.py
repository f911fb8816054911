"""What a check of ``realtime doctor`` found."""

import enum
from typing import NamedTuple


class Level(enum.Enum):
    """How a check ended; the value is the style it is printed in."""

    OK = "green"
    WARN = "yellow"
    FAIL = "bold red"


class Finding(NamedTuple):
    """What one check found."""

    level: Level
    check: str
    text: str
    advice: str = ""
    """What to do about it; empty when all is well."""
