"""How events travel: one Redis holds each project's log and carries its live channel.

The package knows bytes, projects and positions; what the bytes mean is decided in :mod:`realtime.events`.
:class:`RedisBus` writes and reads, :class:`LiveListener` receives, :func:`connect` opens clients;
:mod:`~realtime.bus.keys` names every key and channel.
"""

from realtime.bus.bus import LogPage, LogState, RedisBus
from realtime.bus.connect import connect, embedded_url, redis_url
from realtime.bus.listener import LiveListener

__all__ = ["LiveListener", "LogPage", "LogState", "RedisBus", "connect", "embedded_url", "redis_url"]
