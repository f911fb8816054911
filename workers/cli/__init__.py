"""The command line, ``realtime``: every command, and the one place where the parts are wired together."""

from workers.cli.app import app, main

__all__ = ["app", "main"]
