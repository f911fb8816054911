"""IDs that the server makes, and secrets."""

import secrets
import time

UNIQUE = "unique()"
"""What clients send to have the server make an ID."""


def new_id() -> str:
    """Return an ID that no resource has: 20 hexadecimal digits, which grow with time."""
    return f"{time.time_ns() // 1_000:013x}{secrets.token_hex(4)}"[:20]


def choose_id(requested: str) -> str:
    """Return ``requested``, or a new ID if it is :data:`UNIQUE`."""
    return new_id() if requested == UNIQUE else requested


def new_secret() -> str:
    """Return a secret of 256 hexadecimal digits, as sessions have it (wire specification 10.1)."""
    return secrets.token_hex(128)
