"""Lua scripts, of one file or of several that are read one after the other."""

from pathlib import Path


def read_script(*paths: Path) -> str:
    """Return the text of a script: what is ``local`` in a file, the files after it may use."""
    return "".join(path.read_text() for path in paths)
