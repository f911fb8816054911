"""Events: what can happen, how it is named, whom it reaches, and how it travels.

:mod:`~realtime.events.catalogue` is the table that the other modules read; :mod:`~realtime.events.names`
parses and expands names, :mod:`~realtime.events.routing` finds channels and readers, and
:mod:`~realtime.events.event` turns an :class:`~realtime.events.event.Event` into the bytes that are
published. All of it is pure.
"""
