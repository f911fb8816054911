"""Lua scripts, of one file or of several that are read one after the other."""

from pathlib import Path

VERSION_SCRIPT = Path(__file__).with_name("version.lua")
"""What gives a version a number that it never had."""


def read_script(*paths: Path) -> str:
    """Return the text of a script: what is ``local`` in a file, the files after it may use."""
    return "".join(path.read_text() for path in paths)
