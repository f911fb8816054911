"""Every message on the wire: what a client may send, and the frames the hub answers with.

``client`` parses and checks, ``server`` encodes, ``account`` builds the account object inside two of the
frames. Text frames hold one JSON object each, with the members ``type`` and ``data`` in this order. The
package is pure: whether a credential is valid or a tail is allowed is decided by the hub. Sources: wire
specification 3, 4, 13.4 and 16.
"""

from realtime.messages.client import (
    DEFAULT_LIMITS,
    Authentication,
    ClientMessage,
    MessageLimits,
    Ping,
    Presence,
    Subscribe,
    SubscribeItem,
    Unsubscribe,
    parse_message,
)
from realtime.messages.server import (
    EVENT_SUFFIX,
    PONG,
    Subscribed,
    encode_authenticated,
    encode_connected,
    encode_error,
    encode_presence,
    encode_subscribed,
    encode_system,
    encode_unsubscribed,
    event_prefix,
)

__all__ = [
    "DEFAULT_LIMITS",
    "EVENT_SUFFIX",
    "PONG",
    "Authentication",
    "ClientMessage",
    "MessageLimits",
    "Ping",
    "Presence",
    "Subscribe",
    "SubscribeItem",
    "Subscribed",
    "Unsubscribe",
    "encode_authenticated",
    "encode_connected",
    "encode_error",
    "encode_presence",
    "encode_subscribed",
    "encode_system",
    "encode_unsubscribed",
    "event_prefix",
    "parse_message",
]
