"""Presences: who is there, as each lets others see it, and no longer than they are (wire specification 13).

:class:`PresenceStore` keeps them in Redis, with the event of each change; :class:`Holdings` is what a hub holds for its
connections; :class:`Sweeper` removes what is over. :mod:`~realtime.presences.model` is pure.
"""
