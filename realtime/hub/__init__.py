"""The WebSocket server: who is connected, what they subscribed to, and which of them may read an event.

Handshake, subscription index, frames and limits are pure and decide; the protocol, its connections and the
rooms they share act on what was decided.
"""
