"""How events travel: one Redis holds each project's log and carries its live channel.

The package knows bytes, projects and positions; what the bytes mean is decided in :mod:`realtime.events`.
:mod:`~realtime.bus.bus` writes and reads, :mod:`~realtime.bus.listener` receives, :mod:`~realtime.bus.keys`
names every key and channel, :mod:`~realtime.bus.connect` opens connections.
"""
