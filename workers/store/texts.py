"""Texts that others wrote, made fit to be kept: what a program printed, what a server answered. Pure."""


def storable(text: str) -> str:
    """Return ``text`` without what no database keeps: NUL, and halves of characters."""
    return text.replace("\0", "").encode(errors="replace").decode()
