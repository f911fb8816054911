"""Secrets that ``realtime dev`` makes once and keeps in its data folder, readable by their owner only."""

import os
import secrets
import tempfile
from pathlib import Path

KEY_FILE = "dev-key"
"""The demo project's API key."""
SECRET_FILE = "secret"  # noqa: S105 - the name of a file
"""The secret that signs the tokens of the page and of ``realtime token``."""


def read(path: Path) -> str:
    """Return the secret in the file ``path``; empty when there is none."""
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""


def read_or_create(path: Path) -> str:
    """Return the secret in the file ``path``; if there is none, make one of 32 random bytes, with mode 0600.

    Two processes that call it at once return the same secret. Raises OSError when the folder cannot be
    written.
    """
    kept = read(path)
    if kept:
        return kept
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # has mode 0600
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
        file.write(secrets.token_urlsafe(32) + "\n")
    try:
        # A link appears whole or not at all, and never replaces a file that somebody else made meanwhile.
        os.link(draft, path)
    except FileExistsError:
        if not read(path):
            Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)
    return read(path)
