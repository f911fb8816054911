"""A realtime hub: events from any backend, pushed to every client that subscribed and may read them.

The pure core (``events``, ``channels``, ``permissions``, ``queries``, ``messages``, ``errors``) holds the rules
and does no I/O. ``identity`` and ``bus`` reach Redis, ``publisher`` publishes, ``hub`` serves WebSockets, and
``client`` subscribes from Python. The processes that wire these together live in the ``workers`` package.
"""

__version__ = "0.1.0"
